"""Where a curved or bent function lies above a line: proven offsets for slopes taken as given.

For a slope s (a double, wherever it came from) the best offset of a lower line on [l, u] is the
minimum of `g(x) = f(x) - s x`. The real line is cut into pieces on which f is convex or concave.

* Concave piece: g is concave, so its minimum is at an end of the piece.
* Convex piece [a, b]: for any x0 in it, `g(x) >= g(x0) + (f'(x0) - s)(x - x0)`
  `>= g(x0) - max(max(f'(x0) - s, 0) (x0 - a), max(s - f'(x0), 0) (b - x0))`.
  x0 is found by bisection of f' = s, and the closer it is, the less is lost.

Upper lines are lower lines of -f. Values of f, f' carry proven or stated errors.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from jaxcert.certify.rigorous.functions import Enclosed
from jaxcert.certify.rigorous.rounding import Array, down, product_error, up

_BISECTIONS = 60


@dataclass(frozen=True)
class Curve:
    """One function of one value.

    Attributes:
      value, slope: enclosures of f(x, *params) and its derivative (one-sided at the breaks).
      signs: per piece, 1 where f is convex, -1 where it is concave, 0 where it is straight. On
        every piece f is monotone.
      breaks: `breaks(*params)`, the increasing doubles at which the pieces meet.
      domain: `domain(lower, upper, *params)`, whether f is what is said here on the interval.
      proven: whether the errors of `value` and `slope` are, or rest on numpy's word.
    """

    value: Callable[..., Enclosed]
    slope: Callable[..., Enclosed]
    signs: tuple[int, ...]
    breaks: Callable[..., tuple[Array | float, ...]] = lambda *_: ()
    domain: Callable[..., Array] = lambda lower, upper, *_: lower <= upper
    proven: bool = True

    def image(self, lower: Array, upper: Array, *params: Array) -> tuple[Array, Array]:
        """An interval that holds `f(x)` for every x in [lower, upper]."""
        inside = self._inside(lower, upper, params)
        points = [lower, upper, *(np.clip(p, lower, upper) for p in self.breaks(*params))]
        values = [self.value(p, *params) for p in points]
        low = np.minimum.reduce([v.low for v in values])
        high = np.maximum.reduce([v.high for v in values])
        return np.where(inside, low, np.nan), np.where(inside, high, np.nan)

    def offset_below(self, lower: Array, upper: Array, slope: Array, *params: Array) -> Array:
        """A number t with `slope x + t <= f(x)` for every x in [lower, upper]."""
        return self._offset(lower, upper, slope, params, 1)

    def offset_above(self, lower: Array, upper: Array, slope: Array, *params: Array) -> Array:
        """A number t with `slope x + t >= f(x)` for every x in [lower, upper]."""
        return -self._offset(lower, upper, -slope, params, -1)

    def _offset(self, lower: Array, upper: Array, slope: Array, params: tuple, side: int) -> Array:
        def value(x: Array) -> Enclosed:
            return self.value(x, *params) if side == 1 else -self.value(x, *params)

        def rise(x: Array) -> Enclosed:
            return self.slope(x, *params) if side == 1 else -self.slope(x, *params)

        lower, upper, slope = np.broadcast_arrays(lower, upper, slope)
        ends = [lower, *(np.clip(p, lower, upper) for p in self.breaks(*params)), upper]
        found = [_height(value, p, slope) for p in ends]
        for sign, a, b in zip(self.signs, ends[:-1], ends[1:], strict=True):
            if side * sign == 1:
                found.append(_lowest(value, rise, a, b, slope))
        return np.where(self._inside(lower, upper, params), np.minimum.reduce(found), np.nan)

    def _inside(self, lower: Array, upper: Array, params: tuple) -> Array:
        return self.domain(lower, upper, *params) & np.isfinite(lower) & np.isfinite(upper)


def _height(value: Callable[[Array], Enclosed], x: Array, slope: Array) -> Array:
    """A lower bound of `f(x) - slope x` at a point."""
    product = slope * x
    error = np.where((slope == 0) | (np.abs(slope) == 1) | (x == 0), 0.0, product_error(product))
    return down(down(value(x).low - product) - error)


def _lowest(
    value: Callable[[Array], Enclosed], rise: Callable[[Array], Enclosed], a: Array, b: Array, slope: Array
) -> Array:
    """A lower bound of `f(x) - slope x` on a piece [a, b] where f is convex."""
    low, high = a, b
    for _ in range(_BISECTIONS):
        middle = 0.5 * low + 0.5 * high
        falling = rise(middle).high < slope
        low, high = np.where(falling, middle, low), np.where(falling, high, middle)
    # At an end that is the minimum itself nothing must be lost.
    point = np.where(rise(b).high <= slope, b, np.where(rise(a).low >= slope, a, np.clip(low, a, b)))
    slopes = rise(point)
    left = up(np.maximum(up(slopes.high - slope), 0) * up(point - a))
    right = up(np.maximum(up(slope - slopes.low), 0) * up(b - point))
    return down(_height(value, point, slope) - np.maximum(left, right))
