"""The largest radius that a bound certifies, by bisection."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from jaxcert.bounds import Method, is_certified, margins
from jaxcert.bounds.specification import Function
from jaxcert.errors import InvalidInputError
from jaxcert.graph import trace
from jaxcert.regions import LpBall, scaled


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class RadiusBracket:
    """Where the certified radius lies: `lower` was itself certified, `upper` was not.

    Both in the units of the region's eps, at most the region's; where the region's eps is an
    array, both are multipliers of it. `upper == lower` says that the whole region was certified.
    """

    lower: jax.Array
    upper: jax.Array


def certified_radius(
    method: Method, fn: Function, region: LpBall, label: ArrayLike, *, steps: int = 20
) -> RadiusBracket:
    """Return a bracket of the largest eps, at most the region's, at which `method` certifies.

    Args:
      method: any bound with a `lower`.
      fn: one example -> logits.
      region: an l_p ball; its radius is where the search starts, its clip is kept.
      label: the class to certify.
      steps: bisection steps; the bracket ends at most `eps / 2^steps` wide.

    Returns:
      `RadiusBracket`. Sound: `lower` was certified by the method (0 where not even the
      centre was; a misclassified centre gives 0 and 0). Bounds need not be monotone in eps,
      so a radius above `upper` might also be certified.

    Raises:
      InvalidInputError: a region without a radius, or steps < 1.

    Cost: `steps + 2` evaluations of the method in a loop. Not differentiable.
    Source: the bisection baseline T_Lin of theses/4a Table 3.9.

    Example:
      >>> import jax.numpy as jnp, jaxcert as jc
      >>> fn = lambda x: jnp.stack([x, -x])
      >>> found = jc.certified_radius(jc.crown(), fn, jc.linf_ball(jnp.array(0.3), 1.0), 0)
      >>> bool((0.2999 < found.lower) & (found.lower <= 0.3) & (0.3 <= found.upper) & (found.upper < 0.3001))
      True
    """
    if not isinstance(region, LpBall):
        raise InvalidInputError(
            "certified_radius needs an l_p ball: build one with linf_ball, l2_ball or l1_ball."
        )
    if steps < 1:
        raise InvalidInputError(f"steps must be at least 1, got {steps}.")
    graph = trace(fn, region)
    dtype = region.center.dtype
    zero, one = jnp.zeros((), dtype), jnp.ones((), dtype)

    def certified(factor):
        return is_certified(margins(method, graph, scaled(region, factor), label))

    def bisect(_, bracket):
        low, high = bracket
        middle = 0.5 * (low + high)
        good = certified(middle)
        return jnp.where(good, middle, low), jnp.where(good, high, middle)

    whole, centre = certified(one), certified(zero)
    start = jnp.where(whole, one, zero), jnp.where(whole | centre, one, zero)
    low, high = lax.fori_loop(0, steps, bisect, lax.stop_gradient(start))
    low, high = jnp.where(centre | whole, low, zero), jnp.where(centre | whole, high, zero)
    unit = region.radius if region.radius.ndim == 0 else one
    return RadiusBracket(low * unit, jnp.where(whole, low, high) * unit)
