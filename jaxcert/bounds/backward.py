"""Backward propagation of linear forms: the pass that CROWN, Fast-Lin and elision share.

A specification `coeffs . node` of one node is rewritten, node by node towards the input,
until only nodes in `stop` carry coefficients. Linear nodes hand their coefficients through
their transpose, which is exact. An activation is replaced by its lower line where its
coefficient is positive and its upper line where it is negative, which bounds the
specification from below. With one slope for both lines the coefficients of the lower and
the upper bound agree, so one pass serves both (`two_sided`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp

from jaxcert.bounds.rules import Rules
from jaxcert.graph import Graph, Node
from jaxcert.graph.ir import BILINEAR, STRUCTURAL
from jaxcert.relax import ACTIVATIONS, Activation, Lines


@dataclass(frozen=True)
class Step:
    """What a rule hands back: coefficients per input, and what it adds to the two offsets."""

    coeffs: tuple[jax.Array, ...]
    lower: jax.Array | float = 0.0
    upper: jax.Array | float = 0.0


@dataclass(frozen=True)
class Frontier:
    """A specification in terms of the nodes where the pass stopped.

    `sum_i coeffs[i] . node_i + lower <= specification <= sum_i coeffs[i] . node_i + upper`;
    the upper half is meaningful after a two-sided pass only.
    """

    coeffs: Mapping[int, jax.Array]
    lower: jax.Array
    upper: jax.Array


def linear(node: Node, coeffs: jax.Array, lines: Callable[[], Lines], two_sided: bool) -> Step:
    """Exact: `c . (A x) = (A^T c) . x` for every linear node."""
    del lines, two_sided
    fn = partial(node.apply, node.consts)
    transposed = jax.linear_transpose(fn, *node.operands)
    return Step(tuple(jax.vmap(transposed)(coeffs)))


def translation(node: Node, coeffs: jax.Array, lines: Callable[[], Lines], two_sided: bool) -> Step:
    """Exact: `c . (x + b) = c . x + c . b`."""
    del lines, two_sided
    offset = jnp.broadcast_to(jnp.asarray(node.consts[0], node.dtype), node.shape)
    constant = (coeffs * offset[None]).sum(tuple(range(1, coeffs.ndim)))
    return Step((coeffs,), constant, constant)


def relaxed(record: Activation) -> Callable[..., Step]:
    """Sound: each entry is bounded by the line on the side its coefficient asks for."""

    def rule(node: Node, coeffs: jax.Array, lines: Callable[[], Lines], two_sided: bool) -> Step:
        enclosure = Lines(*(part[None] for part in lines()))
        return enclose(coeffs, enclosure, tuple(range(1, 1 + len(node.shape))), two_sided)

    rule.__name__ = f"relaxed_{record.name}"
    return rule


def enclose(coeffs: jax.Array, lines: Lines, axes: tuple[int, ...], two_sided: bool) -> Step:
    """Replace an activation by its lines: `coeffs` and the parts of `lines` broadcast; sums over `axes`.

    With `two_sided` the two slopes are equal, and so are the coefficients of both bounds.
    """
    negative = coeffs < 0
    below = (coeffs * jnp.where(negative, lines.upper_offset, lines.lower_offset)).sum(axes)
    if two_sided:
        above = (coeffs * jnp.where(negative, lines.lower_offset, lines.upper_offset)).sum(axes)
        return Step((coeffs * lines.lower_slope,), below, above)
    return Step((coeffs * jnp.where(negative, lines.upper_slope, lines.lower_slope),), below, below)


CROWN_RULES = Rules(
    dict.fromkeys(sorted(STRUCTURAL | BILINEAR), linear)
    | {"shift": translation}
    | {record.name: relaxed(record) for record in ACTIVATIONS}
)

_RECORDS = {record.name: record for record in ACTIVATIONS}


def record_of(node: Node) -> Activation | None:
    """The activation record of a node, None for other kinds."""
    return _RECORDS.get(node.kind)


def propagate(
    graph: Graph,
    target: int,
    coeffs: jax.Array,
    *,
    lines: Callable[[int], Lines],
    stop: Callable[[int], bool],
    rules: Rules,
    engine: str,
    two_sided: bool = False,
) -> Frontier:
    """Rewrite `coeffs . node_target` in terms of the nodes where `stop` holds (the input always).

    Args:
      coeffs: `[S, *shape of the target]`.
      lines: the enclosure of the activation at a node.
      two_sided: whether every enclosure met has one slope for both lines.
    """
    pending = {target: coeffs}
    done: dict[int, jax.Array] = {}
    lower = upper = jnp.zeros(coeffs.shape[:1], coeffs.dtype)
    for index in range(target, -1, -1):
        if index not in pending:
            continue
        current, node = pending.pop(index), graph.nodes[index]
        if index == 0 or stop(index):
            done[index] = current
            continue
        rule = rules.rule(node, engine)
        step = rule(node, current, partial(lines, index), two_sided)
        # A cast in the network makes terms of two widths; the target's is the one returned.
        lower, upper = lower + _as(step.lower, lower), upper + _as(step.upper, upper)
        for source, part in zip(node.inputs, step.coeffs, strict=True):
            pending[source] = pending[source] + part if source in pending else part
    return Frontier(done, lower, upper)


def _as(value: jax.Array | float, like: jax.Array) -> jax.Array:
    return jnp.asarray(value).astype(like.dtype)
