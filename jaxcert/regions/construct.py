"""Constructors of regions: the only place where regions are validated.

Concrete bad input raises. Traced bad input cannot raise, so it poisons the centre with
NaN, which every engine propagates and no verdict accepts.
"""

import math

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jax.typing import ArrayLike

from jaxcert.errors import InvalidInputError
from jaxcert.regions.types import Box, LpBall

Clip = tuple[ArrayLike, ArrayLike]


def linf_ball(x: ArrayLike, eps: ArrayLike, clip: Clip | None = None) -> LpBall:
    """Return the l_inf ball `|x' - x| <= eps`, coordinate by coordinate. See `lp_ball`.

    Example:
      >>> import jax.numpy as jnp, jaxcert as jc
      >>> jc.linf_ball(jnp.zeros(3), 0.1).norm
      inf
    """
    return lp_ball(x, eps, math.inf, clip)


def l2_ball(x: ArrayLike, eps: ArrayLike, clip: Clip | None = None) -> LpBall:
    """Return the l_2 ball of radius eps (an ellipsoid where eps is an array). See `lp_ball`.

    Example:
      >>> import jax.numpy as jnp, jaxcert as jc
      >>> jc.l2_ball(jnp.zeros(3), 0.1).norm
      2.0
    """
    return lp_ball(x, eps, 2.0, clip)


def l1_ball(x: ArrayLike, eps: ArrayLike, clip: Clip | None = None) -> LpBall:
    """Return the l_1 ball of radius eps. See `lp_ball`.

    Example:
      >>> import jax.numpy as jnp, jaxcert as jc
      >>> jc.l1_ball(jnp.zeros(3), 0.1).norm
      1.0
    """
    return lp_ball(x, eps, 1.0, clip)


def lp_ball(x: ArrayLike, eps: ArrayLike, norm: float, clip: Clip | None = None) -> LpBall:
    """Return `{x + delta : || delta / eps ||_norm <= 1}`, intersected with `clip`.

    Args:
      x: the centre, one example of any shape, in the network's input units.
      eps: radius in input units: a scalar, or an array shaped like `x` (per-coordinate;
        0 pins a coordinate, which gives signal-directed sets).
      norm: p >= 1, static; `math.inf` for l_inf.
      clip: `None`, or `(low, high)`, scalars or shaped like `x`: the range of valid inputs.

    Raises:
      InvalidInputError: concrete eps that is negative or not finite, NaN in x, x outside
        clip, an empty clip, wrong shapes, a norm below 1. Traced values poison instead.

    Example:
      >>> import jax.numpy as jnp, jaxcert as jc
      >>> jc.lp_ball(jnp.zeros(3), -0.1, 2)
      Traceback (most recent call last):
      ...
      jaxcert.errors.InvalidInputError: eps must be finite and >= 0, got -0.1: give the radius in input units.
    """
    x = _floating(x, "x")
    norm = _norm(norm)
    radius = _like(eps, x, "eps")
    if not isinstance(radius, Tracer) and not bool(jnp.all((radius >= 0) & (radius < jnp.inf))):
        raise InvalidInputError(
            f"eps must be finite and >= 0, got {_worst(eps, radius)}: give the radius in input units."
        )
    valid = jnp.all((radius >= 0) & (radius < jnp.inf)) & jnp.all(jnp.isfinite(x))
    _require_finite(x, "x")
    ends = None
    if clip is not None:
        ends = _like(clip[0], x, "clip[0]"), _like(clip[1], x, "clip[1]")
        _require_inside(x, ends)
        valid &= jnp.all((ends[0] <= x) & (x <= ends[1]))
    return LpBall(jnp.where(valid, x, jnp.nan), radius, ends, norm)


def box(lower: ArrayLike, upper: ArrayLike) -> Box:
    """Return `{x : lower <= x <= upper}`.

    Args:
      lower, upper: arrays of one shape, in input units.

    Raises:
      InvalidInputError: concrete ends with lower > upper or NaN, or of different shapes.
        Traced ones poison instead.

    Example:
      >>> import jax.numpy as jnp, jaxcert as jc
      >>> jc.box(jnp.zeros(2), jnp.ones(2)).shape
      (2,)
    """
    lower = _floating(lower, "lower")
    upper = _floating(upper, "upper").astype(lower.dtype)
    if lower.shape != upper.shape:
        raise InvalidInputError(f"lower and upper must have one shape, got {lower.shape} and {upper.shape}.")
    valid = jnp.all((lower <= upper) & jnp.isfinite(lower) & jnp.isfinite(upper))
    if not isinstance(valid, Tracer) and not bool(valid):
        raise InvalidInputError(
            "a box needs finite ends with lower <= upper everywhere: swap or mend the ends."
        )
    return Box(jnp.where(valid, lower, jnp.nan), jnp.where(valid, upper, jnp.nan))


def _floating(value: ArrayLike, name: str) -> jax.Array:
    array = jnp.asarray(value)
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise InvalidInputError(
            f"{name} must be a floating-point array, got {array.dtype}: convert it, e.g. pixels / 255.0."
        )
    return array


def _like(value: ArrayLike, x: jax.Array, name: str) -> jax.Array:
    array = jnp.asarray(value).astype(x.dtype)
    if array.shape not in ((), x.shape):
        raise InvalidInputError(f"{name} must be a scalar or shaped like x {x.shape}, got {array.shape}.")
    return array


def _norm(norm: float) -> float:
    if not isinstance(norm, (int, float)) or math.isnan(norm) or norm < 1:
        raise InvalidInputError(f"norm must be a number >= 1 (math.inf for l_inf), got {norm!r}.")
    return float(norm)


def _require_finite(x: jax.Array, name: str) -> None:
    if not isinstance(x, Tracer) and not bool(jnp.all(jnp.isfinite(x))):
        raise InvalidInputError(f"{name} contains NaN or inf: clean the data before building a region.")


def _require_inside(x: jax.Array, ends: tuple[jax.Array, jax.Array]) -> None:
    low, high = ends
    if any(isinstance(v, Tracer) for v in (x, low, high)):
        return
    if not bool(jnp.all(low <= high)):
        raise InvalidInputError("clip is empty: its low end must not exceed its high end.")
    if not bool(jnp.all((low <= x) & (x <= high))):
        raise InvalidInputError(
            f"x leaves the clip range: its values span [{float(x.min()):g}, {float(x.max()):g}] but clip "
            f"allows [{float(low.min()):g}, {float(high.max()):g}]: scale the input or widen clip."
        )


def _worst(eps: ArrayLike, radius: jax.Array) -> str:
    if radius.ndim == 0:
        return f"{eps}" if not isinstance(eps, jax.Array) else f"{float(eps):g}"
    return f"an array with minimum {float(radius.min()):g} and maximum {float(radius.max()):g}"
