"""Recognition by structure: sub-graphs that compute a function of one node that has a record.

`x / (1 + exp(-x))` is silu however it is spelt. Both the sub-graph, as a function of a node it starts
from, and the known functions are brought to one normal form (`algebra`); equal forms are equal functions.
What is not recognised stays a composition of what it is made of, which is sound and looser.
"""

from collections.abc import Mapping
from functools import cache

import jax
import jax.numpy as jnp

from jaxcert.graph.algebra import Algebra, NoForm, Poly
from jaxcert.graph.builder import Builder, Ref
from jaxcert.graph.families import Build, family, fixed
from jaxcert.graph.forms import ENTRYWISE, NONLINEAR, SELECT, Forms
from jaxcert.graph.ir import Graph
from jaxcert.graph.normalisers import at_least, normaliser
from jaxcert.graph.positive import positive_sums

_LINEAR = frozenset({"add", "scale", "shift"})
_CURVED = frozenset({"multiply", "maximum", "log", "log1p", "sqrt", "reciprocal", "integer_pow", SELECT})
_ROOTS = _LINEAR | _CURVED
# Sub-graphs of more nodes are no activation that anybody wrote down.
_WIDEST = 48


def recognise(graph: Graph) -> Graph:
    """Return a graph of the same function with every sub-graph that has a record replaced by it."""
    graph = _rebuilt(graph, {index: match(graph, index) for index in range(1, len(graph.nodes))}, {})
    return _rebuilt(graph, {}, dict.fromkeys(positive_sums(graph), _floored))


def _floored(b: Builder, x: Ref) -> Ref:
    return at_least(b, x, 0.0)


def _rebuilt(
    graph: Graph, replaced: Mapping[int, tuple[int, Build] | None], wrapped: Mapping[int, Build]
) -> Graph:
    """The graph with some nodes replaced by a build on another node, and something put around others."""
    if not any(replaced.values()) and not wrapped:
        return graph
    b = Builder()
    x = graph.nodes[0]
    place = {0: b.input(x.shape, x.dtype)}
    for index, node in enumerate(graph.nodes[1:], 1):
        b.where, b.primitive = node.where, node.primitive
        hit = replaced.get(index)
        if hit is None:
            inputs = tuple(place[i] for i in node.inputs)
            out = jax.ShapeDtypeStruct(node.shape, node.dtype)
            place[index] = b.append(node.kind, inputs, node.apply, node.consts, out, node.params)
        else:
            base, build = hit
            place[index] = build(b, place[base])
        if index in wrapped:
            place[index] = wrapped[index](b, place[index])
    return b.graph(place[graph.output])


def match(graph: Graph, root: int) -> tuple[int, Build] | None:
    """A node and the record's nodes on top of it that compute what the root does, if they are found."""
    node = graph.nodes[root]
    if node.kind not in _ROOTS or not jnp.issubdtype(node.dtype, jnp.floating):
        return None
    found = normaliser(graph, root)
    if found is not None:
        return found
    cone = _cone(graph, root)
    if not _worthwhile(graph, root, cone):
        return None
    for base in sorted({i for index in cone for i in graph.nodes[index].inputs}):
        if graph.nodes[base].shape == node.shape and base != root:
            build = _build(graph, root, base)
            if build is not None:
                return base, build
    return None


def _cone(graph: Graph, root: int) -> list[int]:
    """The entry-wise nodes that the root is made of, the nearest first."""
    cone, queue = [], [root]
    while queue and len(cone) < _WIDEST:
        index = queue.pop(0)
        node = graph.nodes[index]
        if index not in cone and node.kind in ENTRYWISE and node.shape == graph.nodes[root].shape:
            cone.append(index)
            queue.extend(node.inputs)
    return cone


def _worthwhile(graph: Graph, root: int, cone: list[int]) -> bool:
    """Whether there is more than one curved node, or a kink on top of the value itself."""
    kinds = [graph.nodes[index].kind for index in cone if graph.nodes[index].kind in NONLINEAR]
    if graph.nodes[root].kind in ("maximum", "multiply", SELECT):
        return True
    return len(kinds) > 1 or (len(kinds) == 1 and graph.nodes[root].kind == "add")


def _build(graph: Graph, root: int, base: int) -> Build | None:
    node = graph.nodes[root]
    algebra, table = _references(str(node.dtype))
    own = Algebra(algebra.tolerance, algebra.atoms)
    try:
        form = Forms(graph, base, own).of(root)
        if not own.kept(form):
            return None
        for reference, build in table:
            if own.near(form, reference):
                return build
        return family(own, form, node.dtype)
    except (NoForm, OverflowError):
        return None


@cache
def _references(dtype: str) -> tuple[Algebra, list[tuple[Poly, Build]]]:
    algebra = Algebra(4 * float(jnp.finfo(dtype).eps))
    return algebra, fixed(algebra)
