"""Shapes of convolutions: what each of the three bilinear maps accepts and returns."""

from collections.abc import Sequence

import jax.numpy as jnp
from jax import lax

from jaxcert.errors import InvalidInputError

Pads = tuple[tuple[int, int], ...]


def output_spatial(
    spatial: Sequence[int],
    kernel_spatial: Sequence[int],
    strides: Sequence[int],
    padding: Pads,
    dilation: Sequence[int],
) -> tuple[int, ...]:
    """Spatial sizes of a convolution's output."""
    sizes = []
    for size, taps, stride, (low, high), spread in zip(
        spatial, kernel_spatial, strides, padding, dilation, strict=True
    ):
        span = size + low + high - ((taps - 1) * spread + 1)
        sizes.append(max(0, span // stride + 1))
    return tuple(sizes)


def check_dtypes(name: str, left, right) -> None:
    """Raise unless both arrays have the same floating point type."""
    if left.dtype != right.dtype:
        raise InvalidInputError(
            f"{name} needs both arguments of one dtype, got {left.dtype} and {right.dtype}: "
            "convert one of them."
        )
    if not jnp.issubdtype(left.dtype, jnp.floating):
        raise InvalidInputError(
            f"{name} needs floating point arguments, got {left.dtype}: convert them first."
        )


def check_window(name: str, dims: int, strides, padding, dilation, groups: int) -> None:
    """Raise unless strides, padding, dilation and groups make sense for `dims` spatial axes."""
    if dims < 1:
        raise InvalidInputError(
            f"{name} needs arrays with at least one spatial axis ([N, *spatial, C]), got {dims + 2} axes."
        )
    for what, given in (("strides", strides), ("padding", padding), ("dilation", dilation)):
        if len(given) != dims:
            raise InvalidInputError(f"{name} needs {dims} {what}, one per spatial axis, got {given}.")
    if min(strides) < 1 or min(dilation) < 1 or groups < 1:
        raise InvalidInputError(
            f"{name} needs strides, dilation and groups of at least 1, "
            f"got strides={strides}, dilation={dilation}, groups={groups}."
        )


def check_conv(x, kernel, *, strides, padding, dilation, groups, name: str = "conv") -> None:
    """Raise `InvalidInputError` unless x [N, *S, C] and kernel [*K, C / groups, O] can be convolved."""
    check_dtypes(name, x, kernel)
    if len(x.shape) != len(kernel.shape):
        raise InvalidInputError(
            f"{name} needs an input [N, *spatial, C] and a kernel [*spatial, C / groups, O] with equally "
            f"many axes, got shapes {x.shape} and {kernel.shape}: add a batch axis or use jax.vmap."
        )
    check_window(name, len(x.shape) - 2, strides, padding, dilation, groups)
    if x.shape[-1] != kernel.shape[-2] * groups or kernel.shape[-1] % groups:
        raise InvalidInputError(
            f"{name} needs input channels = kernel input channels * groups and output channels divisible by "
            f"groups, got {x.shape[-1]} input channels, kernel {kernel.shape} and groups={groups}."
        )
    padded = [size + low + high for size, (low, high) in zip(x.shape[1:-1], padding, strict=True)]
    if min(padded) < 0:
        raise InvalidInputError(
            f"{name} got padding {padding} that removes more than the input {x.shape} has."
        )


def check_transpose(y, kernel, *, input_spatial, strides, padding, dilation, groups) -> None:
    """Raise unless y [N, *out, O] has the shape that conv gives for inputs of size `input_spatial`."""
    name = "conv_transpose"
    check_dtypes(name, y, kernel)
    if len(y.shape) != len(kernel.shape) or len(input_spatial) != len(y.shape) - 2:
        raise InvalidInputError(
            f"{name} needs y [N, *spatial, O], a kernel [*spatial, C / groups, O] and one input size per "
            f"spatial axis, got shapes {y.shape}, {kernel.shape} and input sizes {input_spatial}."
        )
    check_window(name, len(y.shape) - 2, strides, padding, dilation, groups)
    expected = output_spatial(input_spatial, kernel.shape[:-2], strides, padding, dilation)
    if tuple(y.shape[1:-1]) != expected or y.shape[-1] != kernel.shape[-1] or y.shape[-1] % groups:
        raise InvalidInputError(
            f"{name} needs y of shape [N, {', '.join(map(str, expected))}, {kernel.shape[-1]}] (channels "
            f"divisible by groups={groups}) for input sizes {input_spatial} and "
            f"kernel {kernel.shape}, got {y.shape}."
        )


def check_weight_grad(x, y, *, kernel_spatial, strides, padding, dilation, groups) -> None:
    """Raise unless y [N, *out, O] has the shape that conv gives for x and kernels of `kernel_spatial`."""
    name = "conv_weight_grad"
    check_dtypes(name, x, y)
    if len(x.shape) != len(y.shape) or len(kernel_spatial) != len(x.shape) - 2:
        raise InvalidInputError(
            f"{name} needs x [N, *spatial, C], y [N, *spatial, O] and one kernel size per spatial axis, "
            f"got shapes {x.shape}, {y.shape} and kernel sizes {kernel_spatial}."
        )
    check_window(name, len(x.shape) - 2, strides, padding, dilation, groups)
    expected = output_spatial(x.shape[1:-1], kernel_spatial, strides, padding, dilation)
    if x.shape[0] != y.shape[0] or tuple(y.shape[1:-1]) != expected:
        raise InvalidInputError(
            f"{name} needs y of shape [{x.shape[0]}, {', '.join(map(str, expected))}, O] for x {x.shape} and "
            f"kernel sizes {kernel_spatial}, got {y.shape}."
        )
    if x.shape[-1] % groups or y.shape[-1] % groups:
        raise InvalidInputError(
            f"{name} needs channels divisible by groups={groups}, got {x.shape[-1]} and {y.shape[-1]}."
        )


def resolve_padding(padding, spatial, kernel_spatial, strides, dilation) -> Pads:
    """Explicit (low, high) pairs from pairs or from 'SAME', 'SAME_LOWER', 'VALID'."""
    if not isinstance(padding, str):
        return tuple((int(low), int(high)) for low, high in padding)
    spans = [(taps - 1) * spread + 1 for taps, spread in zip(kernel_spatial, dilation, strict=True)]
    try:
        pairs = lax.padtype_to_pads(spatial, spans, strides, padding.upper())
    except (RuntimeError, ValueError) as error:
        raise InvalidInputError(
            f"Unknown padding {padding!r}: use 'SAME', 'SAME_LOWER', 'VALID' or (low, high) pairs."
        ) from error
    return tuple((int(low), int(high)) for low, high in pairs)
