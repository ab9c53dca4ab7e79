"""sin and cos: lines from the phase of an interval, exact at every magnitude.

Every line below sin, below cos, or (turned around) above them is a line below a sine of phase
p on an interval of the same width: `f(l + s) = sin(p + s)`, where p follows from value and
slope of f at l, so nothing is lost when l is large. p lies in [-pi/2, 3 pi/2), right of the
minimum of sin at -pi/2; sin is convex on the half waves below 0 and concave on those above.

The best lines support the convex hull of the graph, alpha in [0, 1] says at which point. If a
minimum lies in the interval, the hull is the tangent from the left end to its touching point on
the first valley, that valley up to its minimum, -1 up to the last minimum, and the mirror
image from there. If none does, the interval starts in one valley and may end in the next, and
the hull is like that of `bumps` above: f, a bridge that ends at an end of the interval, f.

The offset of a line of slope k is the minimum of `sin(x) - k x` over the interval, which lies
at an end or where cos(x) = k in a valley. In whole valleys `sin(x) - k x` changes linearly from
one to the next, so the first and the last one are enough, and the two that the ends may cut.
From two periods on both lines are constant.
"""

import math
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from jaxcert.relax.curve import Scalar, between, half, lowest_of_piece, narrow, quotient
from jaxcert.relax.interval import ordered, poisoned
from jaxcert.relax.solve import touch
from jaxcert.relax.types import Activation, Lines

_PERIOD = 2 * math.pi
_FIRST = 1.5 * math.pi


class _Sine:
    def fn(self, x: jax.Array) -> jax.Array:
        return jnp.sin(x)

    def slope(self, x: jax.Array) -> jax.Array:
        return jnp.cos(x)

    def curvature(self, x: jax.Array) -> jax.Array:
        return -jnp.sin(x)


Pair = tuple[jax.Array, jax.Array]


def _phase(value: jax.Array, slope: jax.Array) -> jax.Array:
    """p in [-pi/2, 3 pi/2) with sin(p) and cos(p) given."""
    phase = jnp.arctan2(value, slope)
    return jnp.where(phase < -0.5 * math.pi, phase + _PERIOD, phase)


def _last_minimum(end: jax.Array) -> jax.Array:
    """The last minimum at or before `end`, counted from the one at -pi/2."""
    turns = jnp.floor((lax.stop_gradient(end) - _FIRST) / _PERIOD) + 1
    return _PERIOD * turns - 0.5 * math.pi


def _supporting_slope(start: jax.Array, end: jax.Array, where: jax.Array) -> jax.Array:
    """The slope of a line that supports the lower hull of sin on [start, end] at a point."""
    last = _last_minimum(end)
    contains = end >= _FIRST
    # The left half of the first valley that begins inside, and the right half of the last one.
    inside = lambda x: between(x + jnp.zeros_like(start), start, end)
    low = jnp.stack([inside(math.pi), inside(last)])
    high = jnp.stack([inside(_FIRST), inside(last + 0.5 * math.pi)])
    first, final = touch(_Sine(), jnp.stack([start, end]), low, high, jnp.asarray(True))
    first = jnp.where(start >= math.pi, start, first)
    final = jnp.where(end <= last + 0.5 * math.pi, end, final)
    valley = jnp.where(where < _FIRST, jnp.maximum(where, first), jnp.minimum(where, final))
    between_minima = (where >= _FIRST) & (where <= last)
    descent = jnp.where(between_minima, 0, jnp.cos(valley))
    chord = quotient(jnp.sin, jnp.cos, start, end, jnp.ones_like(start))
    best = jnp.where(contains, descent, _bridge(start, end, where, (first, final), chord))
    return jnp.where(end - start > narrow(start), best, chord)


def _bridge(
    start: jax.Array, end: jax.Array, where: jax.Array, touching: Pair, chord: jax.Array
) -> jax.Array:
    """The slope where no minimum lies between the ends: sin up to a point, a bridge, sin from a point on."""
    rises, falls = touching
    convex = (end <= 0) | (start >= math.pi)
    left = (start < 0) & (falls > start) & ~convex
    right = (end > math.pi) & (rises < end) & ~convex
    point = jnp.where(left, jnp.minimum(where, falls), jnp.where(right, jnp.maximum(where, rises), where))
    return jnp.where(convex | left | right, jnp.cos(point), chord)


def _lowest(start: jax.Array, end: jax.Array, slope: jax.Array) -> jax.Array:
    """A lower bound of `sin(x) - slope x` on [start, end], reached."""
    level = -jnp.arccos(lax.stop_gradient(jnp.clip(slope, -1, 1)))
    last = _last_minimum(end)
    least = jnp.sin(start) - slope * start
    right = jnp.sin(end) - slope * end
    least = jnp.where(right < least, right, least)
    for turns in (
        jnp.zeros_like(start),
        jnp.full_like(start, _PERIOD),
        last + 0.5 * math.pi,
        last + 2.5 * math.pi,
    ):
        low, high = (between(turns + edge, start, end) for edge in (-math.pi, 0))
        value = lowest_of_piece(jnp.sin, jnp.cos, lambda x: -jnp.sin(x), slope, (low, high), turns + level)
        least = jnp.where(value < least, value, least)
    return least


def _below(start: jax.Array, width: jax.Array, alpha: ArrayLike) -> Pair:
    """The slope and the value at the start of a line below sin on [start, start + width]."""
    far = width >= 2 * _PERIOD
    end = start + jnp.where(far, 1, width)
    where = jnp.asarray((1 - alpha) * start + alpha * end)
    slope = _supporting_slope(start, end, where)
    return jnp.where(far, 0, slope), jnp.where(far, -1, _lowest(start, end, slope) + slope * start)


def _value(start: jax.Array, width: jax.Array, slope: jax.Array) -> jax.Array:
    """The same with the slope given."""
    far = width >= 2 * _PERIOD
    return jnp.where(far, -1, _lowest(start, start + jnp.where(far, 1, width), slope) + slope * start)


def _chord(lower: jax.Array, upper: jax.Array, fn: Scalar, slope: Scalar) -> jax.Array:
    far = upper - lower >= 2 * _PERIOD
    return jnp.where(far, 0, quotient(fn, slope, lower, upper, jnp.ones_like(lower)))


def _sin_phases(lower: jax.Array, upper: jax.Array) -> Pair:
    """Of sin from the left, and of the mirror image -sin(-x) from the right: both exact around 0."""
    return _phase(jnp.sin(lower), jnp.cos(lower)), _phase(-jnp.sin(upper), jnp.cos(upper))


def _sin_lines(lower: jax.Array, upper: jax.Array, alpha: ArrayLike) -> Lines:
    lower, upper = ordered(lower, upper)
    forth, back = _sin_phases(lower, upper)
    k, value = _below(forth, upper - lower, alpha)
    m, height = _below(back, upper - lower, 1 - alpha)
    return poisoned(Lines(k, value - k * lower, m, -height - m * upper), lower, upper)


def _sin_parallel(lower: jax.Array, upper: jax.Array) -> Lines:
    lower, upper = ordered(lower, upper)
    k = _chord(lower, upper, jnp.sin, jnp.cos)
    forth, back = _sin_phases(lower, upper)
    below, above = (_value(start, upper - lower, k) for start in (forth, back))
    return poisoned(Lines(k, below - k * lower, k, -above - k * upper), lower, upper)


def _cos_phases(lower: jax.Array) -> Pair:
    """Of cos and of -cos, both from the left."""
    return _phase(jnp.cos(lower), -jnp.sin(lower)), _phase(-jnp.cos(lower), jnp.sin(lower))


def _cos_lines(lower: jax.Array, upper: jax.Array, alpha: ArrayLike) -> Lines:
    lower, upper = ordered(lower, upper)
    (k, below), (m, above) = (_below(start, upper - lower, alpha) for start in _cos_phases(lower))
    return poisoned(Lines(k, below - k * lower, -m, m * lower - above), lower, upper)


def _cos_parallel(lower: jax.Array, upper: jax.Array) -> Lines:
    lower, upper = ordered(lower, upper)
    k = _chord(lower, upper, jnp.cos, lambda x: -jnp.sin(x))
    phase, turned = _cos_phases(lower)
    below, above = _value(phase, upper - lower, k), _value(turned, upper - lower, -k)
    return poisoned(Lines(k, below - k * lower, k, -above - k * lower), lower, upper)


def _image(lower: jax.Array, upper: jax.Array, fn: Scalar, phases: Callable[..., Pair]) -> Pair:
    lower, upper = ordered(lower, upper)
    left, right = fn(lower), fn(upper)
    valley, hill = (start + (upper - lower) >= _FIRST for start in phases(lower, upper))
    least, most = jnp.where(right < left, right, left), jnp.where(right > left, right, left)
    low, high = jnp.where(valley, -1, least), jnp.where(hill, 1, most)
    return jnp.where(jnp.isnan(left + right), jnp.nan, low), jnp.where(jnp.isnan(left + right), jnp.nan, high)


SIN = Activation(
    name="sin",
    fn=jnp.sin,
    derivative=jnp.cos,
    image=partial(_image, fn=jnp.sin, phases=_sin_phases),
    lines=_sin_lines,
    parallel=_sin_parallel,
    adaptive=half,
)

COS = Activation(
    name="cos",
    fn=jnp.cos,
    derivative=lambda x: -jnp.sin(x),
    image=partial(_image, fn=jnp.cos, phases=lambda lower, upper: _cos_phases(lower)),
    lines=_cos_lines,
    parallel=_cos_parallel,
    adaptive=half,
)
