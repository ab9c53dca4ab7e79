"""Exact minimisation of linear functions over a region.

Every bound ends here: a linear lower bound `coeffs . x + offset` of a network becomes a
number by minimising it over the region. With `delta = x - center` and `g = coeffs * radius`,
the plain ball gives `-||g||_q` (Hoelder; 1/p + 1/q = 1). Clipping adds a box on delta:

* l_inf: ball and box together are a box.
* l_1: `max sum |g_j| t_j, sum t_j <= 1, 0 <= t_j <= k_j` (k_j the room towards the falling
  side in units of the radius) is a fractional knapsack: filling in order of |g_j| is optimal.
* other p: weak duality in one multiplier, see `clipped`.
"""

import math
import operator
from collections.abc import Sequence
from functools import reduce

import jax
import jax.numpy as jnp
from jax import lax

from jaxcert.errors import InvalidInputError
from jaxcert.regions.clipped import clipped_reach
from jaxcert.regions.interval import interval
from jaxcert.regions.norms import dual_norm, magnitude
from jaxcert.regions.product import split
from jaxcert.regions.types import Box, LpBall, Product, Region


def minimize_linear(region: Region, coeffs: jax.Array) -> jax.Array:
    """Return `min over x in region of sum(coeffs * x)`, one value per leading index.

    Args:
      region: a `Box`, an `LpBall` with or without clip, or a `Product`.
      coeffs: `[*S, *region.shape]`.

    Returns:
      `[*S]`. Exact up to rounding (1 < p < inf with clip: a lower bound whatever the multiplier,
      exact once the active set is found). NaN in the region or the coefficients gives NaN. The
      derivative in the coefficients is a minimiser; where a coefficient is 0, one of several.

    Raises:
      InvalidInputError: shapes that do not fit.

    Cost: one or two products of the coefficients with a vector; l_1 with clip sorts, l_2 with
    clip passes over the coefficients about 35 times, other norms with clip about 35 times
    (float32) or 65 times (float64), with an exponential each.
    Source: theses/4a (3.15) and Algorithm 3.4 solve the inverse problem; the derivation is in
    this module's docstring.

    Example:
      >>> import jax.numpy as jnp, jaxcert as jc
      >>> region = jc.l2_ball(jnp.zeros(2), 0.5)
      >>> float(jc.regions.minimize_linear(region, jnp.array([3.0, 4.0])))
      -2.5
    """
    ndim = len(region.shape)
    if coeffs.shape[coeffs.ndim - ndim :] != region.shape:
        raise InvalidInputError(f"coeffs {coeffs.shape} must end with the region's shape {region.shape}.")
    if isinstance(region, Product):
        pieces = zip(region.members, split(region, coeffs), strict=True)
        return _total([minimize_linear(part, piece) for part, piece in pieces])
    middle, reach = _spread(region, coeffs)
    return middle - reach


def linear_range(region: Region, coeffs: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the minimum and the maximum of `sum(coeffs * x)` over the region, each `[*S]`.

    As `minimize_linear`, at the price of one minimisation where the region is symmetric
    about a point (plain balls and boxes).

    Example:
      >>> import jax.numpy as jnp, jaxcert as jc
      >>> low, high = jc.regions.linear_range(jc.linf_ball(jnp.ones(2), 0.5), jnp.array([1.0, -2.0]))
      >>> float(low), float(high)
      (-2.5, 0.5)
    """
    if isinstance(region, Product):
        pieces = zip(region.members, split(region, coeffs), strict=True)
        lows, highs = zip(*(linear_range(part, piece) for part, piece in pieces), strict=True)
        return _total(lows), _total(highs)
    if isinstance(region, LpBall) and region.clip is not None and region.norm != math.inf:
        return minimize_linear(region, coeffs), -minimize_linear(region, -coeffs)
    middle, reach = _spread(region, coeffs)
    return middle - reach, middle + reach


def _total(values: Sequence[jax.Array]) -> jax.Array:
    return reduce(operator.add, values)


def _spread(region: LpBall | Box, coeffs: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The value at a middle point of the region, and how far below it the minimum lies."""
    flat = coeffs.reshape(*coeffs.shape[: coeffs.ndim - len(region.shape)], -1)
    if isinstance(region, LpBall) and (region.clip is None or region.norm != math.inf):
        return dot(flat, region.center.reshape(-1)), _reach(region, flat)
    lower, upper = interval(region)
    middle, radius = 0.5 * lower + 0.5 * upper, 0.5 * upper - 0.5 * lower
    return dot(flat, middle.reshape(-1)), dot(jnp.abs(flat), radius.reshape(-1))


def dot(coeffs: jax.Array, vector: jax.Array) -> jax.Array:
    """Return `coeffs @ vector` over the last axis at the highest precision: `[*S, n], [n] -> [*S]`."""
    return lax.dot_general(
        coeffs, vector, (((coeffs.ndim - 1,), (0,)), ((), ())), precision=lax.Precision.HIGHEST
    )


def _reach(ball: LpBall, coeffs: jax.Array) -> jax.Array:
    """How far below `coeffs . center` the ball reaches, `[*S]`, >= 0."""
    radius = jnp.broadcast_to(ball.radius, ball.shape).reshape(-1)
    if ball.norm == math.inf:
        return dot(jnp.abs(coeffs), radius)
    gains = coeffs * radius.reshape((1,) * (coeffs.ndim - 1) + (-1,))
    if ball.clip is None:
        return dual_norm(gains, ball.norm)
    # With the derivative 0 a coefficient at 0 leaves its coordinate at the centre, which is in the region;
    # jnp.abs would send it the other way than the side that the room was measured on.
    room, gains = falling_room(ball, coeffs, radius), magnitude(gains)
    if ball.norm == 1.0:
        return _knapsack(gains, room)
    return clipped_reach(gains, room, ball.norm)


def falling_room(ball: LpBall, coeffs: jax.Array, radius: jax.Array) -> jax.Array:
    """Distance to the clip range towards the falling side, in units of the radius, in [0, 1]."""
    assert ball.clip is not None
    low, high = (jnp.broadcast_to(end, ball.shape).reshape(-1) for end in ball.clip)
    center = ball.center.reshape(-1)
    down, up = _share(center - low, radius), _share(high - center, radius)
    lift = (1,) * (coeffs.ndim - 1) + (-1,)
    return jnp.where(coeffs > 0, down.reshape(lift), up.reshape(lift))


def _share(gap: jax.Array, radius: jax.Array) -> jax.Array:
    """`min(gap / radius, 1)`, 0 for pinned coordinates; the quotient is formed only where it is below 1."""
    inner = (gap > 0) & (gap < radius)
    outer = (gap > 0) & (radius > 0)
    return jnp.where(
        inner, jnp.where(inner, gap, 0) / jnp.where(inner, radius, 1), jnp.where(outer, 1.0, 0.0)
    )


def _knapsack(gains: jax.Array, room: jax.Array) -> jax.Array:
    order = jnp.argsort(-gains, axis=-1)
    gains, room = jnp.take_along_axis(gains, order, -1), jnp.take_along_axis(room, order, -1)
    spent = jnp.cumsum(room, axis=-1) - room
    return jnp.sum(gains * jnp.clip(1 - spent, 0, room), axis=-1)
