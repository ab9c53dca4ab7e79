"""Projection onto a region: the nearest point that lies inside it."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxcert.errors import InvalidInputError
from jaxcert.regions.contain import contains, is_valid
from jaxcert.regions.cut import cut_to_ball, cut_to_sphere, gauge_of
from jaxcert.regions.interval import interval
from jaxcert.regions.product import joined, split
from jaxcert.regions.types import LpBall, Product, Region


def project(region: Region, x: jax.Array) -> jax.Array:
    """The point of `region` nearest to `x` in the Euclidean norm, shaped like `x`.

    The ball and its clip range are handled together, not one after the other, with one radius
    per coordinate if need be; coordinates of radius 0 stay at the centre. Boxes and l_inf balls
    are exact; other balls are exact up to a few units in the last place and the result is
    always on the inner side: `contains(region, project(region, x))`. A point already inside is
    returned unchanged. NaN in `x` or the region, a negative radius or a centre outside `clip`
    gives NaN everywhere. Not meant to be differentiated.

    Cost: O(n) for boxes and l_inf, a few passes for l_2 with one radius; otherwise about 40 (float32)
    or 70 (float64) passes over the coordinates, ten times as many for norms other than 1 and 2.
    Works under `jit` and `vmap`.

    Raises:
      InvalidInputError: `x` is not shaped like the region.

    >>> import jax.numpy as jnp
    >>> from jaxcert.regions.project import project
    >>> from jaxcert.regions.types import LpBall
    >>> ball = LpBall(jnp.zeros(2), jnp.array(1.0), norm=1.0)
    >>> [round(v, 4) for v in project(ball, jnp.array([2.0, 1.5])).tolist()]
    [0.75, 0.25]
    """
    if isinstance(region, Product):
        return _poisoned(region, x, _each(project, region, x))
    if isinstance(region, LpBall) and region.norm != float("inf"):
        largest = jnp.max(jnp.broadcast_to(region.radius, region.shape), initial=0.0)
        return _project_ball(region, x, unit=largest)
    return _project_box(region, x)


def project_scaled(region: Region, x: jax.Array) -> jax.Array:
    """The point of `region` nearest to `x` when distances are measured in units of the radius.

    It minimises `||(x' - x) / radius||_2`: the Euclidean projection onto the unit ball after the
    substitution `delta = radius * u`. With one radius for all coordinates, and for boxes and
    l_inf balls, it is `project`. Gradient ascent in the same coordinates converges to the
    maximum over the region; mixed with `project` it does not. Everything else as `project`.

    >>> import jax.numpy as jnp
    >>> from jaxcert.regions.project import project_scaled
    >>> from jaxcert.regions.types import LpBall
    >>> ball = LpBall(jnp.zeros(2), jnp.array([1.0, 2.0]), norm=2.0)
    >>> [round(v, 4) for v in project_scaled(ball, jnp.array([3.0, 8.0])).tolist()]
    [0.6, 1.6]
    """
    if isinstance(region, Product):
        return _poisoned(region, x, _each(project_scaled, region, x))
    if isinstance(region, LpBall) and region.norm != float("inf"):
        return _project_ball(region, x, unit=region.radius)
    return _project_box(region, x)


def place(ball: LpBall, delta: jax.Array) -> jax.Array:
    """`center + delta`, rounded towards the centre and clipped: never farther out than `delta`."""
    x = ball.center + delta
    outside = jnp.abs(x - ball.center) > jnp.abs(delta)
    x = jnp.where(outside, jnp.nextafter(x, ball.center), x)
    return jnp.clip(x, *interval(ball))


def rounding_slack(ball: LpBall) -> float:
    """How much below 1 a computed norm must stay so that recomputing it does not exceed 1."""
    size = math.prod(ball.shape)
    return float(jnp.finfo(ball.dtype).eps) * (8 + math.sqrt(size))


def _each(move: Callable[[Region, jax.Array], jax.Array], region: Product, x: jax.Array) -> jax.Array:
    pieces = zip(region.members, split(region, _checked(region, x)), strict=True)
    return joined(region, [move(part, piece) for part, piece in pieces])


def _project_box(region: Region, x: jax.Array) -> jax.Array:
    x = _checked(region, x)
    return _poisoned(region, x, jnp.clip(x, *interval(region)))


def _project_ball(ball: LpBall, x: jax.Array, unit: jax.Array) -> jax.Array:
    """Projection in coordinates `u = (x - center) / unit`, where the ball has radius `radius / unit`."""
    x = _checked(ball, x)
    free = ball.radius > 0
    # Then every weight is 1.
    equal = unit is ball.radius or ball.radius.ndim == 0
    unit = jnp.where(unit > 0, unit, 1.0)
    weight = jnp.where(free, ball.radius / unit, 1.0)
    lower, upper = interval(ball)
    lower = jnp.where(free, (lower - ball.center) / unit, 0.0)
    upper = jnp.where(free, (upper - ball.center) / unit, 0.0)
    limit = jnp.finfo(ball.dtype).max / (8 * max(x.size, 1))
    u = jnp.where(free, jnp.clip((x - ball.center) / unit, -limit, limit), 0.0)
    if ball.norm == 2 and ball.clip is None and equal:
        inside = u
    elif ball.norm == 2 and equal:
        inside = cut_to_sphere(u, lower, upper)
    else:
        inside = cut_to_ball(u, weight, lower, upper, ball.norm)
    length = jnp.maximum(gauge_of(inside / weight, ball.norm), 0.5)
    shrink = jnp.minimum((1 - rounding_slack(ball)) / length, 1.0)
    nearest = place(ball, unit * (shrink * inside))
    return _poisoned(ball, x, jnp.where(contains(ball, x), x, nearest))


def _checked(region: Region, x: jax.Array) -> jax.Array:
    x = jnp.asarray(x, region.dtype)
    if x.shape != region.shape:
        raise InvalidInputError(
            f"The point to project has shape {x.shape} and the region {region.shape}; pass one example "
            "shaped like the region, and jax.vmap over a batch."
        )
    return x


def _poisoned(region: Region, x: jax.Array, result: jax.Array) -> jax.Array:
    return jnp.where(is_valid(region) & ~jnp.any(jnp.isnan(x)), result, jnp.nan)
