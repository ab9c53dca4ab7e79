"""Networks evaluated in exact rational arithmetic, and their exact minimum where that is closed."""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

Layer = tuple[np.ndarray, np.ndarray]


def exact(array: np.ndarray) -> np.ndarray:
    """The doubles or singles of an array as fractions (an object array)."""
    return np.vectorize(lambda v: Fraction(float(v)), otypes=[object])(np.asarray(array))


def forward(layers: Sequence[Layer], x: np.ndarray, relu: bool = True) -> np.ndarray:
    """`x @ W + b` layer after layer, a ReLU between two layers: the exact value at x, as fractions."""
    value = exact(x)
    for i, (weight, bias) in enumerate(layers):
        if i and relu:
            value = np.array([max(v, Fraction(0)) for v in value], dtype=object)
        value = value @ exact(weight) + exact(bias)
    return value


def affine_minimum(
    layers: Sequence[Layer], coeffs: np.ndarray, lower: np.ndarray, upper: np.ndarray
) -> np.ndarray:
    """The exact minimum of `coeffs @ net(x)` over a box for a network without activations, per row."""
    rows, constant = exact(coeffs), np.zeros(len(coeffs), dtype=object)
    for weight, bias in reversed(layers):
        constant = constant + rows @ exact(bias)
        rows = rows @ exact(weight).T
    low, high = exact(lower), exact(upper)
    return constant + np.array(
        [sum(c * (high[j] if c < 0 else low[j]) for j, c in enumerate(row)) for row in rows], dtype=object
    )
