"""Where a tangent meets a given end, and where the slope has a given value: one loop for many pieces.

Each piece bends one way, up where `convex`, which broadcasts. Along a piece the
tangent's height over an end outside it is monotone, and so is the slope: bisection and Newton
steps on stopped values, then, for touching points, two Newton steps that carry derivatives
(one gives the first derivative, two the second).
"""

import jax
import jax.numpy as jnp
from jax import lax

from jaxcert.relax.curve import Curve, Scalar, between

_BISECTIONS = 24


def touch(f: Curve, end: jax.Array, low: jax.Array, high: jax.Array, convex: jax.Array) -> jax.Array:
    """The point d of each piece with `f(d) + f'(d) (end - d) = f(end)`, cut to the piece."""

    def excess(d, end):
        return f.fn(d) + f.slope(d) * (end - d) - f.fn(end)

    left, right, far = (lax.stop_gradient(x) for x in (low, high, end))
    # The excess falls with d where the end is on the concave side of the tangent's motion.
    falls = convex == (far <= left)
    beyond = lambda d: (excess(d, far) > 0) == falls
    d = _bisect(beyond, left, right)

    def newton(d, end):
        rise = f.curvature(d) * (end - d)
        steep = jnp.abs(rise) > float(jnp.finfo(d.dtype).tiny) ** 0.25
        return d - jnp.clip(jnp.where(steep, excess(d, end) / jnp.where(steep, rise, 1), 0), -1, 1)

    found = beyond(left) & ~beyond(right)
    inside = jnp.clip(lax.stop_gradient(newton(d, far)), left, right)
    moved = newton(newton(inside, end), end)
    return jnp.where(found, between(moved, low, high), jnp.where(beyond(left), high, low))


def level(f: Curve, k: jax.Array, low: jax.Array, high: jax.Array, convex: jax.Array) -> jax.Array:
    """Where the slope equals k, cut to the piece; derivatives are not carried."""
    k, low, high = (lax.stop_gradient(x) for x in (k, low, high))
    rises = convex
    d = _bisect(lambda d: (f.slope(d) < k) == rises, low, high)
    for _ in range(2):
        bend = f.curvature(d)
        steep = jnp.abs(bend) > float(jnp.finfo(d.dtype).eps)
        d = jnp.clip(d - jnp.where(steep, (f.slope(d) - k) / jnp.where(steep, bend, 1), 0), low, high)
    return d


def _bisect(beyond: Scalar, low: jax.Array, high: jax.Array) -> jax.Array:
    def halve(_, bracket):
        low, high = bracket
        middle = 0.5 * low + 0.5 * high
        further = beyond(middle)
        return jnp.where(further, middle, low), jnp.where(further, high, middle)

    low, high = lax.fori_loop(0, _BISECTIONS, halve, (low, high))
    return 0.5 * low + 0.5 * high
