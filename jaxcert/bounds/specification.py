"""Checking what a bound is asked for: a function, and coefficients on its outputs."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxcert.bounds.types import Specification
from jaxcert.errors import InvalidInputError
from jaxcert.graph import Graph

Function = Callable[[jax.Array], jax.Array] | Graph


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
