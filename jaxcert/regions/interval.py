"""The tightest axis-aligned box around a region."""

import jax
import jax.numpy as jnp

from jaxcert.regions.product import joined
from jaxcert.regions.types import Box, Product, Region


def interval(region: Region) -> tuple[jax.Array, jax.Array]:
    """Return `(lower, upper)`, the exact range of every coordinate of a region.

    Args:
      region: an `LpBall`, a `Box` or a `Product`.

    Returns:
      Two arrays shaped like the region. Exact: both ends are attained, for every norm,
      because the ball reaches `center +- radius` along each axis and the clipping range
      is itself a box.

    Example:
      >>> import jax.numpy as jnp, jaxcert as jc
      >>> lower, upper = jc.regions.interval(jc.linf_ball(jnp.array([0.0, 0.5]), 0.1, clip=(0.0, 1.0)))
      >>> [round(float(v), 2) for v in lower], [round(float(v), 2) for v in upper]
      ([0.0, 0.4], [0.1, 0.6])
    """
    if isinstance(region, Box):
        return region.lower, region.upper
    if isinstance(region, Product):
        lowers, uppers = zip(*(interval(part) for part in region.members), strict=True)
        return joined(region, list(lowers)), joined(region, list(uppers))
    lower, upper = region.center - region.radius, region.center + region.radius
    if region.clip is None:
        return lower, upper
    low, high = region.clip
    return jnp.maximum(lower, low), jnp.minimum(upper, high)
