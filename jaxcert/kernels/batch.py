"""Batching of the three maps: every mapped axis becomes part of N, of a channel axis or of the groups.

Write conv, conv_transpose and conv_weight_grad as contractions over x [N, S, G, c], kernel [k, c, G, o]
and y [N, T, G, o]. An axis V mapped in one operand only is a free axis of that operand: it joins N if the
third array has N too, or else the channels inside each group (G, V, c). An axis mapped in both operands
is a batch of independent maps: as groups (V, G), or as part of N where N is shared by both.
"""

from math import prod

import jax.numpy as jnp


def merge_into_batch(x, axis: int):
    """[.., V, ..] -> [V * N, *S, C]; also returns V."""
    x = jnp.moveaxis(x, axis, 0)
    return x.reshape((x.shape[0] * x.shape[1], *x.shape[2:])), x.shape[0]


def split_batch(x, size: int):
    """[V * N, *S, C] -> [V, N, *S, C]."""
    return x.reshape((size, x.shape[0] // size, *x.shape[1:]))


def merge_into_last(x, axis: int, groups: int):
    """[.., V, .., groups * c] -> [.., groups * V * c]; also returns V. groups = 1 puts V outermost."""
    x = jnp.moveaxis(x, axis, -2)
    size, channels = x.shape[-2:]
    if groups > 1:
        x = x.reshape((*x.shape[:-2], size, groups, channels // groups))
        x = jnp.swapaxes(x, -3, -2)
    lead = x.ndim - (2 if groups == 1 else 3)
    return x.reshape((*x.shape[:lead], prod(x.shape[lead:]))), size


def split_last(x, size: int, groups: int):
    """[.., groups * V * c] -> ([.., V, groups * c], position of V)."""
    channels = x.shape[-1] // size
    x = x.reshape((*x.shape[:-1], groups, size, channels // groups))
    x = jnp.swapaxes(x, -3, -2)
    x = x.reshape((*x.shape[:-2], channels))
    return x, x.ndim - 2


def merge_into_inputs(kernel, axis: int):
    """[.., V, .., I, O] -> [*k, V * I, O]; also returns V."""
    kernel = jnp.moveaxis(kernel, axis, -3)
    size, inputs, outputs = kernel.shape[-3:]
    return kernel.reshape((*kernel.shape[:-3], size * inputs, outputs)), size


def split_inputs(kernel, size: int):
    """[*k, V * I, O] -> ([*k, V, I, O], position of V)."""
    *spatial, inputs, outputs = kernel.shape
    return kernel.reshape((*spatial, size, inputs // size, outputs)), len(spatial)


def batch_conv(bind, operands, axes, *, groups: int, **params):
    """x [N, S, C], K [k, C / groups, O] -> y [N, T, O], any of x and K mapped: (result, its mapped axis)."""
    (x, kernel), (x_axis, kernel_axis) = operands, axes
    if kernel_axis is None:
        x, size = merge_into_batch(x, x_axis)
        return split_batch(bind(x, kernel, groups=groups, **params), size), 0
    if x_axis is None:
        kernel, size = merge_into_last(kernel, kernel_axis, groups)
        return split_last(bind(x, kernel, groups=groups, **params), size, groups)
    x, size = merge_into_last(x, x_axis, 1)
    kernel, _ = merge_into_last(kernel, kernel_axis, 1)
    return split_last(bind(x, kernel, groups=size * groups, **params), size, 1)


def batch_conv_transpose(bind, operands, axes, *, groups: int, **params):
    """y [N, T, O], K [k, C / groups, O] -> x [N, S, C], any of y and K mapped: (result, its mapped axis)."""
    (y, kernel), (y_axis, kernel_axis) = operands, axes
    if kernel_axis is None:
        y, size = merge_into_batch(y, y_axis)
        return split_batch(bind(y, kernel, groups=groups, **params), size), 0
    if y_axis is None:
        kernel, size = merge_into_inputs(kernel, kernel_axis)
        return split_last(bind(y, kernel, groups=groups, **params), size, groups)
    y, size = merge_into_last(y, y_axis, 1)
    kernel, _ = merge_into_last(kernel, kernel_axis, 1)
    return split_last(bind(y, kernel, groups=size * groups, **params), size, 1)


def batch_conv_weight_grad(bind, operands, axes, *, groups: int, **params):
    """x [N, S, C], y [N, T, O] -> K [k, C / groups, O], any of x and y mapped: (result, its mapped axis)."""
    (x, y), (x_axis, y_axis) = operands, axes
    if y_axis is None:
        x, size = merge_into_last(x, x_axis, groups)
        return split_inputs(bind(x, y, groups=groups, **params), size)
    if x_axis is None:
        y, size = merge_into_last(y, y_axis, groups)
        return split_last(bind(x, y, groups=groups, **params), size, groups)
    x, size = merge_into_last(x, x_axis, 1)
    y, _ = merge_into_last(y, y_axis, 1)
    return split_last(bind(x, y, groups=size * groups, **params), size, 1)
