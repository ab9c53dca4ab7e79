"""The activations that have a rigorous evaluation, by the name of their record."""

import math
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from jaxcert.certify.rigorous import functions as f
from jaxcert.certify.rigorous.curves import Curve
from jaxcert.certify.rigorous.functions import Enclosed, around
from jaxcert.certify.rigorous.rounding import Array


def _exact(value: Array) -> Enclosed:
    return Enclosed(value, value)


def _unused(x: Array, *_: Array) -> Enclosed:
    return Enclosed(np.full_like(x, -np.inf), np.full_like(x, np.inf))


def _leaky(x: Array, neg: Array, pos: Array) -> Enclosed:
    factor = np.where(x > 0, pos, neg)
    rounded = around(factor * x, 2.0**-52)
    plain = (np.abs(factor) == 1) | (factor == 0) | (x == 0)
    value = factor * x
    return Enclosed(np.where(plain, value, rounded.low), np.where(plain, value, rounded.high))


def _power(x: Array, n: int) -> Enclosed:
    value = x
    for _ in range(int(n) - 1):
        value = value * x
    return around(value, int(n) * 2.0**-51)


def _power_slope(x: Array, n: int) -> Enclosed:
    found = np.full_like(x, float(n))
    for _ in range(int(n) - 1):
        found = found * x
    return around(found, int(n) * 2.0**-51)


def _elu(x: Array, a: Array) -> Enclosed:
    low, high = f.exp(np.minimum(x, 0))
    below = around(a * (low - 1), 2.0**-51).low, around(a * (high - 1), 2.0**-51).high
    return Enclosed(np.where(x > 0, x, below[0]), np.where(x > 0, x, np.minimum(below[1], 0)))


def _elu_slope(x: Array, a: Array) -> Enclosed:
    low, high = f.exp(np.minimum(x, 0))
    return Enclosed(around(a * low, 2.0**-52).low, around(a * high, 2.0**-52).high)


def _softplus(x: Array) -> Enclosed:
    return around(np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))), 2.0**-47)


def _erf_slope(x: Array) -> Enclosed:
    # The square's relative error 2^-53 is an absolute one of x^2 2^-53 in the exponent.
    square = np.minimum(x * x, 800.0)
    return around(np.exp(-square) * (2 / math.sqrt(math.pi)), 2.0**-40)


def _positive(lower: Array, upper: Array) -> Array:
    return (lower > 0) & (lower <= upper)


def _origin(*_: Array) -> tuple[float]:
    return (0.0,)


def _bend(sign: int, value, slope, **more) -> Curve:
    return Curve(value, slope, (sign,), **more)


_ODD_AROUND_0 = {"signs": (1, -1), "breaks": _origin}

CURVES: Mapping[str, Curve] = MappingProxyType(
    {
        "relu": Curve(lambda x: _exact(np.maximum(x, 0)), _unused, (0, 0), _origin),
        "leaky_relu": Curve(_leaky, _unused, (0, 0), _origin),
        "hard_tanh": Curve(
            lambda x, low, high: _exact(np.clip(x, low, high)),
            _unused,
            (0, 0, 0),
            lambda low, high: (low, high),
            lambda lower, upper, low, high: (lower <= upper) & (low <= high),
        ),
        "sigmoid": Curve(f.sigmoid, f.sigmoid_slope, **_ODD_AROUND_0),
        "tanh": Curve(f.tanh, f.tanh_slope, **_ODD_AROUND_0),
        "arctan": Curve(
            f.assumed(np.arctan), lambda x: around(1 / (1 + x * x), 2.0**-50), proven=False, **_ODD_AROUND_0
        ),
        "erf": Curve(f.assumed(np.vectorize(math.erf, [float])), _erf_slope, proven=False, **_ODD_AROUND_0),
        "exp": _bend(1, f.exp, f.exp),
        "expm1": _bend(1, lambda x: _shifted(f.exp(x), -1.0), f.exp),
        "elu": Curve(_elu, _elu_slope, (1, 0), _origin, lambda lower, upper, a: (lower <= upper) & (a >= 0)),
        "softplus": _bend(1, _softplus, f.sigmoid, proven=False),
        "log": _bend(
            -1, f.assumed(np.log), lambda x: around(1 / x, 2.0**-52), domain=_positive, proven=False
        ),
        "log1p": _bend(
            -1,
            f.assumed(np.log1p),
            lambda x: around(1 / (1 + x), 2.0**-50),
            domain=lambda lower, upper: (lower > -1) & (lower <= upper),
            proven=False,
        ),
        "sqrt": _bend(
            -1,
            lambda x: around(np.sqrt(x), 2.0**-52),
            lambda x: around(0.5 / np.sqrt(x), 2.0**-50),
            domain=lambda lower, upper: (lower >= 0) & (lower <= upper),
        ),
        "rsqrt": _bend(
            1,
            lambda x: around(1 / np.sqrt(x), 2.0**-50),
            lambda x: around(-0.5 / (x * np.sqrt(x)), 2.0**-50),
            domain=_positive,
        ),
        "reciprocal": Curve(
            lambda x: around(1 / x, 2.0**-52),
            lambda x: around(-1 / (x * x), 2.0**-50),
            (-1, 1),
            _origin,
            lambda lower, upper: ((lower > 0) | (upper < 0)) & (lower <= upper),
        ),
    }
)


def power(exponent: int) -> Curve:
    """`x^n` for a whole n >= 2."""
    return Curve(_power, _power_slope, (1 if exponent % 2 == 0 else -1, 1), _origin)


def _shifted(value: Enclosed, by: float) -> Enclosed:
    return Enclosed(np.nextafter(value.low + by, -np.inf), np.nextafter(value.high + by, np.inf))
