"""Margins: lower bounds of the label's logit minus every other logit, and the verdict on them."""

from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.typing import ArrayLike

from jaxcert.bounds.specification import Function, graph_of
from jaxcert.bounds.types import Bounds, Specification
from jaxcert.errors import InvalidInputError
from jaxcert.graph import Graph
from jaxcert.regions import Region


class Method(Protocol):
    """What a bound is: intervals of outputs, and lower bounds of linear functions of them."""

    def __call__(self, fn: Function, region: Region) -> Bounds: ...

    def lower(
        self, fn: Function, region: Region, coeffs: jax.Array, offset: jax.Array | None = None
    ) -> jax.Array: ...


def margins(method: Method, fn: Function, region: Region, label: ArrayLike) -> jax.Array:
    """Return lower bounds of `logits[label] - logits[j]` over the region, for j != label, j increasing.

    The differences are bounded as one specification merged into the last affine layer, never
    as differences of bounds.

    Args:
      method: a bound with a `lower`, such as `ibp()`, `crown()`, `fast_lin()`, `crown_ibp()`.
      fn: one example -> logits `[K]`, K >= 2.
      region: the inputs allowed, in the network's input units.
      label: an integer in [0, K).

    Returns:
      `[K - 1]`. Sound: all positive proves that no input in the region is classified as
      anything but the label. NaN (bad traced input) proves nothing.

    Raises:
      InvalidInputError: logits of another shape, a concrete label out of range or not an
        integer (a traced one out of range gives NaN).

    Source: theses/4a §1.7 (elision); theses/1 (2.14), (2.24)-(2.27).

    Example:
      >>> import jax.numpy as jnp, jaxcert as jc
      >>> fn = lambda x: jnp.array([[1.0, 0.0], [0.0, 1.0]]) @ x
      >>> jc.margins(jc.ibp(), fn, jc.linf_ball(jnp.array([1.0, 0.0]), 0.25), 0).tolist()
      [0.5]
    """
    graph = graph_of(fn, region)
    spec = margin_specification(graph, label)
    return method.lower(graph, region, spec.coeffs, spec.offset)


def targeted_margins(
    method: Method, fn: Function, region: Region, label: ArrayLike, targets: ArrayLike
) -> jax.Array:
    """Return lower bounds of `logits[label] - logits[t]` over the region, one for each target t.

    All positive proves that no input in the region ranks one of the targets at or above the
    label. With all classes but a group of similar ones as targets, it proves that the label
    beats everything outside the group. Other linear statements: `method.lower(fn, region, C, d)`.

    Args:
      method, fn, region, label: as for `margins`.
      targets: integers `[T]` in [0, K) other than the label; cheaper than all K - 1 for T < K - 1.

    Returns:
      `[T]`, in the order of the targets. Sound as `margins`; a traced target that equals the
      label or is out of range gives NaN.

    Raises:
      InvalidInputError: as `margins`, and the same for targets.

    Example:
      >>> import jax.numpy as jnp, jaxcert as jc
      >>> fn = lambda x: jnp.stack([x, -x, x - 1.0])
      >>> jc.targeted_margins(jc.crown(), fn, jc.linf_ball(jnp.array(0.5), 0.25), 0, [2, 1]).tolist()
      [1.0, 0.5]
    """
    graph = graph_of(fn, region)
    classes = _classes(graph)
    index, valid = _label(label, classes)
    others = jnp.asarray(targets)
    if others.ndim != 1 or not others.size:
        raise InvalidInputError(
            f"targets must be a list of classes [T] with T >= 1, got shape {others.shape}: no targets prove "
            "nothing."
        )
    rows, proper = _targets(others, targets, classes)
    known = not isinstance(targets, Tracer) and not isinstance(label, Tracer)
    if known and int(np.asarray(label)) in np.asarray(targets):
        raise InvalidInputError(f"targets must differ from the label, got {label} among them.")
    dtype = graph.nodes[graph.output].dtype
    columns = jnp.arange(classes, dtype=jnp.int32)[None, :]
    coeffs = (columns == index).astype(dtype) - (columns == rows[:, None]).astype(dtype)
    sensible = valid & proper & (rows != index)
    return jnp.where(sensible, method.lower(graph, region, coeffs), jnp.nan)


def margin_specification(graph: Graph, label: ArrayLike) -> Specification:
    """Return the margins of a label as a specification of a graph's logits; checks both.

    A traced label out of range gives an offset of NaN.
    """
    classes = _classes(graph)
    index, valid = _label(label, classes)
    dtype = graph.nodes[graph.output].dtype
    offset = jnp.where(valid, jnp.zeros((), dtype), jnp.nan)
    return Specification(margin_coeffs(index, classes, dtype), jnp.broadcast_to(offset, (classes - 1,)))


def margin_coeffs(label: ArrayLike, classes: int, dtype: jax.typing.DTypeLike) -> jax.Array:
    """Return the `[K-1, K]` matrix of the differences: +1 at the label, -1 at each other class."""
    index = jnp.asarray(label).astype(jnp.int32)
    row = jnp.arange(classes - 1, dtype=jnp.int32)
    other = jnp.where(row >= index, row + 1, row)
    columns = jnp.arange(classes, dtype=jnp.int32)[None, :]
    return (columns == index).astype(dtype) - (columns == other[:, None]).astype(dtype)


def is_certified(margins: jax.Array | np.ndarray) -> jax.Array:
    """Return whether all margins along the last axis are positive and finite. NaN and inf never certify.

    Example:
      >>> import jax.numpy as jnp, jaxcert as jc
      >>> jc.is_certified(jnp.array([[0.1, 2.0], [0.1, jnp.nan], [-1.0, 1.0]])).tolist()
      [True, False, False]
    """
    if not isinstance(margins, jax.Array | np.ndarray):
        raise InvalidInputError(
            f"is_certified takes an array of margins, got {type(margins).__name__}: "
            "only bounds certify, estimates do not."
        )
    return jnp.all(jnp.isfinite(margins) & (margins > 0), axis=-1)


def _classes(graph: Graph) -> int:
    if len(graph.out_shape) != 1 or graph.out_shape[0] < 2:
        raise InvalidInputError(
            f"margins need logits of shape [K] with K >= 2 for one example, got {graph.out_shape}: "
            "use jax.vmap for batches."
        )
    return graph.out_shape[0]


def _label(label: ArrayLike, classes: int) -> tuple[jax.Array, jax.Array]:
    """The label as int32, and whether it is in range (asked before a wide integer is narrowed)."""
    index = jnp.asarray(label)
    if not jnp.issubdtype(index.dtype, jnp.integer) or index.shape != ():
        raise InvalidInputError(
            f"label must be one integer, got shape {index.shape} of {index.dtype}: use jax.vmap for batches."
        )
    if not isinstance(label, Tracer) and not 0 <= int(np.asarray(label)) < classes:
        raise InvalidInputError(f"label {label} is out of range: the network has {classes} classes.")
    return _in_range(index, classes)


def _targets(others: jax.Array, given: ArrayLike, classes: int) -> tuple[jax.Array, jax.Array]:
    """The targets as int32, and whether each is in range."""
    if not jnp.issubdtype(others.dtype, jnp.integer):
        raise InvalidInputError(f"targets must be integers, got {others.dtype}.")
    if not isinstance(given, Tracer):
        known = np.asarray(given)
        if known.size and not ((known >= 0) & (known < classes)).all():
            raise InvalidInputError(
                f"targets {known.tolist()} are out of range: there are {classes} classes."
            )
    return _in_range(others, classes)


def _in_range(index: jax.Array, classes: int) -> tuple[jax.Array, jax.Array]:
    wide = index.astype(jnp.int32) if index.dtype.itemsize < 4 else index
    valid = (wide >= 0) & (wide < classes)
    return jnp.where(valid, wide, 0).astype(jnp.int32), valid
