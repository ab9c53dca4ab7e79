"""Sigmoid, tanh, arctan and erf: increasing, convex below 0 and concave above.

All of them are `f(x) = shift + h(x)` with h odd, so an upper line on [l, u] is the mirror
image of a lower line of h on [-u, -l], and only lower lines need deriving.

Lower line with tangent point t. For u <= 0 the function is convex and every tangent with
t in [l, u] is below it. For l >= 0 it is concave and the chord is the best line. In the
mixed case the tangent at t <= 0 stays below f on [l, u] exactly when it is below f at u,
that is for t in [l, d], where d solves `h(d) + h'(d) (u - d) = h(u)`; if no such d lies in
[l, 0] the chord is the best line. alpha places t between l (0) and u (1), cut at d. The gap
under a tangent at t, integrated over [l, u], is least where the tangent is highest at the
midpoint, so alpha = 1/2 (t the midpoint, or d where that comes first) is the least area.

Whatever slope k is chosen, the offset is `min h(x) - k x` over the points where that
minimum can lie, so a tangent point known to a few digits costs tightness in the last
digits and never soundness. The offset is differentiable: d is found by bisection and
Newton steps on stopped values, followed by two Newton steps that carry derivatives (one
gives the first derivative of d, two the second).
Source: theses/4a (3.5) and Table 3.1 for parallel lines (its first case is misprinted: the
tangent belongs to every l < 0); CROWN (Zhang et al. 2018) for the two-slope lines.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from jaxcert.relax.interval import ordered, poisoned
from jaxcert.relax.types import Activation, Lines

_BISECTIONS = 24
_PEAK = 2 / math.sqrt(math.pi)


class _Odd(NamedTuple):
    """An odd S-shaped function: value, slope, curvature, and where the slope equals k."""

    fn: Callable[[jax.Array], jax.Array]
    slope: Callable[[jax.Array], jax.Array]
    curvature: Callable[[jax.Array], jax.Array]
    point: Callable[[jax.Array], jax.Array]
    steepest: float


def _lower_line(h: _Odd, lower: jax.Array, upper: jax.Array, alpha: ArrayLike) -> tuple[jax.Array, jax.Array]:
    mixed = (lower < 0) & (upper > 0) & _apart(lower, upper)
    # Elsewhere the tangent point is not used; an ordinary interval keeps its derivatives finite.
    touching = _touching(h, jnp.where(mixed, lower, -1), jnp.where(mixed, upper, 1))
    has_tangent = mixed & (touching > lower)
    last = jnp.where(upper <= 0, upper, jnp.where(has_tangent, touching, lower))
    point = jnp.minimum(lower + alpha * (upper - lower), last)
    tangent = (upper <= 0) | has_tangent
    slope = jnp.where(tangent, h.slope(point), _chord_slope(h, lower, upper))
    flat = jnp.where(tangent, point, -h.point(slope))
    return slope, _lowest(h, slope, lower, upper, jnp.clip(flat, lower, upper))


def _touching(h: _Odd, lower: jax.Array, upper: jax.Array) -> jax.Array:
    """The point d in [lower, 0] whose tangent meets f at upper; lower where there is none."""
    left, end = lax.stop_gradient(jnp.minimum(lower, 0)), lax.stop_gradient(jnp.maximum(upper, 0))

    def excess(d, end):
        return h.fn(d) + h.slope(d) * (end - d) - h.fn(end)

    def bisect(_, bracket):
        low, high = bracket
        middle = 0.5 * (low + high)
        above = excess(middle, end) > 0
        return jnp.where(above, low, middle), jnp.where(above, middle, high)

    d, _ = lax.fori_loop(0, _BISECTIONS, bisect, (left, jnp.zeros_like(left)))

    def newton(d, end):
        rise = h.curvature(d) * (end - d)
        steep = rise > float(jnp.finfo(d.dtype).tiny) ** 0.25
        step = jnp.where(steep, excess(d, end) / jnp.where(steep, rise, 1), 0)
        return d - jnp.clip(step, -1, 1)

    inside = jnp.clip(lax.stop_gradient(newton(d, end)), left, 0)
    moving = jnp.maximum(upper, 0)
    d = newton(newton(inside, moving), moving)
    return jnp.where(excess(left, end) >= 0, lower, jnp.clip(d, lower, 0))


def _lowest(h: _Odd, slope: jax.Array, lower: jax.Array, upper: jax.Array, point: jax.Array) -> jax.Array:
    # A chord ties at both ends. The derivative of jnp.minimum compares its result with both sides;
    # where XLA computes a side twice with other rounding, neither equals it. A select decides once.
    least = h.fn(lower) - slope * lower
    for x in (upper, point):
        value = h.fn(x) - slope * x
        least = jnp.where(value < least, value, least)
    return least


def _chord_slope(h: _Odd, lower: jax.Array, upper: jax.Array) -> jax.Array:
    apart = _apart(lower, upper)
    quotient = (h.fn(upper) - h.fn(lower)) / jnp.where(apart, upper - lower, 1)
    return jnp.where(apart, quotient, h.slope(0.5 * (lower + upper)))


def _apart(lower: jax.Array, upper: jax.Array) -> jax.Array:
    """Whether a chord is worth its rounding errors.

    Rounding costs its slope about eps / width; the slope at the midpoint differs from it by
    about width^2. The two balance at the cube root. The offset keeps either line sound.
    """
    return upper - lower > float(jnp.finfo(lower.dtype).eps) ** (1 / 3)


def _lines(lower: jax.Array, upper: jax.Array, alpha: ArrayLike, h: _Odd, shift: float) -> Lines:
    lower, upper = ordered(lower, upper)
    below = _lower_line(h, lower, upper, alpha)
    above = _lower_line(h, -upper, -lower, alpha)
    return poisoned(Lines(below[0], shift + below[1], above[0], shift - above[1]), lower, upper)


def _parallel(lower: jax.Array, upper: jax.Array, h: _Odd, shift: float) -> Lines:
    lower, upper = ordered(lower, upper)
    slope = _chord_slope(h, lower, upper)
    point = h.point(slope)
    below = _lowest(h, slope, lower, upper, jnp.clip(-point, lower, upper))
    above = -_lowest(h, slope, -upper, -lower, jnp.clip(-point, -upper, -lower))
    return poisoned(Lines(slope, shift + below, slope, shift + above), lower, upper)


def _adaptive(lower: jax.Array, upper: jax.Array) -> jax.Array:
    del upper
    return jnp.full_like(lower, 0.5)


def _image(
    lower: jax.Array, upper: jax.Array, fn: Callable[[jax.Array], jax.Array]
) -> tuple[jax.Array, jax.Array]:
    return fn(lower), fn(upper)


def _point(slope: jax.Array, steepest: float, solve: Callable[[jax.Array], jax.Array]) -> jax.Array:
    """x >= 0 with h'(x) = slope: 0 at the steepest slope, far out where the slope vanishes."""
    inside = (slope < steepest * (1 - 8 * float(jnp.finfo(slope.dtype).eps))) & (slope > 1e-20)
    far = jnp.where(slope > 1e-20, 0.0, 1e15).astype(slope.dtype)
    return jnp.where(inside, solve(jnp.where(inside, slope, 0.5 * steepest)), far)


def _sech_squared(x: jax.Array) -> jax.Array:
    # 1 - tanh^2 cancels in the tails; this form keeps its relative precision.
    decay = jnp.exp(-2 * jnp.abs(x))
    return 4 * decay / ((1 + decay) * (1 + decay))


def _inverse_sech_squared(k: jax.Array) -> jax.Array:
    # artanh(s) with s = sqrt(1 - k): (1 + s) / (1 - s) = (1 + s)^2 / k, which does not cancel.
    return jnp.log1p(jnp.sqrt(1 - k)) - 0.5 * jnp.log(k)


_TANH = _Odd(
    fn=jnp.tanh,
    slope=_sech_squared,
    curvature=lambda x: -2 * jnp.tanh(x) * _sech_squared(x),
    point=partial(_point, steepest=1.0, solve=_inverse_sech_squared),
    steepest=1.0,
)

# sigmoid(x) - 1/2 = tanh(x / 2) / 2
_SIGMOID = _Odd(
    fn=lambda x: 0.5 * jnp.tanh(0.5 * x),
    slope=lambda x: 0.25 * _sech_squared(0.5 * x),
    curvature=lambda x: -0.25 * jnp.tanh(0.5 * x) * _sech_squared(0.5 * x),
    point=partial(_point, steepest=0.25, solve=lambda k: 2 * _inverse_sech_squared(4 * k)),
    steepest=0.25,
)

_ARCTAN = _Odd(
    fn=jnp.arctan,
    slope=lambda x: 1 / (1 + x * x),
    curvature=lambda x: -2 * x / ((1 + x * x) * (1 + x * x)),
    point=partial(_point, steepest=1.0, solve=lambda k: jnp.sqrt(1 - k) / jnp.sqrt(k)),
    steepest=1.0,
)

# Beyond 30 erf is flat and its square would overflow.
_ERF = _Odd(
    fn=lax.erf,
    slope=lambda x: _PEAK * jnp.exp(-(jnp.clip(x, -30, 30) ** 2)),
    curvature=lambda x: -2 * jnp.clip(x, -30, 30) * _PEAK * jnp.exp(-(jnp.clip(x, -30, 30) ** 2)),
    point=partial(_point, steepest=_PEAK, solve=lambda k: jnp.sqrt(jnp.log(_PEAK / k))),
    steepest=_PEAK,
)


def _record(name: str, fn: Callable[[jax.Array], jax.Array], h: _Odd, shift: float) -> Activation:
    return Activation(
        name=name,
        fn=fn,
        derivative=h.slope,
        image=partial(_image, fn=fn),
        lines=partial(_lines, h=h, shift=shift),
        parallel=partial(_parallel, h=h, shift=shift),
        adaptive=_adaptive,
    )


SIGMOID = _record("sigmoid", jax.nn.sigmoid, _SIGMOID, 0.5)
TANH = _record("tanh", jnp.tanh, _TANH, 0.0)
ARCTAN = _record("arctan", jnp.arctan, _ARCTAN, 0.0)
ERF = _record("erf", lax.erf, _ERF, 0.0)
