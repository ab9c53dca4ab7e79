"""Softmax, log-softmax and logsumexp in the form whose bounds are tightest; variances as means of squares.

All four subtract things that depend on one another: an exponential and the sum it is part of, a value
and the largest value, a mean of squares and a square of the mean. Bounds of the parts do not know that
they belong together. With differences d_j = x_j - x_i, which are linear in x,
  softmax(x)_i = 1 / (1 + sum_{j != i} exp(d_j)),   log_softmax(x)_i = -log(1 + sum_{j != i} exp(d_j)),
  logsumexp(x) = m + log(sum_j exp(x_j - m)) with the mean m,   var(x) = mean((x - mean(x))^2).
Each holds for every x; whatever was subtracted from all entries of an axis before cancels.
"""

from collections.abc import Callable, Mapping
from math import prod
from types import MappingProxyType
from typing import NamedTuple

import jax
import numpy as np

from jaxcert.graph import builder as ops
from jaxcert.graph.builder import Builder, Ref
from jaxcert.graph.differences import LOGARITHM, PROBABILITY, Finish, of_differences
from jaxcert.graph.ir import Graph, Node
from jaxcert.graph.same import uniform

Rewrite = tuple[int, Callable[[Builder, Ref], Ref]]
_RENAMES = frozenset({"broadcast_in_dim", "reshape", "squeeze", "expand_dims", "transpose"})
# Labels of entries are exact in float32 up to here.
_MOST_LABELS = 1 << 23


class Sum(NamedTuple):
    """`sum over axes` of the node `inner`."""

    inner: int
    axes: tuple[int, ...]


class Terms(NamedTuple):
    """`sum of exp(node u)`, and the renamings on top of it."""

    u: int
    total: Sum
    chain: list[Node]


def normaliser(graph: Graph, root: int) -> Rewrite | None:
    """The node that a softmax, log-softmax, logsumexp or variance is of, and the nodes to compute it with."""
    for find in _FINDERS.get(graph.nodes[root].kind, ()):
        found = find(graph, root)
        if found is not None:
            return found
    return None


# What the patterns are made of.


def _sum(graph: Graph, index: int) -> Sum | None:
    node = graph.nodes[index]
    if node.kind != "reduce_sum":
        return None
    axes = node.params.get("axes", node.params.get("params", {}).get("axes"))
    return None if axes is None else Sum(node.inputs[0], tuple(int(axis) for axis in axes))


def _through(graph: Graph, index: int, kinds: frozenset[str]) -> tuple[list[Node], int]:
    """The chain of single-operand nodes of some kinds above a node, from bottom to top, and the node."""
    chain: list[Node] = []
    while graph.nodes[index].kind in kinds:
        chain.append(graph.nodes[index])
        (index,) = graph.nodes[index].inputs
    return chain[::-1], index


def _labels(chain: list[Node], shape: tuple[int, ...]) -> np.ndarray | None:
    """Where each entry of a chain of renamings comes from, as numbers from 0."""
    if prod(shape) > _MOST_LABELS:
        return None
    with jax.ensure_compile_time_eval():
        value = np.arange(prod(shape), dtype=np.float32).reshape(shape)
        for node in chain:
            value = node.apply(node.consts, value)
        return np.asarray(value)


def _spreads(graph: Graph, chain: list[Node], total: Sum) -> bool:
    """Whether a chain puts a sum back to where its terms are: one sum along the summed axes."""
    shape = graph.nodes[total.inner].shape
    kept = tuple(1 if axis in total.axes else size for axis, size in enumerate(shape))
    expected = np.broadcast_to(np.arange(prod(kept)).reshape(kept), shape)
    reduced = tuple(size for axis, size in enumerate(shape) if axis not in total.axes)
    found = _labels(chain, reduced)
    return found is not None and found.shape == shape and bool((found == expected).all())


def _constant_along(graph: Graph, index: int, axes: tuple[int, ...]) -> bool:
    """Whether a node is a repetition along axes of something smaller, times a number."""
    chain, source = _through(graph, index, _RENAMES | {"scale"})
    moves = [node for node in chain if node.kind != "scale"]
    if any(uniform(node.consts[0]) is None for node in chain if node.kind == "scale"):
        return False
    found = _labels(moves, graph.nodes[source].shape)
    if found is None or found.shape != graph.nodes[index].shape:
        return False
    first = np.take(found, [0], axis=axes[0]) if len(axes) == 1 else found[_first(found, axes)]
    return bool((found == first).all())


def _first(value: np.ndarray, axes: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(slice(0, 1) if axis in axes else slice(None) for axis in range(value.ndim))


def _bare(graph: Graph, index: int, axes: tuple[int, ...]) -> tuple[int, int | None]:
    """u without an addend that is the same along the axes, and that addend."""
    node = graph.nodes[index]
    if node.kind == "add":
        for kept, addend in (node.inputs, node.inputs[::-1]):
            if _constant_along(graph, addend, axes):
                return kept, addend
    return index, None


def _exp_sum(graph: Graph, index: int) -> Terms | None:
    """What a node is, if it is a sum of exponentials, or its absolute value, and renamings."""
    chain: list[Node] = []
    while graph.nodes[index].kind in _RENAMES or _is_absolute(graph.nodes[index]):
        if graph.nodes[index].kind in _RENAMES:
            chain.insert(0, graph.nodes[index])
        (index,) = graph.nodes[index].inputs
    total = _sum(graph, index)
    if total is None or graph.nodes[total.inner].kind != "exp":
        return None
    return Terms(graph.nodes[total.inner].inputs[0], total, chain)


def _is_absolute(node: Node) -> bool:
    return node.kind == "leaky_relu" and [uniform(c) for c in node.consts] == [-1.0, 1.0]


def _negated(graph: Graph, index: int) -> int | None:
    node = graph.nodes[index]
    return node.inputs[0] if node.kind == "scale" and uniform(node.consts[0]) == -1 else None


# The patterns.


def _softmax(graph: Graph, root: int) -> Rewrite | None:
    """exp(u) times the repeated reciprocal of its sum."""
    terms = _softmax_terms(graph, root)
    return None if terms is None else _differences(graph, terms, PROBABILITY)


def _log_of_softmax(graph: Graph, root: int) -> Rewrite | None:
    (index,) = graph.nodes[root].inputs
    terms = _softmax_terms(graph, index) if graph.nodes[index].kind == "multiply" else None
    return None if terms is None else _differences(graph, terms, LOGARITHM)


def _softmax_terms(graph: Graph, root: int) -> Terms | None:
    for power, quotient in (graph.nodes[root].inputs, graph.nodes[root].inputs[::-1]):
        above, inverse = _through(graph, quotient, _RENAMES)
        if graph.nodes[power].kind != "exp" or graph.nodes[inverse].kind != "reciprocal":
            continue
        terms = _exp_sum(graph, graph.nodes[inverse].inputs[0])
        if terms is None or terms.total.inner != power:
            continue
        if _spreads(graph, terms.chain + above, terms.total):
            return terms
    return None


def _log_softmax(graph: Graph, root: int) -> Rewrite | None:
    """u - log(sum(exp(u))), and x - logsumexp(x)."""
    for value, other in (graph.nodes[root].inputs, graph.nodes[root].inputs[::-1]):
        found = _minus(graph, other)
        if found is None:
            continue
        moves, source = found
        terms = _shifted_terms(graph, source) or _log_terms(graph, source)
        if terms is not None and terms.u == value and _spreads(graph, terms.chain + moves, terms.total):
            return _differences(graph, terms, LOGARITHM)
    return None


def _minus(graph: Graph, index: int) -> tuple[list[Node], int] | None:
    """The renamings, and the node whose negative a node is."""
    chain, source = _through(graph, index, _RENAMES | {"scale"})
    if [uniform(node.consts[0]) for node in chain if node.kind == "scale"] != [-1.0]:
        return None
    return [node for node in chain if node.kind != "scale"], source


def _log_terms(graph: Graph, index: int) -> Terms | None:
    """log(sum(exp(u)))."""
    node = graph.nodes[index]
    return _exp_sum(graph, node.inputs[0]) if node.kind == "log" else None


def _differences(graph: Graph, terms: Terms, finish: Finish) -> Rewrite | None:
    x, _ = _bare(graph, terms.u, terms.total.axes)
    build = of_differences(graph, x, terms.total.axes, finish)
    return None if build is None else (x, build)


def _logsumexp(graph: Graph, root: int) -> Rewrite | None:
    """log(sum(exp(u))) without a shift, unless a log-softmax or a shifted logsumexp is built on it."""
    terms = _log_terms(graph, root)
    if terms is None or _bare(graph, terms.u, terms.total.axes)[1] is not None:
        return None
    return _mean_shifted(graph, terms)


def _shifted_logsumexp(graph: Graph, root: int) -> Rewrite | None:
    """m + log(sum(exp(x - m))), m the same along the summed axes."""
    terms = _shifted_terms(graph, root)
    return None if terms is None else _mean_shifted(graph, terms)


def _shifted_terms(graph: Graph, root: int) -> Terms | None:
    """The terms exp(x) whose sum has the root as its logarithm."""
    node = graph.nodes[root]
    if node.kind != "add":
        return None
    for addend, other in (node.inputs, node.inputs[::-1]):
        above, logarithm = _through(graph, other, _RENAMES)
        terms = _log_terms(graph, logarithm)
        if terms is None:
            continue
        x, shift = _bare(graph, terms.u, terms.total.axes)
        chain = terms.chain + above
        if shift is not None and _cancels(graph, shift, addend, chain, terms.total):
            return Terms(x, terms.total, chain)
    return None


def _cancels(graph: Graph, shift: int, addend: int, chain: list[Node], total: Sum) -> bool:
    """Whether what was subtracted from each term is what is added to the logarithm of their sum."""
    found = _minus(graph, shift)
    up, target = _through(graph, addend, _RENAMES)
    if found is None or found[1] != target:
        return False
    moves, source = found
    shape = graph.nodes[source].shape
    reduced = tuple(s for a, s in enumerate(graph.nodes[total.inner].shape) if a not in total.axes)
    subtracted, added, places = _labels(moves, shape), _labels(up, shape), _labels(chain, reduced)
    if subtracted is None or added is None or places is None or added.shape != places.shape:
        return False
    per_sum = subtracted[_first(subtracted, total.axes)].reshape(-1)
    return bool((per_sum[places.astype(int)] == added).all())


def _mean_shifted(graph: Graph, terms: Terms) -> Rewrite:
    x, axes, chain = terms.u, terms.total.axes, terms.chain
    shape = graph.nodes[x].shape
    count = prod(shape[axis] for axis in axes)
    kept = tuple(1 if axis in axes else size for axis, size in enumerate(shape))

    def build(b: Builder, x: Ref) -> Ref:
        mean = _mean(b, x, axes, count)
        centred = ops.total(b, x, ops.negate(b, ops.broadcast(b, ops.reshape(b, mean, kept), shape)))
        # The mean of exponentials is at least the exponential of the mean, which is 1 up to rounding.
        floor = count * (1 - 1e-6)
        sums = at_least(b, ops.reduce_sum(b, ops.activation(b, "exp", centred), axes), floor)
        return _renamed(b, ops.total(b, mean, ops.activation(b, "log", sums)), chain)

    return x, build


def at_least(b: Builder, x: Ref, floor: float) -> Ref:
    """max(x, floor) of a value that is never below the floor: x itself, but bounds then know it."""
    dtype = b.node(x).dtype
    above = ops.activation(b, "relu", ops.shift(b, x, np.asarray(-floor, dtype)))
    return ops.shift(b, above, np.asarray(floor, dtype))


def _mean(b: Builder, x: Ref, axes: tuple[int, ...], count: int) -> Ref:
    return ops.scale(b, ops.reduce_sum(b, x, axes), np.asarray(1 / count, b.node(x).dtype))


def _renamed(b: Builder, x: Ref, chain: list[Node]) -> Ref:
    for node in chain:
        x = b.append(node.kind, (x,), node.apply, node.consts, node, node.params)
    return x


def _variance(graph: Graph, root: int) -> Rewrite | None:
    """mean(x^2) - mean(x)^2."""
    for squares, other in (graph.nodes[root].inputs, graph.nodes[root].inputs[::-1]):
        square = _negated(graph, other)
        if square is None or not _is_square(graph, square):
            continue
        first, second = _average(graph, squares), _average(graph, graph.nodes[square].inputs[0])
        if first is None or second is None or not _is_square(graph, first[1].inner):
            continue
        (chain, total), (other_chain, other_total) = first, second
        if graph.nodes[total.inner].inputs[0] != other_total.inner or total.axes != other_total.axes:
            continue
        reduced = tuple(s for a, s in enumerate(graph.nodes[total.inner].shape) if a not in total.axes)
        labels, others = _labels(chain, reduced), _labels(other_chain, reduced)
        if labels is not None and others is not None and np.array_equal(labels, others):
            return _centred_variance(graph, other_total, chain)
    return None


def _is_square(graph: Graph, index: int) -> bool:
    node = graph.nodes[index]
    return node.kind == "integer_pow" and int(node.consts[0]) == 2


def _average(graph: Graph, index: int) -> tuple[list[Node], Sum] | None:
    """The renamings and the sum in a mean."""
    chain, source = _through(graph, index, _RENAMES | {"scale"})
    total = _sum(graph, source)
    factors = [uniform(node.consts[0]) for node in chain if node.kind == "scale"]
    if total is None or len(factors) != 1 or factors[0] is None:
        return None
    count = prod(graph.nodes[total.inner].shape[axis] for axis in total.axes)
    tolerance = 4 * float(np.finfo(graph.nodes[index].dtype).eps)
    if abs(factors[0] * count - 1) > tolerance:
        return None
    return [node for node in chain if node.kind != "scale"], total


def _centred_variance(graph: Graph, total: Sum, chain: list[Node]) -> Rewrite:
    shape = graph.nodes[total.inner].shape
    count = prod(shape[axis] for axis in total.axes)
    kept = tuple(1 if axis in total.axes else size for axis, size in enumerate(shape))

    def build(b: Builder, x: Ref) -> Ref:
        mean = ops.reshape(b, _mean(b, x, total.axes, count), kept)
        centred = ops.total(b, x, ops.negate(b, ops.broadcast(b, mean, shape)))
        return _renamed(b, _mean(b, ops.activation(b, "integer_pow", centred, 2), total.axes, count), chain)

    return total.inner, build


_FINDERS: Mapping[str, tuple[Callable[[Graph, int], Rewrite | None], ...]] = MappingProxyType(
    {
        "multiply": (_softmax,),
        "add": (_log_softmax, _shifted_logsumexp, _variance),
        "log": (_log_of_softmax, _logsumexp),
    }
)
