"""Checking what a bound is asked for: a function, and coefficients on its outputs."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxcert.bounds.types import Specification
from jaxcert.errors import InvalidInputError
from jaxcert.graph import Graph, trace
from jaxcert.regions import Region, flattened

Function = Callable[..., jax.Array] | Graph


def graph_of(fn: Function, region: Region) -> Graph:
    """Return the graph of a function on a region's inputs, of their flat vector where it is a `Product`.

    Raises:
      InvalidInputError: something that is not a region, and what `graph.trace` raises.
    """
    if not isinstance(region, Region):
        raise InvalidInputError(
            f"the second argument must be a region, got {type(region).__name__}: build one with linf_ball, "
            "l2_ball, l1_ball, lp_ball or box, or from several with product."
        )
    return trace(fn if isinstance(fn, Graph) else flattened(fn, region), region)


def specification(graph: Graph, coeffs: jax.Array, offset: jax.Array | None) -> Specification:
    """Return the checked specification `coeffs @ output + offset` of a graph.

    Raises:
      InvalidInputError: coeffs not `[S, *out]` or offset not `[S]`.
    """
    dtype = graph.nodes[graph.output].dtype
    coeffs = jnp.asarray(coeffs).astype(dtype)
    if coeffs.shape[1:] != graph.out_shape or coeffs.ndim != len(graph.out_shape) + 1:
        raise InvalidInputError(
            f"specification coefficients must be [S, *out] with out = {graph.out_shape}, got {coeffs.shape}."
        )
    if offset is None:
        return Specification(coeffs, jnp.zeros(coeffs.shape[:1], dtype))
    offset = jnp.asarray(offset).astype(dtype)
    if offset.shape != coeffs.shape[:1]:
        raise InvalidInputError(
            f"specification offset must have shape {coeffs.shape[:1]}, got {offset.shape}."
        )
    return Specification(coeffs, offset)
