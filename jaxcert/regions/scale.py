"""A region with its radius multiplied: what radius searches vary."""

from dataclasses import replace
from typing import TypeVar

import jax
from jax.typing import ArrayLike

from jaxcert.errors import InvalidInputError
from jaxcert.regions.types import LpBall, Product, Region

RegionT = TypeVar("RegionT", bound=Region)


def scaled(region: RegionT, factor: ArrayLike) -> RegionT:
    """Return an l_p ball with its radius times `factor` (a traced scalar >= 0), clip kept.

    Of a product, every radius.

    Raises:
      InvalidInputError: for a `Box`, alone or in a product: it has no radius.

    Example:
      >>> import jax.numpy as jnp, jaxcert as jc
      >>> float(jc.regions.scaled(jc.linf_ball(jnp.zeros(2), 0.5), 0.5).radius)
      0.25
    """
    if isinstance(region, Product):
        parts = [scaled(part, factor) for part in region.members]
        return replace(region, parts=jax.tree_util.tree_unflatten(region.structure, parts))
    if not isinstance(region, LpBall):
        raise InvalidInputError(
            "only an l_p ball has a radius to scale: build one with linf_ball, l2_ball or l1_ball."
        )
    return replace(region, radius=region.radius * factor)
