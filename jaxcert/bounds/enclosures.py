"""What a backward method knows of a graph on a region: intervals and planes, first to last.

Every activation and join is enclosed by planes over the intervals of its operands; an
operand's interval comes from a backward pass that uses the planes of everything before it.
Two kinds of nodes need no pass of their own: an activation or a join has the exact image of
its operands' intervals, which is never looser than a pass through its planes for increasing
functions of one operand, and entries that are only moved keep their intervals.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp

from jaxcert.bounds.affine import affine_range
from jaxcert.bounds.backward import record_of
from jaxcert.bounds.blocks import in_blocks
from jaxcert.bounds.patches import Patches
from jaxcert.bounds.rules import Rules
from jaxcert.bounds.shifts import Shifts, shifts_before_activations
from jaxcert.bounds.sweep import Frontier, Lift, propagate, range_of
from jaxcert.bounds.types import Bounds
from jaxcert.chunking import Limit
from jaxcert.errors import InvalidInputError
from jaxcert.graph import Graph
from jaxcert.graph.ir import ENTRYWISE
from jaxcert.regions import Region
from jaxcert.relax import Planes, Record
from jaxcert.relax.slopes import Adaptive, Fixed, Given, Parallel, PerRow, Slope

SPECIFICATION = -1  # the target number under which per-row slopes of the last pass are kept

_MULTIPLES = frozenset({"shift", "scale"})


@dataclass
class Enclosures:
    """Intervals of nodes and planes of activations, filled in as they are asked for.

    Attributes:
      slope: how each free plane is chosen.
      rules: the rule table of the passes.
      limit: what the rows of one pass may take; more are computed in blocks.
      ranges: intervals known so far, by node.
    """

    graph: Graph
    region: Region
    slope: Slope
    rules: Rules
    limit: Limit
    ranges: dict[int, Bounds] = field(default_factory=dict)
    cut: Callable[[int, Bounds], Bounds] = lambda index, bounds: bounds
    _planes: dict[int, Planes] = field(default_factory=dict)

    def __post_init__(self):
        nodes = enumerate(self.graph.nodes)
        self.records: dict[int, Record] = {
            i: found for i, node in nodes if (found := record_of(node)) is not None
        }
        self._order = {index: order for order, index in enumerate(self.records)}
        per_row = isinstance(self.slope, PerRow)  # whose planes are made anew in every pass
        self._shifts = Shifts() if per_row else shifts_before_activations(self.graph, self.rules)
        if isinstance(self.slope, Given) and len(self.slope.alphas) != len(self.records):
            raise InvalidInputError(
                f"slopes hold {len(self.slope.alphas)} arrays but the network has {len(self.records)} "
                "activations: give one array for each, in order."
            )

    def sources(self, target: int) -> tuple[int, ...]:
        """The nodes before a target whose intervals its backward pass needs, in order."""
        return self.graph.sources(target, frozenset(self.records))

    def known(self, target: int) -> Bounds:
        """Lower and upper bounds of every entry of a node."""
        if target not in self.ranges:
            for source in self.sources(target):
                self.known(source)
            self.ranges[target] = self.cut(target, self._range(target))
        return self.ranges[target]

    def rows(self, target: int, coeffs: jax.Array | Patches, key: tuple, two_sided: bool) -> Frontier:
        """A backward pass from rows of coefficients on a node to the input."""
        self._prepare(target)

        def planes(index: int, lift: Lift, shape: tuple[int, ...]) -> Planes:
            return self._enclosure(index, lift, shape, key)

        return propagate(
            self.graph,
            target,
            coeffs,
            planes=planes,
            stop=lambda _: False,
            rules=self.rules,
            engine="crown",
            two_sided=two_sided,
            passed=lambda index: self._shifts.passed(index, target),
        )

    def _range(self, target: int) -> Bounds:
        node, record = self.graph.nodes[target], self.records.get(target)
        if record is not None:
            lowers, uppers = self._ends(target)
            return Bounds(*record.range(lowers, uppers, *node.consts))
        if node.kind in ENTRYWISE and self.rules.get(node.kind) is not None:
            inputs = [self.known(i) for i in node.inputs]
            lower = node.apply(node.consts, *(b.lower for b in inputs))
            return Bounds(lower, node.apply(node.consts, *(b.upper for b in inputs)))
        if node.kind in _MULTIPLES and self._rests_on_record(target):
            # Exact entry by entry, so that 1 + |x| is at least 1: a pass need not see that.
            x = self.known(node.inputs[0])
            ends = node.apply(node.consts, x.lower), node.apply(node.consts, x.upper)
            return Bounds(jnp.minimum(*ends), jnp.maximum(*ends))
        return self.passes(target)

    def _rests_on_record(self, target: int) -> bool:
        """Whether a node only moves, multiplies and shifts the entries of one activation."""
        while len(self.graph.nodes[target].inputs) == 1:
            if target in self.records:
                return True
            node = self.graph.nodes[target]
            if node.kind not in ENTRYWISE | _MULTIPLES:
                return False
            (target,) = node.inputs
        return False

    def passes(self, target: int) -> Bounds:
        """Bounds of every entry of a node by backward passes with one row per entry."""
        if self.graph.affine_in_input()[target]:
            return affine_range(self.graph, self.region, target)
        # An upper bound of z is minus a lower bound of -z.
        low, high = self._signed(target, 1)
        if not self.slope.shared:
            high = -self._signed(target, -1)[0]
        shape = self.graph.nodes[target].shape
        return Bounds(low.reshape(shape), high.reshape(shape))

    def _prepare(self, target: int) -> None:
        """Find what a pass from the target needs, outside any loop that the pass may run in."""
        for source in self.sources(target):
            self.known(source)
        if not isinstance(self.slope, PerRow):
            for index in self.graph.ancestors((target,)):
                if index in self.records and index not in self._planes:
                    self._planes[index] = self._planes_of(index, self.slope)

    def _planes_of(self, index: int, slope: Adaptive | Parallel | Fixed | Given) -> Planes:
        lowers, uppers = self._ends(index)
        node = self.graph.nodes[index]
        planes = slope.planes(self.records[index], self._order[index], lowers, uppers, node.consts)
        return self._shifts.taken_in(self.graph, index, planes)

    def _signed(self, target: int, sign: int) -> tuple[jax.Array, jax.Array]:
        """Lower bounds (and, with shared slopes, upper bounds) `[rows]` of `sign` times every entry."""

        def evaluate(form: jax.Array | Patches) -> tuple[jax.Array, jax.Array]:
            found = self.rows(target, form, (target, sign), self.slope.shared)
            low, high = range_of(self.region, found.coeffs[0])
            dtype = found.lower.dtype
            return low.astype(dtype) + found.lower, high.astype(dtype) + found.upper

        self._prepare(target)
        # Slopes per row belong to all rows of a pass.
        limit = None if isinstance(self.slope, PerRow) else self.limit
        return in_blocks(evaluate, self.graph, target, sign, limit)

    def _enclosure(self, index: int, lift: Lift, shape: tuple[int, ...], key: tuple) -> Planes:
        if isinstance(self.slope, PerRow):
            return self._enclosure_per_row(self.slope, index, lift, shape, key)
        return jax.tree_util.tree_map(lift, self._planes[index])

    def _enclosure_per_row(
        self, slope: PerRow, index: int, lift: Lift, shape: tuple[int, ...], key: tuple
    ) -> Planes:
        """Planes with a position for every row; outside the node (windows at a border) they are 0."""
        record, node = self.records[index], self.graph.nodes[index]
        lowers, uppers = self._ends(index)
        inside = lift(jnp.ones(node.shape, node.dtype)) > 0

        def within(value: jax.Array) -> jax.Array:
            full = jnp.broadcast_to(value, node.shape)
            return jnp.where(inside, lift(full), full.reshape(-1)[0])

        planes = slope.planes(
            record,
            (*key, self._order[index]),
            tuple(map(within, lowers)),
            tuple(map(within, uppers)),
            tuple(c if isinstance(c, int) else within(jnp.asarray(c, node.dtype)) for c in node.consts),
            shape,
        )
        return jax.tree_util.tree_map(lambda part: jnp.where(inside, part, 0), planes)

    def _ends(self, index: int) -> tuple[tuple[jax.Array, ...], tuple[jax.Array, ...]]:
        inputs = [self.known(i) for i in self.graph.nodes[index].inputs]
        return tuple(b.lower for b in inputs), tuple(b.upper for b in inputs)
