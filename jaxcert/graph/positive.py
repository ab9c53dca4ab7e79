"""Sums of terms that are never negative, on the way to functions that have no value below 0.

A backward pass bounds a sum of squares by a sum of tangents, which may reach below 0 where the sum does
not. `max(., 0)` is the sum itself, and after it bounds know that it is not negative.
"""

from jaxcert.graph.ir import Graph
from jaxcert.graph.same import uniform

_PARTIAL = frozenset({"log", "sqrt", "rsqrt", "reciprocal"})
_POSITIVE = frozenset({"exp", "relu", "sigmoid", "softplus", "rsqrt", "sqrt"})
_MOVES = frozenset({"broadcast_in_dim", "reshape", "squeeze", "expand_dims", "transpose", "scale", "shift"})


def positive_sums(graph: Graph) -> list[int]:
    """The sums of non-negative terms whose moved and scaled values a partial function is applied to."""
    found = set()
    for node in graph.nodes:
        if node.kind not in _PARTIAL:
            continue
        (index,) = node.inputs
        while graph.nodes[index].kind in _MOVES:
            (index,) = graph.nodes[index].inputs
        total = graph.nodes[index]
        if total.kind in ("reduce_sum", "reduce_window_sum") and _never_negative(graph, total.inputs[0]):
            found.add(index)
    return sorted(found)


def _never_negative(graph: Graph, index: int) -> bool:
    node = graph.nodes[index]
    while node.kind in _MOVES - {"scale", "shift"}:
        node = graph.nodes[node.inputs[0]]
    if node.kind == "integer_pow":
        return int(node.consts[0]) % 2 == 0
    if node.kind == "leaky_relu":
        neg, pos = (uniform(value) for value in node.consts)
        return neg is not None and pos is not None and neg <= 0 <= pos
    return node.kind in _POSITIVE
