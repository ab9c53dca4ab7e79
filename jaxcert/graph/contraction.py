"""Dense maps and convolutions: bilinear where one operand is constant, products of entries where none is."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxcert.graph import builder as ops
from jaxcert.graph.builder import HIGHEST, Builder, Ref
from jaxcert.graph.constants import single_or_wider


def dot_general(b: Builder, eqn: Any, args: list[Any]) -> Ref | None:
    """A dense map, or the products of two bounded values, summed."""
    x, y = args
    if not single_or_wider(b, eqn, args):
        return None
    numbers = eqn.params["dimension_numbers"]
    if isinstance(x, Ref) and isinstance(y, Ref):
        return _dot_of_two(b, x, y, numbers)
    return ops.dot(b, x, y, numbers, False) if isinstance(x, Ref) else ops.dot(b, y, x, numbers, True)


def _dot_of_two(b: Builder, x: Ref, y: Ref, numbers: Any) -> Ref:
    """Products of entries `[*batch, *x, *y, *contracted]`, summed over the contracted axes."""
    (x_contract, y_contract), (x_batch, y_batch) = numbers
    x_free = _others(b, x, (*x_contract, *x_batch))
    y_free = _others(b, y, (*y_contract, *y_batch))
    x = ops.transpose(b, x, (*x_batch, *x_free, *x_contract))
    y = ops.transpose(b, y, (*y_batch, *y_free, *y_contract))
    batch, middle = len(x_batch), len(x_batch) + len(x_free)
    shape = b.node(x).shape
    x = ops.reshape(b, x, (*shape[:middle], *(1,) * len(y_free), *shape[middle:]))
    shape = b.node(y).shape
    y = ops.reshape(b, y, (*shape[:batch], *(1,) * len(x_free), *shape[batch:]))
    terms = ops.product(b, x, y)
    rank = len(b.node(terms).shape)
    contracted = tuple(range(rank - len(x_contract), rank))
    return ops.reduce_sum(b, terms, contracted) if contracted else terms


def _others(b: Builder, x: Ref, axes: Sequence[int]) -> tuple[int, ...]:
    return tuple(axis for axis in range(len(b.node(x).shape)) if axis not in axes)


def jaxcert_conv(b: Builder, eqn: Any, args: list[Any]) -> Ref | None:
    """A convolution by this library's own kernel."""
    x, kernel = args
    if not single_or_wider(b, eqn, args):
        return None
    p = eqn.params
    if isinstance(kernel, Ref):
        return _bounded_kernel(b, eqn, x, kernel)
    return ops.conv(b, x, kernel, p["strides"], p["padding"], p["dilation"], p["groups"])


def conv_general_dilated(b: Builder, eqn: Any, args: list[Any]) -> Ref | None:
    """A convolution of any layout, as one of ours."""
    x, kernel = args
    p = eqn.params
    if not single_or_wider(b, eqn, args):
        return None
    if isinstance(kernel, Ref):
        return _bounded_kernel(b, eqn, x, kernel)
    if p["batch_group_count"] != 1:
        return None
    lhs, rhs, out = p["dimension_numbers"]
    x = ops.transpose(b, x, (lhs[0], *lhs[2:], lhs[1]))
    kernel = jnp.transpose(kernel, (*rhs[2:], rhs[1], rhs[0]))
    x = _spread(b, x, p["lhs_dilation"])
    y = ops.conv(
        b, x, kernel, p["window_strides"], tuple(p["padding"]), p["rhs_dilation"], p["feature_group_count"]
    )
    ours = (out[0], *out[2:], out[1])
    return ops.transpose(b, y, tuple(int(i) for i in np.argsort(ours)))


def _bounded_kernel(b: Builder, eqn: Any, x: Any, kernel: Ref) -> Ref | None:
    """Of a constant image: linear in the kernel, one entry of the image per weight and output."""
    if isinstance(x, Ref):
        return None
    params = {**eqn.params, "precision": (HIGHEST, HIGHEST)}
    return ops.linear(b, kernel, x, lambda c, v: eqn.primitive.bind(c, v, **params), {"conv": params})


def _spread(b: Builder, x: Ref, dilation: tuple[int, ...]) -> Ref:
    """Zeros between the entries of the spatial axes: what lhs_dilation means."""
    if all(step == 1 for step in dilation):
        return x
    config = ((0, 0, 0), *((0, 0, step - 1) for step in dilation), (0, 0, 0))
    zero = np.zeros((), b.node(x).dtype)
    return ops.structural(b, "pad", (x,), lambda v: lax.pad(v, zero, config), {"config": config})
