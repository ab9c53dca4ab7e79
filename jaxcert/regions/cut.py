"""The nearest point of an l_p ball cut by a box.

The Lagrangian `||v - u||^2 / 2 + lam * penalty(v / weight)` of the projection is separable, so
that its minimum over the box is the clipped free minimum, and `||v(lam) / weight||_p` falls as
lam grows: one multiplier is bisected. For p = 2 with equal weights the free minimum is a multiple
of u, and the clipped coordinates are found in a few rounds.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

_NEWTON_STEPS = 10
_MOST_ROUNDS = 30

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


def cut_to_sphere(u: jax.Array, lower: jax.Array, upper: jax.Array) -> jax.Array:
    """The nearest point to `u` in `{||v||_2 <= 1, lower <= v <= upper}`, with `lower <= 0 <= upper`.

    It is `clip(s u)` for one s in [0, 1], or `clip(u)` where that is inside. With C the clipped coordinates,
    `s^2 = (1 - ||v_C||^2) / ||u outside C||^2`. Beginning with none, every round clips what lies
    beyond its end; s only grows, so what is clipped stays so, and the last round is exact. Few are
    needed; after the most that are made the point is inside all the same, for s is too small.
    """
    clipped = jnp.clip(u, lower, upper)
    # In units of the largest entry no square overflows; where that leaves nothing, nothing has to move.
    unit = jnp.max(jnp.abs(u), initial=0.0)
    unit = jnp.where(unit > 0, unit, 1.0)
    square = (u / unit) ** 2

    def scale_of(fixed):
        left = 1 - jnp.sum(jnp.where(fixed, clipped, 0) ** 2)
        free = jnp.sum(jnp.where(fixed, 0, square))
        return jnp.sqrt(jnp.maximum(left, 0) / jnp.where(free > 0, free, 1.0)) / unit

    def more(state):
        _, _, changed, count = state
        return changed & (count < _MOST_ROUNDS)

    def fix(state):
        fixed, scale, _, count = state
        beyond = ((u * scale < lower) | (u * scale > upper)) & ~fixed
        fixed = fixed | beyond
        return fixed, scale_of(fixed), jnp.any(beyond), count + 1

    outside = gauge_of(clipped, 2) > 1
    none = jnp.zeros(u.shape, bool)
    start = none, scale_of(none), outside, jnp.zeros((), jnp.int32)
    _, scale, _, _ = jax.lax.while_loop(more, fix, start)
    return jnp.where(outside, jnp.clip(u * scale, lower, upper), clipped)


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
