"""The weight gradient in forms that XLA's CPU backend runs fast, in and outside loops.

K[k, c, o] = sum over (n, a) of x[n, a s + k d - p, c] y[n, a, o] is itself a convolution, with the channels
of x as its batch, the examples as its channels and y as its kernel, dilated by the stride. Written with the
axes exchanged by hand it is a plain convolution, which stays fast inside loops (jaxlib 0.10.2; the form that
JAX derives is 20 to 50 times slower there). Blocks of examples are added up in a loop: they stay in cache,
and what computes x and y is not fused into the exchange of the axes, where it would run in a bad order.
"""

from itertools import product
from math import prod

import jax.numpy as jnp
from jax import lax

from jaxcert.kernels import native, placement
from jaxcert.kernels.geometry import Pads
from jaxcert.kernels.shaping import cropped, pad_spatial, phase_split

_BLOCK_BYTES = 640 * 1024  # of x and y together: what was fastest for nine layers of the works' networks
_LEAST, _MOST = 4, 32  # examples in a block


def conv_weight_grad(
    x,
    y,
    *,
    kernel_spatial: tuple[int, ...],
    strides: tuple[int, ...],
    padding: Pads,
    dilation: tuple[int, ...],
    groups: int,
    precision,
):
    """x [N, *S, C], y [N, *T, O] -> [*K, C / groups, O]."""
    window = {"strides": strides, "padding": padding, "dilation": dilation, "precision": precision}
    if 0 in (x.size, y.size):
        return native.conv_weight_grad(x, y, kernel_spatial=tuple(kernel_spatial), groups=groups, **window)
    if groups > 1:
        return by_dots(x, y, kernel_spatial=tuple(kernel_spatial), groups=groups, **window)
    spatial = tuple(kernel_spatial)
    block = examples_per_block(x, y)
    # Blocks cut across the parts that devices hold, so that they would send each other examples.
    if x.shape[0] <= block or placement.shared_out():
        return by_conv(x, y, kernel_spatial=spatial, **window)
    rounds = -(-x.shape[0] // block)
    extra = rounds * block - x.shape[0]

    def folded(value):
        """[N, ...] -> [block, rounds, ...]: a batch split over devices stays split; zeros add nothing."""
        filled = lax.pad(value, jnp.zeros((), value.dtype), [(0, extra, 0), *[(0, 0, 0)] * (value.ndim - 1)])
        return filled.reshape(block, rounds, *value.shape[1:])

    blocks = folded(x), folded(y)

    def add(index, total):
        parts = [lax.dynamic_index_in_dim(value, index, 1, keepdims=False) for value in blocks]
        return total + by_conv(*parts, kernel_spatial=spatial, **window)

    # Zero, of the type (devices included) that the sums have.
    first = jnp.where(jnp.zeros((), bool), x.reshape(-1)[0] * y.reshape(-1)[0], 0)
    nothing = jnp.broadcast_to(first, (*spatial, x.shape[-1], y.shape[-1]))
    return lax.fori_loop(0, rounds, add, nothing)


def examples_per_block(x, y) -> int:
    """How many examples are taken at once: a power of two near the block's size in bytes."""
    each = (prod(x.shape[1:]) + prod(y.shape[1:])) * x.dtype.itemsize
    size = max(_BLOCK_BYTES // each, 1)
    return min(max(1 << (int(1.5 * size).bit_length() - 1), _LEAST), _MOST)


def by_conv(x, y, *, kernel_spatial, strides, padding: Pads, dilation, precision):
    """One plain convolution of [C, *S, N] by [*T, N, O], without groups."""
    dims = x.ndim - 2
    images = jnp.transpose(x, (dims + 1, *range(1, dims + 1), 0))
    kernel = jnp.transpose(y, (*range(1, dims + 1), 0, dims + 1))
    highs = [
        (taps - 1) * d + (out - 1) * s + 1 - size - low
        for taps, d, out, s, size, (low, _) in zip(
            kernel_spatial, dilation, y.shape[1:-1], strides, x.shape[1:-1], padding, strict=True
        )
    ]
    pads = [(low, high) for (low, _), high in zip(padding, highs, strict=True)]
    images, left = cropped(images, pads)
    out = native.conv(
        images,
        kernel,
        strides=tuple(dilation),
        padding=left,
        dilation=tuple(strides),
        groups=1,
        precision=precision,
    )
    return jnp.transpose(out, (*range(1, dims + 1), 0, dims + 1))


def by_dots(x, y, *, kernel_spatial, strides, padding, dilation, groups: int, precision):
    """One matrix product per tap of the kernel: x [N, *S, C], y [N, *T, O] -> [*K, C / groups, O]."""
    dims = x.ndim - 2
    outs, channels = y.shape[1:-1], x.shape[-1] // groups
    y = y.reshape((*y.shape[:-1], groups, y.shape[-1] // groups))
    by_phase = all(d == 1 for d in dilation)
    phases = tuple(strides) if by_phase else (1,) * dims
    steps = (1,) * dims if by_phase else tuple(strides)
    taps = [-(-k // s) for k, s in zip(kernel_spatial, phases, strict=True)]
    # Indices reached along each axis, in units of the original pixels.
    reach = [
        ((out - 1) * step + (tap - 1) * d + 1) * s
        for out, step, tap, d, s in zip(outs, steps, taps, dilation, phases, strict=True)
    ]
    pads = [
        (low, length - low - size)
        for length, (low, _), size in zip(reach, padding, x.shape[1:-1], strict=True)
    ]
    x = phase_split(pad_spatial(x, pads), phases, groups)
    pixels, group = tuple(range(dims + 1)), (dims + 1,)
    contraction = ((pixels, pixels), (group, group))
    products = []
    for tap in product(*map(range, taps)):
        start = [t * d for t, d in zip(tap, dilation, strict=True)]
        stop = [a + (out - 1) * step + 1 for a, out, step in zip(start, outs, steps, strict=True)]
        part = lax.slice(x, (0, *start, 0, 0), (x.shape[0], *stop, *x.shape[-2:]), (1, *steps, 1, 1))
        products.append(lax.dot_general(y, part, contraction, precision=precision))
    grad = jnp.stack(products).reshape((*taps, groups, y.shape[-1], *phases, channels))
    order = [axis for i in range(dims) for axis in (i, dims + 2 + i)]
    grad = grad.transpose((*order, 2 * dims + 2, dims, dims + 1))
    sizes = [t * s for t, s in zip(taps, phases, strict=True)]
    grad = grad.reshape((*sizes, channels, groups * y.shape[-1]))
    return lax.slice(grad, (0,) * grad.ndim, (*kernel_spatial, *grad.shape[-2:]))
