"""The steepest way uphill inside a region, to first order."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxcert.regions import Box, LpBall, Product, Region
from jaxcert.regions.product import joined, split


def steepest_ascent(region: Region, x: jax.Array, gradient: jax.Array, size: ArrayLike = 1.0) -> jax.Array:
    """The displacement of gauge `size` along which a function of this gradient at `x` grows fastest.

    It maximises `<gradient, delta>` over `||delta / radius||_p <= size`, in input units, shaped like
    `x`; a box counts as an l_inf ball with its half-widths, and every part of a product moves by
    `size` in its own ball. With `h = radius * gradient`:
      p = infinity: `size * radius * sign(h)`, where sign(0) = +1 as the source has it;
      p = 2: `size * radius * h / ||h||_2`;
      p = 1: the coordinate of the largest `|h|` alone, as far as the clip range lets it move,
        then the next one, until `size` is used up;
      other p: `size * radius * sign(h) |h|^(q-1) / ||h||_q^(q-1)`, 1/p + 1/q = 1.
    Where the gradient is zero the displacement is 0 (p finite). NaN in the gradient counts as 0
    and infinities as the largest number, so the result is finite. Cost: O(n), and a sort for
    p = 1 with clipping.

    Source: theses/4b A1, theses/4a 1.2 (1), theses/2 A4 (2.1.4); with one radius per coordinate
    the same after the substitution `delta = radius * u`.

    >>> import jax.numpy as jnp
    >>> from jaxcert.attacks import steepest_ascent
    >>> from jaxcert.regions import LpBall
    >>> ball = LpBall(jnp.zeros(3), jnp.array(0.5))
    >>> steepest_ascent(ball, ball.center, jnp.array([2.0, 0.0, -1.0])).tolist()
    [0.5, 0.5, -0.5]
    """
    if isinstance(region, Product):
        pieces = zip(region.members, split(region, x), split(region, gradient), strict=True)
        return joined(region, [steepest_ascent(part, at, slope, size) for part, at, slope in pieces])
    gradient = jnp.nan_to_num(gradient)
    size = jnp.asarray(size, x.dtype)
    if isinstance(region, Box):
        return size * (0.5 * region.upper - 0.5 * region.lower) * _sign(gradient)
    if region.norm == float("inf"):
        return size * region.radius * _sign(gradient)
    slope = _normalised(region.radius * _normalised(gradient))
    if region.norm == 1:
        return (
            region.radius * jnp.sign(slope) * _steepest_first(jnp.abs(slope), _room(region, x, slope), size)
        )
    if region.norm != 2:
        slope = jnp.sign(slope) * jnp.abs(slope) ** (1 / (region.norm - 1))
    return size * region.radius * _on_sphere(slope, region.norm)


def uphill(region: Region, x: jax.Array, gradient: jax.Array, size: ArrayLike = 1.0) -> jax.Array:
    """A displacement of gauge `size` whose repetition, each followed by `project_scaled`, ends at an optimum.

    `steepest_ascent` for p = 1, 2, infinity and boxes. For other p that step and the Euclidean
    projection pull in different directions at the optimum, so here it is the gradient in units of
    the radius, `size * radius * h / ||h||_p`: projected gradient ascent. Everything else as there.

    >>> import jax.numpy as jnp
    >>> from jaxcert.attacks.direction import uphill
    >>> from jaxcert.regions import LpBall
    >>> ball = LpBall(jnp.zeros(2), jnp.array(0.5), norm=3.0)
    >>> [round(v, 4) for v in uphill(ball, ball.center, jnp.array([1.0, 1.0])).tolist()]
    [0.3969, 0.3969]
    """
    if isinstance(region, Product):
        pieces = zip(region.members, split(region, x), split(region, gradient), strict=True)
        return joined(region, [uphill(part, at, slope, size) for part, at, slope in pieces])
    if isinstance(region, Box) or region.norm in (1, 2, float("inf")):
        return steepest_ascent(region, x, gradient, size)
    slope = _normalised(region.radius * _normalised(jnp.nan_to_num(gradient)))
    return jnp.asarray(size, x.dtype) * region.radius * _on_sphere(slope, region.norm)


def _on_sphere(slope: jax.Array, norm: float) -> jax.Array:
    """`slope`, whose largest entry is 1, divided by its p-norm; 0 stays 0."""
    length = jnp.sum(jnp.abs(slope) ** norm) ** (1 / norm)
    return slope / jnp.where(length > 0, length, 1.0)


def _sign(gradient: jax.Array) -> jax.Array:
    return jnp.where(gradient < 0, -1.0, 1.0).astype(gradient.dtype)


def _normalised(v: jax.Array) -> jax.Array:
    """`v` with its largest entry at 1, so that no power of it overflows or vanishes."""
    largest = jnp.max(jnp.abs(v), initial=0.0)
    return v / jnp.where(largest > 0, largest, 1.0)


def _room(ball: LpBall, x: jax.Array, slope: jax.Array) -> jax.Array:
    """How many radii each coordinate can go uphill before it meets the end of the clip range."""
    if ball.clip is None:
        return jnp.full(x.shape, jnp.inf, x.dtype)
    distance = jnp.where(slope > 0, ball.clip[1] - x, x - ball.clip[0])
    return jnp.maximum(distance, 0.0) / jnp.where(ball.radius > 0, ball.radius, 1.0)


def _steepest_first(gain: jax.Array, room: jax.Array, size: jax.Array) -> jax.Array:
    """The maximiser of `<gain, t>` over `0 <= t <= room`, `sum t <= size`: a fractional knapsack."""
    order = jnp.argsort(-gain.reshape(-1))
    limit = jnp.minimum(room.reshape(-1)[order], size)
    before = jnp.cumsum(limit) - limit
    taken = jnp.clip(size - before, 0.0, limit)
    return jnp.zeros_like(limit).at[order].set(taken).reshape(gain.shape)
