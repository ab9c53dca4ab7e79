"""What one node does to patches on its value: the window form of the rules in `backward`.

A convolution backwards enlarges the windows, a slice spreads them, a sum over windows is a
convolution with ones; everything else acts entry by entry. Operations without a window form
give None, and the pass goes on densely.
"""

from collections.abc import Callable
from dataclasses import replace
from math import prod

import jax
import jax.numpy as jnp
from jax import lax

from jaxcert import kernels
from jaxcert.bounds.backward import Step, enclose, record_of
from jaxcert.bounds.patches import RENAMING, Patches
from jaxcert.graph import Graph, Node
from jaxcert.relax import Planes

Ints = tuple[int, ...]


def patch_step(
    graph: Graph,
    index: int,
    patches: Patches,
    planes: Callable[[int, Callable[[jax.Array], jax.Array], tuple[int, ...]], Planes],
    two_sided: bool,
) -> Step | None:
    """Rewrite coefficients on a node in terms of its inputs; None where patches do not serve."""
    node = graph.nodes[index]
    if node.kind in _MOVING:
        moved = _MOVING[node.kind](graph, node, patches)
        return None if moved is None else Step((moved,))
    if not _fits(graph, node, patches):
        return None
    if node.kind == "conv":
        return Step((_through_conv(node, patches),))
    if node.kind in RENAMING or node.kind == "add":
        return Step((patches,) * len(node.inputs))
    shape = node.shape[-patches.dims - 1 :]

    def lift(value: jax.Array) -> jax.Array:
        windows = patches.extract(jnp.broadcast_to(value, node.shape).reshape(shape))
        return jnp.expand_dims(windows, patches.dims)

    if node.kind == "shift":
        constant = _per_row(patches, (patches.coeffs * lift(node.consts[0])).sum(_entry_axes(patches)))
        return Step((patches,), constant, constant)
    if node.kind == "scale":
        return Step((replace(patches, coeffs=patches.coeffs * lift(node.consts[0]), clean=True),))
    if record_of(node) is None:
        return None
    enclosure = planes(index, lift, (*patches.positions, *patches.coeffs.shape[patches.dims :]))
    step = enclose(patches.coeffs, enclosure, _entry_axes(patches), two_sided)
    moved = tuple(replace(patches, coeffs=coeffs, clean=True) for coeffs in step.coeffs)
    return Step(moved, _per_row(patches, step.lower), _per_row(patches, step.upper))


def _fits(graph: Graph, node: Node, patches: Patches) -> bool:
    """Whether a node and its inputs are laid out as `[1, ..., 1, *spatial, C]`, inputs renamed at most."""
    if node.kind == "conv":
        return len(node.shape) == patches.dims + 2 and node.shape[0] == 1
    tail = node.shape[-patches.dims - 1 :]
    sources = [graph.nodes[i] for i in node.inputs]
    return prod(tail) == node.size and all(
        source.size == node.size and source.shape[-patches.dims - 1 :] == tail for source in sources
    )


def _through_conv(node: Node, patches: Patches) -> Patches:
    (kernel,) = node.consts
    setting = node.params
    clean = patches.masked(node.shape[1:])
    lead, channels = clean.coeffs.shape[: patches.dims + 1], node.operands[0].shape[-1]
    coeffs = clean.coeffs.reshape(prod(lead), *clean.coeffs.shape[patches.dims + 1 :])
    strides = setting["strides"]
    grown = _grown(coeffs, kernel, channels, strides, setting["dilation"], setting["groups"])
    return _moved(clean, grown.reshape(*lead, *grown.shape[1:]), strides, setting["padding"])


def _through_window_sum(graph: Graph, node: Node, patches: Patches) -> Patches | None:
    """A sum over windows is a convolution with ones, channel by channel."""
    del graph
    setting, dims = node.params.get("params", {}), patches.dims
    names = ("window_dimensions", "window_strides", "padding", "window_dilation", "base_dilation")
    if any(name not in setting for name in names) or prod(node.shape[: -dims - 1]) != 1:
        return None
    sizes, strides, padding, dilation, base = (tuple(setting[name]) for name in names)
    beside = [i for i in range(len(node.shape)) if not -dims - 1 <= i - len(node.shape) < -1]
    if any(step != 1 for step in base) or any(
        sizes[i] != 1 or strides[i] != 1 or tuple(padding[i]) != (0, 0) for i in beside
    ):
        return None
    inner = slice(-dims - 1, -1)
    clean = patches.masked(node.shape[-dims - 1 :])
    lead, channels = clean.coeffs.shape[: dims + 1], clean.coeffs.shape[-1]
    alone = jnp.moveaxis(clean.coeffs, -1, dims + 1).reshape(prod(lead) * channels, *clean.window, 1)
    ones = jnp.ones((*sizes[inner], 1, 1), node.dtype)
    grown = _grown(alone, ones, 1, strides[inner], dilation[inner], 1)
    apart = grown.reshape(*lead, channels, *grown.shape[1:-1])
    return _moved(clean, jnp.moveaxis(apart, dims + 1, -1), strides[inner], padding[inner])


def _through_slice(graph: Graph, node: Node, patches: Patches) -> Patches | None:
    """Entry i of a slice is entry `start + i * step`: windows of the source with gaps of zeros."""
    found = _slice_of(node)
    dims, lead = patches.dims, len(node.shape) - patches.dims - 1
    if found is None or lead < 0 or prod(node.shape[:lead]) != 1:
        return None
    source = graph.nodes[node.inputs[0]].shape
    starts, steps = found
    if any(source[i] != node.shape[i] for i in (*range(lead), len(source) - 1)):
        return None
    clean = patches.masked(node.shape[lead:])
    gaps = [(0, 0, 0)] * (dims + 1) + [(0, 0, step - 1) for step in steps[lead:-1]] + [(0, 0, 0)]
    spread = lax.pad(clean.coeffs, jnp.zeros((), clean.coeffs.dtype), gaps)
    moved = _moved(clean, spread, steps[lead:-1], tuple((-start, 0) for start in starts[lead:-1]))
    return replace(moved, clean=True)


def _slice_of(node: Node) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """Starts and steps of a slice, per axis, as either spelling of the front end describes them."""
    setting, ndim = node.params, len(node.shape)
    if "axis" in setting:
        axis = setting["axis"] % ndim
        starts = tuple(setting["start"] if i == axis else 0 for i in range(ndim))
        return starts, tuple(setting.get("stride", 1) if i == axis else 1 for i in range(ndim))
    inner = setting.get("params", {})
    if "start_indices" not in inner:
        return None
    return tuple(inner["start_indices"]), tuple(inner.get("strides") or (1,) * ndim)


def _grown(
    coeffs: jax.Array, kernel: jax.Array, channels: int, strides: Ints, dilation: Ints, groups: int
) -> jax.Array:
    """Windows `[rows, *k, C]` after a convolution backwards.

    They become `(k - 1) stride + (kernel - 1) dilation + 1` wide.
    """
    dims = len(strides)
    window = tuple(
        (coeffs.shape[1 + i] - 1) * strides[i] + (kernel.shape[i] - 1) * dilation[i] + 1 for i in range(dims)
    )
    return kernels.conv_transpose(
        coeffs,
        kernel,
        input_shape=(coeffs.shape[0], *window, channels),
        strides=tuple(strides),
        padding=((0, 0),) * dims,
        dilation=tuple(dilation),
        groups=groups,
        precision=lax.Precision.HIGHEST,
    )


def _moved(
    patches: Patches, coeffs: jax.Array, strides: Ints, padding: tuple[tuple[int, int], ...]
) -> Patches:
    """Patches on the operand: `stride <- stride * s`, `pad <- pad * s + q`."""
    dims = range(patches.dims)
    return replace(
        patches,
        coeffs=coeffs,
        stride=tuple(patches.stride[i] * strides[i] for i in dims),
        pad=tuple(patches.pad[i] * strides[i] + padding[i][0] for i in dims),
        clean=False,
    )


def _entry_axes(patches: Patches) -> tuple[int, ...]:
    return tuple(range(patches.dims + 1, 2 * patches.dims + 2))


def _per_row(patches: Patches, value: jax.Array | float) -> jax.Array:
    """Sums over windows `[*P or *1, S]` as one value per row."""
    return jnp.broadcast_to(value, (*patches.positions, patches.rows)).reshape(-1)


_MOVING = {"slice": _through_slice, "reduce_window_sum": _through_window_sum}
