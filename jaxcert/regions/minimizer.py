"""Where a linear function is smallest over a region: the point that attains `minimize_linear`.

In units of the radius, with gains `g >= 0` and the room `k` in [0, 1] towards the falling side,
the steps `t` maximise `sum g_j t_j` over `0 <= t_j <= k_j`, `||t||_p <= 1`. For p = 1 that is a
fractional knapsack. For 1 < p < inf the optimum is `t_j = min(s g_j^(1/(p-1)), k_j)`. Starting from no
fixed coordinate, the s that uses the budget with the free ones alone is computed, the coordinates
above their room are fixed there, and so on: s only grows, so what was fixed is fixed at the
optimum too, and after every round the steps lie inside.
"""

import math

import jax
import jax.numpy as jnp

from jaxcert.errors import InvalidInputError
from jaxcert.regions.interval import interval
from jaxcert.regions.linear import falling_room
from jaxcert.regions.product import joined, split
from jaxcert.regions.project import place, project_scaled, rounding_slack
from jaxcert.regions.types import Box, LpBall, Product, Region


def linear_minimizer(region: Region, coeffs: jax.Array) -> jax.Array:
    """A point of `region` where `sum(coeffs * x)` is smallest, shaped like the region, in input units.

    It attains `minimize_linear(region, coeffs)` up to rounding and lies inside (`contains`). Where
    several points do, it is one of them; coordinates with coefficient 0 stay at the centre. NaN in
    the region or the coefficients gives NaN. Not meant to be differentiated; batches by `jax.vmap`.

    Raises:
      InvalidInputError: coefficients not shaped like the region.

    Cost: one sort for p = 1, a few passes over the coordinates per round for 1 < p < inf, where few
    rounds are needed; and one `project`.

    Example:
      >>> import jax.numpy as jnp, jaxcert as jc
      >>> from jaxcert.regions.minimizer import linear_minimizer
      >>> x = linear_minimizer(jc.l2_ball(jnp.zeros(2), 0.5), jnp.array([3.0, 4.0]))
      >>> [round(value, 4) for value in x.tolist()]
      [-0.3, -0.4]
    """
    if coeffs.shape != region.shape:
        raise InvalidInputError(f"coeffs {coeffs.shape} must be shaped like the region {region.shape}.")
    if isinstance(region, Product):
        pieces = zip(region.members, split(region, coeffs), strict=True)
        return project_scaled(region, joined(region, [linear_minimizer(*pair) for pair in pieces]))
    if isinstance(region, Box) or region.norm == math.inf:
        lower, upper = interval(region)
        x = jnp.where(coeffs > 0, lower, jnp.where(coeffs < 0, upper, region.center))
    else:
        x = place(region, _displacement(region, coeffs))
    return project_scaled(region, jnp.where(jnp.any(jnp.isnan(coeffs)), jnp.nan, x))


def _displacement(ball: LpBall, coeffs: jax.Array) -> jax.Array:
    """The minimiser minus the centre, on the inner side of the sphere by as much as rounding may err."""
    radius, flat = jnp.broadcast_to(ball.radius, ball.shape).reshape(-1), coeffs.reshape(-1)
    slope = _in_units_of_the_largest(flat)
    gains = _in_units_of_the_largest(jnp.abs(slope) * radius)
    movable = jnp.where(gains > 0, 1.0, 0.0).astype(ball.dtype)
    room = movable if ball.clip is None else movable * falling_room(ball, flat, radius)
    steps = _knapsack(gains, room) if ball.norm == 1 else _rounds(gains, room, ball.norm)
    delta = (1 - rounding_slack(ball)) * radius * steps
    return jnp.where(coeffs > 0, -1.0, 1.0) * delta.reshape(ball.shape)


def _knapsack(gains: jax.Array, room: jax.Array) -> jax.Array:
    order = jnp.argsort(-gains)
    limit = room[order]
    before = jnp.cumsum(limit) - limit
    return jnp.zeros_like(limit).at[order].set(jnp.clip(1 - before, 0, limit))


def _rounds(gains: jax.Array, room: jax.Array, norm: float) -> jax.Array:
    def steps(fixed: jax.Array) -> jax.Array:
        free = _in_units_of_the_largest(jnp.where(fixed, 0.0, gains))
        shape = jnp.where(free > 0, free, 0.0) ** (1 / (norm - 1))
        left = jnp.maximum(1 - jnp.sum(jnp.where(fixed, room, 0.0) ** norm), 0.0)
        total = jnp.sum(shape**norm)
        scale = (left / jnp.where(total > 0, total, 1.0)) ** (1 / norm)
        return jnp.where(fixed, room, scale * shape)

    def more(state):
        _, changed = state
        return changed

    def fix(state):
        fixed, _ = state
        above = ~fixed & (steps(fixed) > room)
        return fixed | above, jnp.any(above)

    fixed, _ = jax.lax.while_loop(more, fix, (room <= 0, jnp.asarray(True)))
    return steps(fixed)


def _in_units_of_the_largest(values: jax.Array) -> jax.Array:
    largest = jnp.max(jnp.abs(values), initial=0.0)
    return values / jnp.where(largest > 0, largest, 1.0)
