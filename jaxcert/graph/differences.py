"""Softmax and log-softmax from differences, entries hidden by a mask included.

With differences d_j = x_j - x_i, which are linear in x,
  softmax(x)_i = 1 / (1 + sum_{j != i} exp(d_j)),   log_softmax(x)_i = -log(1 + sum_{j != i} exp(d_j)).
Differences to an entry that a constant puts far below the others would overflow: its probability is
that of the first visible entry k of its row times exp(x_i - x_k).
"""

from collections.abc import Callable
from math import prod
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxcert.graph import builder as ops
from jaxcert.graph.builder import Builder, Ref
from jaxcert.graph.ir import Graph, Node

Build = Callable[[Builder, Ref], Ref]
# Pairs of entries beyond which the differences of all of them cost more than they are worth.
_MOST_PAIRS = 1 << 24
# Constants that hide entries.
_FAR_BELOW = -1e4
_LOWEST = -1e30


class Finish(NamedTuple):
    """What is made of a sum, and of the value at a visible entry and how far a hidden one lies below it."""

    of_sum: Callable[[Builder, Ref], Ref]
    below: Callable[[Builder, Ref, Ref], Ref]


def _times_exponential(b: Builder, value: Ref, below: Ref) -> Ref:
    return ops.join(b, "multiply", value, ops.activation(b, "exp", below))


PROBABILITY = Finish(lambda b, total: ops.activation(b, "reciprocal", total), _times_exponential)
LOGARITHM = Finish(lambda b, total: ops.negate(b, ops.activation(b, "log", total)), ops.total)


def of_differences(graph: Graph, x: int, axes: tuple[int, ...], finish: Finish) -> Build | None:
    """Return how to compute softmax or log-softmax of a node along axes, None where it is too large."""
    shape = graph.nodes[x].shape
    count = prod(shape[axis] for axis in axes)
    if count < 2 or prod(shape) * (count - 1) > _MOST_PAIRS:
        return None
    rest = tuple(axis for axis in range(len(shape)) if axis not in axes)
    order = (*rest, *axes)
    lead = tuple(shape[axis] for axis in rest)
    others = (np.arange(count)[:, None] + np.arange(1, count)[None]) % count
    hidden = _hidden(graph.nodes[x], order, (*lead, count))
    shown = None if hidden is None else np.where(hidden, np.argmin(hidden, -1)[..., None], np.arange(count))

    def flatten(b: Builder, x: Ref) -> Ref:
        return ops.reshape(b, ops.transpose(b, x, order), (*lead, count))

    def build(b: Builder, x: Ref) -> Ref:
        flat = flatten(b, x) if hidden is None else _raised(b, x, order, hidden, flatten)
        own = ops.broadcast(b, ops.reshape(b, flat, (*lead, count, 1)), (*lead, count, count - 1))
        difference = ops.total(b, ops.take(b, flat, others, len(lead)), ops.negate(b, own))
        if hidden is not None:
            difference = _kept(b, difference, ~np.broadcast_to(hidden[..., None], (*lead, count, count - 1)))
        sums = ops.reduce_sum(b, ops.activation(b, "exp", difference), (len(lead) + 1,))
        value = finish.of_sum(b, ops.shift(b, sums, np.ones((), b.node(x).dtype)))
        if hidden is not None and shown is not None:
            shown_value = _picked(b, value, shown)
            below = ops.total(b, flat, ops.negate(b, _picked(b, flat, shown)))
            value = _either(b, hidden, finish.below(b, shown_value, below), value)
        value = ops.reshape(b, value, tuple(shape[axis] for axis in order))
        return ops.transpose(b, value, tuple(int(i) for i in np.argsort(order)))

    return build


def _hidden(node: Node, order: tuple[int, ...], shape: tuple[int, ...]) -> np.ndarray | None:
    """Which entries a constant puts far below the others of their row (a mask), None without a mask.

    A row without any other entry hides none: where all its offsets are -inf it has no softmax.
    """
    if node.kind != "shift" or isinstance(node.consts[0], Tracer):
        return None
    low = np.asarray(_offset(node, order, shape) <= _FAR_BELOW)
    rows = np.asarray(low.any(-1) & ~low.all(-1))
    return low & rows[..., None] if rows.any() else None


def _offset(node: Node, order: tuple[int, ...], shape: tuple[int, ...]) -> np.ndarray:
    return np.broadcast_to(np.asarray(node.consts[0]), node.shape).transpose(order).reshape(shape)


def _raised(
    b: Builder, x: Ref, order: tuple[int, ...], hidden: np.ndarray, flatten: Callable[[Builder, Ref], Ref]
) -> Ref:
    """x, flat, hidden offsets below `_LOWEST` raised to it: exponentials stay 0, sums do not overflow."""
    node = b.node(x)
    offset = _offset(node, order, hidden.shape)
    lifted = np.where(hidden, np.maximum(offset, np.asarray(_LOWEST, offset.dtype)), offset)
    return ops.shift(b, flatten(b, Ref(node.inputs[0])), lifted)


def _picked(b: Builder, x: Ref, index: np.ndarray) -> Ref:
    return ops.structural(
        b, "gather", (x,), lambda v: jnp.take_along_axis(v, index, axis=-1), {"index": index}
    )


def _either(b: Builder, which: np.ndarray, then: Ref, other: Ref) -> Ref:
    return ops.structural(b, "select_n", (other, then), lambda v, w: jnp.where(which, w, v), {"which": which})


def _kept(b: Builder, x: Ref, which: np.ndarray) -> Ref:
    """x where asked for, 0 elsewhere."""
    return ops.structural(
        b, "select_n", (x,), lambda v: jnp.where(which, v, jnp.zeros_like(v)), {"which": which}
    )
