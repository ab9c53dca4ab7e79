"""The largest radius that a bound certifies, by a search that halves a bracket."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from jaxcert.bounds import Method, is_certified
from jaxcert.bounds.margins import margin_specification
from jaxcert.bounds.specification import Function, graph_of
from jaxcert.certify.search import Bisection, Pec, Search, bisection
from jaxcert.errors import InvalidInputError
from jaxcert.regions import LpBall, Product
from jaxcert.regions.contain import is_valid

_DEFAULT = bisection(20)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class RadiusBracket:
    """Where the certified radius lies: `lower` was itself certified, `upper` was not.

    Both in the units of the region's eps, at most the region's; where the region's eps is an
    array, or the region a product, both are multipliers of it. `upper == lower` says that the whole
    region was certified. `evaluations` counts the bounds computed, the first one over the whole
    region included.
    """

    lower: jax.Array
    upper: jax.Array
    evaluations: jax.Array


def certified_radius(
    method: Method, fn: Function, region: LpBall | Product, label: ArrayLike, *, search: Search = _DEFAULT
) -> RadiusBracket:
    """Return a bracket of the largest eps, at most the region's, at which `method` certifies.

    Args:
      method: any bound with a `lower`; for `pec`, with a `linear_lower`.
      fn: one example -> logits.
      region: an l_p ball; its radius is where the search starts, its clip is kept. With bisection
        also a product of l_p balls, whose radii grow together.
      label: the class to certify.
      search: `bisection(steps)` or `pec(steps)`; the bracket ends at most `eps / 2^steps` wide.

    Returns:
      `RadiusBracket`. Sound: `lower` was certified, by margins over its ball or (`pec`) by planes
      that hold on a larger one; 0 where nothing but the centre was; a misclassified centre gives
      0 and 0. Bounds need not be monotone in eps, so a radius above `upper` might also be certified.

    Raises:
      InvalidInputError: a region without a radius, a method without linear bounds under `pec`.

    Cost: at most `steps + 1` evaluations of the method in a loop; under `vmap` as many as the
    slowest example needs. Not differentiable.
    Source: theses/4a Algorithm 3.5 (T_PEC) and the bisection of Table 3.9 (T_Lin); both counts
    are `evaluations - 1`.

    Example:
      >>> import jax.numpy as jnp, jaxcert as jc
      >>> fn = lambda x: jnp.stack([x, -x])
      >>> found = jc.certified_radius(jc.crown(), fn, jc.linf_ball(jnp.array(0.3), 1.0), 0)
      >>> bool((0.2999 < found.lower) & (found.lower <= 0.3) & (0.3 <= found.upper) & (found.upper < 0.3001))
      True
    """
    if not isinstance(search, Bisection | Pec):
        raise InvalidInputError(f"search must be bisection() or pec(), got {type(search).__name__}.")
    if not isinstance(region, LpBall if isinstance(search, Pec) else LpBall | Product):
        raise InvalidInputError(
            "certified_radius needs an l_p ball: build one with linf_ball, l2_ball or l1_ball, or for "
            "bisection a product of them."
        )
    graph, region = graph_of(fn, region), lax.stop_gradient(region)
    dtype = region.center.dtype
    zero, one = jnp.zeros((), dtype), jnp.ones((), dtype)

    def certified(factor):
        return lax.stop_gradient(search.certified(method, graph, region, label, factor)).astype(dtype)

    def wide(state):
        low, high, count = state
        return (high - low > 0.5**search.steps) & (count <= search.steps)

    def halve(state):
        low, high, count = state
        middle = 0.5 * (low + high)
        reached = certified(middle)
        return jnp.maximum(low, reached), jnp.where(reached < middle, middle, high), count + 1

    spec = margin_specification(graph, label)
    centre = is_certified(spec.coeffs @ graph(region.center) + spec.offset) & is_valid(region)
    reached = certified(one)
    start = (
        jnp.where(centre, reached, zero),
        jnp.where(centre, one, zero),
        jnp.ones((), jnp.int32),
    )
    low, high, count = lax.while_loop(wide, halve, start)
    unit = region.radius if isinstance(region, LpBall) and region.radius.ndim == 0 else one
    return RadiusBracket(low * unit, jnp.where(low == one, low, high) * unit, count)
