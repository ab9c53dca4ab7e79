"""The distance from a ball's centre to a half-space, in the ball's norm and inside its clip range.

The inverse of `minimize_linear`: not how far a linear function falls within a radius, but
which radius lets it fall to zero. With `g = |coeffs| * weight` and the room `k` towards the
falling side, both in units of the weight, the distance to `{coeffs . x + offset <= 0}` is

    min ||u||_p   subject to   g . u >= b,   0 <= u <= k,      b = coeffs . center + offset.

Without clip it is `b / ||g||_q` (Hoelder). With clip, for p = 1 it is a fractional knapsack.
For p > 1 the optimum is `u_j = min(s g_j^(q-1), k_j)`; starting from no fixed coordinate, the
s that meets the constraint with the free ones alone is computed, the coordinates above their
room are fixed at it, and so on. s only grows, so what was fixed is fixed at the optimum too:
every step solves a relaxation (room kept for the fixed coordinates only), and stopping after
any number of steps gives a lower bound of the distance.
"""

import math

import jax
import jax.numpy as jnp
from jax import lax

from jaxcert.errors import InvalidInputError
from jaxcert.regions.linear import dot
from jaxcert.regions.norms import magnitude
from jaxcert.regions.types import LpBall

_MOST_STEPS = 20


def halfspace_distance(
    region: LpBall, coeffs: jax.Array, offset: jax.Array, steps: int = _MOST_STEPS
) -> jax.Array:
    """Return how far the centre is from `{x : sum(coeffs * x) + offset <= 0, x in clip}`.

    Args:
      region: an l_p ball; its norm and clip are used, and its radius only where it is an array.
      coeffs: `[*S, *region.shape]`.
      offset: `[*S]`.
      steps: most rounds of fixing coordinates at the clip range (p > 1); few are needed.

    Returns:
      `[*S]`, in input units; where the region's eps is an array, as a multiplier of it. 0 where
      the centre is in the half-space, inf where no allowed point is. Exact up to rounding, and a
      lower bound where `steps` ran out. NaN gives NaN. Differentiable.

    Raises:
      InvalidInputError: a region that is no ball, shapes that do not fit, steps < 0.

    Cost: two passes over the coefficients per round; p = 1 with clip sorts.
    Source: theses/4a (3.14), (3.15), Algorithm 3.4 and Theorem 3.1. Errata: for too small a number
    of rounds the result is a lower bound (printed: upper); an infeasible problem gives inf; p = 1
    is not covered there.

    Example:
      >>> import jax.numpy as jnp, jaxcert as jc
      >>> from jaxcert.regions.halfspace import halfspace_distance
      >>> ball = jc.linf_ball(jnp.ones(2), 1.0, clip=(jnp.array([0.5, 0.0]), 2.0))
      >>> float(halfspace_distance(ball, jnp.array([3.0, 1.0]), jnp.array(-1.75)))  # x0 stops at 0.5
      0.75
    """
    if not isinstance(region, LpBall):
        raise InvalidInputError(
            "the distance to a half-space needs an l_p ball: build one with linf_ball, l2_ball or l1_ball."
        )
    lead = coeffs.ndim - len(region.shape)
    if coeffs.shape[lead:] != region.shape or offset.shape != coeffs.shape[:lead]:
        raise InvalidInputError(
            f"coeffs {coeffs.shape} must end with the region's shape {region.shape}, and offset have the "
            f"rest, got {offset.shape}."
        )
    if steps < 0:
        raise InvalidInputError(f"steps must be at least 0, got {steps}.")
    flat = coeffs.reshape(*coeffs.shape[:lead], -1)
    value = dot(flat, region.center.reshape(-1)) + offset
    weight = jnp.broadcast_to(gauge_weight(region), region.shape).reshape((1,) * lead + (-1,))
    gains = magnitude(flat) * weight
    if region.clip is None:
        distance = _unclipped(value, gains, region.norm)
    else:
        gap = _gap(region, flat)
        room = jnp.where(gains > 0, gap / jnp.where(weight > 0, weight, 1), 0)
        most = jnp.where(gains > 0, jnp.abs(flat) * gap, 0)
        solved = (
            _knapsack(value, gains, room, most)
            if region.norm == 1
            else _greedy(value, gains, room, most, region.norm, steps)
        )
        distance = jnp.where(most.sum(-1) < value, jnp.inf, solved)
    known = (value == value) & (gains == gains).all(-1)
    return jnp.where(known, jnp.where(value > 0, distance, 0), jnp.nan)


def gauge_weight(region: LpBall) -> jax.Array:
    """What distances are measured in: 1 (input units), or the array of eps."""
    return region.radius if region.radius.ndim else jnp.ones((), region.dtype)


def _gap(region: LpBall, coeffs: jax.Array) -> jax.Array:
    """The distance of every coordinate to the clip range on the side where the function falls."""
    assert region.clip is not None
    low, high = (jnp.broadcast_to(end, region.shape).reshape(-1) for end in region.clip)
    center = region.center.reshape(-1)
    lift = (1,) * (coeffs.ndim - 1) + (-1,)
    down, up = jnp.maximum(center - low, 0).reshape(lift), jnp.maximum(high - center, 0).reshape(lift)
    return jnp.where(coeffs > 0, down, up)


def _ratio(value: jax.Array, size: jax.Array) -> jax.Array:
    return jnp.where(size > 0, value / jnp.where(size > 0, size, 1), jnp.inf)


def _unclipped(value: jax.Array, gains: jax.Array, norm: float) -> jax.Array:
    """`value / ||gains||_q`."""
    if norm == 1:
        return _ratio(value, gains.max(-1))
    none = jnp.zeros_like(gains)
    moves, scale = _moves(value, gains, none, none, gains <= 0, _dual_power(norm))
    size = scale if norm == math.inf else _norm(moves, norm)
    return jnp.where((gains > 0).any(-1), size, jnp.inf)


def _knapsack(value: jax.Array, gains: jax.Array, room: jax.Array, most: jax.Array) -> jax.Array:
    order = jnp.argsort(-gains, axis=-1)
    gains, room, most = (jnp.take_along_axis(part, order, -1) for part in (gains, room, most))
    before = jnp.cumsum(most, axis=-1)
    before = jnp.concatenate([jnp.zeros_like(before[..., :1]), before[..., :-1]], axis=-1)
    used = _ratio(jnp.maximum(value[..., None] - before, 0), gains)
    return jnp.minimum(used, room).sum(-1)


def _greedy(
    value: jax.Array, gains: jax.Array, room: jax.Array, most: jax.Array, norm: float, steps: int
) -> jax.Array:
    power = _dual_power(norm)
    still = lax.stop_gradient

    def more(state):
        _, changed, count = state
        return changed & (count < steps)

    def fix(state):
        fixed, _, count = state
        above = ~fixed & (_moves(*still((value, gains, room, most)), fixed, power)[0] > still(room))
        return fixed | above, above.any(), count + 1

    # A coordinate without room is fixed from the start: it would only cost a round.
    start = still(room) <= 0, jnp.asarray(True), jnp.zeros((), jnp.int32)
    fixed, _, _ = lax.while_loop(more, fix, start)
    moves, scale = _moves(value, gains, room, most, fixed, power)
    if norm == math.inf:
        return jnp.maximum(scale, jnp.where(fixed, room, 0).max(-1))
    return _norm(moves, norm)


def _moves(
    value: jax.Array, gains: jax.Array, room: jax.Array, most: jax.Array, fixed: jax.Array, power: float
) -> tuple[jax.Array, jax.Array]:
    """The steps `u` when the fixed coordinates use their room, and the largest free one."""
    free = jnp.where(fixed, 0, gains)
    # In units of the largest free gain, powers neither over- nor underflow to nothing.
    unit = lax.stop_gradient(free.max(-1))
    ratio = free / jnp.where(unit > 0, unit, 1)[..., None]
    need = jnp.maximum(value - jnp.where(fixed, most, 0).sum(-1), 0)
    total = _power(ratio, power).sum(-1)
    scale = jnp.where(unit > 0, need / jnp.where(unit > 0, unit * total, 1), 0)
    shape = jnp.where(ratio > 0, _power(ratio, power - 1), 0)
    return jnp.where(fixed, room, scale[..., None] * shape), scale


def _dual_power(norm: float) -> float:
    return 1.0 if norm == math.inf else norm / (norm - 1)


def _power(ratio: jax.Array, exponent: float) -> jax.Array:
    if exponent == 1:
        return ratio
    positive = ratio > 0
    return jnp.where(positive, jnp.where(positive, ratio, 1) ** exponent, 0)


def _norm(moves: jax.Array, norm: float) -> jax.Array:
    largest = lax.stop_gradient(moves.max(-1))
    unit = jnp.where((largest > 0) & (largest < jnp.inf), largest, 1)
    total = _power(moves / unit[..., None], norm).sum(-1)
    return unit * jnp.where(total > 0, jnp.where(total > 0, total, 1) ** (1 / norm), total)
