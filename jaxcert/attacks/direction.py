"""The steepest way uphill inside a region, to first order."""

import jax
import jax.numpy as jnp

from jaxcert.regions import Box, LpBall, Region, interval


def steepest_ascent(region: Region, x: jax.Array, gradient: jax.Array) -> jax.Array:
    """The displacement of gauge 1 along which a function of this gradient at `x` grows fastest.

    It maximises `<gradient, delta>` over `||delta / radius||_p <= 1`, in input units, shaped like
    `x`; a box counts as an l_inf ball with its half-widths. With `h = radius * gradient`:
      p = infinity: `radius * sign(h)`, where sign(0) = +1 as the source has it;
      p = 2: `radius * h / ||h||_2`;
      p = 1: the radius of one coordinate, that of the largest `|h|` among those that can still
        move that way inside the region (at the end of the clip range a coordinate cannot);
      other p: `radius * sign(h) |h|^(q-1) / || h ||_q^(q-1)`, 1/p + 1/q = 1.
    Where the gradient is zero the displacement is 0 (p finite). NaN in the gradient counts as 0
    and infinities as the largest number, so the result is finite. Cost: O(n).

    Source: theses/4b A1, theses/4a 1.2 (1), theses/2 A4 (2.1.4); with one radius per coordinate
    the same after the substitution `delta = radius * u`.

    >>> import jax.numpy as jnp
    >>> from jaxcert.attacks import steepest_ascent
    >>> from jaxcert.regions import LpBall
    >>> ball = LpBall(jnp.zeros(3), jnp.array(0.5))
    >>> steepest_ascent(ball, ball.center, jnp.array([2.0, 0.0, -1.0])).tolist()
    [0.5, 0.5, -0.5]
    """
    if isinstance(region, Box):
        radius, norm = 0.5 * region.upper - 0.5 * region.lower, float("inf")
    else:
        radius, norm = region.radius, region.norm
    gradient = jnp.nan_to_num(gradient)
    if norm == float("inf"):
        return radius * jnp.where(gradient < 0, -1.0, 1.0).astype(x.dtype)
    slope = radius * _normalised(gradient)
    if isinstance(region, LpBall) and norm == 1:
        return radius * _top_coordinate(jnp.where(_can_move(region, x, gradient), slope, 0.0))
    slope = _normalised(slope)
    q = norm / (norm - 1)
    uphill = jnp.sign(slope) * jnp.abs(slope) ** (q - 1) if norm != 2 else slope
    length = jnp.sum(jnp.abs(uphill) ** norm) ** (1 / norm)
    return radius * uphill / jnp.where(length > 0, length, 1.0)


def _normalised(v: jax.Array) -> jax.Array:
    """`v` with its largest entry at 1, so that no power of it overflows or vanishes."""
    largest = jnp.max(jnp.abs(v), initial=0.0)
    return v / jnp.where(largest > 0, largest, 1.0)


def _can_move(ball: LpBall, x: jax.Array, gradient: jax.Array) -> jax.Array:
    lower, upper = interval(ball)
    return jnp.where(gradient > 0, x < upper, x > lower)


def _top_coordinate(slope: jax.Array) -> jax.Array:
    flat = slope.reshape(-1)
    top = jnp.arange(flat.size) == jnp.argmax(jnp.abs(flat))
    return jnp.where(top, jnp.sign(flat), 0.0).reshape(slope.shape)
