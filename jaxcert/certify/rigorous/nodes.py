"""What the passes ask of one node: its range from its operands' ranges, and offsets for its slopes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from jaxcert.certify.rigorous.catalogue import CURVES, power
from jaxcert.certify.rigorous.curves import Curve
from jaxcert.certify.rigorous.joins import COMBINATIONS, Combination
from jaxcert.certify.rigorous.linear_maps import LinearMap
from jaxcert.certify.rigorous.rounding import Array, down, gamma, up, without_subnormals
from jaxcert.errors import UnsupportedPrimitiveError
from jaxcert.graph import Node


class Range(NamedTuple):
    """Two doubles around every exact entry of a node, for every input of the region."""

    lower: Array
    upper: Array

    def meet(self, other: "Range") -> "Range":
        """The intersection; NaN in either stays."""
        return Range(np.maximum(self.lower, other.lower), np.minimum(self.upper, other.upper))


@dataclass(frozen=True)
class Bent:
    """An activation or join of a graph with its parameters as numpy arrays.

    Attributes:
      proven: whether its evaluation rests on arithmetic alone, see `catalogue`.
    """

    node: Node
    rule: Curve | Combination
    params: tuple[Array, ...]

    @property
    def proven(self) -> bool:
        return isinstance(self.rule, Combination) or self.rule.proven

    def image(self, inputs: Sequence[Range]) -> Range:
        if isinstance(self.rule, Combination):
            return Range(*self.rule.image([r.lower for r in inputs], [r.upper for r in inputs]))
        return Range(*self.rule.image(inputs[0].lower, inputs[0].upper, *self.params))

    def offsets(self, ranges: Sequence[Range], below: Sequence[Array], above: Sequence[Array]) -> list[Array]:
        """Proven offsets of the lower and the upper plane with these slopes, rows first."""
        lowers, uppers = [r.lower[None] for r in ranges], [r.upper[None] for r in ranges]
        if isinstance(self.rule, Combination):
            return [
                self.rule.offset_below(lowers, uppers, below),
                self.rule.offset_above(lowers, uppers, above),
            ]
        return [
            self.rule.offset_below(lowers[0], uppers[0], below[0], *self.params),
            self.rule.offset_above(lowers[0], uppers[0], above[0], *self.params),
        ]


def bent(node: Node) -> Bent:
    """The rigorous evaluation of an activation or join.

    Raises:
      UnsupportedPrimitiveError: there is none for this kind.
    """
    if node.kind in COMBINATIONS:
        return Bent(node, COMBINATIONS[node.kind], ())
    if node.kind == "integer_pow":
        return Bent(node, power(int(node.consts[0])), (np.asarray(node.consts[0]),))
    if node.kind in CURVES:
        return Bent(node, CURVES[node.kind], tuple(np.asarray(c, np.float64) for c in node.consts))
    raise UnsupportedPrimitiveError(
        f"rigorous bounds have no rule for '{node.primitive or node.kind}' at "
        f"{node.where or 'an unknown line'}: they know {', '.join([*CURVES, 'integer_pow', *COMBINATIONS])} "
        "and linear operations; use the ordinary methods in float64 instead."
    )


def step_range(node: Node, linear: LinearMap | None, function: Bent | None, inputs: Sequence[Range]) -> Range:
    """The range of a node from those of its operands, rounded outwards."""
    if function is not None:
        found = function.image(inputs)
    elif linear is None:
        constant = np.broadcast_to(np.asarray(node.consts[0]), node.shape)
        found = Range(down(inputs[0].lower + constant), up(inputs[0].upper + constant))
    elif linear.moves:
        found = Range(linear.forward(*(r.lower for r in inputs)), linear.forward(*(r.upper for r in inputs)))
    else:
        found = _linear_range(linear, inputs)
    return Range(*without_subnormals(*found))


def _linear_range(linear: LinearMap, inputs: Sequence[Range]) -> Range:
    """`A mid -+ |A| radius`, where mid is computed, and the radius measured from what was computed."""
    middles = [0.5 * r.lower + 0.5 * r.upper for r in inputs]
    radii = [
        up(np.maximum(up(r.upper - m), up(m - r.lower)) + gamma(linear.fan_in) * np.abs(m))
        for r, m in zip(inputs, middles, strict=True)
    ]
    value, reach = linear.forward(*middles), up(linear.reach_above(radii) + linear.floor(*middles))
    return Range(down(value - reach), up(value + reach))
