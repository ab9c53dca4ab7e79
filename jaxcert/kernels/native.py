"""The three maps as XLA's own convolutions: the forms for GPU and TPU, and the meaning of the others."""

from collections.abc import Sequence

import jax
from jax import lax

from jaxcert.kernels.geometry import Pads


def dimension_numbers(dims: int) -> lax.ConvDimensionNumbers:
    """[N, *spatial, C] inputs and outputs, [*spatial, I, O] kernels."""
    spatial = tuple(range(1, dims + 1))
    image = (0, dims + 1, *spatial)
    return lax.ConvDimensionNumbers(image, (dims + 1, dims, *range(dims)), image)


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
    return lax.conv_general_dilated(
        x,
        kernel,
        strides,
        padding,
        rhs_dilation=dilation,
        dimension_numbers=dimension_numbers(x.ndim - 2),
        feature_group_count=groups,
        precision=precision,
    )


def conv_transpose(y, kernel, *, input_spatial: tuple[int, ...], groups: int, **window):
    """y [N, *T, O], kernel [*K, C / groups, O] -> x [N, *S, C]."""
    channels = kernel.shape[-2] * groups
    x = jax.ShapeDtypeStruct((y.shape[0], *input_spatial, channels), y.dtype)
    return jax.linear_transpose(lambda x: conv(x, kernel, groups=groups, **window), x)(y)[0]


def conv_weight_grad(x, y, *, kernel_spatial: tuple[int, ...], groups: int, **window):
    """x [N, *S, C], y [N, *T, O] -> [*K, C / groups, O]."""
    kernel = jax.ShapeDtypeStruct((*kernel_spatial, x.shape[-1] // groups, y.shape[-1]), x.dtype)
    return jax.linear_transpose(lambda kernel: conv(x, kernel, groups=groups, **window), kernel)(y)[0]
