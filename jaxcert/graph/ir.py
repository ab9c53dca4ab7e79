"""The graph every engine walks: a function of one bounded input as a list of simple nodes.

A node's `kind` is the key of the engines' rule tables. `STRUCTURAL` nodes move or add up
entries with weights 0 or 1; `BILINEAR` nodes are linear in the bounded input and linear in
one constant; `shift` adds a constant. All other kinds are activations of `relax` or
primitives without a rule, which an engine refuses by name and source line.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import jax

from jaxcert.relax import ACTIVATIONS, JOINS

STRUCTURAL = frozenset(
    {
        "add",
        "broadcast_in_dim",
        "concatenate",
        "convert_element_type",
        "cumsum",
        "dynamic_slice",
        "expand_dims",
        "gather",
        "pad",
        "reduce_sum",
        "reduce_window_sum",
        "reshape",
        "rev",
        "select_n",
        "slice",
        "squeeze",
        "stack",
        "tile",
        "transpose",
    }
)
BILINEAR = frozenset({"dot", "conv", "scale"})
LINEAR = STRUCTURAL | BILINEAR
AFFINE = LINEAR | {"shift"}

# Kinds that rename, repeat or pick entries, so that an interval of each entry keeps its exactness.
ENTRYWISE = STRUCTURAL - {"add", "cumsum", "reduce_sum", "reduce_window_sum"}
# Before it: kinds that use every entry of their input at most once.
_INJECTIVE = frozenset(
    {
        "convert_element_type",
        "expand_dims",
        "pad",
        "reshape",
        "rev",
        "scale",
        "shift",
        "slice",
        "squeeze",
        "transpose",
    }
)


def opaque_kind(primitive: str) -> str:
    """The kind of a node without a translation: its primitive's name, unless that names a known kind.

    A cast to integers is no linear "convert_element_type": what was not translated must never
    meet the rule of what was.
    """
    known = AFFINE | {record.name for record in (*ACTIVATIONS, *JOINS)} | {"input"}
    return f"untranslated {primitive}" if primitive in known else primitive


@dataclass(frozen=True, eq=False)
class Node:
    """One operation.

    Attributes:
      kind: key in the engines' rule tables.
      inputs: positions of the bounded operands.
      consts: constant operands (the weight of a `BILINEAR` node, the parameters of an
        activation); arrays or tracers.
      apply: `apply(consts, *inputs) -> value`. For `LINEAR` kinds linear in the inputs.
      shape, dtype: of the value.
      operands: shape and dtype of each bounded operand.
      params: what the operation fixes besides its constants (the geometry of a convolution).
      where: source line of the user's code.
      primitive: the JAX primitive it came from.
    """

    kind: str
    inputs: tuple[int, ...]
    consts: tuple[jax.Array, ...]
    apply: Callable[..., jax.Array]
    shape: tuple[int, ...]
    dtype: jax.typing.DTypeLike
    operands: tuple[jax.ShapeDtypeStruct, ...] = ()
    params: Mapping[str, Any] = field(default_factory=dict)
    where: str = ""
    primitive: str = ""

    @property
    def size(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes in topological order; node 0 is the input, the last node the output."""

    nodes: tuple[Node, ...]

    @property
    def output(self) -> int:
        return len(self.nodes) - 1

    @property
    def in_shape(self) -> tuple[int, ...]:
        return self.nodes[0].shape

    @property
    def out_shape(self) -> tuple[int, ...]:
        return self.nodes[-1].shape

    def __call__(self, x: jax.Array) -> jax.Array:
        """Evaluate the graph at one input: the function that is bounded."""
        values = [x]
        for node in self.nodes[1:]:
            values.append(node.apply(node.consts, *(values[i] for i in node.inputs)))
        return values[-1]

    def sources(self, target: int, kinds: frozenset[int]) -> tuple[int, ...]:
        """The operands of the nodes in `kinds` that a target depends on, in order, itself included."""
        needed = kinds.intersection(self.ancestors((target,)))
        return tuple(sorted({i for index in needed for i in self.nodes[index].inputs}))

    def ancestors(self, targets: tuple[int, ...]) -> list[int]:
        """The targets and all that they depend on, in order."""
        needed = set(targets)
        for index in range(max(needed, default=0), 0, -1):
            if index in needed:
                needed.update(self.nodes[index].inputs)
        return sorted(needed)

    def affine_in_input(self) -> tuple[bool, ...]:
        """For each node, whether its value is an affine function of the input."""
        return self._affine

    def box_exact(self) -> tuple[bool, ...]:
        """For each node, whether interval arithmetic gives its exact range on a box.

        Interval arithmetic is exact on a box for entry-wise affine maps that use every input
        entry at most once, followed by at most one mixing map (dense, convolution, sum).
        """
        return self._exact

    @cached_property
    def _affine(self) -> tuple[bool, ...]:
        flags = [True]
        for node in self.nodes[1:]:
            flags.append(node.kind in AFFINE and all(flags[i] for i in node.inputs))
        return tuple(flags)

    @cached_property
    def _exact(self) -> tuple[bool, ...]:
        fresh, exact = [True], [True]
        for node in self.nodes[1:]:
            source = node.inputs[0]
            alone = len(node.inputs) == 1
            entrywise = alone and node.kind in ENTRYWISE | {"scale", "shift"}
            renames = node.kind == "broadcast_in_dim" and node.size == self.nodes[source].size
            fresh.append(alone and fresh[source] and (node.kind in _INJECTIVE or renames))
            exact.append((entrywise and exact[source]) or (alone and node.kind in AFFINE and fresh[source]))
        return tuple(exact)


def prune(nodes: list[Node], output: int) -> Graph:
    """Return the graph of the nodes that the output depends on, the input always kept."""
    needed = {0, output}
    for index in range(output, 0, -1):
        if index in needed:
            needed.update(nodes[index].inputs)
    order = sorted(needed)
    position = {old: new for new, old in enumerate(order)}
    kept = []
    for old in order:
        node = nodes[old]
        kept.append(replace(node, inputs=tuple(position[i] for i in node.inputs)))
    return Graph(tuple(kept))
