"""Constants added before an activation, taken into its planes.

`f(x + b)` lies between `slope * x + (slope * b + offset)` for the lines of f. Planes are per neuron, rows
of coefficients are many: taking b in there saves every backward pass a sum over all its coefficients.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp

from jaxcert.bounds.backward import CROWN_RULES
from jaxcert.bounds.rules import Rules
from jaxcert.graph import Graph
from jaxcert.relax import ACTIVATIONS, Planes
from jaxcert.relax.interval import materialised

_RENAMING = frozenset({"reshape", "squeeze", "expand_dims"})
_UNARY = frozenset(record.name for record in ACTIVATIONS)


@dataclass(frozen=True)
class Shifts:
    """The shifts of a graph that only activations see, directly or renamed.

    Attributes:
      before: activation -> the shift before it.
      until: shift -> the nodes from it up to its activations: a pass from one of those meets the
        shift itself, any other meets it through planes that hold it already.
    """

    before: Mapping[int, int] = field(default_factory=dict)
    until: Mapping[int, frozenset[int]] = field(default_factory=dict)

    def passed(self, index: int, target: int) -> bool:
        """Whether a pass from a target finds the constant of a node in the planes that it has met."""
        return index in self.until and target not in self.until[index]

    def taken_in(self, graph: Graph, index: int, planes: Planes) -> Planes:
        """The planes of an activation as functions of what its shift adds to, if it has one."""
        if index not in self.before:
            return planes
        node, shift = graph.nodes[index], graph.nodes[self.before[index]]
        constant = jnp.asarray(shift.consts[0], node.dtype)
        offset: jax.Array = jnp.broadcast_to(constant, shift.shape).reshape(node.shape)
        (low,), (up,) = planes.lower_slopes, planes.upper_slopes
        return planes._replace(
            lower_offset=materialised(planes.lower_offset + low * offset),
            upper_offset=materialised(planes.upper_offset + up * offset),
        )


def shifts_before_activations(graph: Graph, rules: Rules) -> Shifts:
    """Return the shifts all of whose uses are activations, as far as rules are the usual ones."""
    users: dict[int, list[int]] = {}
    for index, node in enumerate(graph.nodes):
        for source in node.inputs:
            users.setdefault(source, []).append(index)

    before, until = {}, {}
    for index, node in enumerate(graph.nodes):
        if node.kind != "shift" or rules.get("shift") is not CROWN_RULES["shift"] or index == graph.output:
            continue
        between, activations, pending = {index}, [], list(users.get(index, []))
        while pending:
            user = pending.pop()
            kind = graph.nodes[user].kind
            if kind in _UNARY and rules.get(kind) is CROWN_RULES[kind]:
                activations.append(user)
            elif kind in _RENAMING and graph.nodes[user].size == node.size and user in users:
                between.add(user)
                pending.extend(users[user])
            else:
                activations = []
                break
        if activations:
            before.update(dict.fromkeys(activations, index))
            until[index] = frozenset(between)
    return Shifts(before, until)
