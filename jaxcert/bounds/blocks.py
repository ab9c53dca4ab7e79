"""The rows of a backward pass, one per entry of a node, in blocks that fit a limit of memory.

Rows are windows below a convolution (blocks of channels, all positions at once) as long as one
channel fits what there is, and dense otherwise (blocks of entries).
"""

from collections.abc import Callable
from math import prod

import jax
import jax.numpy as jnp

from jaxcert.bounds.backward import record_of
from jaxcert.bounds.patches import RENAMING, Patches, patch_start
from jaxcert.bounds.sweep import identity_rows
from jaxcert.chunking import Limit
from jaxcert.graph import Graph

Evaluate = Callable[[jax.Array | Patches], tuple[jax.Array, jax.Array]]

_COPIES = 3  # coefficients before and after a rule, and a temporary of it


def in_blocks(
    evaluate: Evaluate, graph: Graph, target: int, sign: int, limit: Limit | None
) -> tuple[jax.Array, jax.Array]:
    """Evaluate one signed row per entry of a node, all at once or as many as `limit` allows at a time."""
    node, start = graph.nodes[target], patch_start(graph, target)
    widest = max(n.size for n in graph.nodes[: target + 1])
    itemsize = _COPIES * jnp.dtype(node.dtype).itemsize
    dense, windows = itemsize * widest, itemsize * (widest if start is None else _window_size(graph, target))
    if limit is None or node.size * windows <= limit.size:
        return evaluate(_signed(identity_rows(graph, target) if start is None else start, sign))
    positions = 1 if start is None else prod(start.positions)
    if start is None or positions * windows > limit.most:
        allowed = limit.size if start is None else limit.most

        def entries(some: jax.Array) -> tuple[jax.Array, jax.Array]:
            return evaluate(_signed(identity_rows(graph, target, some), sign))

        return _block_by_block(entries, node.size, max(1, allowed // dense), 1)

    def channels(some: jax.Array) -> tuple[jax.Array, jax.Array]:
        chosen = patch_start(graph, target, some)
        assert chosen is not None
        return evaluate(_signed(chosen, sign))

    return _block_by_block(channels, start.rows, max(1, limit.size // (positions * windows)), positions)


def _window_size(graph: Graph, target: int) -> int:
    """Entries of the largest window of a row between the target and the input, not above any node's size."""
    largest, window = graph.nodes[target].shape[-1], None
    for index in reversed(graph.ancestors((target,))):
        node = graph.nodes[index]
        if node.kind == "conv":
            taps, setting = node.consts[0].shape[:-2], node.params
            before = window or (1,) * len(taps)
            window = tuple(
                (size - 1) * stride + (tap - 1) * spread + 1
                for size, tap, stride, spread in zip(
                    before, taps, setting["strides"], setting["dilation"], strict=True
                )
            )
            operand = node.operands[0].shape
            largest = max(largest, min(prod(window) * operand[-1], prod(operand)))
        elif index and node.kind not in RENAMING | {"shift", "scale", "add"} and record_of(node) is None:
            return max(n.size for n in graph.nodes[: target + 1])
    return largest


def _block_by_block(
    evaluate: Callable[[jax.Array], tuple[jax.Array, jax.Array]], size: int, block: int, positions: int
) -> tuple[jax.Array, jax.Array]:
    """Evaluate numbers 0 to size - 1, `block` at a time; each gives one row per position."""
    count = -(-size // block)
    # Numbers past the last stand for rows of zeros, which are cut off.
    numbers = jnp.arange(count * block).reshape(count, block)

    def in_order(found: jax.Array) -> jax.Array:
        rows = found.reshape(count, positions, block).transpose(1, 0, 2)
        return rows.reshape(positions, -1)[:, :size].reshape(-1)

    return jax.tree_util.tree_map(in_order, jax.lax.map(evaluate, numbers))


def _signed(form: jax.Array | Patches, sign: int) -> jax.Array | Patches:
    if sign == 1:
        return form
    return form.negated() if isinstance(form, Patches) else -form
