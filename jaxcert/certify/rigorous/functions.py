"""Elementary functions with proven enclosures: `f(x)` returns `(low, high)` around the exact value.

Exponential: with k = rint(x / ln 2) and ln 2 = a + b + c, where a has 32 bits so that k a is exact,
|c| < 2^-86, the reduced argument r = (x - k a) - k b has an error below
u (|x - k a| + |k b| + |r|) + |k c| < 2^-52 for |r| < 0.35, |k| < 1100 (x - k a is exact or rounded
once). The Taylor polynomial of degree 16 leaves out less than 0.35^17 / 17! < 2^-70, and Horner's
scheme in 1 + r (1 + r / 2 (1 + r / 3 (...))) makes, at every level, one rounding of the sum and two of
its second term, which is at most 0.43 of the sum: the relative error e = u + 0.43 (2 u + e) of the
value stays below 4 u. Together the relative error is below 2^-52 + 4 u + 2^-69 < 2^-50; `_EXP`
allows 2^-49. Sigmoid and tanh follow by a few operations each.

`assumed` marks functions for which numpy's are taken at their word: a relative error of at most
2^-48 (16 units in the last place), where they claim 4 or less.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from jaxcert.certify.rigorous.rounding import FLOOR, Array, down, up

_LN2_HIGH = math.ldexp(2977044471, -32)  # 32 bits
_LN2_LOW = 1.9082149292705877e-10
_EXP = 2.0**-49
_ASSUMED = 2.0**-48


class Enclosed(NamedTuple):
    """Two numbers around a value, entry by entry."""

    low: Array
    high: Array

    def __neg__(self) -> "Enclosed":
        return Enclosed(-self.high, -self.low)


def around(value: Array, relative: float, absolute: float = 0.0) -> Enclosed:
    """The interval of a value with these errors, and what underflow may add."""
    error = relative * np.abs(value) + (absolute + FLOOR)
    return Enclosed(down(value - error), up(value + error))


def exp(x: Array) -> Enclosed:
    """The exponential; NaN where it overflows."""
    found = around(_exp(x), 2 * _EXP)
    return Enclosed(np.maximum(found.low, 0), found.high)


def sigmoid(x: Array) -> Enclosed:
    """`1 / (1 + exp(-x))`."""
    # 1 / (1 + e) and e / (1 + e) with e = exp(-|x|) <= 1: relative errors below 2^-49 + 3 u each.
    decay = _exp(-np.abs(x))
    value = np.where(x < 0, decay, 1) / (1 + decay)
    found = around(value, 8 * _EXP)
    return Enclosed(np.maximum(found.low, 0), np.minimum(found.high, 1))


def sigmoid_slope(x: Array) -> Enclosed:
    """The derivative of the sigmoid."""
    decay = _exp(-np.abs(x))
    found = around(decay / ((1 + decay) * (1 + decay)), 8 * _EXP)
    return Enclosed(np.maximum(found.low, 0), np.minimum(found.high, 0.25))


def tanh(x: Array) -> Enclosed:
    """The hyperbolic tangent."""
    # (1 - e) / (1 + e) with e = exp(-2 |x|): the error of e counts fully, so the bound is absolute.
    decay = _exp(-2 * np.abs(x))
    found = around(np.sign(x) * (1 - decay) / (1 + decay), 0.0, 4 * _EXP)
    return Enclosed(np.maximum(found.low, -1), np.minimum(found.high, 1))


def tanh_slope(x: Array) -> Enclosed:
    """The derivative of the hyperbolic tangent."""
    decay = _exp(-2 * np.abs(x))
    found = around(4 * decay / ((1 + decay) * (1 + decay)), 8 * _EXP)
    return Enclosed(np.maximum(found.low, 0), np.minimum(found.high, 1))


def assumed(fn: Callable[[Array], Array]) -> Callable[[Array], Enclosed]:
    """A function of numpy with the error that is assumed of it."""
    return lambda x: around(fn(x), _ASSUMED)


def _exp(x: Array) -> Array:
    """`exp(x)` with a relative error below 2^-49, or 0 and inf beyond the range of doubles."""
    clipped = np.clip(x, -760.0, 760.0)
    k = np.rint(clipped * (1 / math.log(2)))
    r = (clipped - k * _LN2_HIGH) - k * _LN2_LOW
    value = np.ones_like(r)
    for n in range(16, 0, -1):
        value = 1 + r * value / n
    half = np.floor(0.5 * k)  # 2^k alone may overflow where the product does not
    whole = np.ldexp(np.ldexp(value, half.astype(np.int64)), (k - half).astype(np.int64))
    return np.where(np.isnan(x), np.nan, whole)
