"""Backward bounds whose rounding errors are paid for, node by node.

Invariant of a backward pass, for all x in the region and exact node values v_i(x): the row's
specification is at least `sum_i c_i . v_i(x) + L`, with the doubles c_i and L taken as exact. Every step
replaces c by computed doubles and takes what they may be wrong by off L:

* linear node, v = A w: the new c' is within `e = gamma |A|^T |c|` of A^T c, and
  `|(A^T c - c') . w| <= e . m = gamma |c| . (|A| m)` with m >= |w| from the ranges below;
* activation or join: the slopes s are whatever the method chose, the offsets are proven for them
  (`curves`, `joins`); `c s` is rounded, which costs at most `2 u |c s| m`;
* sums of coefficients from several consumers: rounded once, likewise;
* at the input: the region's proven minimum (`least`).

Ranges: interval arithmetic rounded outwards for every node, tightened by the proven bounds of the
operands of activations.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from jaxcert.bounds.enclosures import SPECIFICATION
from jaxcert.certify.rigorous.least import ExactRegion
from jaxcert.certify.rigorous.linear_maps import LinearMap
from jaxcert.certify.rigorous.nodes import Bent, Range, bent, step_range
from jaxcert.certify.rigorous.rounding import (
    FLOOR,
    Array,
    dot_below,
    down,
    gamma,
    weight_above,
    without_subnormals,
)
from jaxcert.errors import InvalidInputError
from jaxcert.graph import Graph
from jaxcert.graph.ir import LINEAR

Slopes = tuple[tuple[Array, ...], tuple[Array, ...]]
Choose = Callable[[tuple[int, int, int], Bent, list[Range]], Slopes]
"""`choose((target, sign, order), activation, ranges)`: lower and upper slopes, one array per operand.

Each array is shaped like the activation, or has a leading axis with one entry per row of the pass."""


@dataclass
class Passes:
    """Proven ranges and backward bounds of one graph on one region.

    Attributes:
      graph: float64 throughout.
      choose: the slopes of every activation, in any pass; sound whatever it answers.
      by_intervals: whether activations take their ranges from interval arithmetic alone (exact
        rows of values that are affine in a ball's input apart), else from backward passes.
      stops: whether the last pass stops at activations and takes their ranges, as IBP does.
      block: rows of a backward pass that are computed at once.
    """

    graph: Graph
    region: ExactRegion
    choose: Choose
    by_intervals: bool
    stops: bool
    block: int
    hulls: dict[int, Range] = field(default_factory=dict)
    known: dict[int, Range] = field(default_factory=dict)

    def __post_init__(self):
        nodes = list(enumerate(self.graph.nodes))
        self._maps = {i: LinearMap(node) for i, node in nodes if node.kind in LINEAR}
        self._bent = {i: bent(node) for i, node in nodes if i and node.kind not in LINEAR | {"shift"}}
        self._order = {index: order for order, index in enumerate(self._bent)}
        self._affine = self.graph.affine_in_input()
        shape = self.graph.in_shape
        ends = without_subnormals(self.region.lower, self.region.upper)
        self.hulls[0] = self.known[0] = Range(*(end.reshape(shape) for end in ends))

    def solve(self) -> None:
        """Find the ranges of all nodes, first to last."""
        wanted = {i for index in self._bent for i in self.graph.nodes[index].inputs}
        for index in range(1, len(self.graph.nodes)):
            node = self.graph.nodes[index]
            inputs = [self.hulls[i] for i in node.inputs]
            self.hulls[index] = step_range(node, self._maps.get(index), self._bent.get(index), inputs)
            if index in wanted:
                found = self._range(index)
                self.known[index] = found
                self.hulls[index] = self.hulls[index].meet(found)

    def lower(self, coeffs: Array, offset: Array) -> Array:
        """Lower bounds `[S]` of `coeffs @ output + offset`."""
        stop = set(self._bent) if self.stops else set()
        return down(self._lower(self.graph.output, coeffs, (SPECIFICATION, 1), stop) + offset)

    def _range(self, index: int) -> Range:
        """The range by which an activation's lines are chosen: as tight as the method makes it."""
        node = self.graph.nodes[index]
        if index == 0:
            return self.hulls[0]
        if self._affine[index]:
            exact = self.region.is_box and self.graph.box_exact()[index]
            return self.hulls[index] if exact else self._by_rows(index)
        if self.by_intervals:
            return self.hulls[index]
        moved = index in self._maps and self._maps[index].moves
        if index in self._bent or moved or self._rests_on_bent(index):
            inputs = [self._known(i) for i in node.inputs]
            return step_range(node, self._maps.get(index), self._bent.get(index), inputs)
        return self._by_rows(index)

    def _rests_on_bent(self, index: int) -> bool:
        """Whether a node only moves, multiplies and shifts the entries of one activation, as in 1 + |x|."""
        if self.graph.nodes[index].kind not in ("scale", "shift"):
            return False
        while index not in self._bent:
            node = self.graph.nodes[index]
            single = len(node.inputs) == 1
            if not single or not (
                node.kind in ("scale", "shift") or (index in self._maps and self._maps[index].moves)
            ):
                return False
            (index,) = node.inputs
        return True

    def _known(self, index: int) -> Range:
        if index not in self.known:
            self.known[index] = self._range(index)
        return self.known[index]

    def _by_rows(self, target: int) -> Range:
        size, shape = self.graph.nodes[target].size, self.graph.nodes[target].shape
        ends = {1: np.empty(size), -1: np.empty(size)}
        for start in range(0, size, self.block):
            entries = np.arange(start, min(start + self.block, size))
            rows = (entries[:, None] == np.arange(size)[None, :]).astype(np.float64)
            for sign in ends:
                ends[sign][entries] = self._lower(target, sign * rows, (target, sign), set(), entries)
        return Range(ends[1].reshape(shape), -ends[-1].reshape(shape))

    def _lower(
        self,
        target: int,
        coeffs: Array,
        key: tuple[int, int],
        stop: set[int],
        entries: Array | slice = slice(None),
    ) -> Array:
        """Lower bounds of `coeffs . node`; at nodes in `stop` by their ranges."""
        pending = {target: coeffs.reshape(coeffs.shape[0], -1)}
        total = np.zeros(coeffs.shape[0])
        for index in range(target, 0, -1):
            if index not in pending:
                continue
            current, node = pending.pop(index), self.graph.nodes[index]
            if index in stop:
                hull = self.hulls[index]
                ends = np.where(current < 0, hull.upper.reshape(-1), hull.lower.reshape(-1))
                total = down(total + dot_below(current, ends))
                continue
            if node.kind == "shift":
                constant = np.broadcast_to(np.asarray(node.consts[0]), node.shape).reshape(-1)
                parts, gain = (current,), dot_below(current, constant)
            elif index in self._maps:
                parts, gain = self._through_map(index, current)
            else:
                parts, gain = self._through_bent(index, current, key, entries)
            total = down(total + gain)
            for source, part in zip(node.inputs, parts, strict=True):
                if source in pending:
                    part = pending[source] + part
                    total = down(total - self._rounded_once(source, part))
                pending[source] = part
        if 0 in pending:
            total = down(total + self.region.minimum_below(pending[0]))
        return total

    def _magnitudes(self, index: int) -> Array:
        hull = self.hulls[index]
        return np.maximum(np.abs(hull.lower), np.abs(hull.upper))

    def _rounded_once(self, source: int, coeffs: Array) -> Array:
        """What rounding each of these coefficients of a node once may cost."""
        magnitudes = self._magnitudes(source).reshape(-1)
        return 2.0**-52 * weight_above(coeffs, magnitudes) + FLOOR * (1 + magnitudes.sum())

    def _through_map(self, index: int, coeffs: Array) -> tuple[tuple[Array, ...], Array]:
        node, linear = self.graph.nodes[index], self._maps[index]
        parts = linear.backward(coeffs.reshape(-1, *node.shape))
        flat = tuple(part.reshape(len(coeffs), -1) for part in parts)
        magnitudes = [self._magnitudes(i) for i in node.inputs]
        total = sum(m.sum() for m in magnitudes)
        loss = linear.floor(coeffs) * (1 + total)
        if linear.weighted or linear.fan_out > 1:
            reach = linear.reach_above(magnitudes).reshape(-1)
            loss = loss + gamma(linear.fan_out) * weight_above(coeffs, reach)
        return flat, -np.broadcast_to(loss, len(coeffs))

    def _through_bent(
        self, index: int, coeffs: Array, key: tuple[int, int], entries: Array | slice
    ) -> tuple[list[Array], Array]:
        node, function = self.graph.nodes[index], self._bent[index]
        ranges = [self.known[i] for i in node.inputs]
        below, above = self.choose((*key, self._order[index]), function, ranges)
        below, above = (
            tuple(_of_rows(s, len(node.shape), entries, len(coeffs)) for s in part) for part in (below, above)
        )
        offsets = [_rows(part) for part in function.offsets(ranges, below, above)]
        negative = coeffs < 0
        gain = dot_below(coeffs, np.where(negative, offsets[1], offsets[0]))
        parts = []
        for source, low, high in zip(node.inputs, below, above, strict=True):
            part = coeffs * np.where(negative, _rows(high), _rows(low))
            gain = down(gain - self._rounded_once(source, part))
            parts.append(part)
        return parts, gain


def _of_rows(slopes: Array, ndim: int, entries: Array | slice, rows: int) -> Array:
    """Slopes with a leading axis of rows: 1 where all rows share them, else those of the rows present."""
    if slopes.ndim == ndim:
        return slopes[None]
    if len(slopes) == 1:
        return slopes
    found = slopes if isinstance(entries, slice) else slopes[entries[entries < len(slopes)]]
    if len(found) != rows:
        raise InvalidInputError(
            f"slopes per row are given for {len(slopes)} rows, which are not those of the pass."
        )
    return found


def _rows(value: Array) -> Array:
    return value.reshape(value.shape[0], -1)
