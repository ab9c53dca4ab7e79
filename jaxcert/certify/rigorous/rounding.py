"""Binary64 arithmetic with proven errors.

Let u = 2^-53. Every operation below rounds to nearest, `fl(a op b) = (a op b)(1 + d)`, |d| <= u,
unless the result is subnormal. Hence `nextafter(fl(a op b), -inf) <= a op b`: one step outwards
makes an operation directed.

A sum of k products, in any order, bracketing and with or without fused multiply-add, obeys
`|fl(sum a_i b_i) - sum a_i b_i| <= g M + floor`, g = k u / (1 - k u), M = sum |a_i b_i| (Higham,
Accuracy and Stability of Numerical Algorithms, section 3.1). M itself is known as a computed sum,
M <= fl(M) / (1 - g) + floor. `gamma(k) = 2 (k + 4) u` exceeds g / (1 - g) for k < 2^30 by so much that
it also covers up to eight roundings in forming and adding the error term. `floor` covers products
and summands that underflow or are flushed to zero as subnormals, which cost at most
2^-1022 (1 + |a|)(1 + |b|) each.
"""

import numpy as np

from jaxcert.errors import JaxcertError

Array = np.ndarray

FLOOR = 2.0**-1000
SMALLEST_NORMAL = 2.0**-1022


def gamma(terms: int) -> float:
    """The relative error bound of a sum of this many products, and of using it."""
    return (terms + 4) * 2.0**-52


def down(value: Array) -> Array:
    """A number at most the exact result of which `value` is the nearest double."""
    return np.nextafter(value, -np.inf)


def up(value: Array) -> Array:
    """A number at least the exact result of which `value` is the nearest double."""
    return np.nextafter(value, np.inf)


def product_error(product: Array) -> Array:
    """How far a computed product of two doubles may be from the exact one."""
    return 2.0**-52 * np.abs(product) + FLOOR


def dot_below(coeffs: Array, values: Array) -> Array:
    """A lower bound of `sum(coeffs * values)` over the last axis; `values` broadcasts against `coeffs`."""
    products = coeffs * values
    terms = products.shape[-1]
    error = gamma(terms) * np.abs(products).sum(-1) + terms * FLOOR
    return down(products.sum(-1) - error)


def weight_above(coeffs: Array, magnitudes: Array) -> Array:
    """An upper bound of `sum(|coeffs| * magnitudes)` over the last axis, for magnitudes `[n]` >= 0."""
    terms = coeffs.shape[-1]
    return up((1 + gamma(terms)) * (np.abs(coeffs) @ magnitudes) + terms * FLOOR)


def without_subnormals(lower: Array, upper: Array) -> tuple[Array, Array]:
    """The interval, no narrower, with ends that survive a flush of subnormals to zero."""
    small = np.abs(lower) < SMALLEST_NORMAL, np.abs(upper) < SMALLEST_NORMAL
    low = np.where(lower < 0, -SMALLEST_NORMAL, 0.0)
    high = np.where(upper > 0, SMALLEST_NORMAL, 0.0)
    return np.where(small[0], low, lower), np.where(small[1], high, upper)


def require_ieee() -> None:
    """Check that this process rounds to nearest and keeps subnormals, on which the proofs rest.

    Raises:
      JaxcertError: a library loaded into the process has changed the mode of the processor.
    """
    one, half_ulp, least = np.ones(1), np.full(1, 2.0**-53), np.full(1, 5e-324)
    nearest = one + half_ulp == 1 and one + 1.5 * half_ulp > 1 and -one - 1.5 * half_ulp < -1
    if not (nearest and (least * one)[0] > 0 and (least + least)[0] > 0):
        raise JaxcertError(
            "this process does not compute by IEEE 754 (a library has changed the rounding mode or flushes "
            "subnormal numbers): run the rigorous evaluation in a fresh process."
        )
