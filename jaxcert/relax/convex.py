"""Functions that bend one way on every interval of their domain: exp, log, sqrt, 1/x and their kind.

For a convex f on [l, u] the best upper line is the chord, and every tangent is a lower line;
alpha in [0, 1] places its point, `t = l + alpha (u - l)`. The gap under a line is least where
the line is highest at the midpoint, so alpha = 1/2 is the least area. Concave functions are
the mirror image. Slopes of chords have forms that do not cancel; whatever slope k they give,
the offset is the extreme of `f(x) - k x` over the ends, so rounding costs tightness only.

Parallel lines both take the slope k of the chord. The one on the tangent's side touches where
`f'(t) = k`, which has a closed form, see `curve.lowest_of_piece`.
Outside the domain (log of an interval that reaches 0, 1/x across 0) everything is NaN.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxcert.relax.curve import Scalar, half, hinged_quotient, lowest_of_piece, narrow, quotient
from jaxcert.relax.interval import ordered, poisoned, unless_overflown
from jaxcert.relax.types import Activation, Lines


class Bent(NamedTuple):
    """A function that bends one way on every interval of its domain.

    Attributes:
      chord: the slope between two points.
      point: `point(k, lower)`, where the slope is k, on lower's side of 0.
      domain: `domain(lower, upper)`, whether the interval lies inside.
      convex: `convex(lower)`, whether it bends up.
    """

    fn: Scalar
    slope: Scalar
    curvature: Scalar
    chord: Callable[[jax.Array, jax.Array], jax.Array]
    point: Callable[[jax.Array, jax.Array], jax.Array]
    domain: Callable[[jax.Array, jax.Array], jax.Array]
    convex: Callable[[jax.Array], jax.Array]


def lines(lower: jax.Array, upper: jax.Array, alpha: ArrayLike, f: Bent) -> Lines:
    """Return the tangent at position alpha and the chord."""
    lower, upper = ordered(lower, upper)
    # Both products have the sign of their end, so a point cannot leave the domain by rounding.
    point = (1 - alpha) * lower + alpha * upper
    slope = f.slope(point)
    return _enclosed(f, lower, upper, slope, f.fn(point) - slope * point, f.chord(lower, upper))


def parallel(lower: jax.Array, upper: jax.Array, f: Bent) -> Lines:
    """Return the chord and the tangent that is parallel to it."""
    lower, upper = ordered(lower, upper)
    slope = f.chord(lower, upper)
    sign = jnp.where(f.convex(lower), 1, -1).astype(lower.dtype)
    offset = lowest_of_piece(
        lambda x: sign * f.fn(x),
        lambda x: sign * f.slope(x),
        lambda x: sign * f.curvature(x),
        sign * slope,
        (lower, upper),
        f.point(slope, lower),
    )
    return _enclosed(f, lower, upper, slope, sign * offset, slope)


def _enclosed(
    f: Bent, lower: jax.Array, upper: jax.Array, slope: jax.Array, offset: jax.Array, chord: jax.Array
) -> Lines:
    """The line that touches and the chord, each on its side; NaN outside the domain."""
    convex = f.convex(lower)
    left, right = f.fn(lower) - chord * lower, f.fn(upper) - chord * upper
    # The ends tie up to rounding; a select decides once, in the value and in its derivative alike.
    far = jnp.where((right > left) == convex, right, left)
    below = jnp.where(convex, slope, chord), jnp.where(convex, offset, far)
    above = jnp.where(convex, chord, slope), jnp.where(convex, far, offset)
    inside = f.domain(lower, upper)
    lower, upper = (jnp.where(inside, end, jnp.nan) for end in (lower, upper))
    return poisoned(unless_overflown(Lines(*below, *above)), lower, upper)


def _increasing(lower: jax.Array, upper: jax.Array, f: Bent) -> tuple[jax.Array, jax.Array]:
    inside = f.domain(*ordered(lower, upper))
    low, high = f.fn(lower), f.fn(upper)
    return jnp.where(inside, low, jnp.nan), jnp.where(inside, high, jnp.nan)


def _decreasing(lower: jax.Array, upper: jax.Array, f: Bent) -> tuple[jax.Array, jax.Array]:
    low, high = _increasing(lower, upper, f)
    return high, low


def _record(name: str, f: Bent, image: Callable) -> Activation:
    return Activation(
        name=name,
        fn=f.fn,
        derivative=f.slope,
        image=partial(image, f=f),
        lines=partial(lines, f=f),
        parallel=partial(parallel, f=f),
        adaptive=half,
    )


def everywhere(lower: jax.Array, upper: jax.Array) -> jax.Array:
    """The domain of all numbers."""
    return ~jnp.isnan(lower + upper)


def _positive(lower: jax.Array, upper: jax.Array) -> jax.Array:
    return (lower > 0) & (upper > 0)


def always(lower: jax.Array) -> jax.Array:
    """Convex wherever the interval lies."""
    return jnp.ones(lower.shape, bool)


def _never(lower: jax.Array) -> jax.Array:
    return jnp.zeros(lower.shape, bool)


def exp_chord(lower: jax.Array, upper: jax.Array) -> jax.Array:
    """(e^u - e^l) / (u - l), which is e^u at l = u."""
    # e^u (1 - e^-w) / w with w = u - l: neither cancels nor overflows before e^u does.
    width = upper - lower
    close = width <= narrow(width)
    series = 1 - width / 2 + width * width / 6
    return jnp.exp(upper) * jnp.where(close, series, -jnp.expm1(-width) / jnp.where(close, 1, width))


def _log_chord(lower: jax.Array, upper: jax.Array) -> jax.Array:
    # log(1 + z) / z / l with z = (u - l) / l.
    width = upper - lower
    far, close = width > lower, width <= narrow(width) * lower
    ratio = jnp.where(far | close, 1, width / jnp.where(far, 1, lower))
    small = jnp.where(close, width / jnp.where(close, lower, 1), 0)
    near = jnp.where(close, 1 - small / 2 + small * small / 3, jnp.log1p(ratio) / ratio) / lower
    return jnp.where(far, (jnp.log(upper) - jnp.log(lower)) / jnp.where(far, width, 1), near)


def _log1p(x: jax.Array) -> jax.Array:
    # On the CPU XLA's log1p is off by 120 units of last place near -0.4 in float64; 1 + x is good there.
    return jnp.where(x < -0.25, jnp.log(1 + x), jnp.log1p(x))


def _root_chord(lower: jax.Array, upper: jax.Array) -> jax.Array:
    return 1 / (jnp.sqrt(lower) + jnp.sqrt(upper))


def _safe_log(k: jax.Array) -> jax.Array:
    return jnp.log(jnp.maximum(k, float(jnp.finfo(k.dtype).tiny)))


def _inverse(k: jax.Array) -> jax.Array:
    return 1 / jnp.maximum(k, float(jnp.finfo(k.dtype).tiny))


_EXP = Bent(
    fn=jnp.exp,
    slope=jnp.exp,
    curvature=jnp.exp,
    chord=exp_chord,
    point=lambda k, lower: _safe_log(k),
    domain=everywhere,
    convex=always,
)

_LOG = Bent(
    fn=jnp.log,
    slope=lambda x: 1 / x,
    curvature=lambda x: -1 / (x * x),
    chord=_log_chord,
    point=lambda k, lower: _inverse(k),
    domain=_positive,
    convex=_never,
)

_LOG1P = Bent(
    fn=_log1p,
    slope=lambda x: 1 / (1 + x),
    curvature=lambda x: -1 / ((1 + x) * (1 + x)),
    chord=lambda lower, upper: quotient(_log1p, lambda x: 1 / (1 + x), lower, upper, 1 + lower),
    point=lambda k, lower: _inverse(k) - 1,
    domain=lambda lower, upper: (lower > -1) & (upper > -1),
    convex=_never,
)

_SQRT = Bent(
    fn=jnp.sqrt,
    slope=lambda x: 0.5 / jnp.sqrt(x),
    curvature=lambda x: -0.25 / (x * jnp.sqrt(x)),
    chord=_root_chord,
    point=lambda k, lower: 0.25 * _inverse(k) * _inverse(k),
    domain=lambda lower, upper: (lower >= 0) & (upper >= 0),
    convex=_never,
)

_RSQRT = Bent(
    fn=jax.lax.rsqrt,
    slope=lambda x: -0.5 * jax.lax.rsqrt(x) / x,
    curvature=lambda x: 0.75 * jax.lax.rsqrt(x) / (x * x),
    chord=lambda lower, upper: -_root_chord(lower, upper) * jax.lax.rsqrt(lower) * jax.lax.rsqrt(upper),
    point=lambda k, lower: _inverse(jnp.cbrt(4 * k * k)),
    domain=_positive,
    convex=always,
)

_RECIPROCAL = Bent(
    fn=lambda x: 1 / x,
    slope=lambda x: -1 / x / x,
    curvature=lambda x: 2 / x / x / x,
    chord=lambda lower, upper: -1 / lower / upper,
    point=lambda k, lower: jnp.where(lower > 0, 1, -1) * jnp.sqrt(_inverse(-k)),
    domain=lambda lower, upper: (lower > 0) | (upper < 0),
    convex=lambda lower: lower > 0,
)

_SOFTPLUS = Bent(
    fn=jax.nn.softplus,
    slope=jax.nn.sigmoid,
    curvature=lambda x: jax.nn.sigmoid(x) * jax.nn.sigmoid(-x),
    chord=partial(hinged_quotient, lambda x: jax.nn.softplus(-jnp.abs(x)), jax.nn.sigmoid),
    point=lambda k, lower: _safe_log(k) - _safe_log(1 - k),
    domain=everywhere,
    convex=always,
)

EXP = _record("exp", _EXP, _increasing)
EXPM1 = _record("expm1", _EXP._replace(fn=jnp.expm1), _increasing)
LOG = _record("log", _LOG, _increasing)
LOG1P = _record("log1p", _LOG1P, _increasing)
SQRT = _record("sqrt", _SQRT, _increasing)
RSQRT = _record("rsqrt", _RSQRT, _decreasing)
RECIPROCAL = _record("reciprocal", _RECIPROCAL, _decreasing)
SOFTPLUS = _record("softplus", _SOFTPLUS, _increasing)
