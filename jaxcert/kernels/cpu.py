"""Forms of the three maps that XLA's CPU backend runs fast, in and outside loops.

XLA for CPU has a fast kernel for the plain form only (NHWC by HWIO, no dilation of the input, no exchanged
axes); everything else falls to a slow loop nest inside loop bodies, and often outside. So the transposed
convolution is written as one plain stride-1 convolution, and the weight gradient as matrix products.

Derivation (one axis; stride s, dilation d, low padding p). conv: y[a] = sum_k x[a s + k d - p] K[k]. Its
transpose gives x[i] = sum over (a, k) with a s + k d = i + p of y[a] K[k]. Put i + p = b s + r with
0 <= r < s and, in the kernel dilated to a single stride and padded to a multiple of s, k d = t s + r. Then
x_r[b] = sum_t y[b - t] K_r[t]: for each phase r a stride-1 convolution of y with the reversed sub-kernel
K_r. All phases share y, so they are one convolution with s times as many outputs, and interleaving the
phases gives x. For the weight gradient the same splitting of x by phases turns
K[t s + r] = sum_a x_r[a + t] y[a] into one matrix product per t.
"""

from collections.abc import Sequence
from math import prod

import jax.numpy as jnp
from jax import lax

from jaxcert.kernels import cpu_few_channels, native
from jaxcert.kernels.geometry import Pads, output_spatial
from jaxcert.kernels.shaping import cropped, pad_spatial

# From about this many multiplications on, XLA's unpadded convolution is up to four times slower than a padded
# one (jaxlib 0.10.2: 43 ms against 10.5 ms for 64x30x30x32 by 3x3x32x32); below, padding costs a little.
_LARGE = 1 << 26


def conv(
    x,
    kernel,
    *,
    strides: Sequence[int],
    padding: Pads,
    dilation: Sequence[int],
    groups: int,
    precision,
):
    """x [N, *S, C], kernel [*K, C / groups, O] -> [N, *T, O]."""
    call = {
        "strides": strides,
        "dilation": dilation,
        "groups": groups,
        "precision": precision,
    }
    x, padding = cropped(x, padding)
    spatial = output_spatial(x.shape[1:-1], kernel.shape[:-2], strides, padding, dilation)
    few = cpu_few_channels.serves(x.shape[-1], tuple(strides), tuple(dilation), groups)
    if few and min(strides) > 1 and cpu_few_channels.worthwhile(x, spatial, kernel, tuple(strides)):
        return cpu_few_channels.conv(x, kernel, strides=tuple(strides), padding=padding, precision=precision)
    padded = any(low or high for low, high in padding) or max(kernel.shape[:-2]) == 1
    if padded or x.shape[0] * prod(spatial) * kernel.size < _LARGE:
        return native.conv(x, kernel, padding=padding, **call)
    out = native.conv(x, kernel, padding=tuple((0, 1) for _ in padding), **call)
    return lax.slice(out, (0,) * out.ndim, (out.shape[0], *spatial, out.shape[-1]))


def _phase_kernel(kernel, strides, dilation, groups: int):
    """Reversed sub-kernels of all phases [*K, c, G * o] -> [*T, o, G * prod(s) * c]; the dilation left."""
    dims = kernel.ndim - 2
    spread = [d if s > 1 else 1 for s, d in zip(strides, dilation, strict=True)]
    spans = [(taps - 1) * d + 1 for taps, d in zip(kernel.shape[:dims], spread, strict=True)]
    highs = [-span % s for span, s in zip(spans, strides, strict=True)]
    zero = jnp.zeros((), kernel.dtype)
    inner = [(0, high, d - 1) for high, d in zip(highs, spread, strict=True)]
    kernel = lax.pad(kernel, zero, [*inner, (0, 0, 0), (0, 0, 0)])
    taps = [size // s for size, s in zip(kernel.shape[:dims], strides, strict=True)]
    inputs, outputs = kernel.shape[-2:]
    split = [size for pair in zip(taps, strides, strict=True) for size in pair]
    kernel = kernel.reshape((*split, inputs, groups, outputs // groups))
    tap_axes, phase_axes = range(0, 2 * dims, 2), range(1, 2 * dims, 2)
    kernel = kernel.transpose((*tap_axes, 2 * dims + 2, 2 * dims + 1, *phase_axes, 2 * dims))
    kernel = kernel.reshape((*taps, outputs // groups, groups * prod(strides) * inputs))
    left = tuple(d if s == 1 else 1 for s, d in zip(strides, dilation, strict=True))
    return lax.rev(kernel, tuple(range(dims))), left


def _interleave(phases, strides, groups: int):
    """[N, *B, G * prod(s) * c] -> [N, *(B * s), G * c]."""
    dims = phases.ndim - 2
    batch, *blocks, channels = phases.shape
    inputs = channels // (groups * prod(strides))
    x = phases.reshape((batch, *blocks, groups, *strides, inputs))
    interleaved = [axis for i in range(dims) for axis in (1 + i, 2 + dims + i)]
    x = x.transpose((0, *interleaved, 1 + dims, 2 + 2 * dims))
    return x.reshape((batch, *(b * s for b, s in zip(blocks, strides, strict=True)), groups * inputs))


def conv_transpose(
    y,
    kernel,
    *,
    input_spatial: Sequence[int],
    strides: Sequence[int],
    padding: Pads,
    dilation: Sequence[int],
    groups: int,
    precision,
):
    """y [N, *T, O], kernel [*K, C / groups, O] -> x [N, *S, C]."""
    kernel, left = _phase_kernel(kernel, strides, dilation, groups)
    pads, crops = [], []
    for size, out, taps, stride, d, (low, _) in zip(
        input_spatial, y.shape[1:-1], kernel.shape[:-2], strides, left, padding, strict=True
    ):
        first, last = low // stride, (low + size - 1) // stride
        pads.append(((taps - 1) * d - first, last - (out - 1)))
        start = low - first * stride
        crops.append((-start, start + size - (last - first + 1) * stride))
    few = cpu_few_channels.serves(kernel.shape[-1] // prod(strides), tuple(strides), tuple(left), groups)
    if few and cpu_few_channels.worthwhile_transposed(y, kernel):
        phases = cpu_few_channels.stride_one(y, kernel, tuple(pads), precision)
    else:
        phases = conv(
            y,
            kernel,
            strides=(1,) * len(strides),
            padding=tuple(pads),
            dilation=left,
            groups=groups,
            precision=precision,
        )
    return pad_spatial(_interleave(phases, strides, groups), crops)
