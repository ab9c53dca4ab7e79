"""Sums, products, quotients and powers.

With a constant they are affine. Products of two bounded values are joins, quotients products
with a reciprocal, and powers what their exponent says.
"""

from typing import Any

import numpy as np
from jax.core import Tracer

from jaxcert.graph import builder as ops
from jaxcert.graph.builder import Builder, Ref
from jaxcert.graph.constants import all_float, dtype_of, is_float, known, single_or_wider
from jaxcert.graph.same import uniform


def add(b: Builder, eqn: Any, args: list[Any]) -> Ref | None:
    """x + y."""
    x, y = args
    if not all_float(b, args):
        return None
    if isinstance(x, Ref) and isinstance(y, Ref):
        return ops.total(b, x, y)
    return ops.shift(b, x, y) if isinstance(x, Ref) else ops.shift(b, y, x)


def sub(b: Builder, eqn: Any, args: list[Any]) -> Ref | None:
    """x - y."""
    x, y = args
    if not all_float(b, args):
        return None
    if isinstance(x, Ref) and isinstance(y, Ref):
        return ops.total(b, x, ops.negate(b, y))
    return (
        ops.shift(b, x, known(lambda: -y, [y])) if isinstance(x, Ref) else ops.shift(b, ops.negate(b, y), x)
    )


def mul(b: Builder, eqn: Any, args: list[Any]) -> Ref | None:
    """x * y."""
    x, y = args
    if not all_float(b, args):
        return None
    if isinstance(x, Ref) and isinstance(y, Ref):
        return ops.product(b, x, y)
    return ops.scale(b, x, y) if isinstance(x, Ref) else ops.scale(b, y, x)


def div(b: Builder, eqn: Any, args: list[Any]) -> Ref | None:
    """x / y, a product with 1 / y where y is bounded."""
    x, y = args
    if not all_float(b, args):
        return None
    if not isinstance(y, Ref):
        return ops.scale(b, x, known(lambda: 1 / y, [y]))
    inverse = _inverse(b, y)
    return ops.product(b, x, inverse) if isinstance(x, Ref) else ops.scale(b, inverse, x)


def _inverse(b: Builder, y: Ref) -> Ref:
    """1 / y; of a root the inverse root."""
    if b.node(y).kind == "sqrt":
        return ops.activation(b, "rsqrt", Ref(b.node(y).inputs[0]))
    return ops.activation(b, "reciprocal", y)


def neg(b: Builder, eqn: Any, args: list[Any]) -> Ref | None:
    """-x."""
    return ops.negate(b, args[0]) if all_float(b, args) else None


def integer_pow(b: Builder, eqn: Any, args: list[Any]) -> Ref | None:
    """x^n for any integer n."""
    return _power(b, args[0], float(eqn.params["y"])) if all_float(b, args) else None


def square(b: Builder, eqn: Any, args: list[Any]) -> Ref | None:
    """x^2."""
    return ops.activation(b, "integer_pow", args[0], 2) if all_float(b, args) else None


def power(b: Builder, eqn: Any, args: list[Any]) -> Ref | None:
    """x^c for a known c, exp(c log x) for any other constant; c^x = exp(x log c) for a known c > 0."""
    x, y = args
    if not single_or_wider(b, eqn, args) or not all_float(b, args):
        return None
    if isinstance(y, Ref):
        base = None if isinstance(x, Ref) else _known_array(x)
        if base is None or not np.all(base > 0):
            return None
        log_base = np.asarray(np.log(np.asarray(base, np.float64)), b.node(y).dtype)
        return ops.activation(b, "exp", ops.scale(b, y, log_base))
    exponent = uniform(y)
    if exponent is not None:
        return _power(b, x, exponent)
    if not is_float(dtype_of(b, y)):
        return None
    return ops.activation(b, "exp", ops.scale(b, ops.activation(b, "log", x), y))


def _power(b: Builder, x: Ref, exponent: float) -> Ref | None:
    if exponent == 0:
        return None  # the constant 1: no function of x
    if exponent < 0:
        inverse = "rsqrt" if exponent == -0.5 else "reciprocal"
        rest = 1.0 if exponent == -0.5 else -exponent
        return _power(b, ops.activation(b, inverse, x), rest)
    if exponent == int(exponent):
        return x if exponent == 1 else ops.activation(b, "integer_pow", x, int(exponent))
    if exponent == 0.5:
        return ops.activation(b, "sqrt", x)
    scaled = ops.scale(b, ops.activation(b, "log", x), np.asarray(exponent, b.node(x).dtype))
    return ops.activation(b, "exp", scaled)


def _known_array(value: Any) -> np.ndarray | None:
    """The numbers of a constant, None for a traced value."""
    return None if isinstance(value, Tracer) else np.asarray(value)


def exp2(b: Builder, eqn: Any, args: list[Any]) -> Ref | None:
    """2^x = exp(x log 2)."""
    x = args[0]
    scaled = ops.scale(b, x, np.asarray(np.log(2.0), b.node(x).dtype))
    return ops.activation(b, "exp", scaled)


def erfc(b: Builder, eqn: Any, args: list[Any]) -> Ref | None:
    """1 - erf(x)."""
    x = args[0]
    return ops.shift(b, ops.negate(b, ops.activation(b, "erf", x)), np.ones((), b.node(x).dtype))
