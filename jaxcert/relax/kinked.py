"""Hard tanh and ELU: pieces that meet in a kink.

Through a kink (c, f(c)) from which f leaves to one side of a line pass many lines on that side
of f, with slopes between two extremes. alpha mixes the extremes so that 1/2 is the one that is
better at the midpoint, which is that of least area, and every mixture is reached.

Hard tanh, `f(x) = min(max(x, lo), hi)`. Below: through c = max(l, lo), with a slope between 0
(if f is flat on the left of c) and that of the line from c to (u, f(u)). Above: the mirror
image, as `f(x; lo, hi) = -f(-x; -hi, -lo)`. For a slope k in [0, 1] the minimum of f - k x lies
at c or at u, whatever the slope.

ELU, `f(x) = x` for x > 0, `a (e^x - 1)` below, is `s h` with s = sign(a) and `h(x) = r x` on the
right, `A (e^x - 1)` on the left, A = |a|, r = s. h is convex up to the kink at 0. If A <= r the
kink is convex too, and every tangent is below h; otherwise tangents up to the one that meets h
at u, and else the chord. Above: the chord, unless the kink lies above it; then a line through
the kink, with a slope between r and that of the chord from l to 0.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxcert.relax.convex import exp_chord
from jaxcert.relax.curve import between, half, lowest_of_piece
from jaxcert.relax.interval import ordered, poisoned, unless_overflown
from jaxcert.relax.solve import touch
from jaxcert.relax.types import Activation, Lines

Line = tuple[jax.Array, jax.Array]


def _mixture(alpha: ArrayLike, left: jax.Array, right: jax.Array, kink_first: jax.Array) -> jax.Array:
    """From the slope `left` at alpha = 0 to `right` at 1; at 1/2 `right` if the kink comes first."""
    share = jnp.where(kink_first, jnp.minimum(1, 2 * alpha), jnp.maximum(0, 2 * alpha - 1))
    return left + share * (right - left)


def _apart(lower: jax.Array, upper: jax.Array) -> jax.Array:
    """Whether the derivative of a quotient by the width is finite."""
    return upper - lower > 4 * float(jnp.finfo(lower.dtype).tiny) ** 0.5


def _least(*values: jax.Array) -> jax.Array:
    # Several often tie up to rounding; a select decides once, in the value and in its derivative alike.
    least = values[0]
    for value in values[1:]:
        least = jnp.where(value < least, value, least)
    return least


def _clip(x: jax.Array, lo: ArrayLike, hi: ArrayLike) -> jax.Array:
    return jnp.minimum(jnp.maximum(x, lo), hi)


def _clip_derivative(x: jax.Array, lo: ArrayLike, hi: ArrayLike) -> jax.Array:
    return jnp.where((x > lo) & (x < hi), 1, 0).astype(x.dtype)


def _clip_image(
    lower: jax.Array, upper: jax.Array, lo: ArrayLike, hi: ArrayLike
) -> tuple[jax.Array, jax.Array]:
    return _clip(lower, lo, hi), _clip(upper, lo, hi)


def _clip_slope(lower: jax.Array, upper: jax.Array, lo: ArrayLike, hi: ArrayLike) -> jax.Array:
    """The slope between two points of hard tanh, without rounding where it is 0 or 1."""
    apart = _apart(lower, upper)
    quotient = (_clip(upper, lo, hi) - _clip(lower, lo, hi)) / jnp.where(apart, upper - lower, 1)
    slope = jnp.where(apart, jnp.clip(quotient, 0, 1), 0.5)
    slope = jnp.where((lower >= lo) & (upper <= hi), 1, slope)
    return jnp.where((upper <= lo) | (lower >= hi), 0, slope)


def _clip_offset(
    lower: jax.Array, upper: jax.Array, slope: jax.Array, lo: ArrayLike, hi: ArrayLike
) -> jax.Array:
    corner = between(jnp.asarray(lo + jnp.zeros_like(lower)), lower, upper)
    return _least(_clip(corner, lo, hi) - slope * corner, _clip(upper, lo, hi) - slope * upper)


def _clip_below(
    lower: jax.Array, upper: jax.Array, alpha: ArrayLike, lo: ArrayLike, hi: ArrayLike
) -> tuple[jax.Array, jax.Array]:
    corner = between(jnp.asarray(lo + jnp.zeros_like(lower)), lower, upper)
    steepest = _clip_slope(corner, upper, lo, hi)
    flattest = jnp.where(lower < lo, 0, steepest)
    slope = _mixture(alpha, flattest, steepest, 0.5 * lower + 0.5 * upper > corner)
    return slope, _clip_offset(lower, upper, slope, lo, hi)


def _clip_lines(lower: jax.Array, upper: jax.Array, alpha: ArrayLike, lo: ArrayLike, hi: ArrayLike) -> Lines:
    lower, upper = ordered(lower, upper)
    lo = jnp.minimum(lo, hi)
    below = _clip_below(lower, upper, alpha, lo, hi)
    above = _clip_below(-upper, -lower, alpha, -jnp.asarray(hi), -lo)
    return poisoned(unless_overflown(Lines(below[0], below[1], above[0], -above[1])), lower, upper)


def _clip_parallel(lower: jax.Array, upper: jax.Array, lo: ArrayLike, hi: ArrayLike) -> Lines:
    lower, upper = ordered(lower, upper)
    lo = jnp.minimum(lo, hi)
    slope = _clip_slope(lower, upper, lo, hi)
    below = _clip_offset(lower, upper, slope, lo, hi)
    above = -_clip_offset(-upper, -lower, slope, -jnp.asarray(hi), -lo)
    return poisoned(unless_overflown(Lines(slope, below, slope, above)), lower, upper)


class _Bend(NamedTuple):
    """`A (e^x - 1)` up to 0, `r x` from there; A >= 0."""

    amplitude: jax.Array
    right: jax.Array

    def fn(self, x: jax.Array) -> jax.Array:
        return jnp.where(x > 0, self.right * x, self.amplitude * jnp.expm1(jnp.minimum(x, 0)))

    def slope(self, x: jax.Array) -> jax.Array:
        return jnp.where(x > 0, self.right, self.curvature(x))

    def curvature(self, x: jax.Array) -> jax.Array:
        """That of the left piece."""
        return self.amplitude * jnp.exp(jnp.minimum(x, 0))

    def chord(self, lower: jax.Array, upper: jax.Array) -> jax.Array:
        across = (lower < 0) & (upper > 0)
        wide = across & _apart(lower, upper)
        quotient = (self.fn(upper) - self.fn(lower)) / jnp.where(wide, upper - lower, 1)
        left = self.amplitude * exp_chord(jnp.minimum(lower, 0), jnp.minimum(upper, 0))
        inside = jnp.where(wide, quotient, 0.5 * (self.amplitude + self.right))
        return jnp.where(across, inside, jnp.where(lower >= 0, self.right, left))


def _bend(a: ArrayLike, like: jax.Array) -> tuple[_Bend, jax.Array]:
    a = a + jnp.zeros_like(like)
    sign = jnp.where(a < 0, -1, 1).astype(like.dtype)
    return _Bend(jnp.abs(a), sign), sign


def _bend_below(
    h: _Bend, lower: jax.Array, upper: jax.Array, alpha: ArrayLike
) -> tuple[jax.Array, jax.Array]:
    across = (lower < 0) & (upper > 0)
    cut = across & (h.amplitude > h.right)
    # Elsewhere the touching point is not used; an ordinary interval keeps its derivatives finite.
    start, end = jnp.where(cut, lower, -1), jnp.where(cut, upper, 1)
    last = touch(h, end, start, jnp.zeros_like(lower), jnp.asarray(True))
    found = ~cut | (last > lower)
    where = (1 - alpha) * lower + alpha * upper
    point = jnp.where(cut, jnp.where(where < last, where, last), where)
    slope = jnp.where(found, h.slope(point), h.chord(lower, upper))
    trial = jnp.where(found, point, lower)
    return slope, _bend_least(h, slope, lower, upper, trial)


def _bend_least(
    h: _Bend, slope: jax.Array, lower: jax.Array, upper: jax.Array, trial: jax.Array
) -> jax.Array:
    kink = between(jnp.zeros_like(lower), lower, upper)
    curved = lowest_of_piece(h.fn, h.slope, h.curvature, slope, (lower, kink), trial)
    return _least(*(h.fn(x) - slope * x for x in (lower, upper, kink)), curved)


def _bend_highest(h: _Bend, slope: jax.Array, lower: jax.Array, upper: jax.Array) -> jax.Array:
    kink = between(jnp.zeros_like(lower), lower, upper)
    return -_least(*(slope * x - h.fn(x) for x in (lower, upper, kink)))


def _bend_above(
    h: _Bend, lower: jax.Array, upper: jax.Array, alpha: ArrayLike
) -> tuple[jax.Array, jax.Array]:
    before = h.amplitude * exp_chord(jnp.minimum(lower, 0), jnp.zeros_like(lower))
    corner = (lower < 0) & (upper > 0) & (before > h.right)
    mixed = _mixture(alpha, before, h.right, 0.5 * lower + 0.5 * upper > 0)
    slope = jnp.where(corner, mixed, h.chord(lower, upper))
    return slope, _bend_highest(h, slope, lower, upper)


def _turned(sign: jax.Array, below: tuple, above: tuple) -> Lines:
    """The lines of `sign h` from those of h."""
    up = sign > 0
    low = [jnp.where(up, b, -a) for b, a in zip(below, above, strict=True)]
    high = [jnp.where(up, a, -b) for b, a in zip(below, above, strict=True)]
    return unless_overflown(Lines(low[0], low[1], high[0], high[1]))


def _elu(x: jax.Array, a: ArrayLike) -> jax.Array:
    return jnp.where(x > 0, x, a * jnp.expm1(jnp.minimum(x, 0)))


def _elu_derivative(x: jax.Array, a: ArrayLike) -> jax.Array:
    return jnp.where(x > 0, 1, a * jnp.exp(jnp.minimum(x, 0)))


def _elu_image(lower: jax.Array, upper: jax.Array, a: ArrayLike) -> tuple[jax.Array, jax.Array]:
    lower, upper = ordered(lower, upper)
    left, right = _elu(lower, a), _elu(upper, a)
    kink = _elu(between(jnp.zeros_like(lower), lower, upper), a)
    return _least(left, right, kink), -_least(-left, -right)


def _elu_lines(lower: jax.Array, upper: jax.Array, alpha: ArrayLike, a: ArrayLike) -> Lines:
    lower, upper = ordered(lower, upper)
    h, sign = _bend(a, lower)
    lines = _turned(sign, _bend_below(h, lower, upper, alpha), _bend_above(h, lower, upper, alpha))
    return poisoned(lines, lower, upper)


def _elu_parallel(lower: jax.Array, upper: jax.Array, a: ArrayLike) -> Lines:
    lower, upper = ordered(lower, upper)
    h, sign = _bend(a, lower)
    slope = h.chord(lower, upper)
    tiny = float(jnp.finfo(lower.dtype).tiny)
    level = jnp.log(jnp.maximum(slope, tiny)) - jnp.log(jnp.maximum(h.amplitude, tiny))
    below = _bend_least(h, slope, lower, upper, level)
    above = _bend_highest(h, slope, lower, upper)
    return poisoned(_turned(sign, (slope, below), (slope, above)), lower, upper)


HARD_TANH = Activation(
    name="hard_tanh",
    fn=_clip,
    derivative=_clip_derivative,
    image=_clip_image,
    lines=_clip_lines,
    parallel=_clip_parallel,
    adaptive=half,
    cases=((-1.0, 1.0), (0.0, 6.0)),
)

ELU = Activation(
    name="elu",
    fn=_elu,
    derivative=_elu_derivative,
    image=_elu_image,
    lines=_elu_lines,
    parallel=_elu_parallel,
    adaptive=half,
    cases=((1.0,), (0.3,), (1.6732632,), (-0.7,)),
)
