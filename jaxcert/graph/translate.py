"""Translations of JAX primitives into nodes. Operands are `Ref` (bounded) or constants.

Each function returns the value (or values) of its equation, or `None` where it does not apply (then
the equation stays as an opaque node, which engines refuse). The reasons are in the section
headings: what is linear becomes linear nodes, what is an activation is recognised by its
structure.
"""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer

from jaxcert.graph import builder as ops
from jaxcert.graph.builder import Builder, Ref

# Arithmetic with constants is affine.


def _add(b: Builder, eqn: Any, args: list[Any]) -> Ref:
    x, y = args
    if isinstance(x, Ref) and isinstance(y, Ref):
        return ops.total(b, x, y)
    return ops.shift(b, x, y) if isinstance(x, Ref) else ops.shift(b, y, x)


def _sub(b: Builder, eqn: Any, args: list[Any]) -> Ref:
    x, y = args
    if isinstance(x, Ref) and isinstance(y, Ref):
        return ops.total(b, x, ops.negate(b, y))
    return ops.shift(b, x, -y) if isinstance(x, Ref) else ops.shift(b, ops.negate(b, y), x)


def _mul(b: Builder, eqn: Any, args: list[Any]) -> Ref | None:
    x, y = args
    if isinstance(x, Ref) and isinstance(y, Ref):
        return None
    return ops.scale(b, x, y) if isinstance(x, Ref) else ops.scale(b, y, x)


def _div(b: Builder, eqn: Any, args: list[Any]) -> Ref | None:
    x, y = args
    return None if isinstance(y, Ref) else ops.scale(b, x, 1 / y)


def _neg(b: Builder, eqn: Any, args: list[Any]) -> Ref:
    return ops.negate(b, args[0])


# Dense maps and convolutions are bilinear in the value and the weight.


def _dot_general(b: Builder, eqn: Any, args: list[Any]) -> Ref | None:
    x, y = args
    if isinstance(x, Ref) and isinstance(y, Ref):
        return None
    if not _single_or_wider(b, eqn, args):
        return None
    numbers = eqn.params["dimension_numbers"]
    return ops.dot(b, x, y, numbers, False) if isinstance(x, Ref) else ops.dot(b, y, x, numbers, True)


def _jaxcert_conv(b: Builder, eqn: Any, args: list[Any]) -> Ref | None:
    x, kernel = args
    if isinstance(kernel, Ref) or not _single_or_wider(b, eqn, args):
        return None
    p = eqn.params
    return ops.conv(b, x, kernel, p["strides"], p["padding"], p["dilation"], p["groups"])


def _conv_general_dilated(b: Builder, eqn: Any, args: list[Any]) -> Ref | None:
    x, kernel = args
    p = eqn.params
    if isinstance(kernel, Ref) or p["batch_group_count"] != 1 or not _single_or_wider(b, eqn, args):
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


def _spread(b: Builder, x: Ref, dilation: tuple[int, ...]) -> Ref:
    """Zeros between the entries of the spatial axes: what lhs_dilation means."""
    if all(step == 1 for step in dilation):
        return x
    config = ((0, 0, 0), *((0, 0, step - 1) for step in dilation), (0, 0, 0))
    zero = jnp.zeros((), b.node(x).dtype)
    return ops.structural(b, "pad", (x,), lambda v: lax.pad(v, zero, config))


# Structural maps are linear with weights 0 and 1. Constant operands of the same kind as the
# bounded ones (a constant part of a concatenation, a padding value, a constant branch) are
# split off: f(x, c) = f(x, 0) + f(0, c). Integer and boolean operands are indices.


def _structural(b: Builder, eqn: Any, args: list[Any]) -> Ref | None:
    if any(isinstance(arg, Ref) and not _is_float(b.node(arg).dtype) for arg in args):
        return None
    refs = tuple(arg for arg in args if isinstance(arg, Ref))
    fixed = [arg for arg in args if not isinstance(arg, Ref)]

    def evaluate(bounded, constants, params):
        bounded, constants = iter(bounded), iter(constants)
        full = [next(bounded) if isinstance(arg, Ref) else next(constants) for arg in args]
        return eqn.primitive.bind(*full, **params)

    # What a gather puts in place of indices out of range is a constant too.
    linear = {**eqn.params, "fill_value": 0} if "fill_value" in eqn.params else eqn.params
    zeroed = [jnp.zeros_like(arg) if _is_float(jnp.asarray(arg).dtype) else arg for arg in fixed]
    y = ops.structural(b, eqn.primitive.name, refs, lambda *xs: evaluate(xs, zeroed, linear))
    if linear is eqn.params and not any(_is_float(jnp.asarray(arg).dtype) for arg in fixed):
        return y
    offset = _known(lambda: evaluate([_zeros(b, ref) for ref in refs], fixed, eqn.params), fixed)
    return y if _is_zero(offset) else ops.shift(b, y, offset)


def _reshape(b: Builder, eqn: Any, args: list[Any]) -> Ref | None:
    """A reshape that also permutes is split, so that the kind always means row-major order."""
    order = eqn.params.get("dimensions")
    if order is not None:
        args = [ops.transpose(b, args[0], tuple(order))]
    sizes = tuple(eqn.params["new_sizes"])
    return ops.structural(b, "reshape", (args[0],), lambda v: v.reshape(sizes))


def _pad(b: Builder, eqn: Any, args: list[Any]) -> Ref | None:
    return None if isinstance(args[1], Ref) else _structural(b, eqn, args)


def _split(b: Builder, eqn: Any, args: list[Any]) -> list[Ref]:
    (x,) = args
    axis, start, parts = eqn.params["axis"], 0, []
    for size in eqn.params["sizes"]:
        part = partial(lax.slice_in_dim, start_index=start, limit_index=start + size, axis=axis)
        parts.append(ops.structural(b, "slice", (x,), part))
        start += size
    return parts


def _convert(b: Builder, eqn: Any, args: list[Any]) -> Ref | None:
    """Casts between float32 and float64. Half precision would round far beyond what bounds show."""
    (x,) = args
    old, new = jnp.dtype(b.node(x).dtype), jnp.dtype(eqn.params["new_dtype"])
    if new == old:
        return x
    if not (_is_float(old) and _is_float(new)) or jnp.finfo(new).bits < 32:
        return None
    return ops.structural(b, "convert_element_type", (x,), lambda v: v.astype(new))


def _identity(b: Builder, eqn: Any, args: list[Any]) -> Ref:
    return args[0]


def _identity_all(b: Builder, eqn: Any, args: list[Any]) -> list[Any]:
    return list(args)


# Activations. max(x, c) = c + relu(x - c) and min(x, c) = c - relu(c - x) hold for every constant.


def _max(b: Builder, eqn: Any, args: list[Any]) -> Ref | None:
    x, c = args if isinstance(args[0], Ref) else args[::-1]
    if isinstance(c, Ref):
        return None
    x = ops.broadcast(b, x, eqn.outvars[0].aval.shape)
    if _is_zero(c):
        return ops.activation(b, "relu", x)
    return _where_finite(b, x, c, lambda c: ops.shift(b, ops.activation(b, "relu", ops.shift(b, x, -c)), c))


def _min(b: Builder, eqn: Any, args: list[Any]) -> Ref | None:
    x, c = args if isinstance(args[0], Ref) else args[::-1]
    if isinstance(c, Ref):
        return None
    x = ops.broadcast(b, x, eqn.outvars[0].aval.shape)

    def clipped(c):
        below = ops.activation(b, "relu", ops.shift(b, ops.negate(b, x), c))
        return ops.shift(b, ops.negate(b, below), c)

    return _where_finite(b, x, c, clipped)


def _where_finite(b: Builder, x: Ref, c: Any, clipped: Callable[[Any], Ref]) -> Ref:
    """max(x, -inf) and min(x, inf) are x; the formulas with an infinite c would be inf - inf."""
    if isinstance(c, Tracer):
        return clipped(c)
    free = np.isinf(np.asarray(c))
    if not free.any():
        return clipped(c)
    if free.all():
        return x
    mask = np.broadcast_to(free, b.node(x).shape)
    y = clipped(jnp.asarray(np.where(free, 0, c), b.node(x).dtype))
    return ops.structural(b, "select_n", (x, y), lambda u, v: jnp.where(mask, u, v))


def _clamp(b: Builder, eqn: Any, args: list[Any]) -> Ref | None:
    low, x, high = args
    if isinstance(low, Ref) or isinstance(high, Ref):
        return None
    floor = _max(b, eqn, [x, low])
    return None if floor is None else _min(b, eqn, [floor, high])


def _elementwise(name: str, b: Builder, eqn: Any, args: list[Any]) -> Ref:
    return ops.activation(b, name, args[0])


def _select(b: Builder, eqn: Any, args: list[Any]) -> Ref | None:
    which = args[0]
    return _two_slopes(b, args) if isinstance(which, Ref) else _structural(b, eqn, args)


def _two_slopes(b: Builder, args: list[Any]) -> Ref | None:
    """`where(x > 0, p * x, n * x)` in all its spellings; anything else is not translated.

    At x = 0 both branches are 0, so strict and weak comparisons define one function.
    """
    which, *branches = args
    predicate = b.node(which)
    if predicate.kind not in ("gt", "ge", "lt", "le") or len(predicate.inputs) != 1 or len(branches) != 2:
        return None
    (x,) = predicate.inputs
    if not _is_zero(predicate.consts[0]):
        return None
    slopes = [_slope_of(b, branch, x) for branch in branches]
    if slopes[0] is None or slopes[1] is None:
        return None
    # select_n takes the second branch where the predicate holds; one trial at x = 1 tells
    # which branch serves the positive side, however the comparison is spelt.
    with jax.ensure_compile_time_eval():
        holds = bool(jnp.all(predicate.apply(predicate.consts, jnp.ones(b.nodes[x].shape, b.nodes[x].dtype))))
    neg, pos = slopes if holds else slopes[::-1]
    return ops.activation(b, "leaky_relu", Ref(x), neg, pos)


def _slope_of(b: Builder, branch: Any, x: int) -> Any:
    """n if the branch is n * (node x), else None."""
    dtype = b.nodes[x].dtype
    if not isinstance(branch, Ref):
        return jnp.zeros((), dtype) if _is_zero(branch) else None
    if branch.index == x:
        return jnp.ones((), dtype)
    node = b.node(branch)
    if node.kind == "scale" and node.inputs == (x,):
        return node.consts[0]
    return None


def _single_or_wider(b: Builder, eqn: Any, args: list[Any]) -> bool:
    """Whether operands and result have at least 32 bits; half precision rounds beyond what bounds show."""
    dtypes = [b.node(arg).dtype if isinstance(arg, Ref) else jnp.asarray(arg).dtype for arg in args]
    return all(jnp.finfo(d).bits >= 32 for d in [*dtypes, eqn.outvars[0].aval.dtype] if _is_float(d))


def _zeros(b: Builder, ref: Ref) -> jax.Array:
    return jnp.zeros(b.node(ref).shape, b.node(ref).dtype)


def _known(evaluate: Callable[[], Any], operands: list[Any]) -> Any:
    """Evaluate at once, even under jit, where no operand is traced."""
    if any(isinstance(operand, Tracer) for operand in operands):
        return evaluate()
    with jax.ensure_compile_time_eval():
        return evaluate()


def _is_float(dtype: Any) -> bool:
    return jnp.issubdtype(dtype, jnp.floating)


def _is_zero(value: Any) -> bool:
    """Whether a constant is known to be 0 everywhere."""
    return not isinstance(value, Tracer) and not np.any(np.asarray(value))


TRANSLATIONS: Mapping[str, Callable[[Builder, Any, list[Any]], Ref | list[Any] | None]] = MappingProxyType(
    {
        "add": _add,
        "add_any": _add,
        "sub": _sub,
        "mul": _mul,
        "div": _div,
        "neg": _neg,
        "dot_general": _dot_general,
        "conv_general_dilated": _conv_general_dilated,
        "jaxcert_conv": _jaxcert_conv,
        "broadcast_in_dim": _structural,
        "concatenate": _structural,
        "cumsum": _structural,
        "dynamic_slice": _structural,
        "expand_dims": _structural,
        "gather": _structural,
        "pad": _pad,
        "reduce_sum": _structural,
        "reduce_window_sum": _structural,
        "reshape": _reshape,
        "rev": _structural,
        "slice": _structural,
        "split": _split,
        "squeeze": _structural,
        "stack": _structural,
        "tile": _structural,
        "transpose": _structural,
        "convert_element_type": _convert,
        "copy": _identity,
        "copy_p": _identity,
        "stop_gradient": _identity,
        "name": _identity,
        "device_put": _identity_all,
        "max": _max,
        "min": _min,
        "clamp": _clamp,
        "select_n": _select,
        "logistic": partial(_elementwise, "sigmoid"),
        "tanh": partial(_elementwise, "tanh"),
        "atan": partial(_elementwise, "arctan"),
    }
)
