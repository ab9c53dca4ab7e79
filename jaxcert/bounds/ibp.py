"""Interval bound propagation: two numbers per neuron, about the cost of two forward passes.

Dense and convolutional layers pass centre and radius, `c' = W c + b`, `r' = |W| r`; every
other operation here is increasing in each operand, so its ends map to its ends. Values
that are affine in an l_p ball's input are bounded exactly first (`affine`). A
specification is merged into the affine layers before it (elision), which is never looser.
Source: theses/1 (2.22)-(2.32), theses/4a (3.8), Algorithm 3.2, and the elision at its end.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp

from jaxcert.bounds.affine import affine_range, no_planes
from jaxcert.bounds.backward import CROWN_RULES
from jaxcert.bounds.rules import Rules
from jaxcert.bounds.specification import Function, graph_of, specification
from jaxcert.bounds.sweep import propagate
from jaxcert.bounds.types import Bounds, Specification
from jaxcert.graph import Graph, Node
from jaxcert.graph.ir import AFFINE, STRUCTURAL
from jaxcert.regions import Box, LpBall, Region, interval, is_box, minimize_linear
from jaxcert.relax import ACTIVATIONS, JOINS, Record

NAME = "ibp"


def structural(node: Node, *inputs: Bounds) -> Bounds:
    """Exact per entry: weights 0 and 1 only, so the map is increasing in every operand."""
    lower = node.apply(node.consts, *(b.lower for b in inputs))
    return Bounds(lower, node.apply(node.consts, *(b.upper for b in inputs)))


def translation(node: Node, x: Bounds) -> Bounds:
    """Exact: adding a constant moves both ends."""
    return Bounds(node.apply(node.consts, x.lower), node.apply(node.consts, x.upper))


def bilinear(node: Node, x: Bounds) -> Bounds:
    """Exact per entry: `W c -+ |W| r` are the extremes of `W x` over the box."""
    center = node.apply(node.consts, 0.5 * x.lower + 0.5 * x.upper)
    radius = node.apply(tuple(jnp.abs(c) for c in node.consts), 0.5 * x.upper - 0.5 * x.lower)
    return Bounds(center - radius, center + radius)


def image(record: Record) -> Callable[..., Bounds]:
    """Exact per entry: the record's own range of the function on the box of its operands."""

    def rule(node: Node, *xs: Bounds) -> Bounds:
        lowers, uppers = tuple(x.lower for x in xs), tuple(x.upper for x in xs)
        return Bounds(*record.range(lowers, uppers, *node.consts))

    rule.__name__ = f"image_{record.name}"
    return rule


IBP_RULES = Rules(
    dict.fromkeys(sorted(STRUCTURAL), structural)
    | {"dot": bilinear, "conv": bilinear, "scale": bilinear, "shift": translation}
    | {record.name: image(record) for record in (*ACTIVATIONS, *JOINS)}
)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Ibp:
    """Interval bound propagation. Make one with `ibp()`."""

    rules: Rules = field(default=IBP_RULES, metadata={"static": True})

    def __call__(self, fn: Function, region: Region) -> Bounds:
        """Return the interval of every output of fn over the region, shaped like fn(x)."""
        graph = graph_of(fn, region)
        return self.ranges(graph, region, (graph.output,))[graph.output]

    def lower(
        self, fn: Function, region: Region, coeffs: jax.Array, offset: jax.Array | None = None
    ) -> jax.Array:
        """Return lower bounds `[S]` of `coeffs @ fn(x) + offset`, the affine tail merged in."""
        graph = graph_of(fn, region)
        spec = specification(graph, coeffs, offset)
        return self.lower_of(graph, region, graph.output, spec)

    def lower_of(self, graph: Graph, region: Region, target: int, spec: Specification) -> jax.Array:
        def stop(index):
            return graph.nodes[index].kind not in AFFINE

        tail = propagate(
            graph, target, spec.coeffs, planes=no_planes, stop=stop, rules=CROWN_RULES, engine=NAME
        )
        value = tail.lower + spec.offset
        ranges = self.ranges(graph, region, tuple(index for index in tail.coeffs if index))
        for index in tail.coeffs:
            part = tail.rows(index)
            over = region if index == 0 else Box(ranges[index].lower, ranges[index].upper)
            value = value + minimize_linear(over, part).astype(value.dtype)
        return value

    def ranges(self, graph: Graph, region: Region, targets: tuple[int, ...]) -> dict[int, Bounds]:
        """Return the intervals of the target nodes and of every node they needed."""
        known: dict[int, Bounds] = {}
        for index in _needed(graph, region, targets, self.rules):
            known[index] = self._range(graph, region, index, known)
        return known

    def _range(self, graph: Graph, region: Region, index: int, known: dict[int, Bounds]) -> Bounds:
        node = graph.nodes[index]
        if index == 0:
            return Bounds(*interval(region))
        if _straight(graph, region, index, self.rules):
            return affine_range(graph, region, index)
        return self.rules.rule(node, NAME)(node, *(known[i] for i in node.inputs))


def ibp(rules: Rules = IBP_RULES) -> Ibp:
    """Return interval bound propagation as a method `(fn, region) -> Bounds`.

    Sound for every region, up to rounding. Exact for one affine layer; the error grows with
    depth. Cost: about two forward passes, memory as a forward pass; in l_1 balls, clipped l_2
    balls and other norms the first affine layer also forms its rows (neurons x inputs, once for a
    batch). Differentiable in parameters, input and eps.

    Args:
      rules: the rule table; extend it with `IBP_RULES | {kind: rule}`.

    Raises (on use):
      UnsupportedPrimitiveError: fn needs an operation without a rule.

    Source: theses/1 (2.28)-(2.32); theses/4a Algorithm 3.2. For l_1 and l_2 balls the first
    affine layer uses the dual norm of its rows, exactly.

    Example:
      >>> import jax.numpy as jnp, jaxcert as jc
      >>> fn = lambda x: jnp.maximum(x @ jnp.array([1.0, -1.0]), 0.0)
      >>> bounds = jc.ibp()(fn, jc.linf_ball(jnp.array([1.0, 0.0]), 0.5))
      >>> float(bounds.lower), float(bounds.upper)
      (0.0, 2.0)
    """
    return Ibp(rules)


def _needed(graph: Graph, region: Region, targets: tuple[int, ...], rules: Rules) -> list[int]:
    """The nodes to bound, in order. Values found straight from the input hide what is before them."""
    needed = set(targets)
    for index in range(graph.output, 0, -1):
        if index in needed and not _straight(graph, region, index, rules):
            needed.update(graph.nodes[index].inputs)
    return sorted(needed)


def _straight(graph: Graph, region: Region, index: int, rules: Rules) -> bool:
    """Whether a node's interval comes from the region itself and not from intervals before it.

    In balls that are no boxes this is tighter. In an l_inf ball it is the same interval, but its
    radius depends on the example only where eps does, so that a batch computes it once (by the
    usual rules: one's own are not gone around there).
    """
    if not graph.affine_in_input()[index]:
        return False
    return not is_box(region) or (
        isinstance(region, LpBall)
        and region.clip is None
        and graph.box_exact()[index]
        and all(rules.get(kind) is IBP_RULES.get(kind) for kind in AFFINE)
    )
