"""The record of one activation, which interval, linear, dual and LP engines all read."""

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
