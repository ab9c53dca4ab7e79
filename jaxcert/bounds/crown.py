"""CROWN and its kind: linear bounds by backward propagation.

Every activation is enclosed by two lines that depend on the interval of its input (its
intermediate bounds). `crown()` obtains those intervals from CROWN itself, one backward
pass per layer; `crown_ibp()` takes them from IBP and runs only the last pass;
`fast_lin()` is CROWN with parallel lines, which equals the dual bound of Wong and Kolter.
Source: CROWN (Zhang et al. 2018); theses/4a (3.3)-(3.7), Algorithm 3.1; theses/1 (2.18)-(2.20),
§1.4.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import jax
import jax.numpy as jnp

from jaxcert.bounds.backward import CROWN_RULES, Frontier, propagate, record_of
from jaxcert.bounds.ibp import Ibp, affine_range, ibp
from jaxcert.bounds.patches import dense, patch_range, patch_start, patch_step, small
from jaxcert.bounds.rules import Rules
from jaxcert.bounds.specification import Function, graph_of, specification
from jaxcert.bounds.types import Bounds, LinearBounds, LinearForm
from jaxcert.errors import InvalidInputError
from jaxcert.graph import Graph, Node
from jaxcert.regions import Region, linear_range, minimize_linear
from jaxcert.relax import Lines
from jaxcert.relax.slopes import Adaptive, Fixed, Given, Parallel, Slope, adaptive, given, parallel


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Crown:
    """Backward linear bounds. Make one with `crown()`, `fast_lin()` or `crown_ibp()`."""

    slope: Slope = adaptive
    intermediate: Ibp | None = None
    rules: Rules = field(default=CROWN_RULES, metadata={"static": True})

    def __call__(self, fn: Function, region: Region) -> Bounds:
        """Return lower and upper bounds of every output of fn over the region, shaped like fn(x)."""
        graph = graph_of(fn, region)
        return self._range(graph, region, graph.output, self._enclosures(graph, region))

    def lower(
        self, fn: Function, region: Region, coeffs: jax.Array, offset: jax.Array | None = None
    ) -> jax.Array:
        """Return lower bounds `[S]` of `coeffs @ fn(x) + offset`; coeffs `[S, *out]`."""
        graph = graph_of(fn, region)
        spec = specification(graph, coeffs, offset)
        form = self._pass(graph, graph.output, spec.coeffs, self._enclosures(graph, region), False)
        least = minimize_linear(region, form.coeffs[0])
        return least.astype(form.lower.dtype) + form.lower + spec.offset

    def linear(self, fn: Function, region: Region) -> LinearBounds:
        """Return linear functions of the input that enclose every output of fn over the region."""
        graph = graph_of(fn, region)
        below, above = self._both(graph, graph.output, self._enclosures(graph, region))
        shape, full = graph.out_shape, (*graph.out_shape, *graph.in_shape)
        return LinearBounds(
            LinearForm(below[0].reshape(full), below[1].reshape(shape)),
            LinearForm(above[0].reshape(full), above[1].reshape(shape)),
        )

    def linear_lower(
        self, fn: Function, region: Region, coeffs: jax.Array, offset: jax.Array | None = None
    ) -> LinearForm:
        """Return linear functions of the input below `coeffs @ fn(x) + offset` over the region.

        coeffs `[S, *out]`, offset `[S]`; the form has coeffs `[S, *in]` and offset `[S]`.
        """
        graph = graph_of(fn, region)
        spec = specification(graph, coeffs, offset)
        form = self._pass(graph, graph.output, spec.coeffs, self._enclosures(graph, region), False)
        return LinearForm(form.coeffs[0], form.lower + spec.offset)

    def _enclosures(self, graph: Graph, region: Region) -> dict[int, Lines]:
        """The two lines of every activation, first to last: each needs only those before it."""
        records = {i: record for i, node in enumerate(graph.nodes) if (record := record_of(node)) is not None}
        if isinstance(self.slope, Given) and len(self.slope.alphas) != len(records):
            raise InvalidInputError(
                f"slopes hold {len(self.slope.alphas)} arrays but the network has {len(records)} "
                "activations: give one array for each, in order."
            )
        sources = tuple(dict.fromkeys(graph.nodes[i].inputs[0] for i in records))
        ranges = {} if self.intermediate is None else self.intermediate.ranges(graph, region, sources)
        lines: dict[int, Lines] = {}
        for order, (index, record) in enumerate(records.items()):
            node = graph.nodes[index]
            source = node.inputs[0]
            if source not in ranges:
                ranges[source] = self._range(graph, region, source, lines)
            interval = ranges[source]
            lines[index] = self.slope.lines(record, order, interval.lower, interval.upper, node.consts)
        return lines

    def _range(self, graph: Graph, region: Region, target: int, lines: dict[int, Lines]) -> Bounds:
        """Lower and upper bounds of one node, by a backward pass with one row per entry."""
        if graph.affine_in_input()[target]:
            return affine_range(graph, region, target)
        shape = graph.nodes[target].shape
        low, high = self._rows(graph, region, target, lines, 1.0)
        if not self.slope.shared:
            # An upper bound of z is minus a lower bound of -z.
            high = -self._rows(graph, region, target, lines, -1.0)[0]
        return Bounds(low.reshape(shape), high.reshape(shape))

    def _rows(
        self, graph: Graph, region: Region, target: int, lines: dict[int, Lines], sign: float
    ) -> tuple[jax.Array, jax.Array]:
        """Lower bounds (and, with shared slopes, upper bounds) of `sign` times every entry of a node."""
        shared = self.slope.shared
        patches, index = patch_start(graph, target), target
        if patches is None:
            return self._concrete(graph, region, target, sign * _identity(graph, target), lines)
        patches = replace(patches, coeffs=sign * patches.coeffs)
        while index and small(graph, index, patches) and self._usual(graph.nodes[index]):
            step = patch_step(graph, index, patches, lines.__getitem__, shared)
            if step is None:
                break
            patches, index = step, graph.nodes[index].inputs[0]
        if index == 0:
            low, high = patch_range(region, patches)
        else:
            low, high = self._concrete(graph, region, index, dense(graph, index, patches), lines)
        shape, dtype = patches.lower.shape, patches.lower.dtype
        return (
            low.reshape(shape).astype(dtype) + patches.lower,
            high.reshape(shape).astype(dtype) + patches.upper,
        )

    def _concrete(
        self, graph: Graph, region: Region, target: int, coeffs: jax.Array, lines: dict[int, Lines]
    ) -> tuple[jax.Array, jax.Array]:
        """The range `[S]` of dense specifications of a node (its upper end with shared slopes only)."""
        form = self._pass(graph, target, coeffs, lines, self.slope.shared)
        low, high = linear_range(region, form.coeffs[0])
        return low.astype(form.lower.dtype) + form.lower, high.astype(form.upper.dtype) + form.upper

    def _usual(self, node: Node) -> bool:
        """Whether the rule table has the rule that the patch pass implements."""
        return node.kind in CROWN_RULES and self.rules.get(node.kind) is CROWN_RULES[node.kind]

    def _both(self, graph: Graph, target: int, lines: dict[int, Lines]):
        """Coefficients and offsets of the lower and the upper linear bound of every entry."""
        identity = _identity(graph, target)
        if self.slope.shared:
            form = self._pass(graph, target, identity, lines, True)
            return (form.coeffs[0], form.lower), (form.coeffs[0], form.upper)
        # An upper bound of z is minus a lower bound of -z.
        below = self._pass(graph, target, identity, lines, False)
        above = self._pass(graph, target, -identity, lines, False)
        return (below.coeffs[0], below.lower), (-above.coeffs[0], -above.lower)

    def _pass(
        self, graph: Graph, target: int, coeffs: jax.Array, lines: dict[int, Lines], two_sided: bool
    ) -> Frontier:
        return propagate(
            graph,
            target,
            coeffs,
            lines=lines.__getitem__,
            stop=lambda _: False,
            rules=self.rules,
            engine="crown",
            two_sided=two_sided,
        )


def crown(
    slope: Slope | Sequence[jax.Array] = adaptive, intermediate: Ibp | None = None, rules: Rules = CROWN_RULES
) -> Crown:
    """Return CROWN as a method `(fn, region) -> Bounds`, with `.lower` and `.linear`.

    Sound for every region and every slope. Neither always tighter nor looser than IBP.
    Cost: one backward pass per activation layer with as many rows as the layer has neurons,
    so memory grows as neurons x widest layer: pass a batch in chunks, `jax.lax.map(..., batch_size=)`.

    Args:
      slope: the free line of each relaxation: `slopes.adaptive`, `parallel`, `zero`, `one`,
        or one array in [0, 1] per activation.
      intermediate: the method for intermediate bounds; `None` for CROWN itself.
      rules: the rule table; extend it with `CROWN_RULES | {kind: rule}`.

    Raises (on use):
      UnsupportedPrimitiveError: fn needs an operation without a rule.

    Source: Zhang et al. 2018; theses/4a Algorithm 3.1 (whose printed product limit L-1 must be k).

    Example:
      >>> import jax.numpy as jnp, jaxcert as jc
      >>> fn = lambda x: jnp.maximum(x, 0.0) - 0.5 * x
      >>> bounds = jc.crown()(fn, jc.linf_ball(jnp.zeros(()), 1.0))
      >>> float(bounds.lower), float(bounds.upper)
      (-0.5, 0.5)
    """
    chosen = given(slope) if isinstance(slope, list | tuple) else slope
    if not isinstance(chosen, Adaptive | Parallel | Fixed | Given):
        raise InvalidInputError(
            "slope must be slopes.adaptive, parallel, zero, one or a list of arrays, got "
            f"{type(slope).__name__}."
        )
    if not (intermediate is None or isinstance(intermediate, Ibp)):
        raise InvalidInputError(
            f"intermediate must be None (crown itself) or ibp(), got {type(intermediate).__name__}."
        )
    return Crown(chosen, intermediate, rules)


def crown_ibp(slope: Slope | Sequence[jax.Array] = adaptive) -> Crown:
    """Return CROWN-IBP: IBP for the intermediate bounds, one backward pass for the last layer.

    The same as `crown(intermediate=ibp())`. Cost: IBP plus one backward pass with one row per
    specification. Sound; see `crown`. Source: theses/1 §1.4.

    Example:
      >>> import jax.numpy as jnp, jaxcert as jc
      >>> jc.crown_ibp() == jc.crown(intermediate=jc.ibp())
      True
    """
    return crown(slope, ibp())


def fast_lin() -> Crown:
    """Return Fast-Lin: CROWN with one slope for the two lines of each activation.

    For ReLU networks it equals the dual bound of Wong and Kolter with alpha = u / (u - l).
    One pass serves both bounds, so it costs half of `crown()`. Sound.
    Source: theses/4a (3.4), Algorithm 3.1; theses/1 (2.18)-(2.20).

    Example:
      >>> import jax.numpy as jnp, jaxcert as jc
      >>> bounds = jc.fast_lin()(lambda x: jnp.maximum(x, 0.0), jc.linf_ball(jnp.zeros(()), 1.0))
      >>> float(bounds.lower), float(bounds.upper)
      (-0.5, 1.0)
    """
    return crown(parallel)


def _identity(graph: Graph, target: int) -> jax.Array:
    node = graph.nodes[target]
    return jnp.eye(node.size, dtype=node.dtype).reshape(node.size, *node.shape)
