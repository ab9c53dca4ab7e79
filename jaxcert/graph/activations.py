"""Element-wise functions: records of `relax` by their primitive, clips, comparisons and selections.

max(x, c) = c + relu(x - c) and min(x, c) = c - relu(c - x) hold for every constant.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxcert.graph import builder as ops
from jaxcert.graph.builder import Builder, Ref
from jaxcert.graph.constants import all_float, is_zero, known
from jaxcert.graph.ir import LINEAR
from jaxcert.graph.structural import structural


def elementwise(name: str, b: Builder, eqn: Any, args: list[Any]) -> Ref | None:
    """A record of its own."""
    return ops.activation(b, name, args[0]) if all_float(b, args) else None


def absolute(b: Builder, eqn: Any, args: list[Any]) -> Ref | None:
    """|x|, a leaky ReLU of slopes -1 and 1."""
    return ops.activation(b, "leaky_relu", args[0], -1.0, 1.0) if all_float(b, args) else None


def maximum(b: Builder, eqn: Any, args: list[Any]) -> Ref | None:
    """max of a bounded value and a constant or another bounded value."""
    x, c = args if isinstance(args[0], Ref) else args[::-1]
    if not all_float(b, args):
        return None
    shape = eqn.outvars[0].aval.shape
    x = ops.broadcast(b, x, shape)
    if isinstance(c, Ref):
        c = ops.broadcast(b, c, shape)
        return x if c == x else ops.join(b, "maximum", x, c)
    if is_zero(c):
        return _remember(b, x, c, "low", ops.activation(b, "relu", x))
    clip = _clipped(b, x, c, "high")
    if clip is not None:
        return clip
    lift = lambda c: ops.shift(b, ops.activation(b, "relu", ops.shift(b, x, known(lambda: -c, [c]))), c)
    return _remember(b, x, c, "low", _where_finite(b, x, c, lift))


def minimum(b: Builder, eqn: Any, args: list[Any]) -> Ref | None:
    """min, likewise."""
    x, c = args if isinstance(args[0], Ref) else args[::-1]
    if not all_float(b, args):
        return None
    shape = eqn.outvars[0].aval.shape
    x = ops.broadcast(b, x, shape)
    if isinstance(c, Ref):
        c = ops.broadcast(b, c, shape)
        return x if c == x else least(b, (x, c))
    clip = _clipped(b, x, c, "low")
    if clip is not None:
        return clip

    def cut(c):
        below = ops.activation(b, "relu", ops.shift(b, ops.negate(b, x), c))
        return ops.shift(b, ops.negate(b, below), c)

    return _remember(b, x, c, "high", _where_finite(b, x, c, cut))


def least(b: Builder, xs: tuple[Ref, ...]) -> Ref:
    """The entry-wise minimum, as -max(-x, ...)."""
    return ops.negate(b, ops.join(b, "maximum", *(ops.negate(b, x) for x in xs)))


def _remember(b: Builder, x: Ref, c: Any, side: str, clipped: Ref) -> Ref:
    if clipped != x:
        b.clips[clipped.index] = (x, c, side)
    return clipped


def _clipped(b: Builder, x: Ref, c: Any, side: str) -> Ref | None:
    """min(max(y, low), high) and its mirror image as one function, where low <= high is known."""
    before = b.clips.get(x.index)
    if before is None or before[2] != side:
        return None
    low, high = (before[1], c) if side == "low" else (c, before[1])
    if isinstance(low, Tracer) or isinstance(high, Tracer):
        return None
    low, high = np.asarray(low), np.asarray(high)
    if not (np.isfinite(low).all() and np.isfinite(high).all() and (low <= high).all()):
        return None
    dtype = b.node(x).dtype
    return ops.activation(b, "hard_tanh", before[0], np.asarray(low, dtype), np.asarray(high, dtype))


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
    y = clipped(np.asarray(np.where(free, 0, c), b.node(x).dtype))
    return ops.structural(b, "select_n", (x, y), lambda u, v: jnp.where(mask, u, v), {"mask": mask})


def clamp(b: Builder, eqn: Any, args: list[Any]) -> Ref | None:
    """min(max(x, low), high) for constant ends."""
    low, x, high = args
    if isinstance(low, Ref) or isinstance(high, Ref):
        return None
    floor = maximum(b, eqn, [x, low])
    return None if floor is None else minimum(b, eqn, [floor, high])


# Comparisons. In real arithmetic a bounded value is never NaN and never infinite; where floating-point
# numbers could be, a selection by such a test keeps an eye on the value (`_guarded`).


def compare(b: Builder, eqn: Any, args: list[Any]) -> Any:
    """What a comparison gives whatever the input is: `x != x` and comparisons with infinities."""
    x, y = args
    name, shape = eqn.primitive.name, eqn.outvars[0].aval.shape
    if isinstance(x, Ref) and isinstance(y, Ref):
        if x == y and name in ("eq", "ne") and _cannot_overflow(b, x):
            return [np.full(shape, name == "eq")]
        return None
    ref, c = (x, y) if isinstance(x, Ref) else (y, x)
    if name in ("eq", "ne") and not isinstance(c, Tracer) and _cannot_overflow(b, ref):
        array = np.asarray(c)
        if array.dtype.kind == "f" and bool(np.isinf(array).all()):
            return [np.full(shape, name == "ne")]
    return None


def is_finite(b: Builder, eqn: Any, args: list[Any]) -> Any:
    """True, where no overflow is possible."""
    return [np.full(eqn.outvars[0].aval.shape, True)] if _cannot_overflow(b, args[0]) else None


_SAFE = frozenset(
    {"maximum", "relu", "leaky_relu", "hard_tanh", "sigmoid", "tanh", "arctan", "softplus", "shift"}
)


def _cannot_overflow(b: Builder, x: Ref) -> bool:
    """Whether x comes by piecewise linear and saturating steps from where it could be no NaN or infinity.

    exp, quotients and powers reach infinity in floating-point numbers at points where a real number is
    finite; a guard against that is no constant.
    """
    pending, seen = [x.index], set()
    while pending:
        index = pending.pop()
        if index in seen:
            continue
        seen.add(index)
        node = b.nodes[index]
        if node.kind != "input" and node.kind not in LINEAR and node.kind not in _SAFE:
            return False
        pending.extend(node.inputs)
    return True


# Selections.


def select(b: Builder, eqn: Any, args: list[Any]) -> Ref | list[Any] | None:
    """A selection by constants, or one by comparisons that is a function with a record."""
    which, *branches = args
    if isinstance(which, Ref):
        return _larger(b, which, branches) or _guarded(b, which, branches) or _two_slopes(b, args)
    if not isinstance(which, Tracer) and all(not isinstance(x, Ref) or all_float(b, [x]) for x in branches):
        chosen = np.unique(np.asarray(which))
        if chosen.size == 1 and isinstance(branches[int(chosen[0])], Ref):
            # A branch that is never taken is no part of the function.
            return [branches[int(chosen[0])]]
    return structural(b, eqn, args)


def _larger(b: Builder, which: Ref, branches: list[Any]) -> Ref | None:
    """`where(x > y, x, y)` of two bounded values and its kin; where they are equal, either is the value."""
    predicate = b.node(which)
    if predicate.kind not in ("gt", "ge", "lt", "le") or len(predicate.inputs) != 2 or len(branches) != 2:
        return None
    first, second = (Ref(index) for index in predicate.inputs)
    other, then = branches
    if (other, then) not in ((first, second), (second, first)) or b.node(first).shape != b.node(which).shape:
        return None
    greater = (then == first) == (predicate.kind in ("gt", "ge"))
    return ops.join(b, "maximum", first, second) if greater else least(b, (first, second))


def _guarded(b: Builder, which: Ref, branches: list[Any]) -> Ref | None:
    """`where(isnan(x), a, y)` is y, with NaN for its bounds where those of x are not finite."""
    predicate = b.node(which)
    tests = {"is_finite": 1, "eq": 1, "ne": 0}
    if predicate.kind not in tests or predicate.consts or len(set(predicate.inputs)) != 1:
        return None
    x, usual = Ref(predicate.inputs[0]), branches[tests[predicate.kind]]
    if not isinstance(usual, Ref) or b.node(usual).shape != b.node(x).shape or not all_float(b, [usual, x]):
        return None
    if usual == x:
        return x
    nothing = ops.scale(b, x, np.zeros((), b.node(x).dtype))
    return ops.total(b, usual, nothing) if b.node(usual).dtype == b.node(x).dtype else None


def _two_slopes(b: Builder, args: list[Any]) -> Ref | None:
    """`where(x > 0, p * x, n * x)` in all its spellings.

    At x = 0 both branches are 0, so strict and weak comparisons define one function.
    """
    which, *branches = args
    predicate = b.node(which)
    if predicate.kind not in ("gt", "ge", "lt", "le") or len(predicate.inputs) != 1 or len(branches) != 2:
        return None
    (x,) = predicate.inputs
    if not is_zero(predicate.consts[0]):
        return None
    slopes = [_slope_of(b, branch, x) for branch in branches]
    if slopes[0] is None or slopes[1] is None:
        return None
    # select_n takes the second branch where the predicate holds; one trial at x = 1 tells
    # which branch serves the positive side, however the comparison is spelt.
    with jax.ensure_compile_time_eval():
        holds = bool(jnp.all(predicate.apply(predicate.consts, np.ones(b.nodes[x].shape, b.nodes[x].dtype))))
    neg, pos = slopes if holds else slopes[::-1]
    return ops.activation(b, "leaky_relu", Ref(x), neg, pos)


def _slope_of(b: Builder, branch: Any, x: int) -> Any:
    """n if the branch is n * (node x), else None."""
    dtype = b.nodes[x].dtype
    if not isinstance(branch, Ref):
        return np.zeros((), dtype) if is_zero(branch) else None
    if branch.index == x:
        return np.ones((), dtype)
    node = b.node(branch)
    if node.kind == "scale" and node.inputs == (x,):
        return node.consts[0]
    return None
