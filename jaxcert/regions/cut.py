"""The nearest point of an l_p ball cut by a box, by bisection of one multiplier.

The Lagrangian `||v - u||^2 / 2 + lam * penalty(v / weight)` of the projection is separable, so
that its minimum over the box is the clipped free minimum, and `||v(lam) / weight||_p` falls as
lam grows.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

_NEWTON_STEPS = 10

# (u, weight, lam) -> v
Solve = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]


def cut_to_ball(
    u: jax.Array, weight: jax.Array, lower: jax.Array, upper: jax.Array, norm: float
) -> jax.Array:
    """The nearest point to `u` in `{||v / weight||_p <= 1, lower <= v <= upper}`, p finite.

    Of the bracket of lam the upper end, which always satisfies the constraint, is returned.
    """
    solve = _solve_for(norm)

    def halve(_, bracket):
        low, high = bracket
        middle = 0.5 * low + 0.5 * high
        feasible = gauge_of(jnp.clip(solve(u, weight, middle), lower, upper) / weight, norm) <= 1
        return jnp.where(feasible, low, middle), jnp.where(feasible, middle, high)

    # lam = ||u weight||_q always suffices, and the norm is at most n^(1/q) times the largest entry.
    size = u.size ** (1 - 1 / norm)
    bracket = jnp.zeros((), u.dtype), 2 * size * jnp.max(jnp.abs(u) * weight, initial=0.0)
    _, high = jax.lax.fori_loop(0, jnp.finfo(u.dtype).nmant + 16, halve, bracket)
    clipped = jnp.clip(u, lower, upper)
    cut = jnp.clip(solve(u, weight, high), lower, upper)
    return jnp.where(gauge_of(clipped / weight, norm) <= 1, clipped, cut)


def gauge_of(ratio: jax.Array, norm: float) -> jax.Array:
    """`||ratio||_p` over all entries, p finite, scaled so that no power overflows."""
    size = jnp.abs(ratio)
    if norm == 1:
        return jnp.sum(size)
    largest = jnp.max(size, initial=0.0)
    scale = jnp.where(largest > 0, largest, 1.0)
    if norm == 2:
        return scale * jnp.sqrt(jnp.sum((size / scale) ** 2))
    return scale * jnp.sum((size / scale) ** norm) ** (1 / norm)


def _solve_for(norm: float) -> Solve:
    if norm == 1:
        return _thresholded
    if norm == 2:
        return _shrunk
    return lambda u, weight, lam: _rooted(u, weight, lam, norm)


def _shrunk(u: jax.Array, weight: jax.Array, lam: jax.Array) -> jax.Array:
    """The minimiser of `(v - u)^2 / 2 + lam (v / weight)^2 / 2`, coordinate by coordinate."""
    square = jnp.maximum(weight * weight, jnp.finfo(u.dtype).tiny)
    return u * (square / (square + lam))


def _thresholded(u: jax.Array, weight: jax.Array, lam: jax.Array) -> jax.Array:
    """The minimiser of `(v - u)^2 / 2 + lam |v| / weight`, coordinate by coordinate."""
    return jnp.sign(u) * jnp.maximum(jnp.abs(u) - lam / weight, 0.0)


def _rooted(u: jax.Array, weight: jax.Array, lam: jax.Array, norm: float) -> jax.Array:
    """The minimiser of `(v - u)^2 / 2 + lam |v / weight|^p / p`, cut to `|v| <= weight`.

    With `s = |v| / weight` it solves `weight^2 s + lam s^(p-1) = weight |u|`. The left side is
    convex in s for p > 2 and in `x = s^(p-1)` for p < 2, so that Newton from the right descends
    to the root; dropping either term gives a start at most a factor 2 away from it (in s).
    """
    square, target = weight * weight, weight * jnp.abs(u)
    first, second = (square, lam) if norm > 2 else (lam, square)
    power = norm - 1 if norm > 2 else 1 / (norm - 1)
    start = jnp.minimum(target / _safe(first), (target / _safe(second)) ** (1 / power))

    def newton(_, x):
        value = first * x + second * x**power - target
        slope = first + second * power * x ** (power - 1)
        return jnp.clip(x - value / _safe(slope), 0.0, x)

    x = jax.lax.fori_loop(0, _NEWTON_STEPS, newton, jnp.minimum(start, 1.0))
    return jnp.sign(u) * weight * (x if norm > 2 else x**power)


def _safe(value: jax.Array) -> jax.Array:
    return jnp.where(value > 0, value, jnp.finfo(value.dtype).tiny)
