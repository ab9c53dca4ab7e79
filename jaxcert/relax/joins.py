"""Products and maxima of several bounded values.

Product, on a box with ends `xl, xu, yl, yu`: from `(x - xl)(y - yl) >= 0` and its three
kin follow McCormick's planes, `xy >= yl x + xl y - xl yl`, `xy >= yu x + xu y - xu yu`,
`xy <= yu x + xl y - xl yu`, `xy <= yl x + xu y - xu yl`. alpha mixes the two of each side;
all mixtures leave the same volume, and 1/2 the smallest worst gap. With slopes at the
middle, `xy - ym x - xm y + xm ym = (x - xm)(y - ym)` lies within `-+ rx ry`.

Maximum: every convex combination of the operands is below it. With i the operand of largest
lower end `c`, `max_j x_j - c <= (x_i - c) + sum_{j != i} max(x_j - c, 0)`, and each term of
the sum is below its chord `(u_j - c) / (u_j - l_j) (x_j - l_j)`; the constant `max_j u_j` is
another plane. The one that is lower at the middle of the box is taken. For one set of slopes
w (a convex combination) the gap `max_j x_j - w . x` is convex, so its maximum lies at a corner:
`max_i (1 - w_i) u_i - sum_{j != i} w_j l_j`.
"""

import jax
import jax.numpy as jnp

from jaxcert.relax.interval import ordered
from jaxcert.relax.types import Ends, Join, Planes


def _product_range(lowers: Ends, uppers: Ends) -> tuple[jax.Array, jax.Array]:
    (xl, yl), (xu, yu) = _ordered(lowers, uppers)
    ends = jnp.stack([xl * yl, xl * yu, xu * yl, xu * yu])
    return ends.min(0), ends.max(0)


def _product_planes(lowers: Ends, uppers: Ends, alpha: jax.Array | float) -> Planes:
    (xl, yl), (xu, yu) = _ordered(lowers, uppers)
    rest = 1 - alpha
    x_rising, y_rising = rest * xl + alpha * xu, rest * yl + alpha * yu
    y_falling = rest * yu + alpha * yl
    below = -(rest * xl * yl + alpha * xu * yu)
    above = -(rest * xl * yu + alpha * xu * yl)
    planes = Planes((y_rising, x_rising), below, (y_falling, x_rising), above)
    return _poisoned(planes, (xl, yl, xu, yu))


def _product_parallel(lowers: Ends, uppers: Ends) -> Planes:
    (xl, yl), (xu, yu) = _ordered(lowers, uppers)
    xm, ym = 0.5 * xl + 0.5 * xu, 0.5 * yl + 0.5 * yu
    gap = (0.5 * xu - 0.5 * xl) * (0.5 * yu - 0.5 * yl)
    return _poisoned(Planes((ym, xm), -xm * ym - gap, (ym, xm), -xm * ym + gap), (xl, yl, xu, yu))


def _product_choice(lowers: Ends, uppers: Ends) -> jax.Array:
    del uppers
    return jnp.full_like(lowers[0], 0.5)


def _maximum(*xs: jax.Array) -> jax.Array:
    return jnp.stack(xs).max(0)


def _maximum_range(lowers: Ends, uppers: Ends) -> tuple[jax.Array, jax.Array]:
    lowers, uppers = _ordered(lowers, uppers)
    return jnp.stack(lowers).max(0), jnp.stack(uppers).max(0)


def _maximum_planes(lowers: Ends, uppers: Ends, alpha: jax.Array | float) -> Planes:
    """alpha moves the lower plane from the second best operand to the best.

    Of two operands the best has the larger midpoint, which is least volume. Of the many of a pooling
    window it has the largest lower end, and the upper plane is constant unless one operand is above the
    others: planes of least volume lean on operands whose own relaxations then add up, which is far looser.
    """
    lower, upper = (jnp.stack(ends) for ends in _ordered(lowers, uppers))
    middle = 0.5 * lower + 0.5 * upper
    pair = len(lowers) == 2
    rank = middle if pair else lower
    best = _one_hot(rank)
    second = _one_hot(jnp.where(best > 0, -jnp.inf, rank))
    above, offset = _upper_plane(lower, upper, middle if pair else upper)
    below = tuple(alpha * b + (1 - alpha) * s for b, s in zip(best, second, strict=True))
    planes = Planes(below, jnp.zeros_like(lower[0]), tuple(above), offset)
    return _poisoned(planes, (lower.sum(0), upper.sum(0)))


def _upper_plane(lower: jax.Array, upper: jax.Array, point: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Chords where they are no higher than the constant at a point, the constant elsewhere."""
    slopes = _chords(lower, upper)
    offset = -(jnp.where(_one_hot(lower) > 0, 0, slopes) * lower).sum(0)
    constant = upper.max(0)
    chords = (slopes * point).sum(0) + offset <= constant
    return jnp.where(chords[None], slopes, 0), jnp.where(chords, offset, constant)


def _chords(lower: jax.Array, upper: jax.Array) -> jax.Array:
    """1 for the operand of largest lower end c, `(u - c) / (u - l)` for those that reach above c, else 0."""
    first = _one_hot(lower) > 0
    rise = upper - lower.max(0)[None]
    wide = (rise > 0) & ~first
    # l <= c, so the width is at least the rise: the quotient is at most 1, up to rounding, which min removes.
    quotient = jnp.where(wide, rise, 0) / jnp.where(wide, upper - lower, 1)
    return jnp.where(first, 1, jnp.minimum(quotient, 1)).astype(lower.dtype)


def _maximum_parallel(lowers: Ends, uppers: Ends) -> Planes:
    lower, upper = (jnp.stack(ends) for ends in _ordered(lowers, uppers))
    shares = _chords(lower, upper)
    weights = shares / shares.sum(0)[None]
    weighted = weights * lower
    gap = ((1 - weights) * upper - (weighted.sum(0)[None] - weighted)).max(0)
    planes = Planes(tuple(weights), jnp.zeros_like(lower[0]), tuple(weights), gap)
    return _poisoned(planes, (lower.sum(0), upper.sum(0)))


def _maximum_choice(lowers: Ends, uppers: Ends) -> jax.Array:
    del uppers
    return jnp.ones_like(lowers[0])


def _one_hot(value: jax.Array) -> jax.Array:
    """1 at the first largest entry along the leading axis, 0 elsewhere."""
    index = jnp.arange(value.shape[0]).reshape(-1, *(1,) * (value.ndim - 1))
    return (index == jnp.argmax(value, axis=0)[None]).astype(value.dtype)


def _ordered(lowers: Ends, uppers: Ends) -> tuple[Ends, Ends]:
    pairs = [ordered(lower, upper) for lower, upper in zip(lowers, uppers, strict=True)]
    return tuple(low for low, _ in pairs), tuple(high for _, high in pairs)


def _poisoned(planes: Planes, ends: Ends) -> Planes:
    """NaN offsets wherever an end is not finite, or a plane overflows."""
    parts = (*ends, planes.lower_offset, planes.upper_offset)
    finite = jnp.isfinite(jnp.stack(jnp.broadcast_arrays(*parts))).all(0)
    return planes._replace(
        lower_offset=jnp.where(finite, planes.lower_offset, jnp.nan),
        upper_offset=jnp.where(finite, planes.upper_offset, jnp.nan),
    )


MULTIPLY = Join(
    name="multiply",
    fn=lambda x, y: x * y,
    range=_product_range,
    enclose=_product_planes,
    enclose_parallel=_product_parallel,
    choose=_product_choice,
    operands=(2,),
)

MAXIMUM = Join(
    name="maximum",
    fn=_maximum,
    range=_maximum_range,
    enclose=_maximum_planes,
    enclose_parallel=_maximum_parallel,
    choose=_maximum_choice,
    operands=(2, 3, 9),
)

JOINS: tuple[Join, ...] = (MULTIPLY, MAXIMUM)
