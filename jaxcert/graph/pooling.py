"""Maxima and minima over axes and windows, as one maximum of several pieces of the value.

Padding of a maximum is -inf, so it is never the largest: a window that reaches over the edge reads an
entry of its own that lies inside a second time instead.
"""

from functools import partial
from itertools import product
from math import prod
from typing import Any

import numpy as np
from jax import lax

from jaxcert.graph import builder as ops
from jaxcert.graph.activations import least
from jaxcert.graph.builder import Builder, Ref
from jaxcert.graph.constants import all_float

# A maximum of more pieces is one of maxima: its planes take a row per piece.
_MOST = 128


def reduce_max(b: Builder, eqn: Any, args: list[Any]) -> Ref | None:
    """The maximum over axes."""
    return _over_axes(b, args[0], eqn.params["axes"], largest) if all_float(b, args) else None


def reduce_min(b: Builder, eqn: Any, args: list[Any]) -> Ref | None:
    """The minimum over axes."""
    return _over_axes(b, args[0], eqn.params["axes"], least) if all_float(b, args) else None


def largest(b: Builder, xs: tuple[Ref, ...]) -> Ref:
    """The entry-wise maximum."""
    while len(xs) > _MOST:
        xs = tuple(largest(b, xs[i : i + _MOST]) for i in range(0, len(xs), _MOST))
    first, *others = xs
    return ops.join(b, "maximum", first, *others) if others else first


def _over_axes(b: Builder, x: Ref, axes: tuple[int, ...], join: Any) -> Ref | None:
    axes = tuple(int(axis) for axis in axes)
    shape: tuple[int, ...] = b.node(x).shape
    rest = tuple(axis for axis in range(len(shape)) if axis not in axes)
    count = prod(shape[axis] for axis in axes)
    if count == 0:
        return None
    flat = ops.reshape(b, ops.transpose(b, x, (*axes, *rest)), (count, *(shape[axis] for axis in rest)))
    pieces = [ops.reshape(b, _row(b, flat, i), tuple(shape[axis] for axis in rest)) for i in range(count)]
    return join(b, tuple(pieces)) if count > 1 else pieces[0]


def _row(b: Builder, x: Ref, i: int) -> Ref:
    part = partial(lax.slice_in_dim, start_index=i, limit_index=i + 1, axis=0)
    return ops.structural(b, "slice", (x,), part, {"start": i, "size": 1, "axis": 0})


def reduce_window_max(b: Builder, eqn: Any, args: list[Any]) -> Ref | None:
    """Max pooling: any window, stride, padding and window dilation."""
    return _window(b, eqn, args, largest)


def reduce_window_min(b: Builder, eqn: Any, args: list[Any]) -> Ref | None:
    """Min pooling, likewise."""
    return _window(b, eqn, args, least)


def _window(b: Builder, eqn: Any, args: list[Any], join: Any) -> Ref | None:
    (x,) = args
    p = eqn.params
    if not all_float(b, args) or any(step != 1 for step in p["base_dilation"]):
        return None
    geometry = (p["window_dimensions"], p["window_strides"], p["padding"], p["window_dilation"])
    tables = [_places(*axis) for axis in zip(tuple(b.node(x).shape), *geometry, strict=True)]
    if any(table.size == 0 for table in tables):
        return None
    offsets = product(*(range(len(table)) for table in tables))
    # Two parts of a window that read the same entries are one.
    pieces = {_piece(b, x, [table[k] for table, k in zip(tables, offset, strict=True)]) for offset in offsets}
    first, *others = sorted(pieces, key=lambda ref: ref.index)
    return join(b, (first, *others)) if others else first


def _places(size: int, window: int, stride: int, padding: tuple[int, int], dilation: int) -> np.ndarray:
    """`[window, outputs]`: the entry that each part of each window reads; empty if one is all padding."""
    low, high = padding
    outputs = (size + low + high - ((window - 1) * dilation + 1)) // stride + 1
    if outputs <= 0 or size == 0:
        return np.zeros((0, 0), int)
    table = np.arange(outputs)[None] * stride - low + np.arange(window)[:, None] * dilation
    inside = (table >= 0) & (table < size)
    if not inside.any(0).all():
        return np.zeros((0, 0), int)
    first = np.take_along_axis(table, inside.argmax(0)[None], 0)
    return np.where(inside, table, first)


def _piece(b: Builder, x: Ref, places: list[np.ndarray]) -> Ref:
    """The entries at places per axis: a strided slice where they are evenly spaced, a gather elsewhere."""
    for axis, index in enumerate(places):
        size = b.node(x).shape[axis]
        steps = np.unique(np.diff(index))
        if index.size == size and np.array_equal(index, np.arange(size)):
            continue
        if steps.size > 1 or (steps.size == 1 and steps[0] <= 0):
            x = ops.take(b, x, index, axis)
            continue
        step = int(steps[0]) if steps.size else 1
        start, stop = int(index[0]), int(index[-1]) + 1
        part = partial(lax.slice_in_dim, start_index=start, limit_index=stop, stride=step, axis=axis)
        described = {"start": start, "size": stop - start, "stride": step, "axis": axis}
        x = ops.structural(b, "slice", (x,), part, described)
    return x
