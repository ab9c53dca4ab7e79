"""Random points of a region: starts of attacks, and witnesses in soundness tests."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxcert.regions.contain import is_valid
from jaxcert.regions.interval import interval
from jaxcert.regions.product import joined
from jaxcert.regions.project import place, rounding_slack
from jaxcert.regions.types import Box, LpBall, Product, Region


def sample(region: Region, *, key: jax.Array) -> jax.Array:
    """One random point of `region`, shaped and typed like it, in input units.

    Uniform in a box. Uniform in an l_p ball of any p >= 1 with one radius or one per coordinate
    (coordinates of radius 0 stay at the centre), then clipped to the ball's `clip`, which puts
    what falls outside on its faces, as attacks do. The result satisfies `contains`. An invalid
    region (NaN, negative radius, centre outside `clip`, lower > upper) gives NaN. Cost: O(n).

    Source: uniform points of an l_p ball as `g / (||g||_p^p + e)^(1/p)` with g generalised normal
    and e exponential (Barthe, Guedon, Mendelson and Naor, 2005).

    >>> import jax, jax.numpy as jnp
    >>> from jaxcert.regions.sample import sample
    >>> from jaxcert.regions.types import LpBall
    >>> ball = LpBall(jnp.zeros(3), jnp.array(0.5), norm=2.0)
    >>> bool(jnp.linalg.norm(sample(ball, key=jax.random.key(0))) <= 0.5)
    True
    """
    if isinstance(region, Product):
        return _each(sample, region, key=key)
    if isinstance(region, Box):
        u = jax.random.uniform(key, region.shape, region.dtype)
        x = jnp.clip(region.lower * (1 - u) + region.upper * u, region.lower, region.upper)
    elif region.norm == float("inf"):
        u = jax.random.uniform(key, region.shape, region.dtype, minval=-1.0, maxval=1.0)
        x = jnp.clip(region.center + region.radius * u, *interval(region))
    else:
        direction_key, depth_key = jax.random.split(key)
        depth = jax.random.exponential(depth_key, (), region.dtype)
        x = _in_ball(region, depth, key=direction_key)
    return jnp.where(is_valid(region), x, jnp.nan)


def corner(region: Region, *, key: jax.Array) -> jax.Array:
    """One random extreme point of `region`, shaped and typed like it: where bounds are tight.

    A vertex of a box or of an l_inf ball with its clip range; a vertex of an l_1 ball, or a point
    on the sphere of another ball, clipped to its range. Satisfies `contains`; an invalid region
    gives NaN. Cost: O(n).

    >>> import jax, jax.numpy as jnp
    >>> from jaxcert.regions.sample import corner
    >>> from jaxcert.regions.types import Box
    >>> sorted(set(corner(Box(jnp.zeros(20), jnp.ones(20)), key=jax.random.key(0)).tolist()))
    [0.0, 1.0]
    """
    if isinstance(region, Product):
        return _each(corner, region, key=key)
    if isinstance(region, LpBall) and region.norm == 1:
        x = _l1_vertex(region, key=key)
    elif isinstance(region, LpBall) and region.norm != float("inf"):
        x = _in_ball(region, jnp.zeros((), region.dtype), key=key)
    else:
        lower, upper = interval(region)
        x = jnp.where(jax.random.bernoulli(key, shape=region.shape), upper, lower)
    return jnp.where(is_valid(region), x, jnp.nan)


def _each(draw: Callable[..., jax.Array], region: Product, *, key: jax.Array) -> jax.Array:
    keys = jax.random.split(key, len(region.members))
    pieces = [draw(part, key=one) for part, one in zip(region.members, keys, strict=True)]
    return jnp.where(is_valid(region), joined(region, pieces), jnp.nan)


def _in_ball(ball: LpBall, depth: jax.Array, *, key: jax.Array) -> jax.Array:
    """A random direction at the place in the ball that `depth` says: 0 is the sphere."""
    p = ball.norm
    noise = jnp.where(ball.radius > 0, _generalized_normal(key, p, ball.shape, ball.dtype), 0.0)
    total = (jnp.sum(jnp.abs(noise) ** p) + depth) ** (1 / p)
    unit = noise / jnp.where(total > 0, total, 1.0)
    return place(ball, ball.radius * unit * (1 - rounding_slack(ball)))


def _generalized_normal(key: jax.Array, p: float, shape: tuple[int, ...], dtype) -> jax.Array:
    """Independent draws with density proportional to `exp(-|x|^p)`."""
    if p == 1:
        return jax.random.laplace(key, shape, dtype)
    if p == 2:
        return jax.random.normal(key, shape, dtype) * 0.5**0.5
    return jax.random.generalized_normal(key, p, shape, dtype)


def _l1_vertex(ball: LpBall, *, key: jax.Array) -> jax.Array:
    index_key, sign_key = jax.random.split(key)
    radius = jnp.broadcast_to(ball.radius, ball.shape).reshape(-1)
    index = jax.random.categorical(index_key, jnp.where(radius > 0, 0.0, -jnp.inf))
    sign = jax.random.rademacher(sign_key, (), ball.dtype)
    chosen = jnp.arange(radius.size) == index
    delta = jnp.where(chosen, sign * radius * (1 - rounding_slack(ball)), 0.0)
    return place(ball, delta.reshape(ball.shape))
