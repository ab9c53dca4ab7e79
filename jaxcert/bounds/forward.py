"""Forward linear bounds: every node enclosed by two linear functions of the input.

Linear nodes map the functions below and above through their weights, positive parts to the
same side and negative parts to the other; an activation's planes are composed with those of
its operands. Intervals come from minimising each function over the region. One pass serves
all nodes, at the price of as many columns as there are inputs: for few inputs and many
neurons it is the cheap source of intermediate bounds, `crown(intermediate=forward())`
(forward-backward). Source: theses/4a (3.3)-(3.7) carried forward; Singh et al. 2019 (DeepPoly).
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp

from jaxcert.bounds.affine import no_planes
from jaxcert.bounds.backward import CROWN_RULES, record_of
from jaxcert.bounds.rules import Rules
from jaxcert.bounds.specification import Function, graph_of, specification
from jaxcert.bounds.sweep import propagate
from jaxcert.bounds.tightest import intersection
from jaxcert.bounds.types import Bounds, LinearBounds, LinearForm
from jaxcert.errors import InvalidInputError
from jaxcert.graph import Graph, Node
from jaxcert.graph.ir import AFFINE, BILINEAR, ENTRYWISE, STRUCTURAL
from jaxcert.regions import Region, interval, linear_range, minimize_linear
from jaxcert.relax import ACTIVATIONS, JOINS, Planes
from jaxcert.relax.slopes import Adaptive, Fixed, Given, Parallel, adaptive

NAME = "forward"


@dataclass(frozen=True)
class Columns:
    """`sum_n coeffs[n] * x_n + offset`, coeffs `[inputs, *node]`: a linear form, inputs leading."""

    coeffs: jax.Array
    offset: jax.Array

    def mapped(self, fn: Callable[[jax.Array], jax.Array]) -> "Columns":
        """The form after a linear map of the node."""
        return Columns(jax.vmap(fn)(self.coeffs), fn(self.offset))

    def plus(self, other: "Columns") -> "Columns":
        return Columns(self.coeffs + other.coeffs, self.offset + other.offset)

    def times(self, factor: jax.Array) -> "Columns":
        return Columns(self.coeffs * factor[None], self.offset * factor)


@dataclass(frozen=True)
class Between:
    """A node's functions below and above."""

    lower: Columns
    upper: Columns


def structural(node: Node, planes: Callable[[], Planes], *inputs: Between) -> Between:
    """Exact: weights 0 and 1, so the map is increasing in every operand."""
    del planes
    return Between(
        _applied(node, [between.lower for between in inputs]),
        _applied(node, [between.upper for between in inputs]),
    )


def bilinear(node: Node, planes: Callable[[], Planes], x: Between) -> Between:
    """Sound: positive weights keep the side, negative weights change it."""
    del planes
    if x.lower is x.upper:
        same = x.lower.mapped(lambda v: node.apply(node.consts, v))
        return Between(same, same)
    positive = tuple(jnp.maximum(c, 0) for c in node.consts)
    negative = tuple(jnp.minimum(c, 0) for c in node.consts)

    def combined(kept: Columns, crossed: Columns) -> Columns:
        return kept.mapped(lambda v: node.apply(positive, v)).plus(
            crossed.mapped(lambda v: node.apply(negative, v))
        )

    return Between(combined(x.lower, x.upper), combined(x.upper, x.lower))


def translation(node: Node, planes: Callable[[], Planes], x: Between) -> Between:
    """Exact: a constant is added to both offsets."""
    del planes
    lower = Columns(x.lower.coeffs, node.apply(node.consts, x.lower.offset))
    if x.lower is x.upper:
        return Between(lower, lower)
    return Between(lower, Columns(x.upper.coeffs, node.apply(node.consts, x.upper.offset)))


def relaxed(node: Node, planes: Callable[[], Planes], *inputs: Between) -> Between:
    """Sound: a positive slope takes the operand's function of the same side, a negative one the other's."""
    del node
    enclosure = planes()
    below = [_side(s, x.lower, x.upper) for s, x in zip(enclosure.lower_slopes, inputs, strict=True)]
    above = [_side(s, x.upper, x.lower) for s, x in zip(enclosure.upper_slopes, inputs, strict=True)]
    return Between(_total(below, enclosure.lower_offset), _total(above, enclosure.upper_offset))


FORWARD_RULES = Rules(
    dict.fromkeys(sorted(STRUCTURAL), structural)
    | dict.fromkeys(sorted(BILINEAR), bilinear)
    | {"shift": translation}
    | {record.name: relaxed for record in (*ACTIVATIONS, *JOINS)}
)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Forward:
    """Forward linear bounds. Make one with `forward()`."""

    slope: Adaptive | Parallel | Fixed | Given = adaptive
    rules: Rules = field(default=FORWARD_RULES, metadata={"static": True})

    def __call__(self, fn: Function, region: Region) -> Bounds:
        """Return lower and upper bounds of every output of fn over the region, shaped like fn(x)."""
        graph = graph_of(fn, region)
        return self.ranges(graph, region, (graph.output,))[graph.output]

    def lower(
        self, fn: Function, region: Region, coeffs: jax.Array, offset: jax.Array | None = None
    ) -> jax.Array:
        """Return lower bounds `[S]` of `coeffs @ fn(x) + offset`, the affine tail merged in."""
        form = self.linear_lower(fn, region, coeffs, offset)
        return minimize_linear(region, form.coeffs).astype(form.offset.dtype) + form.offset

    def linear_lower(
        self, fn: Function, region: Region, coeffs: jax.Array, offset: jax.Array | None = None
    ) -> LinearForm:
        """Return linear functions of the input below `coeffs @ fn(x) + offset` over the region."""
        graph = graph_of(fn, region)
        spec = specification(graph, coeffs, offset)

        def stop(index: int) -> bool:
            return graph.nodes[index].kind not in AFFINE

        tail = propagate(
            graph, graph.output, spec.coeffs, planes=no_planes, stop=stop, rules=CROWN_RULES, engine=NAME
        )
        known = self._forms(graph, region, tuple(tail.coeffs))
        total = LinearForm(
            jnp.zeros((spec.coeffs.shape[0], *graph.in_shape), spec.coeffs.dtype), tail.lower + spec.offset
        )
        for index in tail.coeffs:
            between, part = known[index], tail.rows(index)
            kept, crossed = jnp.maximum(part, 0), jnp.minimum(part, 0)
            total = LinearForm(
                total.coeffs
                + _against(kept, between.lower.coeffs, graph.in_shape)
                + _against(crossed, between.upper.coeffs, graph.in_shape),
                total.offset + _dot(kept, between.lower.offset) + _dot(crossed, between.upper.offset),
            )
        return total

    def linear(self, fn: Function, region: Region) -> LinearBounds:
        """Return linear functions of the input that enclose every output of fn over the region."""
        graph = graph_of(fn, region)
        between = self._forms(graph, region, (graph.output,))[graph.output]
        return LinearBounds(_form(between.lower, graph.in_shape), _form(between.upper, graph.in_shape))

    def ranges(self, graph: Graph, region: Region, targets: tuple[int, ...]) -> dict[int, Bounds]:
        """Return the intervals of the target nodes."""
        return {i: _range(region, x) for i, x in self._forms(graph, region, targets).items() if i in targets}

    def _forms(self, graph: Graph, region: Region, targets: tuple[int, ...]) -> dict[int, Between]:
        """The functions below and above of the targets and of all that they depend on."""
        size, dtype = graph.nodes[0].size, graph.nodes[0].dtype
        identity = Columns(
            jnp.eye(size, dtype=dtype).reshape(size, *graph.in_shape), jnp.zeros(graph.in_shape, dtype)
        )
        known = {0: Between(identity, identity)}
        intervals: dict[int, Bounds] = {0: Bounds(*interval(region))}
        records = [i for i, node in enumerate(graph.nodes) if record_of(node) is not None]
        if isinstance(self.slope, Given) and len(self.slope.alphas) != len(records):
            raise InvalidInputError(
                f"slopes hold {len(self.slope.alphas)} arrays but the network has {len(records)} "
                "activations: give one array for each, in order."
            )
        for index in graph.ancestors(targets):
            if index == 0:
                continue
            node = graph.nodes[index]

            def planes(index: int = index, node: Node = node) -> Planes:
                for source in node.inputs:
                    _known_interval(graph, region, known, intervals, source)
                ends = [intervals[source] for source in node.inputs]
                record = record_of(node)
                assert record is not None
                lowers, uppers = tuple(b.lower for b in ends), tuple(b.upper for b in ends)
                return self.slope.planes(record, records.index(index), lowers, uppers, node.consts)

            known[index] = self.rules.rule(node, NAME)(node, planes, *(known[i] for i in node.inputs))
        return known


def forward(slope: Adaptive | Parallel | Fixed | Given = adaptive, rules: Rules = FORWARD_RULES) -> Forward:
    """Return forward linear bounds as a method `(fn, region) -> Bounds`.

    Sound for every region and every slope. Neither always tighter nor looser than CROWN or IBP.
    Cost: one forward pass with as many columns as the region has coordinates, for all neurons at
    once; `crown(intermediate=forward())` then needs one backward pass only.

    Args:
      slope: the free line of each relaxation, as in `crown`.
      rules: the rule table; extend it with `FORWARD_RULES | {kind: rule}`.

    Raises (on use):
      UnsupportedPrimitiveError: fn needs an operation without a rule.

    Example:
      >>> import jax.numpy as jnp, jaxcert as jc
      >>> fn = lambda x: jnp.maximum(x, 0.0) - 0.5 * x
      >>> bounds = jc.forward()(fn, jc.linf_ball(jnp.zeros(()), 1.0))
      >>> float(bounds.lower), float(bounds.upper)
      (-0.5, 0.5)
    """
    if not isinstance(slope, Adaptive | Parallel | Fixed | Given):
        raise InvalidInputError(
            "slope must be slopes.adaptive, parallel, zero, one or slopes.given(arrays), got "
            f"{type(slope).__name__}."
        )
    return Forward(slope, rules)


def _applied(node: Node, forms: list[Columns]) -> Columns:
    coeffs = jax.vmap(lambda *xs: node.apply(node.consts, *xs))(*(form.coeffs for form in forms))
    return Columns(coeffs, node.apply(node.consts, *(form.offset for form in forms)))


def _side(slope: jax.Array, same: Columns, other: Columns) -> Columns:
    return same.times(jnp.maximum(slope, 0)).plus(other.times(jnp.minimum(slope, 0)))


def _total(forms: list[Columns], offset: jax.Array) -> Columns:
    total = forms[0]
    for form in forms[1:]:
        total = total.plus(form)
    return Columns(total.coeffs, total.offset + offset)


def _form(columns: Columns, in_shape: tuple[int, ...]) -> LinearForm:
    moved = jnp.moveaxis(columns.coeffs, 0, -1)
    return LinearForm(moved.reshape(*columns.offset.shape, *in_shape), columns.offset)


def _range(region: Region, between: Between) -> Bounds:
    below, above = _form(between.lower, region.shape), _form(between.upper, region.shape)
    if between.lower is between.upper:
        low, high = linear_range(region, below.coeffs)
    else:
        low, high = minimize_linear(region, below.coeffs), -minimize_linear(region, -above.coeffs)
    dtype = below.offset.dtype
    return Bounds(low.astype(dtype) + below.offset, high.astype(dtype) + above.offset)


def _known_interval(
    graph: Graph, region: Region, known: dict[int, Between], intervals: dict[int, Bounds], index: int
) -> Bounds:
    """The interval of a node: of its linear forms, and what its operands' intervals say of it.

    The second keeps values where they can be: squares above 0, a softmax within [0, 1].
    """
    if index not in intervals:
        node, record = graph.nodes[index], record_of(graph.nodes[index])
        found = _range(region, known[index])
        if record is not None or node.kind in ENTRYWISE | {"shift", "scale"}:
            ends = [_known_interval(graph, region, known, intervals, source) for source in node.inputs]
            lowers, uppers = tuple(b.lower for b in ends), tuple(b.upper for b in ends)
            if record is not None:
                image = Bounds(*record.range(lowers, uppers, *node.consts))
            else:
                sides = node.apply(node.consts, *lowers), node.apply(node.consts, *uppers)
                image = Bounds(jnp.minimum(*sides), jnp.maximum(*sides))
            found = intersection(found, image)
        intervals[index] = found
    return intervals[index]


def _against(rows: jax.Array, columns: jax.Array, in_shape: tuple[int, ...]) -> jax.Array:
    """Rows `[S, *node]` on columns `[inputs, *node]`: `[S, *in]`."""
    flat = jnp.matmul(
        rows.reshape(rows.shape[0], -1),
        columns.reshape(columns.shape[0], -1).T,
        precision=jax.lax.Precision.HIGHEST,
    )
    return flat.reshape(rows.shape[0], *in_shape)


def _dot(rows: jax.Array, vector: jax.Array) -> jax.Array:
    return jnp.matmul(
        rows.reshape(rows.shape[0], -1), vector.reshape(-1), precision=jax.lax.Precision.HIGHEST
    )
