"""Convolutions of images with few channels, as matrix products.

XLA's CPU kernels take the channels of a pixel at once, so an image with one channel, or the image that a
transposed convolution gives, leaves them nearly idle (7 of 100 GF/s for the first layer of the MNIST
networks). Here all that a window reads, or writes, is one row of a matrix: the phases of the strides and the
taps beside them. 3 to 5 times faster there; slower where the channels alone fill a register.
"""

from itertools import product
from math import prod

import jax.numpy as jnp
from jax import lax

from jaxcert.kernels.geometry import Pads, output_spatial
from jaxcert.kernels.shaping import pad_spatial, phase_split

_FEW = 12  # numbers per block of stride x stride pixels
# Numbers per window: with more XLA's own kernel is busy enough (7x7 by stride 2 of RGB: 11 ms, not 67).
_COLUMNS = 64
# Of the matrix, and of its padded copy. Buffers of 32 MiB and more glibc maps anew in every call (640 images,
# 4x4 by stride 2 of RGB, transposed: 92 ms, not 18).
_BYTES = 28 << 20


def serves(channels: int, strides: tuple[int, ...], dilation: tuple[int, ...], groups: int) -> bool:
    """Whether these forms are the faster ones (for `conv` also a stride must separate the windows)."""
    return groups == 1 and set(dilation) == {1} and channels * prod(strides) <= _FEW


def worthwhile(x, spatial: tuple[int, ...], kernel, strides: tuple[int, ...]) -> bool:
    """Whether `conv` is the faster form for as many windows of such a size."""
    taps = prod(-(-k // s) * s for k, s in zip(kernel.shape, strides, strict=False))
    return taps * x.shape[-1] <= _COLUMNS and _fits(x, spatial, taps * x.shape[-1])


def worthwhile_transposed(y, kernel) -> bool:
    """Whether `stride_one` is the faster form for as many pixels."""
    return _fits(y, y.shape[1:-1], 2 * prod(kernel.shape[:-2]) * kernel.shape[-1])


def _fits(value, spatial: tuple[int, ...], columns: int) -> bool:
    return value.shape[0] * prod(spatial) * columns * value.dtype.itemsize <= _BYTES


def conv(x, kernel, *, strides: tuple[int, ...], padding: Pads, precision):
    """x [N, *S, C], kernel [*K, C, O] -> [N, *T, O]: windows as rows, times the kernel as a matrix."""
    dims = x.ndim - 2
    outs = output_spatial(x.shape[1:-1], kernel.shape[:dims], strides, padding, (1,) * dims)
    taps = [-(-k // s) for k, s in zip(kernel.shape, strides, strict=False)]
    pads = [
        (low, (out - 1 + tap) * s - low - size)
        for out, tap, s, (low, _), size in zip(outs, taps, strides, padding, x.shape[1:-1], strict=True)
    ]
    blocks = phase_split(pad_spatial(x, pads), strides, 1)[..., 0, :]
    windows = [
        lax.slice(
            blocks,
            (0, *tap, 0),
            (x.shape[0], *(a + n for a, n in zip(tap, outs, strict=True)), blocks.shape[-1]),
        )
        for tap in product(*map(range, taps))
    ]
    rows = jnp.concatenate(windows, axis=-1)
    contraction = (((dims + 1,), (0,)), ((), ()))
    return lax.dot_general(rows, _as_rows(kernel, taps, strides), contraction, precision=precision)


def _as_rows(kernel, taps: list[int], strides: tuple[int, ...]):
    """[*K, C, O] -> [prod(taps) * prod(strides) * C, O], zero beyond the kernel."""
    dims = kernel.ndim - 2
    highs = [t * s - k for t, s, k in zip(taps, strides, kernel.shape, strict=False)]
    kernel = lax.pad(
        kernel, jnp.zeros((), kernel.dtype), [*((0, high, 0) for high in highs), (0, 0, 0), (0, 0, 0)]
    )
    split = [size for pair in zip(taps, strides, strict=True) for size in pair]
    kernel = kernel.reshape((*split, *kernel.shape[dims:]))
    order = (*range(0, 2 * dims, 2), *range(1, 2 * dims, 2), 2 * dims, 2 * dims + 1)
    rows = prod(taps) * prod(strides) * kernel.shape[-2]  # -1 would fail on empty arrays
    return kernel.transpose(order).reshape(rows, kernel.shape[-1])


def stride_one(y, kernel, padding: Pads, precision):
    """y [N, *T, O] convolved by kernel [*K, O, M], stride 1: every tap's product, added where it belongs."""
    dims = y.ndim - 2
    taps, outputs = kernel.shape[:dims], kernel.shape[-1]
    matrix = jnp.moveaxis(kernel, dims, 0).reshape(y.shape[-1], prod(taps) * outputs)
    # Half precision rounds once, at the end, as in one convolution.
    wide = y.dtype if y.dtype.itemsize >= 4 else jnp.float32
    contraction = (((dims + 1,), (0,)), ((), ()))
    parts = lax.dot_general(y, matrix, contraction, precision=precision, preferred_element_type=wide)
    parts = pad_spatial(parts, padding)
    sizes = [size - tap + 1 for size, tap in zip(parts.shape[1:-1], taps, strict=True)]
    total = jnp.zeros((y.shape[0], *sizes, outputs), wide)
    for number, tap in enumerate(product(*map(range, taps))):
        stop = (y.shape[0], *(a + n for a, n in zip(tap, sizes, strict=True)), (number + 1) * outputs)
        total = total + lax.slice(parts, (0, *tap, number * outputs), stop)
    return lax.convert_element_type(total, y.dtype)
