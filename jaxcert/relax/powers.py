"""x^n for a static integer n >= 2: convex for even n; concave below 0 and convex above for odd n.

For odd n touching points have a closed form: the tangent at d meets the curve again at `-d / r`,
where r in (0, 1) solves `(n - 1) r^n + n r^(n - 1) = 1`, whatever the scale of d (r = 1/2 for x^3).
"""

import math

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from jaxcert.relax import bumps, convex
from jaxcert.relax.curve import between, half
from jaxcert.relax.interval import ordered
from jaxcert.relax.types import Activation, Lines


def _fn(x: jax.Array, n: int) -> jax.Array:
    return lax.integer_pow(x, n)


def _derivative(x: jax.Array, n: int) -> jax.Array:
    return n * lax.integer_pow(x, n - 1)


def _image(lower: jax.Array, upper: jax.Array, n: int) -> tuple[jax.Array, jax.Array]:
    lower, upper = ordered(lower, upper)
    left, right = _fn(lower, n), _fn(upper, n)
    if n % 2:
        return left, right
    return _fn(jnp.clip(0, lower, upper), n), jnp.where(right > left, right, left)


def _lines(lower: jax.Array, upper: jax.Array, alpha: ArrayLike, n: int) -> Lines:
    if n % 2:
        return bumps.lines(lower, upper, alpha, _odd(n))
    return convex.lines(lower, upper, alpha, _even(n))


def _parallel(lower: jax.Array, upper: jax.Array, n: int) -> Lines:
    if n % 2:
        return bumps.parallel(lower, upper, _odd(n))
    return convex.parallel(lower, upper, _even(n))


def _even(n: int) -> convex.Bent:
    return convex.Bent(
        fn=lambda x: _fn(x, n),
        slope=lambda x: _derivative(x, n),
        curvature=lambda x: _curvature(x, n),
        chord=lambda lower, upper: _divided_difference(lower, upper, n),
        point=lambda k, lower: jnp.sign(k) * _steep(k, n),
        domain=convex.everywhere,
        convex=convex.always,
    )


def _odd(n: int) -> bumps.Bump:
    ratio = _ratio(n)
    return bumps.Bump(
        fn=lambda x: _fn(x, n),
        slope=lambda x: _derivative(x, n),
        curvature=lambda x: _curvature(x, n),
        left=0.0,
        right=math.inf,
        chord=lambda lower, upper: _divided_difference(lower, upper, n),
        scale=lambda lower, upper: jnp.maximum(jnp.abs(lower), jnp.abs(upper)),
        terms=0.0,
        touch=lambda f, end, low, high, bends_up: between(-ratio * end, low, high),
        level=lambda f, k, low, high, bends_up: between(jnp.where(low < 0, -1, 1) * _steep(k, n), low, high),
    )


def _curvature(x: jax.Array, n: int) -> jax.Array:
    return n * (n - 1) * lax.integer_pow(x, n - 2)


def _steep(k: jax.Array, n: int) -> jax.Array:
    """The x >= 0 at which the slope of x^n is |k|."""
    return (jnp.abs(k) / n) ** (1 / (n - 1))


def _divided_difference(lower: jax.Array, upper: jax.Array, n: int) -> jax.Array:
    """(u^n - l^n) / (u - l) without a quotient: halve even n, take one factor out of odd n."""
    if n == 1:
        return jnp.ones_like(lower)
    if n % 2:
        return _fn(upper, n - 1) + lower * _divided_difference(lower, upper, n - 1)
    half_way = n // 2
    return _divided_difference(lower, upper, half_way) * (_fn(upper, half_way) + _fn(lower, half_way))


def _ratio(n: int) -> float:
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        if (n - 1) * middle**n + n * middle ** (n - 1) < 1:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)


INTEGER_POW = Activation(
    name="integer_pow",
    fn=_fn,
    derivative=_derivative,
    image=_image,
    lines=_lines,
    parallel=_parallel,
    adaptive=half,
    cases=((2,), (3,), (4,), (5,)),
)
