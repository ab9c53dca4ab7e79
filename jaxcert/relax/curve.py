"""What the relaxations of smooth functions share: chords, touching points, and offsets that cannot be wrong.

A line of slope k lies below f on [l, u] exactly when its offset is at most the minimum of
`g(x) = f(x) - k x`. Where f is concave that minimum lies at the ends of the piece. Where f is
convex, any point t gives `g(x) >= g(t) + g'(t) (x - t)`, whose minimum lies at the ends too.
The bound is exact for the t with `f'(t) = k`; an inaccurate t costs tightness and never
soundness, so no solver here has to be trusted.
"""

from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from jax import lax

Scalar = Callable[[Any], Any]


class Curve(Protocol):
    """A function, its slope and its curvature."""

    def fn(self, x: Any, /) -> Any: ...

    def slope(self, x: Any, /) -> Any: ...

    def curvature(self, x: Any, /) -> Any: ...


def half(lower: jax.Array, upper: jax.Array, *params: object) -> jax.Array:
    """The position 1/2 for every line."""
    del upper, params
    return jnp.full_like(lower, 0.5)


def narrow(like: jax.Array) -> float:
    """The width, relative to the scale on which f bends, below which a chord is not worth its rounding.

    Rounding costs the slope about eps / width; the slope at the midpoint differs from it by
    about width^2. The two balance at the cube root.
    """
    return float(jnp.finfo(like.dtype).eps) ** (1 / 3)


def quotient(fn: Scalar, slope: Scalar, lower: jax.Array, upper: jax.Array, scale: jax.Array) -> jax.Array:
    """The slope of the chord of f, or that at the midpoint where the ends are close on this scale."""
    width = upper - lower
    apart = width > narrow(width) * scale
    chord = (fn(upper) - fn(lower)) / jnp.where(apart, width, 1)
    return jnp.where(apart, chord, slope(lower + 0.5 * width))


def hinged_quotient(excess: Scalar, slope: Scalar, lower: jax.Array, upper: jax.Array) -> jax.Array:
    """The same for `f(x) = max(x, 0) + excess(x)` with a bounded excess: the large parts do not cancel."""
    width = upper - lower
    apart = width > narrow(width)
    rise = jnp.where(lower > 0, width, jnp.maximum(upper, 0)) + (excess(upper) - excess(lower))
    return jnp.where(apart, rise / jnp.where(apart, width, 1), slope(lower + 0.5 * width))


def between(x: jax.Array, low: jax.Array, high: jax.Array) -> jax.Array:
    """x cut to [low, high]; at a tie the derivative is that of the end."""
    return jnp.where(x <= low, low, jnp.where(x >= high, high, x))


def lowest_of_piece(
    fn: Scalar,
    slope: Scalar,
    curvature: Scalar,
    k: jax.Array,
    ends: tuple[jax.Array, jax.Array],
    trial: jax.Array,
) -> jax.Array:
    """A lower bound of `fn(x) - k x` between the ends, where fn is convex, from one trial point.

    The minimum's derivative with respect to k is -t, its second one -1 / f''(t); the trial is
    a constant, so the second enters through a term of value and slope 0.
    """
    low, high = ends
    trial = lax.stop_gradient(trial)
    point = between(trial, low, high)
    fixed, left, right = (lax.stop_gradient(x) for x in (point, low, high))
    excess = lax.stop_gradient(slope(fixed) - k)
    slack = jnp.where(excess > 0, excess * (left - fixed), excess * (right - fixed))
    bend = lax.stop_gradient(curvature(fixed))
    turns = (fixed > left) & (fixed < right) & (bend > float(jnp.finfo(k.dtype).eps))
    turn = k - lax.stop_gradient(k)
    return fn(point) - k * point + slack - jnp.where(turns, turn * turn / jnp.where(turns, 2 * bend, 1), 0)
