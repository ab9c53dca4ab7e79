"""Products and maxima of several bounded values: proven offsets for slopes taken as given.

`x y - a x - b y` is linear in x for every y and in y for every x, so on a box its extremes are
at the corners. `max_j x_j - sum_i s_i x_i` is convex, so its maximum is at a corner: for operand j
alone, each entry of the box contributes by itself. Below, with s >= 0 and d = sum s - 1,
`sum s_i x_i <= (1 + d) max_j x_j`, so the offset need only absorb `|d| max |x|`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from jaxcert.certify.rigorous.rounding import FLOOR, Array, down, gamma, product_error, up

Ends = Sequence[Array]


@dataclass(frozen=True)
class Combination:
    """One function of several values of one shape: its range, and offsets for given slopes."""

    image: Callable[[Ends, Ends], tuple[Array, Array]]
    offset_below: Callable[[Ends, Ends, Ends], Array]
    offset_above: Callable[[Ends, Ends, Ends], Array]


def _product_image(lowers: Ends, uppers: Ends) -> tuple[Array, Array]:
    corners = [x * y for x in (lowers[0], uppers[0]) for y in (lowers[1], uppers[1])]
    low = np.minimum.reduce([down(c - product_error(c)) for c in corners])
    return low, np.maximum.reduce([up(c + product_error(c)) for c in corners])


def _product_corners(lowers: Ends, uppers: Ends, slopes: Ends) -> list[tuple[Array, Array]]:
    """The value of `x y - a x - b y` at every corner, and its error."""
    found = []
    for x in (lowers[0], uppers[0]):
        for y in (lowers[1], uppers[1]):
            terms = x * y, slopes[0] * x, slopes[1] * y
            size = abs(terms[0]) + abs(terms[1]) + abs(terms[2])
            found.append((terms[0] - terms[1] - terms[2], gamma(3) * size + product_error(terms[0])))
    return found


def _product_below(lowers: Ends, uppers: Ends, slopes: Ends) -> Array:
    return np.minimum.reduce([down(v - e) for v, e in _product_corners(lowers, uppers, slopes)])


def _product_above(lowers: Ends, uppers: Ends, slopes: Ends) -> Array:
    return np.maximum.reduce([up(v + e) for v, e in _product_corners(lowers, uppers, slopes)])


def _maximum_image(lowers: Ends, uppers: Ends) -> tuple[Array, Array]:
    return np.maximum.reduce(list(lowers)), np.maximum.reduce(list(uppers))


def _maximum_below(lowers: Ends, uppers: Ends, slopes: Ends) -> Array:
    total, terms = np.sum(np.stack(list(slopes)), axis=0), len(slopes)
    excess = up(abs(total - 1) + gamma(terms) * total)
    largest = np.maximum.reduce([np.maximum(abs(lo), abs(hi)) for lo, hi in zip(lowers, uppers, strict=True)])
    one_hot = np.logical_and.reduce([(s == 0) | (s == 1) for s in slopes]) & (total == 1)
    valid = np.logical_and.reduce([s >= 0 for s in slopes])
    return np.where(valid, np.where(one_hot, 0.0, -up(up(excess * largest) + FLOOR)), np.nan)


def _maximum_above(lowers: Ends, uppers: Ends, slopes: Ends) -> Array:
    others = [
        up(np.maximum(-s * lo, -s * hi) + product_error(np.maximum(abs(s * lo), abs(s * hi))))
        for lo, hi, s in zip(lowers, uppers, slopes, strict=True)
    ]
    found = []
    for j, (lo, hi, s) in enumerate(zip(lowers, uppers, slopes, strict=True)):
        own = np.maximum(*(up(up(x - s * x) + product_error(s * x)) for x in (lo, hi)))
        rest = [value for i, value in enumerate(others) if i != j]
        for value in rest:
            own = up(own + value)
        found.append(own)
    return np.maximum.reduce(found)


COMBINATIONS: Mapping[str, Combination] = MappingProxyType(
    {
        "multiply": Combination(_product_image, _product_below, _product_above),
        "maximum": Combination(_maximum_image, _maximum_below, _maximum_above),
    }
)
