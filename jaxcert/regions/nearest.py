"""The point of a half-space nearest to another point, in a ball's norm and inside its clip range.

The minimiser of the problem that `halfspace` gives the value of. In units of the weight, with the
gains `g = |coeffs| * weight` and the room `k` towards the falling side, it is

    argmin ||u||_p   subject to   g . u >= b,   0 <= u <= k.

p > 1: `u_j = min(s g_j^(q-1), k_j)` for the least s with `h(s) = sum_j g_j min(s g_j^(q-1), k_j) >= b`.
h is concave, increasing and piecewise linear, so Newton's method from the left climbs to the root and
ends after finitely many steps. Only the number s is carried along: nothing is sorted.

p = 1: a fractional knapsack. The coordinates with a gain above a threshold use all their room, those
equal to it a share, the others none. The threshold is the largest one whose coordinates suffice. Floats
that are not negative are ordered as their bit patterns are, so halving an interval of patterns finds it
exactly in as many passes as the type has bits.
"""

import math

import jax
import jax.numpy as jnp
from jax import lax

from jaxcert.errors import InvalidInputError
from jaxcert.regions.contain import gauge
from jaxcert.regions.cut import gauge_of
from jaxcert.regions.halfspace import gauge_weight
from jaxcert.regions.linear import dot
from jaxcert.regions.types import LpBall

_MOST_STEPS = 50


def nearest_in_halfspace(
    region: LpBall, coeffs: jax.Array, offset: jax.Array, x: jax.Array | None = None
) -> jax.Array:
    """The point of `{z in clip : sum(coeffs * z) + offset <= 0}` nearest to `x` (the centre).

    Nearest in the region's norm, in units of its radius where that is an array; its size does
    not matter otherwise. Where `x` is in the half-space already, `x`; where no point of the clip range
    is, the corner with the least `coeffs . z`. A zero gradient moves nothing. NaN gives NaN. Exact up to
    rounding. Not meant to be differentiated.

    Args:
      region: an l_p ball.
      coeffs: shaped like the region.
      offset: scalar.
      x: a point inside the clip range, shaped like the region.

    Raises:
      InvalidInputError: a region that is no ball, shapes that do not fit.

    Cost: two passes over the coordinates per Newton step, of which few are needed; p = 1: one pass per
    bit of the type. No sort.

    Example:
      >>> import jax.numpy as jnp, jaxcert as jc
      >>> from jaxcert.regions.nearest import nearest_in_halfspace
      >>> ball = jc.linf_ball(jnp.ones(2), 1.0, clip=(jnp.array([0.5, 0.0]), 2.0))
      >>> nearest_in_halfspace(ball, jnp.array([3.0, 1.0]), jnp.array(-1.75)).tolist()
      [0.5, 0.25]
    """
    x, value = _checked(region, coeffs, offset, x)
    return clipped(region, x + towards_halfspace(region, x, coeffs, value))


def nearest_on_hyperplane(
    region: LpBall, coeffs: jax.Array, offset: jax.Array, x: jax.Array | None = None
) -> jax.Array:
    """The point of `{z in clip : sum(coeffs * z) + offset = 0}` nearest to `x`, from either side.

    Where the plane misses the clip range, the corner closest to it. Everything else as
    `nearest_in_halfspace`.

    Example:
      >>> import jax.numpy as jnp, jaxcert as jc
      >>> from jaxcert.regions.nearest import nearest_on_hyperplane
      >>> ball = jc.l2_ball(jnp.zeros(2), 1.0)
      >>> x = nearest_on_hyperplane(ball, jnp.array([3.0, 4.0]), jnp.array(-5.0))
      >>> [round(value, 4) for value in x.tolist()]
      [0.6, 0.8]
    """
    x, value = _checked(region, coeffs, offset, x)
    return clipped(region, x + towards_hyperplane(region, x, coeffs, value))


def towards_hyperplane(region: LpBall, x: jax.Array, coeffs: jax.Array, value: jax.Array) -> jax.Array:
    """The shortest displacement of `x` after which a function of this value and gradient is 0."""
    side = jnp.where(value < 0, -1.0, 1.0).astype(region.dtype)
    return towards_halfspace(region, x, side * coeffs, side * value)


def towards_halfspace(region: LpBall, x: jax.Array, coeffs: jax.Array, value: jax.Array) -> jax.Array:
    """The shortest displacement of `x` after which a function of this value and gradient is at most 0."""
    weight = gauge_weight(region)
    size = jnp.abs(coeffs) * weight
    # With the largest gain at 1 no power and no sum over- or underflows.
    unit = jnp.max(size, initial=0.0)
    unit = jnp.where(unit > 0, unit, 1.0)
    gains, need = size / unit, jnp.maximum(value / unit, 0.0)
    room = jnp.where(gains > 0, _room(region, x, coeffs, weight), 0.0)
    if region.norm == 1:
        moves = _knapsack(gains, room, need)
    else:
        moves = _newton(gains, room, need, region.norm)
    known = (value == value) & jnp.all(coeffs == coeffs)
    return jnp.where(known, -jnp.sign(coeffs) * weight * moves, jnp.nan)


def measure(region: LpBall, displacement: jax.Array) -> jax.Array:
    """The norm of a displacement, in input units; where the region's radius is an array, in units of it."""
    if region.radius.ndim:
        return gauge(displacement, region.radius, region.norm)
    if region.norm == math.inf:
        return jnp.max(jnp.abs(displacement), initial=0.0)
    return gauge_of(displacement, region.norm)


def _newton(gains: jax.Array, room: jax.Array, need: jax.Array, norm: float) -> jax.Array:
    shape = _power(gains, 0.0 if norm == math.inf else 1 / (norm - 1))
    slope, most = gains * shape, gains * room
    # The s at which a coordinate has used its room.
    end = jnp.where(gains > 0, room / jnp.where(gains > 0, shape, 1.0), 0.0)

    def next_scale(scale):
        free = jnp.sum(jnp.where(end > scale, slope, 0.0))
        used = jnp.sum(jnp.where(end > scale, 0.0, most))
        return jnp.where(free > 0, (need - used) / jnp.where(free > 0, free, 1.0), jnp.inf)

    def more(state):
        scale, following, count = state
        return (following > scale) & (count < _MOST_STEPS)

    def climb(state):
        _, scale, count = state
        return scale, next_scale(scale), count + 1

    zero = jnp.zeros((), gains.dtype)
    # Without a need nothing moves, also where there is no gain.
    first = jnp.where(need > 0, next_scale(zero), 0.0)
    scale, _, _ = lax.while_loop(more, climb, (zero, first, jnp.zeros((), jnp.int32)))
    return jnp.where(gains > 0, jnp.minimum(scale * jnp.where(gains > 0, shape, 1.0), room), 0.0)


def _power(gains: jax.Array, exponent: float) -> jax.Array:
    if exponent == 1:
        return gains
    moving = gains > 0
    return jnp.where(moving, jnp.where(moving, gains, 1.0) ** exponent, 0.0)


def _knapsack(gains: jax.Array, room: jax.Array, need: jax.Array) -> jax.Array:
    # No coordinate is used for more than the whole need, so that all products are finite.
    room = jnp.where(gains > 0, jnp.minimum(room, need / jnp.where(gains > 0, gains, 1.0)), 0.0)
    most = gains * room
    integer = jnp.dtype(f"int{8 * gains.dtype.itemsize}")
    pattern = lax.bitcast_convert_type(gains, integer)
    ends = lax.bitcast_convert_type(jnp.asarray([0.0, 2.0], gains.dtype), integer)

    def halve(_, bracket):
        low, high = bracket
        middle = low + (high - low) // 2
        enough = jnp.sum(jnp.where(pattern >= middle, most, 0.0)) >= need
        return jnp.where(enough, middle, low), jnp.where(enough, high, middle)

    low, _ = lax.fori_loop(0, 8 * gains.dtype.itemsize, halve, (ends[0], ends[1]))
    above, level = pattern > low, pattern == low
    rest = jnp.maximum(need - jnp.sum(jnp.where(above, most, 0.0)), 0.0)
    held = jnp.sum(jnp.where(level, most, 0.0))
    share = jnp.minimum(rest / jnp.where(held > 0, held, 1.0), 1.0)
    return jnp.where(above, room, jnp.where(level, share * room, 0.0))


def _room(region: LpBall, x: jax.Array, coeffs: jax.Array, weight: jax.Array) -> jax.Array:
    """How far each coordinate can go to where the function falls, in units of the weight."""
    if region.clip is None:
        return jnp.full(region.shape, jnp.inf, region.dtype)
    gap = jnp.where(coeffs > 0, x - region.clip[0], region.clip[1] - x)
    return jnp.maximum(gap, 0.0) / jnp.where(weight > 0, weight, 1.0)


def clipped(region: LpBall, x: jax.Array) -> jax.Array:
    """The point moved into the clip range."""
    return x if region.clip is None else jnp.clip(x, *region.clip)


def _checked(
    region: LpBall, coeffs: jax.Array, offset: jax.Array, x: jax.Array | None
) -> tuple[jax.Array, jax.Array]:
    """The point to start from, and the value of the linear function there."""
    if not isinstance(region, LpBall):
        raise InvalidInputError(
            "the nearest point of a half-space needs an l_p ball: build one with linf_ball, l2_ball or "
            "l1_ball."
        )
    x = region.center if x is None else x
    if coeffs.shape != region.shape or x.shape != region.shape or offset.shape != ():
        raise InvalidInputError(
            f"coeffs {coeffs.shape} and x {x.shape} must be shaped like the region {region.shape}, and "
            f"offset be a scalar, got {offset.shape}; use jax.vmap over several."
        )
    return x, dot(coeffs.reshape(-1), x.reshape(-1)) + offset
