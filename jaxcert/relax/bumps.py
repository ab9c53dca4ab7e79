"""SiLU, GELU, Mish and powers of odd exponent: convex between two points, concave outside.

f is convex on [a, b] and concave to both sides; a or b may be infinite, or the roles reversed
by turning f around, and no line touches both concave sides from above (their slopes do not
overlap). Every best line below or above f on [l, u] supports the convex (concave) hull of
the graph, and alpha in [0, 1] says at which point `t = l + alpha (u - l)`. So alpha = 1/2 is
the line that is best at the midpoint, which is that of least area.

Below: the hull is the tangent through (l, f(l)) up to its touching point p in [a, b], then f,
then from q on the tangent through (u, f(u)). The line at t is the tangent at t, cut to [p, q];
if there is no such p <= q, it is the chord. Above: f up to a touching point p < a, a straight
bridge, then f from q > b on, where at most one of p and q lies inside [l, u] and the bridge
starts or ends at l or u otherwise.

Touching points solve `f(d) + f'(d) (e - d) = f(e)` with the end e given, where the left side
is monotone in d: bisection and Newton steps on stopped values, then two Newton steps that
carry derivatives. The offset of a line with slope k is bounded as in `curve`: on a piece that
bends towards the line from a trial point, for which the touching points serve, elsewhere at
the ends. So what a solver leaves undone costs tightness and never soundness.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxcert.relax.curve import Scalar, between, lowest_of_piece, narrow
from jaxcert.relax.interval import ordered, poisoned, unless_overflown
from jaxcert.relax.solve import level, touch
from jaxcert.relax.types import Lines

Piece = tuple[jax.Array, jax.Array]


class Bump(NamedTuple):
    """A function that is convex on [left, right] and concave outside, and how to solve for its points.

    Attributes:
      touch: `touch(f, end, low, high, convex)`, the point of each piece [low, high] whose tangent
        meets f at the end, cut to the piece.
      level: `level(f, k, low, high, convex)`, where the slope is k, cut to the piece.
      chord: the slope between two points.
      terms: how large the numbers are whose sum is the slope; 0 if none cancel.
      scale: the width on which f bends, around an interval.
    """

    fn: Scalar
    slope: Scalar
    curvature: Scalar
    left: float
    right: float
    chord: Callable[[jax.Array, jax.Array], jax.Array]
    scale: Callable[[jax.Array, jax.Array], jax.Array]
    terms: float
    touch: Callable[..., jax.Array] = touch
    level: Callable[..., jax.Array] = level


class Pieces(NamedTuple):
    """The interval cut at the inflection points; pieces may be empty, as points at an end."""

    before: Piece
    middle: Piece
    after: Piece


def _column(bends_up: list[bool], like: jax.Array) -> jax.Array:
    return jnp.array(bends_up).reshape(-1, *(1,) * like.ndim)


def _cut(f: Bump, lower: jax.Array, upper: jax.Array) -> Pieces:
    left, right = jnp.clip(f.left, lower, upper), jnp.clip(f.right, lower, upper)
    return Pieces((lower, left), (left, right), (right, upper))


def lines(lower: jax.Array, upper: jax.Array, alpha: ArrayLike, f: Bump) -> Lines:
    """Return the supporting lines at position alpha."""
    lower, upper = ordered(lower, upper)
    pieces = _cut(f, lower, upper)
    ends = jnp.stack([lower, upper, upper, lower])
    low, high = (
        jnp.stack([pieces.middle[i], pieces.middle[i], pieces.before[i], pieces.after[i]]) for i in (0, 1)
    )
    points = f.touch(f, ends, low, high, _column([True, True, False, False], lower))
    where = jnp.asarray((1 - alpha) * lower + alpha * upper)
    below = _inside(f, (lower, upper), pieces, where, points[:2])
    above = _outside(_negative(f), (lower, upper), pieces, where, points[2:])
    low, high = (offset - _margin(f, slope, lower, upper) for slope, offset in (below, above))
    result = Lines(below[0], low, -above[0], -high)
    return poisoned(unless_overflown(result), lower, upper)


def parallel(lower: jax.Array, upper: jax.Array, f: Bump) -> Lines:
    """Return the lines with the slope of the chord."""
    lower, upper = ordered(lower, upper)
    pieces = _cut(f, lower, upper)
    slope = f.chord(lower, upper)
    low, high = (jnp.stack([piece[i] for piece in pieces]) for i in (0, 1))
    trials = f.level(f, jnp.stack([slope] * 3), low, high, _column([False, True, False], lower))
    negative = _negative(f)
    below = _least(f, slope, lower, upper)
    below = _smaller(below, _on(f, slope, pieces.middle, trials[1]))
    above = _least(negative, -slope, lower, upper)
    for piece, trial in ((pieces.before, trials[0]), (pieces.after, trials[2])):
        above = _smaller(above, _on(negative, -slope, piece, trial))
    return poisoned(unless_overflown(Lines(slope, below, slope, -above)), lower, upper)


def _inside(
    f: Bump, interval: Piece, pieces: Pieces, where: jax.Array, touching: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """A line below a function that is convex on the middle piece and concave on the others."""
    lower, upper = interval
    low, high = pieces.middle
    first, last = (
        jnp.where(lower >= f.left, lower, touching[0]),
        jnp.where(upper <= f.right, upper, touching[1]),
    )
    found_first = (lower >= f.left) | ((first > low) & (first < high))
    found_last = (upper <= f.right) | ((last > low) & (last < high))
    wide = upper - lower > narrow(lower) * f.scale(lower, upper)
    bends = (lower < f.right) & (upper > f.left)
    tangent = bends & wide & found_first & found_last & (first <= last)
    point = between(where, first, last)
    slope = jnp.where(tangent, f.slope(point), f.chord(lower, upper))
    chord_trial = jnp.where(wide, jnp.where(lower < f.left, first, last), 0.5 * lower + 0.5 * upper)
    trial = jnp.where(tangent, point, chord_trial)
    least = _least(f, slope, lower, upper)
    return slope, jnp.where(bends, _smaller(least, _on(f, slope, pieces.middle, trial)), least)


def _outside(
    f: Bump, interval: Piece, pieces: Pieces, where: jax.Array, touching: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """A line below a function that is concave on the middle piece and convex on the others."""
    lower, upper = interval
    wide = upper - lower > narrow(lower) * f.scale(lower, upper)
    starts, ends = lower < f.left, upper > f.right
    one_sided = (upper <= f.left) | (lower >= f.right)
    first, last = touching[0], touching[1]
    left = wide & starts & ~one_sided & (first > lower)
    right = wide & ends & ~one_sided & (last < upper)
    chord = f.chord(lower, upper)
    bridge = jnp.where(left, f.slope(first), jnp.where(right, f.slope(last), chord))
    on_left = wide & jnp.where(one_sided, starts, left & (where < first))
    on_right = wide & jnp.where(one_sided, ends & ~starts, right & (where > last))
    slope = jnp.where(on_left | on_right, f.slope(where), bridge)
    # Between the ends of a piece, f - slope x is at least the minimum for the bridge plus that of the rest.
    rest = bridge - slope
    least = _least(f, slope, lower, upper)
    tangent = f.fn(where) - slope * where
    middle = 0.5 * lower + 0.5 * upper
    for piece, bends, here, contact in (
        (pieces.before, starts, on_left, first),
        (pieces.after, ends, on_right, last),
    ):
        low, high = piece
        known = _on(f, bridge, piece, jnp.where(wide, contact, middle)) + jnp.where(
            rest > 0, rest * low, rest * high
        )
        least = jnp.where(bends, _smaller(least, jnp.where(here, tangent, known)), least)
    return slope, least


def _margin(f: Bump, slope: jax.Array, lower: jax.Array, upper: jax.Array) -> jax.Array:
    """What two roundings of one slope can differ by.

    Near a turn of f its slope is a difference of larger numbers, and a compiler may compute
    it twice, with and without fused multiplication: once for the line, once for the offset.
    Elsewhere that is a matter of the slope's last digit.
    """
    flat = (jnp.abs(slope) < f.terms / 8) & (lower < f.right) & (upper > f.left)
    size = jnp.maximum(jnp.abs(lower), jnp.abs(upper))
    return jax.lax.stop_gradient(jnp.where(flat, float(jnp.finfo(size.dtype).eps) * f.terms * size, 0))


def _on(f: Bump, slope: jax.Array, piece: Piece, trial: jax.Array) -> jax.Array:
    return lowest_of_piece(f.fn, f.slope, f.curvature, slope, piece, trial)


def _least(f: Bump, slope: jax.Array, lower: jax.Array, upper: jax.Array) -> jax.Array:
    return _smaller(f.fn(lower) - slope * lower, f.fn(upper) - slope * upper)


def _smaller(a: jax.Array, b: jax.Array) -> jax.Array:
    # Both often tie up to rounding; a select decides once, in the value and in its derivative alike.
    return jnp.where(b < a, b, a)


def _negative(f: Bump) -> Bump:
    return f._replace(
        fn=lambda x: -f.fn(x),
        slope=lambda x: -f.slope(x),
        curvature=lambda x: -f.curvature(x),
        chord=lambda lower, upper: -f.chord(lower, upper),
    )
