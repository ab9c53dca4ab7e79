"""A region with its radius multiplied: what radius searches vary."""

from dataclasses import replace

from jax.typing import ArrayLike

from jaxcert.errors import InvalidInputError
from jaxcert.regions.types import LpBall, Region


def scaled(region: Region, factor: ArrayLike) -> LpBall:
    """Return an l_p ball with its radius times `factor` (a traced scalar >= 0), clip kept.

    Raises:
      InvalidInputError: for a `Box`, which has no radius.

    Example:
      >>> import jax.numpy as jnp, jaxcert as jc
      >>> float(jc.regions.scaled(jc.linf_ball(jnp.zeros(2), 0.5), 0.5).radius)
      0.25
    """
    if not isinstance(region, LpBall):
        raise InvalidInputError(
            "only an l_p ball has a radius to scale: build one with linf_ball, l2_ball or l1_ball."
        )
    return replace(region, radius=region.radius * factor)
