"""Where a linear function is smallest over a region.

`m(c) = min over x of c . x` is concave, and a minimiser is a supergradient of it (Danskin): the
derivative of `minimize_linear`. Where m has a kink, every supergradient is a minimiser, and the
derivatives of max and min that occur are taken from between their two sides. A coordinate whose
coefficient is 0 does not matter, and staying at the centre leaves most room to the others.
"""

import math

import jax
import jax.numpy as jnp

from jaxcert.errors import InvalidInputError
from jaxcert.regions.interval import interval
from jaxcert.regions.linear import minimize_linear
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

    Cost: about three times `minimize_linear`, and one `project`.

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
    largest = jnp.max(jnp.abs(coeffs), initial=0.0)
    slope = coeffs / jnp.where(largest > 0, largest, 1.0)
    clip = None if ball.clip is None else (ball.clip[0] - ball.center, ball.clip[1] - ball.center)
    at_zero = LpBall(jnp.zeros_like(ball.center), ball.radius, clip, ball.norm)
    delta = (1 - rounding_slack(ball)) * jax.grad(lambda c: minimize_linear(at_zero, c))(slope)
    return jnp.where(slope == 0, 0.0, delta)
