"""Backward passes from a convolution's output, one patch of coefficients per neuron.

A neuron of a convolutional layer depends on a window of every earlier layer, so a dense row
of coefficients per neuron is mostly zeros. Here the coefficients of all neurons at output
positions `P` and channels `S` on a node with spatial axes and channels are
`[*P, S, *k, C]`: entry `a` of the window of position `p` belongs to the node's position
`p * stride - pad + a`; entries outside the node are ignored (they meet the zeros of a
padding). A convolution backwards enlarges the window: with its own stride s and padding q,
`stride <- stride * s`, `pad <- pad * s + q`, `k <- (k - 1) s + (kernel - 1) dilation + 1`.

While the coefficients do not depend on the position, the axes P have size 1.
The result is the same sum as the dense pass, in another order.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxcert import kernels
from jaxcert.bounds.backward import enclose, record_of
from jaxcert.graph import Graph, Node
from jaxcert.regions import Box, LpBall, Region, linear_range
from jaxcert.relax import Lines

_RENAMING = frozenset({"reshape", "squeeze", "expand_dims", "broadcast_in_dim", "copy"})


@dataclass(frozen=True)
class Patches:
    """Coefficients `[*P or *1, S, *k, C]` on a node, with the offsets `[*P, S]` collected so far."""

    coeffs: jax.Array
    lower: jax.Array
    upper: jax.Array
    positions: tuple[int, ...]
    stride: tuple[int, ...]
    pad: tuple[int, ...]
    clean: bool  # whether entries outside the node are known to be 0

    @property
    def dims(self) -> int:
        return len(self.positions)

    @property
    def window(self) -> tuple[int, ...]:
        return self.coeffs.shape[self.dims + 1 : -1]

    @property
    def rows(self) -> int:
        return self.coeffs.shape[self.dims]

    def indices(self, axis: int, size: int) -> np.ndarray:
        """Node positions `[P, k]` of the window entries along a spatial axis; `size` means outside."""
        start = np.arange(self.positions[axis]) * self.stride[axis] - self.pad[axis]
        index = start[:, None] + np.arange(self.window[axis])[None, :]
        return np.where((index >= 0) & (index < size), index, size)

    def extract(self, value: jax.Array) -> jax.Array:
        """The windows of an array `[*spatial, C]`, 0 outside: `[*P, *k, C]`."""
        for axis in range(self.dims):
            index = self.indices(axis, value.shape[2 * axis])
            padding = [(0, 0)] * value.ndim
            padding[2 * axis] = (0, 1)
            value = jnp.take(jnp.pad(value, padding), index, axis=2 * axis, mode="clip")
        # [P0, k0, P1, k1, ..., C] -> [P0, P1, ..., k0, k1, ..., C]
        order = (*range(0, 2 * self.dims, 2), *range(1, 2 * self.dims, 2), 2 * self.dims)
        return jnp.transpose(value, order)


def patch_start(graph: Graph, target: int) -> Patches | None:
    """One row per neuron of a convolution's output, or None where the target is none."""
    index = target
    while graph.nodes[index].kind in _RENAMING | {"shift", "scale"} and len(graph.nodes[index].inputs) == 1:
        index = graph.nodes[index].inputs[0]
    node = graph.nodes[index]
    if node.kind != "conv" or graph.nodes[target].shape[-len(node.shape) + 1 :] != node.shape[1:]:
        return None
    if node.shape[0] != 1 or graph.nodes[target].size != node.size:
        return None
    spatial, channels = node.shape[1:-1], node.shape[-1]
    ones = (1,) * len(spatial)
    identity = jnp.eye(channels, dtype=node.dtype).reshape(*ones, channels, *ones, channels)
    zero = jnp.zeros((*spatial, channels), node.dtype)
    return Patches(identity, zero, zero, spatial, ones, (0,) * len(spatial), True)


def patch_step(
    graph: Graph, index: int, patches: Patches, lines: Callable[[int], Lines], two_sided: bool
) -> Patches | None:
    """Rewrite coefficients on a node in terms of its one input; None where patches do not serve."""
    node = graph.nodes[index]
    if len(node.inputs) != 1 or not _fits(graph, node, patches):
        return None
    if node.kind == "conv":
        return _through_conv(node, patches)
    shape = node.shape[-patches.dims - 1 :]
    if node.kind in _RENAMING:
        return patches
    if record_of(node) is None and node.kind not in ("shift", "scale"):
        return None
    if node.kind == "shift":
        windows = patches.extract(jnp.broadcast_to(node.consts[0], node.shape).reshape(shape))
        constant = (patches.coeffs * _rows(patches, windows)).sum(_entry_axes(patches))
        return _add(patches, constant, constant)
    if node.kind == "scale":
        windows = patches.extract(jnp.broadcast_to(node.consts[0], node.shape).reshape(shape))
        return replace(patches, coeffs=patches.coeffs * _rows(patches, windows), clean=True)
    enclosure = lines(index)
    windows = Lines(*(_rows(patches, patches.extract(part.reshape(shape))) for part in enclosure))
    step = enclose(patches.coeffs, windows, _entry_axes(patches), two_sided)
    return replace(_add(patches, step.lower, step.upper), coeffs=step.coeffs[0], clean=True)


def small(graph: Graph, index: int, patches: Patches) -> bool:
    """Whether windows are still smaller than the node they lie on."""
    return prod(patches.window) * patches.coeffs.shape[-1] < graph.nodes[index].size


def patch_range(region: Region, patches: Patches) -> tuple[jax.Array, jax.Array]:
    """The range `[*P, S]` of coefficients on the input, offsets not included.

    Each position sees the region restricted to its window: a linear function that reads only
    some coordinates has the same range over the region and over its restriction to them.
    """
    coeffs = jnp.broadcast_to(patches.coeffs, (*patches.positions, *patches.coeffs.shape[patches.dims :]))
    count = prod(patches.positions)
    local = jax.tree_util.tree_map(
        lambda part: part.reshape(count, *part.shape[patches.dims :]), _windows(region, patches)
    )
    low, high = jax.vmap(linear_range)(local, coeffs.reshape(count, *coeffs.shape[patches.dims :]))
    shape = (*patches.positions, patches.rows)
    return low.reshape(shape), high.reshape(shape)


def dense(graph: Graph, index: int, patches: Patches) -> jax.Array:
    """The same coefficients as rows over the whole node, `[P * S, *shape of the node]`."""
    node = graph.nodes[index]
    spatial = node.shape[-patches.dims - 1 : -1]
    value = jnp.broadcast_to(patches.coeffs, (*patches.positions, *patches.coeffs.shape[patches.dims :]))
    for axis in range(patches.dims):
        # selector[p, a, h] = 1 where entry a of position p is the node's position h
        selector = np.eye(spatial[axis] + 1)[patches.indices(axis, spatial[axis])][..., :-1]
        moved = jnp.moveaxis(value, (axis, patches.dims + 1 + axis), (0, -1))
        shape = moved.shape
        product = lax.dot_general(
            moved.reshape(shape[0], -1, shape[-1]),
            jnp.asarray(selector, value.dtype),
            (((2,), (1,)), ((0,), (0,))),
            precision=lax.Precision.HIGHEST,
        )
        product = product.reshape(*shape[:-1], spatial[axis])
        value = jnp.moveaxis(product, (0, -1), (axis, patches.dims + 1 + axis))
    return value.reshape(prod(patches.positions) * patches.rows, *node.shape)


def _fits(graph: Graph, node: Node, patches: Patches) -> bool:
    """Whether a node and its input are laid out as `[1, ..., 1, *spatial, C]`, input renamed at most."""
    source = graph.nodes[node.inputs[0]]
    if node.kind == "conv":
        return len(node.shape) == patches.dims + 2 and node.shape[0] == 1
    if node.kind in _RENAMING and source.size != node.size:
        return False
    tail = node.shape[-patches.dims - 1 :]
    return prod(tail) == node.size and source.shape[-patches.dims - 1 :] == tail


def _through_conv(node: Node, patches: Patches) -> Patches:
    (kernel,) = node.consts
    setting = node.params
    dims = patches.dims
    coeffs = patches.coeffs
    if not patches.clean:
        coeffs = coeffs * _rows(patches, patches.extract(jnp.ones(node.shape[1:], node.dtype)))
    strides, padding, dilation = setting["strides"], setting["padding"], setting["dilation"]
    window = tuple(
        (patches.window[i] - 1) * strides[i] + (kernel.shape[i] - 1) * dilation[i] + 1 for i in range(dims)
    )
    lead = coeffs.shape[: dims + 1]
    channels = node.operands[0].shape[-1]
    grown = kernels.conv_transpose(
        coeffs.reshape(prod(lead), *coeffs.shape[dims + 1 :]),
        kernel,
        input_shape=(prod(lead), *window, channels),
        strides=strides,
        padding=((0, 0),) * dims,
        dilation=dilation,
        groups=setting["groups"],
        precision=lax.Precision.HIGHEST,
    )
    return replace(
        patches,
        coeffs=grown.reshape(*lead, *window, channels),
        stride=tuple(patches.stride[i] * strides[i] for i in range(dims)),
        pad=tuple(patches.pad[i] * strides[i] + padding[i][0] for i in range(dims)),
        clean=False,
    )


def _rows(patches: Patches, windows: jax.Array) -> jax.Array:
    """Windows `[*P, *k, C]` lifted to broadcast over the rows: `[*P, 1, *k, C]`."""
    return jnp.expand_dims(windows, patches.dims)


def _entry_axes(patches: Patches) -> tuple[int, ...]:
    return tuple(range(patches.dims + 1, 2 * patches.dims + 2))


def _add(patches: Patches, lower: jax.Array | float, upper: jax.Array | float) -> Patches:
    return replace(patches, lower=patches.lower + lower, upper=patches.upper + upper)


def _windows(region: Region, patches: Patches) -> Region:
    tail = region.shape[-patches.dims - 1 :]

    def part(value):
        return patches.extract(jnp.broadcast_to(value, region.shape).reshape(tail))

    if isinstance(region, Box):
        return Box(part(region.lower), part(region.upper))
    clip = None if region.clip is None else (part(region.clip[0]), part(region.clip[1]))
    return LpBall(part(region.center), part(region.radius), clip, region.norm)
