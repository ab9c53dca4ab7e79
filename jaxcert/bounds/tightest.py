"""The tightest of several methods, entry by entry."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from jaxcert.bounds.specification import Function, graph_of
from jaxcert.bounds.types import Bounds
from jaxcert.errors import InvalidInputError
from jaxcert.graph import Graph
from jaxcert.regions import Region


class Whole(Protocol):
    """A method with bounds of outputs, of specifications and of nodes."""

    def __call__(self, fn: Function, region: Region) -> Bounds: ...

    def lower(
        self, fn: Function, region: Region, coeffs: jax.Array, offset: jax.Array | None = None
    ) -> jax.Array: ...


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Tightest:
    """The tightest of several methods. Make one with `tightest()`."""

    methods: tuple[Any, ...]

    def __call__(self, fn: Function, region: Region) -> Bounds:
        """Return the intersection of the methods' bounds, shaped like fn(x)."""
        graph = graph_of(fn, region)
        return reduce(intersection, (method(graph, region) for method in self.methods))

    def lower(
        self, fn: Function, region: Region, coeffs: jax.Array, offset: jax.Array | None = None
    ) -> jax.Array:
        """Return the largest of the methods' lower bounds `[S]` of `coeffs @ fn(x) + offset`."""
        graph = graph_of(fn, region)
        return reduce(jnp.fmax, (method.lower(graph, region, coeffs, offset) for method in self.methods))

    def ranges(self, graph: Graph, region: Region, targets: tuple[int, ...]) -> dict[int, Bounds]:
        """Return the intersections of the methods' intervals of the target nodes."""
        found = [_ranges(method)(graph, region, targets) for method in self.methods]
        return {index: reduce(intersection, (known[index] for known in found)) for index in targets}


def tightest(*methods: Whole) -> Tightest:
    """Return the method that takes, entry by entry, the tightest bound of several methods.

    Sound, as each of them is; where one gives NaN (an overflow, a domain left) the others count.
    Cost: all of them. As `crown(intermediate=tightest(ibp(), crown()))` it intersects the
    intermediate bounds: never looser intervals than either.

    Raises:
      InvalidInputError: no methods, or something that is no bounding method.

    Example:
      >>> import jax.numpy as jnp, jaxcert as jc
      >>> fn = lambda x: jnp.maximum(x, 0.0)
      >>> region = jc.linf_ball(jnp.array([0.5]), 1.0)
      >>> jc.tightest(jc.ibp(), jc.fast_lin())(fn, region).lower.tolist()
      [0.0]
    """
    if not methods or not all(callable(method) and hasattr(method, "lower") for method in methods):
        raise InvalidInputError("tightest takes bounding methods: tightest(ibp(), crown()), for instance.")
    return Tightest(methods)


def intersection(first: Bounds, second: Bounds) -> Bounds:
    """Return what both bounds allow; NaN in one leaves the other."""
    return Bounds(jnp.fmax(first.lower, second.lower), jnp.fmin(first.upper, second.upper))


def _ranges(method: Any) -> Callable[..., dict[int, Bounds]]:
    if not hasattr(method, "ranges"):
        raise InvalidInputError(f"{type(method).__name__} gives no intermediate bounds.")
    return method.ranges
