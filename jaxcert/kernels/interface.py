"""The functions that users and the engines call."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

from jaxcert.errors import InvalidInputError
from jaxcert.kernels import geometry, native, placement
from jaxcert.kernels.primitives import conv_p, conv_transpose_p, conv_weight_grad_p


def _precision(precision):
    """A hashable precision; None takes jax.default_matmul_precision at trace time, as lax does."""
    if precision is None:
        return jax.config.jax_default_matmul_precision  # pyright: ignore[reportAttributeAccessIssue]
    return tuple(precision) if isinstance(precision, list) else precision


def _ints(values: Sequence[int]) -> tuple[int, ...]:
    return tuple(int(value) for value in values)


def _window(dims: int, strides, dilation, groups: int, precision) -> dict:
    return {
        "strides": (1,) * dims if strides is None else _ints(strides),
        "dilation": (1,) * dims if dilation is None else _ints(dilation),
        "groups": int(groups),
        "precision": _precision(precision),
    }


def conv(
    x,
    kernel,
    *,
    strides: Sequence[int] | None = None,
    padding: str | Sequence[tuple[int, int]] = "VALID",
    dilation: Sequence[int] | None = None,
    groups: int = 1,
    precision=None,
) -> jax.Array:
    """Convolution (cross-correlation) of x [N, *S, C] with kernel [*K, C / groups, O]: [N, *T, O].

    Any number of spatial axes; strides and dilation (of the kernel) one int per axis, padding one
    (low, high) pair per axis (negative entries crop) or 'SAME', 'SAME_LOWER', 'VALID'. Equal to
    `jax.lax.conv_general_dilated` on NHWC/HWIO, and differentiable like it in every mode and order;
    faster on CPU (transposed convolutions, loops). Both arguments have one floating dtype, else
    `InvalidInputError`; so do shapes that do not fit. Memory and cost are the convolution's.

    >>> import jax.numpy as jnp
    >>> x, kernel = jnp.ones((1, 3, 3, 1)), jnp.ones((2, 2, 1, 1))
    >>> conv(x, kernel, strides=(1, 1), padding=((0, 0), (0, 0)))[0, ..., 0]
    Array([[4., 4.],
           [4., 4.]], dtype=float32)
    """
    x, kernel = jnp.asarray(x), jnp.asarray(kernel)
    if x.ndim != kernel.ndim or x.ndim < 3:
        raise InvalidInputError(
            f"conv needs an input [N, *spatial, C] and a kernel [*spatial, C / groups, O] with equally "
            f"many axes, got shapes {x.shape} and {kernel.shape}: add a batch axis or use jax.vmap."
        )
    window = _window(x.ndim - 2, strides, dilation, groups, precision)
    geometry.check_window(
        "conv", x.ndim - 2, window["strides"], window["dilation"], window["dilation"], groups
    )
    pads = geometry.resolve_padding(
        padding, x.shape[1:-1], kernel.shape[:-2], window["strides"], window["dilation"]
    )
    return conv_p.bind(*placement.aligned(x, kernel), padding=pads, **window)


def conv_transpose(
    y,
    kernel,
    *,
    input_shape: Sequence[int],
    strides: Sequence[int] | None = None,
    padding: Sequence[tuple[int, int]],
    dilation: Sequence[int] | None = None,
    groups: int = 1,
    precision=None,
) -> jax.Array:
    """The adjoint of `conv` in its input: y [N, *T, O] -> [N, *S, C] with <y, conv(x, K)> = <result, x>.

    `input_shape` is the shape [N, *S, C] of the input of that convolution (its N is not read, so one shape
    serves any number of examples and specifications); padding as pairs. Raises `InvalidInputError` for
    shapes that `conv` with these settings could not have given.

    >>> import jax.numpy as jnp
    >>> y, k = jnp.ones((1, 2, 1)), jnp.array([1.0, 2.0, 3.0])[:, None, None]
    >>> conv_transpose(y, k, input_shape=(1, 5, 1), strides=(2,), padding=((0, 0),))[0, :, 0]
    Array([1., 2., 4., 2., 3.], dtype=float32)
    """
    y, kernel = jnp.asarray(y), jnp.asarray(kernel)
    return conv_transpose_p.bind(
        *placement.aligned(y, kernel),
        input_spatial=_ints(input_shape[1:-1]),
        padding=geometry.resolve_padding(padding, (), (), (), ()),
        **_window(kernel.ndim - 2, strides, dilation, groups, precision),
    )


def conv_weight_grad(
    x,
    y,
    *,
    kernel_shape: Sequence[int],
    strides: Sequence[int] | None = None,
    padding: Sequence[tuple[int, int]],
    dilation: Sequence[int] | None = None,
    groups: int = 1,
    precision=None,
) -> jax.Array:
    """The adjoint of `conv` in its kernel: x [N, *S, C], y [N, *T, O] -> [*K, C / groups, O].

    <y, conv(x, K)> = <result, K> for every K of `kernel_shape`; summed over the N examples. Raises
    `InvalidInputError` for shapes that do not fit.

    >>> import jax.numpy as jnp
    >>> x, y = jnp.arange(4.0)[None, :, None], jnp.ones((1, 3, 1))
    >>> conv_weight_grad(x, y, kernel_shape=(2, 1, 1), strides=(1,), padding=((0, 0),))[:, 0, 0]
    Array([3., 6.], dtype=float32)
    """
    x, y = jnp.asarray(x), jnp.asarray(y)
    window = _window(x.ndim - 2, strides, dilation, groups, precision)
    pads = geometry.resolve_padding(padding, (), (), (), ())
    x, y = placement.aligned(x, y)
    grad = conv_weight_grad_p.bind(x, y, kernel_spatial=_ints(kernel_shape[:-2]), padding=pads, **window)
    if grad.shape != tuple(kernel_shape):
        raise InvalidInputError(
            f"conv_weight_grad got kernel_shape {tuple(kernel_shape)}, but x {x.shape} and y {y.shape} with "
            f"groups={groups} belong to a kernel of shape {grad.shape}."
        )
    return grad


def _axis_permutations(dimension_numbers: lax.ConvDimensionNumbers, dims: int):
    """Permutations that bring lhs to NHWC, rhs to HWIO, and an NHWC result to the wanted layout."""
    plain = native.dimension_numbers(dims)
    to_plain = []
    for given, wanted in (
        (dimension_numbers.lhs_spec, plain.lhs_spec),
        (dimension_numbers.rhs_spec, plain.rhs_spec),
    ):
        source = dict(zip(wanted, given, strict=True))
        to_plain.append(tuple(source[axis] for axis in range(dims + 2)))
    target = dict(zip(dimension_numbers.out_spec, plain.out_spec, strict=True))
    return (*to_plain, tuple(target[axis] for axis in range(dims + 2)))


def conv_general_dilated(
    lhs,
    rhs,
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers=None,
    feature_group_count: int = 1,
    batch_group_count: int = 1,
    precision=None,
    preferred_element_type=None,
) -> jax.Array:
    """`jax.lax.conv_general_dilated` by the kernels of this package, in every layout.

    Same arguments and result; made for `flax.linen.Conv(conv_general_dilated=conv_general_dilated)`.
    Other layouts than NHWC/HWIO are transposed, a dilated input is dilated by zeros first. Groups in the
    batch, integers, mixed dtypes and another `preferred_element_type` go to `jax.lax` unchanged.

    >>> import jax.numpy as jnp
    >>> layout = ("NHWC", "HWIO", "NHWC")
    >>> x, k = jnp.ones((1, 4, 4, 2)), jnp.ones((3, 3, 2, 5))
    >>> conv_general_dilated(x, k, (2, 2), "SAME", dimension_numbers=layout).shape
    (1, 2, 2, 5)
    """
    lhs, rhs = jnp.asarray(lhs), jnp.asarray(rhs)
    same_dtype = lhs.dtype == rhs.dtype and jnp.issubdtype(lhs.dtype, jnp.floating)
    if (
        batch_group_count != 1
        or not same_dtype
        or preferred_element_type not in (None, lhs.dtype)
        or lhs.ndim < 3
    ):
        return lax.conv_general_dilated(
            lhs,
            rhs,
            window_strides,
            padding,
            lhs_dilation=lhs_dilation,
            rhs_dilation=rhs_dilation,
            dimension_numbers=dimension_numbers,
            feature_group_count=feature_group_count,
            batch_group_count=batch_group_count,
            precision=precision,
            preferred_element_type=preferred_element_type,
        )
    dims = lhs.ndim - 2
    numbers = lax.conv_dimension_numbers(lhs.shape, rhs.shape, dimension_numbers)
    to_lhs, to_rhs, from_out = _axis_permutations(numbers, dims)
    x, kernel = lax.transpose(lhs, to_lhs), lax.transpose(rhs, to_rhs)
    strides = _ints(window_strides)
    dilation = (1,) * dims if rhs_dilation is None else _ints(rhs_dilation)
    spread = (1,) * dims if lhs_dilation is None else _ints(lhs_dilation)
    if isinstance(padding, str) and max(spread) > 1:
        raise InvalidInputError(
            f"conv_general_dilated needs explicit padding pairs with lhs_dilation, got {padding!r}."
        )
    if max(spread) > 1:
        inner = [(0, 0, step - 1) for step in spread]
        x = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *inner, (0, 0, 0)])
    out = conv(
        x,
        kernel,
        strides=strides,
        padding=padding,
        dilation=dilation,
        groups=feature_group_count,
        precision=precision,
    )
    return lax.transpose(out, from_out)
