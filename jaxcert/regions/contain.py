"""Membership: is a point inside a region, and is the region a region at all."""

import jax
import jax.numpy as jnp

from jaxcert.regions.interval import interval
from jaxcert.regions.product import split
from jaxcert.regions.types import Box, Product, Region


def contains(region: Region, x: jax.Array, tolerance: float = 0.0) -> jax.Array:
    """Whether `x` lies in `region`, both ends included, as a scalar boolean array.

    Boxes and l_inf balls are compared with their floating-point ends `center - radius` and
    `center + radius`; for other norms the sum is rounded, so that with tolerance 0 the answer
    is exact up to about `sqrt(n)` units in the last place. A NaN anywhere, a negative radius
    or a centre outside `clip` gives `False`. Cost: O(n).

    Args:
      region: the set.
      x: a point shaped like the region.
      tolerance: how much the radius and the clip range are widened on each side first, in
        input units.

    >>> import jax.numpy as jnp
    >>> from jaxcert.regions.contain import contains
    >>> from jaxcert.regions.types import LpBall
    >>> ball = LpBall(jnp.zeros(2), jnp.array(1.0), norm=2.0)
    >>> bool(contains(ball, jnp.array([0.6, 0.8]), 1e-6)), bool(contains(ball, jnp.ones(2)))
    (True, False)
    """
    x = jnp.asarray(x, region.dtype)
    if isinstance(region, Product):
        pieces = zip(region.members, split(region, x), strict=True)
        return jnp.all(jnp.stack([contains(part, piece, tolerance) for part, piece in pieces]))
    lower, upper = interval(region)
    inside = _between(x, lower - tolerance, upper + tolerance) & is_valid(region)
    if isinstance(region, Box) or region.norm == float("inf"):
        return inside
    return inside & (gauge(x - region.center, region.radius + tolerance, region.norm) <= 1)


def is_valid(region: Region) -> jax.Array:
    """Whether `region` is well formed and not empty, as a scalar boolean array.

    A box needs `lower <= upper`; a ball a radius >= 0, a finite centre, and the centre inside
    `clip`; a product that of all its parts. NaN anywhere makes it `False`.
    """
    if isinstance(region, Product):
        return jnp.all(jnp.stack([is_valid(part) for part in region.members]))
    if isinstance(region, Box):
        return jnp.all(region.lower <= region.upper)
    lower, upper = interval(region)
    in_clip = _between(region.center, lower, upper)
    return in_clip & jnp.all(region.radius >= 0) & jnp.all(jnp.isfinite(region.center))


def gauge(delta: jax.Array, radius: jax.Array, norm: float) -> jax.Array:
    """`||delta / radius||_p`, the factor by which the ball must grow to reach `delta`.

    A coordinate with radius 0 counts 0 when it does not move and infinity when it does.
    """
    still = jnp.where(delta == 0, 0.0, jnp.inf).astype(delta.dtype)
    free = radius > 0
    ratio = jnp.where(free, jnp.abs(delta) / jnp.where(free, radius, 1.0), still)
    if norm == float("inf"):
        return jnp.max(ratio)
    largest = jnp.max(ratio)
    scale = jnp.where((largest > 0) & jnp.isfinite(largest), largest, 1.0)
    if norm == 1:
        return jnp.sum(ratio)
    if norm == 2:
        return scale * jnp.sqrt(jnp.sum((ratio / scale) ** 2))
    return scale * jnp.sum((ratio / scale) ** norm) ** (1 / norm)


def _between(x: jax.Array, lower: jax.Array, upper: jax.Array) -> jax.Array:
    return jnp.all((lower <= x) & (x <= upper))
