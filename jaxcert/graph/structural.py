"""Maps that move or add up entries: linear with weights 0 and 1.

Constant operands of the same kind as the bounded ones (a constant part of a concatenation, a padding
value, a constant branch) are split off: f(x, c) = f(x, 0) + f(0, c). Integer and boolean operands are
indices. Writing into an array is reading from two: which entry comes from where is found by writing
numbers of places.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer

from jaxcert.graph import builder as ops
from jaxcert.graph.builder import Builder, Ref
from jaxcert.graph.constants import all_float, dtype_of, is_float, is_zero, known, shape_of, zeros


def structural(b: Builder, eqn: Any, args: list[Any]) -> Ref | None:
    """The primitive itself, constant operands split off."""
    if not all_float(b, args):
        return None
    refs = tuple(arg for arg in args if isinstance(arg, Ref))
    fixed = [arg for arg in args if not isinstance(arg, Ref)]

    def evaluate(bounded, constants, params):
        bounded, constants = iter(bounded), iter(constants)
        full = [next(bounded) if isinstance(arg, Ref) else next(constants) for arg in args]
        return eqn.primitive.bind(*full, **params)

    # What a gather puts in place of indices out of range is a constant too.
    linear = {**eqn.params, "fill_value": 0} if "fill_value" in eqn.params else eqn.params
    zeroed = [
        np.zeros(jnp.shape(arg), jnp.asarray(arg).dtype) if is_float(jnp.asarray(arg).dtype) else arg
        for arg in fixed
    ]
    described = {
        "params": linear,
        "bounded": tuple(isinstance(arg, Ref) for arg in args),
        "fixed": tuple(zeroed),
    }
    y = ops.structural(b, eqn.primitive.name, refs, lambda *xs: evaluate(xs, zeroed, linear), described)
    if linear is eqn.params and not any(is_float(jnp.asarray(arg).dtype) for arg in fixed):
        return y
    offset = known(lambda: evaluate([zeros(b, ref) for ref in refs], fixed, eqn.params), fixed)
    return y if is_zero(offset) else ops.shift(b, y, offset)


def reduce_sum(b: Builder, eqn: Any, args: list[Any]) -> Ref | None:
    """The sum over axes."""
    axes = tuple(int(axis) for axis in eqn.params["axes"])
    if not all_float(b, args):
        return None
    return ops.reduce_sum(b, args[0], axes) if axes else args[0]


def reshape(b: Builder, eqn: Any, args: list[Any]) -> Ref | None:
    """A reshape that also permutes is split, so that the kind always means row-major order."""
    if not all_float(b, args):
        return None
    order = eqn.params.get("dimensions")
    x = args[0] if order is None else ops.transpose(b, args[0], tuple(order))
    sizes = tuple(eqn.params["new_sizes"])
    return ops.structural(b, "reshape", (x,), lambda v: v.reshape(sizes), {"shape": sizes})


def pad(b: Builder, eqn: Any, args: list[Any]) -> Ref | None:
    """Padding with a constant."""
    return None if isinstance(args[1], Ref) else structural(b, eqn, args)


def split(b: Builder, eqn: Any, args: list[Any]) -> list[Ref] | None:
    """One slice per part."""
    (x,) = args
    if not all_float(b, args):
        return None
    axis, start, parts = eqn.params["axis"], 0, []
    for size in eqn.params["sizes"]:
        part = partial(lax.slice_in_dim, start_index=start, limit_index=start + size, axis=axis)
        described = {"start": start, "size": int(size), "axis": axis}
        parts.append(ops.structural(b, "slice", (x,), part, described))
        start += int(size)
    return parts


def convert(b: Builder, eqn: Any, args: list[Any]) -> Ref | None:
    """Casts between float32 and float64. Half precision would round far beyond what bounds show."""
    (x,) = args
    old, new = jnp.dtype(b.node(x).dtype), jnp.dtype(eqn.params["new_dtype"])
    if new == old:
        return x
    if not (is_float(old) and is_float(new)) or jnp.finfo(new).bits < 32:
        return None
    return ops.structural(b, "convert_element_type", (x,), lambda v: v.astype(new), {"dtype": new})


def scatter(b: Builder, eqn: Any, args: list[Any]) -> Ref | None:
    """`x.at[indices].set(u)` with known indices."""
    x, indices, updates = args
    if isinstance(indices, Ref | Tracer) or not all_float(b, args):
        return None

    def write(places, new):
        return eqn.primitive.bind(places, indices, new, **eqn.params)

    return _overwritten(b, x, updates, write, eqn.params["unique_indices"])


def dynamic_update_slice(b: Builder, eqn: Any, args: list[Any]) -> Ref | None:
    """Writing a block at a known place."""
    x, updates, *starts = args
    if any(isinstance(start, Ref | Tracer) for start in starts) or not all_float(b, args):
        return None
    return _overwritten(
        b, x, updates, lambda places, new: lax.dynamic_update_slice(places, new, starts), True
    )


def _overwritten(b: Builder, x: Any, updates: Any, write: Any, unique: bool) -> Ref | None:
    """The entries of x and of the updates in the places where `write` puts them."""
    shape, new = shape_of(b, x), shape_of(b, updates)
    size, count = int(np.prod(shape)), int(np.prod(new))
    if count == 0:
        return x if isinstance(x, Ref) else None
    with jax.ensure_compile_time_eval():
        places = jnp.arange(size, dtype=jnp.int32).reshape(shape)
        source = np.asarray(write(places, size + jnp.arange(count, dtype=jnp.int32).reshape(new)))
    if not unique and np.unique(source[source >= size]).size < count:
        return None  # writes that collide have no order
    if isinstance(x, Ref) and isinstance(updates, Ref):
        flat = _joined(b, [ops.reshape(b, x, (size,)), ops.reshape(b, updates, (count,))])
        return ops.take(b, flat, source, 0)
    kept = source < size
    if isinstance(x, Ref):
        offset = _chosen(~kept, updates, np.maximum(source - size, 0), dtype_of(b, x))
        y = _masked(b, x, kept)
    else:
        offset = _chosen(kept, x, np.minimum(source, size - 1), dtype_of(b, updates))
        flat = ops.reshape(b, updates, (count,))
        y = _masked(b, ops.take(b, flat, np.maximum(source - size, 0), 0), ~kept)
    return y if is_zero(offset) else ops.shift(b, y, offset)


def _chosen(mask: np.ndarray, values: Any, places: np.ndarray, dtype: Any) -> Any:
    """The constant values at places where the mask holds, 0 elsewhere."""
    pick = lambda: jnp.where(mask, jnp.asarray(values, dtype).reshape(-1)[places], jnp.zeros((), dtype))
    return known(pick, [values])


def _masked(b: Builder, x: Ref, mask: np.ndarray) -> Ref:
    """x where the mask holds, 0 elsewhere."""
    if mask.all():
        return x
    zero = np.zeros((), b.node(x).dtype)
    return ops.structural(b, "select_n", (x,), lambda v: jnp.where(mask, v, zero), {"mask": mask})


def _joined(b: Builder, refs: Sequence[Ref]) -> Ref:
    return ops.structural(b, "concatenate", tuple(refs), lambda *xs: jnp.concatenate(xs), {"axis": 0})


def scatter_add(b: Builder, eqn: Any, args: list[Any]) -> Ref | None:
    """x plus the updates in their places; an entry of the updates is added once at most."""
    x, indices, updates = args
    if isinstance(indices, Ref) or not all_float(b, args):
        return None
    shape, dtype = shape_of(b, x), eqn.outvars[0].aval.dtype

    def place(ones, new):
        return eqn.primitive.bind(np.zeros(shape, dtype), indices, ones * new, **eqn.params)

    if not isinstance(updates, Ref):
        ones = np.ones(shape_of(b, updates), dtype)
        return ops.shift(b, x, known(lambda: place(ones, updates), [updates, indices]))
    ones = np.ones(shape_of(b, updates), dtype)
    added = ops.linear(b, updates, ones, place, {"indices": indices, "params": eqn.params})
    return ops.total(b, x, added) if isinstance(x, Ref) else ops.shift(b, added, x)


def scatter_mul(b: Builder, eqn: Any, args: list[Any]) -> Ref | None:
    """x times constants in their places."""
    x, indices, updates = args
    if isinstance(indices, Ref) or isinstance(updates, Ref) or not all_float(b, args):
        return None
    ones = np.ones(b.node(x).shape, b.node(x).dtype)
    factor = known(lambda: eqn.primitive.bind(ones, indices, updates, **eqn.params), [indices, updates])
    return ops.scale(b, x, factor)


def stack(b: Builder, values: Sequence[Any], dtype: Any) -> Any:
    """Values along a new leading axis, bounded ones among them or not."""
    refs = tuple(value for value in values if isinstance(value, Ref))
    if not refs:
        return jnp.stack([jnp.asarray(value, dtype) for value in values])
    if not all(is_float(b.node(ref).dtype) for ref in refs):
        return None
    bounded = tuple(isinstance(value, Ref) for value in values)
    zero = zeros(b, refs[0])

    def fn(*xs):
        given = iter(xs)
        return jnp.stack([next(given) if flag else zero for flag in bounded])

    y = ops.structural(b, "stack", refs, fn, {"bounded": bounded})
    if all(bounded):
        return y
    fixed = [zero if isinstance(value, Ref) else jnp.asarray(value, zero.dtype) for value in values]
    offset = known(lambda: jnp.stack(fixed), fixed)
    return y if is_zero(offset) else ops.shift(b, y, offset)
