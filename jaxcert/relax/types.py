"""The records of activations and joins, which interval, linear, dual and LP engines all read.

An `Activation` is an element-wise function of one bounded value, a `Join` of several.
Engines see both through four methods: `range`, `enclose`, `enclose_parallel`, `choose`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax


class Lines(NamedTuple):
    """Two lines that enclose an activation on an interval, element by element.

    `lower_slope * x + lower_offset <= f(x) <= upper_slope * x + upper_offset`.
    """

    lower_slope: jax.Array
    lower_offset: jax.Array
    upper_slope: jax.Array
    upper_offset: jax.Array


class Planes(NamedTuple):
    """Two affine functions of several operands that enclose a join, element by element.

    `sum_i lower_slopes[i] * x_i + lower_offset <= f(x) <= sum_i upper_slopes[i] * x_i + upper_offset`.
    """

    lower_slopes: tuple[jax.Array, ...]
    lower_offset: jax.Array
    upper_slopes: tuple[jax.Array, ...]
    upper_offset: jax.Array


Ends = tuple[jax.Array, ...]


@dataclass(frozen=True)
class Activation:
    """One element-wise function and how to enclose it.

    Attributes:
      name: the op kind in the graph.
      fn: `fn(x, *params)`.
      derivative: `derivative(x, *params)`, where it exists.
      image: `image(lower, upper, *params) -> (lower, upper)`, the exact range of fn on an interval.
      lines: `lines(lower, upper, alpha, *params) -> Lines`; alpha in [0, 1] moves the free
        line between its valid extremes; sound for every alpha in [0, 1].
      parallel: `parallel(lower, upper, *params) -> Lines` with one slope for both lines.
      adaptive: `adaptive(lower, upper, *params) -> alpha`, the usual choice of CROWN.
      cases: parameter tuples on which the common tests exercise the record.

    Every function accepts lower = upper, and propagates NaN.
    """

    name: str
    fn: Callable[..., jax.Array]
    derivative: Callable[..., jax.Array]
    image: Callable[..., tuple[jax.Array, jax.Array]]
    lines: Callable[..., Lines]
    parallel: Callable[..., Lines]
    adaptive: Callable[..., jax.Array]
    cases: tuple[tuple[float, ...], ...] = ((),)

    def range(self, lowers: Ends, uppers: Ends, *params) -> tuple[jax.Array, jax.Array]:
        """Return the exact range of the function on an interval."""
        return self.image(lowers[0], uppers[0], *params)

    def enclose(self, lowers: Ends, uppers: Ends, alpha: jax.Array | float, *params) -> Planes:
        """Return the lines at position alpha as planes."""
        return _planes(self.lines(lowers[0], uppers[0], alpha, *params))

    def enclose_parallel(self, lowers: Ends, uppers: Ends, *params) -> Planes:
        """Return the lines of one slope as planes."""
        return _planes(self.parallel(lowers[0], uppers[0], *params))

    def choose(self, lowers: Ends, uppers: Ends, *params) -> jax.Array:
        """Return the usual alpha."""
        return self.adaptive(lowers[0], uppers[0], *params)


@dataclass(frozen=True)
class Join:
    """One element-wise function of several bounded operands of one shape, and how to enclose it.

    Attributes:
      name: the op kind in the graph.
      fn: `fn(*xs)`.
      range: `range(lowers, uppers) -> (lower, upper)`, exact on the box of the operands.
      enclose: `enclose(lowers, uppers, alpha) -> Planes`, sound for every alpha in [0, 1].
      enclose_parallel: `enclose_parallel(lowers, uppers) -> Planes` with the same slopes on both sides.
      choose: `choose(lowers, uppers) -> alpha`, the usual one.
      operands: the numbers of operands on which the common tests exercise the record.

    Every function accepts lower = upper, and propagates NaN.
    """

    name: str
    fn: Callable[..., jax.Array]
    range: Callable[..., tuple[jax.Array, jax.Array]]
    enclose: Callable[..., Planes]
    enclose_parallel: Callable[..., Planes]
    choose: Callable[..., jax.Array]
    operands: tuple[int, ...]


Record = Activation | Join


def _planes(lines: Lines) -> Planes:
    return Planes((lines.lower_slope,), lines.lower_offset, (lines.upper_slope,), lines.upper_offset)
