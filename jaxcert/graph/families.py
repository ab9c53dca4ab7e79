"""Which record a normal form is, with its parameters, and the nodes that compute it."""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxcert.graph import builder as ops
from jaxcert.graph.algebra import ONE, Algebra, Poly, X, relu, scaled, softplus
from jaxcert.graph.builder import Builder, Ref

Build = Callable[[Builder, Ref], Ref]


def _record(name: str) -> Build:
    return lambda b, x: ops.activation(b, name, x)


def _minus_softplus_of_minus(b: Builder, x: Ref) -> Ref:
    return ops.negate(b, ops.activation(b, "softplus", ops.negate(b, x)))


def _power(exponent: int) -> Build:
    return lambda b, x: ops.activation(b, "integer_pow", x, exponent)


def fixed(a: Algebra) -> list[tuple[Poly, Build]]:
    """The forms of the functions without parameters."""
    exp, minus = a.apply("exp", X), a.apply("exp", scaled(X, -1.0))
    twice = a.apply("exp", scaled(X, 2.0))
    over = lambda p, q: a.mul(p, a.apply("reciprocal", q))
    spellings = {
        "sigmoid": (over(exp, a.add(exp, ONE)),),
        "tanh": (over(a.sub(exp, minus), a.add(exp, minus)), over(a.sub(twice, ONE), a.add(twice, ONE))),
    }
    table = [
        (a.apply(name, X), _record(name))
        for name in ("softplus", "silu", "gelu", "gelu_tanh", "mish", "sigmoid", "tanh")
    ]
    table += [(form, _record(name)) for name, forms in spellings.items() for form in forms]
    table.append((a.sub(X, softplus(a, X)), _minus_softplus_of_minus))
    power = X
    for exponent in range(2, 9):
        power = a.mul(power, X)
        table.append((power, _power(exponent)))
    return table


def family(a: Algebra, form: Poly, dtype: Any) -> Build | None:
    """The build of a form with parameters: clip, leaky ReLU, ELU and its scaled kin, x sigmoid(s x)."""
    for find in (_clip, _leaky, _elu, _swish):
        build = find(a, form, dtype)
        if build is not None:
            return build
    return None


def _clip(a: Algebra, form: Poly, dtype: Any) -> Build | None:
    """low + max(x - low, 0) - max(x - high, 0)."""
    ends: dict[Fraction, Fraction] = {}
    for m, c in form.items():
        if not m:
            continue
        arg = a.atoms[m[0]].args[0] if len(m) == 1 and a.atoms[m[0]].name == "relu" else None
        if arg is None or abs(c) != 1 or c in ends or arg.get((0,)) != 1 or not arg.keys() <= {(), (0,)}:
            return None
        ends[c] = -arg.get((), Fraction(0))
    rising, falling = Fraction(1), Fraction(-1)
    if len(ends) != 2 or ends[rising] > ends[falling] or form.get((), 0) != ends[rising]:
        return None
    low, high = np.asarray(ends[rising], dtype), np.asarray(ends[falling], dtype)
    return lambda b, x: ops.activation(b, "hard_tanh", x, low, high)


def _leaky(a: Algebra, form: Poly, dtype: Any) -> Build | None:
    """n x + k max(x - t, 0) + d, as a leaky ReLU of x - t."""
    bend, threshold = relu(a, X), Fraction(0)
    for m in form:
        arg = a.atoms[m[-1]].args[0] if m and a.atoms[m[-1]].name == "relu" else None
        if arg is not None and arg.keys() == {(), (0,)} and arg[(0,)] == 1:
            bend, threshold = {m[-1:]: Fraction(1)}, -arg[()]
    rest = {m: c for m, c in form.items() if m}
    slopes = _coefficients(a, rest, [X, bend], dtype)
    kinked = any(m and m[-1] == next(iter(bend))[-1] for m in rest)
    if slopes is None or not kinked or (threshold == 0 and () in form):
        return None
    neg, kink = slopes
    below, above = _plain(neg), _plain(_sum(neg, kink, dtype))
    if threshold == 0:
        return lambda b, x: ops.activation(b, "leaky_relu", x, below, above)

    def build(b: Builder, x: Ref) -> Ref:
        bent = ops.activation(b, "leaky_relu", ops.shift(b, x, np.asarray(-threshold, dtype)), below, above)
        return ops.shift(b, bent, np.asarray(form.get((), Fraction(0)), dtype) + below * float(threshold))

    return build


def _elu(a: Algebra, form: Poly, dtype: Any) -> Build | None:
    """max(x, 0) + c (exp(s min(x, 0)) - 1) = elu(s x) / s with the parameter c s, for s > 0."""
    below = a.sub(X, relu(a, X))
    for m in form:
        for index in m:
            atom = a.atoms[index]
            speed = atom.args[0].get((0,), Fraction(0)) if atom.name == "exp" else Fraction(0)
            if speed > 0 and atom.args[0] == scaled(below, speed):
                found = _coefficients(a, a.sub(form, relu(a, X)), [{(index,): Fraction(1)}, ONE], dtype)
                if found is not None and _opposite(a, form, index):
                    return _scaled_elu(_plain(found[0]), float(speed), dtype)
    return None


def _opposite(a: Algebra, form: Poly, index: int) -> bool:
    """Whether what multiplies the exponential and what is constant cancel where it is 1."""
    at_zero: Poly = {}
    for m, c in form.items():
        at_zero = a.add(at_zero, {tuple(i for i in m if i != index): c})
    return at_zero == relu(a, X)


def _scaled_elu(height: Any, speed: float, dtype: Any) -> Build:
    def build(b: Builder, x: Ref) -> Ref:
        curve = ops.activation(b, "elu", ops.scale(b, x, np.asarray(speed, dtype)), height * speed)
        return ops.scale(b, curve, np.asarray(1 / speed, dtype))

    return build


def _swish(a: Algebra, form: Poly, dtype: Any) -> Build | None:
    """c x sigmoid(s x) = (c / s) silu(s x), for s > 0."""
    if len(form) != 1:
        return None
    ((m, c),) = form.items()
    if len(m) != 2 or m[0] != 0 or a.atoms[m[1]].name != "sigmoid":
        return None
    arg = a.atoms[m[1]].args[0]
    if arg.keys() != {(0,)} or arg[(0,)] <= 0:
        return None
    speed, height = np.asarray(arg[(0,)], dtype), np.asarray(c / arg[(0,)], dtype)
    return lambda b, x: ops.scale(b, ops.activation(b, "silu", ops.scale(b, x, speed)), height)


def _coefficients(a: Algebra, form: Poly, basis: list[Poly], dtype: Any) -> list[Any] | None:
    """What multiplies each of some monomials (0 where missing), if form is a sum of them with constants."""
    keys = [next(iter(p)) for p in basis]
    totals: list[Any] = [Fraction(0)] * len(keys)
    for m, c in form.items():
        free = tuple(i for i in m if a.atoms[i].name != "constant")
        if free not in keys:
            return None
        factor: Any = c
        for i in m:
            if a.atoms[i].name == "constant":
                factor = jnp.asarray(_plain(factor), dtype) * a.atoms[i].args[0]
        totals[keys.index(free)] = _sum(totals[keys.index(free)], factor, dtype)
    return totals


def _sum(first: Any, second: Any, dtype: Any) -> Any:
    """Numbers are added exactly, arrays as arrays."""
    if isinstance(first, Fraction) and isinstance(second, Fraction):
        return first + second
    return jnp.asarray(_plain(first), dtype) + jnp.asarray(_plain(second), dtype)


def _plain(value: Any) -> Any:
    """A number as a float, an array as it is."""
    return float(value) if isinstance(value, Fraction) else value
