"""Backward passes from a convolution's output, one patch of coefficients per neuron.

A neuron of a convolutional layer depends on a window of every earlier layer, so a dense row
of coefficients per neuron is mostly zeros. Here the coefficients of all neurons at output
positions `P` and channels `S` on a node with spatial axes and channels are
`[*P, S, *k, C]`: entry `a` of the window of position `p` belongs to the node's position
`p * stride - pad + a`; entries outside the node are ignored (they meet the zeros of a
padding). While the coefficients do not depend on the position, the axes P have size 1.
The result is the same sum as the dense pass, in another order.
"""

from dataclasses import dataclass, replace
from math import prod

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxcert.bounds.backward import record_of
from jaxcert.errors import InvalidInputError
from jaxcert.graph import Graph
from jaxcert.regions import Box, LpBall, Product, Region, linear_range

RENAMING = frozenset({"reshape", "squeeze", "expand_dims", "broadcast_in_dim"})


@dataclass(frozen=True)
class Patches:
    """Coefficients `[*P or *1, S, *k, C]` on a node; rows are counted position by position."""

    coeffs: jax.Array
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

    def negated(self) -> "Patches":
        return replace(self, coeffs=-self.coeffs)

    def masked(self, tail: tuple[int, ...]) -> "Patches":
        """The same coefficients with zeros at entries outside a node `[*spatial, C]`."""
        if self.clean:
            return self
        inside = self.extract(jnp.ones(tail, self.coeffs.dtype))
        return replace(self, coeffs=self.coeffs * jnp.expand_dims(inside, self.dims), clean=True)

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


def rows_of(form: jax.Array | Patches) -> int:
    """How many rows of coefficients there are."""
    return prod(form.positions) * form.rows if isinstance(form, Patches) else form.shape[0]


def patch_start(graph: Graph, target: int, channels: jax.Array | None = None) -> Patches | None:
    """One row per neuron of a node with spatial axes, or None for other nodes.

    Args:
      channels: the channels whose rows are wanted, all of them by default.
    """
    dims = _spatial_axes(graph, target)
    shape, dtype = graph.nodes[target].shape, graph.nodes[target].dtype
    if dims == 0 or prod(shape[: -dims - 1]) != 1 or len(shape) <= dims:
        return None
    spatial, size = shape[-dims - 1 : -1], shape[-1]
    ones = (1,) * dims
    chosen = jnp.arange(size) if channels is None else channels
    identity = (chosen[:, None] == jnp.arange(size)[None, :]).astype(dtype)
    coeffs = identity.reshape(*ones, chosen.shape[0], *ones, size)
    return Patches(coeffs, spatial, ones, (0,) * dims, True)


def added(first: Patches, second: Patches) -> Patches | None:
    """The sum of coefficients on one node, or None where positions step differently."""
    if first.positions != second.positions or first.stride != second.stride:
        return None
    pad = tuple(max(a, b) for a, b in zip(first.pad, second.pad, strict=True))
    ends = [[k - p for k, p in zip(part.window, part.pad, strict=True)] for part in (first, second)]
    end = tuple(max(a, b) for a, b in zip(*ends, strict=True))
    coeffs = _grown(first, pad, end) + _grown(second, pad, end)
    return replace(first, coeffs=coeffs, pad=pad, clean=first.clean and second.clean)


def _grown(patches: Patches, pad: tuple[int, ...], end: tuple[int, ...]) -> jax.Array:
    """Coefficients of a window that reaches from -pad to end, 0 where it was not."""
    sizes = zip(pad, end, patches.pad, patches.window, strict=True)
    sides = [(new - old, last - (k - old)) for new, last, old, k in sizes]
    return jnp.pad(patches.coeffs, [(0, 0)] * (patches.dims + 1) + sides + [(0, 0)])


def small(graph: Graph, index: int, patches: Patches) -> bool:
    """Whether windows are still smaller than the node they lie on."""
    return prod(patches.window) * patches.coeffs.shape[-1] < graph.nodes[index].size


def patch_range(region: Region, patches: Patches) -> tuple[jax.Array, jax.Array]:
    """The range `[P * S]` of coefficients on the input, offsets not included.

    Each position sees the region restricted to its window: a linear function that reads only
    some coordinates has the same range over the region and over its restriction to them.
    """
    coeffs = jnp.broadcast_to(patches.coeffs, (*patches.positions, *patches.coeffs.shape[patches.dims :]))
    count = prod(patches.positions)
    local = jax.tree_util.tree_map(
        lambda part: part.reshape(count, *part.shape[patches.dims :]), _windows(region, patches)
    )
    low, high = jax.vmap(linear_range)(local, coeffs.reshape(count, *coeffs.shape[patches.dims :]))
    return low.reshape(-1), high.reshape(-1)


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


def _spatial_axes(graph: Graph, target: int) -> int:
    """How many spatial axes the convolution has from which a node comes entry by entry, 0 without one."""
    index, size = target, graph.nodes[target].size
    while index:
        node = graph.nodes[index]
        if node.kind == "conv":
            return len(node.shape) - 2
        known = node.kind in RENAMING | {"shift", "scale", "add"} or record_of(node) is not None
        if not known or graph.nodes[node.inputs[0]].size != size:
            return 0
        index = node.inputs[0]
    return 0


def _windows(region: Region, patches: Patches) -> Region:
    if isinstance(region, Product):
        raise InvalidInputError("a flat input has no windows; this is a bug in jaxcert, please report it.")
    tail = region.shape[-patches.dims - 1 :]

    def part(value):
        return patches.extract(jnp.broadcast_to(value, region.shape).reshape(tail))

    if isinstance(region, Box):
        return Box(part(region.lower), part(region.upper))
    clip = None if region.clip is None else (part(region.clip[0]), part(region.clip[1]))
    return LpBall(part(region.center), part(region.radius), clip, region.norm)
