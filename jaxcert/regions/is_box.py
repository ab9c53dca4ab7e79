"""Whether intervals describe a region without loss."""

import math

from jaxcert.regions.types import LpBall, Product, Region


def is_box(region: Region) -> bool:
    """Return whether a region equals its `interval`: a box, an l_inf ball, or a product of such.

    Static: it reads types and norms only. For other regions the interval is a relaxation.

    Example:
      >>> import jax.numpy as jnp, jaxcert as jc
      >>> jc.regions.is_box(jc.linf_ball(jnp.zeros(2), 0.1)), jc.regions.is_box(jc.l2_ball(jnp.zeros(2), 0.1))
      (True, False)
    """
    if isinstance(region, Product):
        return all(is_box(part) for part in region.members)
    return not isinstance(region, LpBall) or region.norm == math.inf
