"""Constructors of regions: the only place where regions are validated.

Concrete bad input raises. Traced bad input cannot raise, so it poisons the centre with
NaN, which every engine propagates and no verdict accepts.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
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
    norm = _norm(norm)
    center = _floating(x, "x")
    radius = _like(eps, center, "eps")
    _require_radius(eps)
    _require_finite(x)
    valid = jnp.all((radius >= 0) & (radius < jnp.inf)) & jnp.all(jnp.isfinite(center))
    ends = None
    if clip is not None:
        ends = _like(clip[0], center, "clip[0]"), _like(clip[1], center, "clip[1]")
        _require_inside(x, clip)
        valid &= jnp.all((ends[0] <= center) & (center <= ends[1]))
    return LpBall(jnp.where(valid, center, jnp.nan), radius, ends, norm)


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
    below, above = _concrete(lower), _concrete(upper)
    low, high = _floating(lower, "lower"), _floating(upper, "upper")
    if low.shape != high.shape:
        raise InvalidInputError(f"lower and upper must have one shape, got {low.shape} and {high.shape}.")
    if below is not None and above is not None and not _is_box(below, above):
        raise InvalidInputError(
            "a box needs finite ends with lower <= upper everywhere: swap or mend the ends."
        )
    high = high.astype(low.dtype)
    valid = jnp.all((low <= high) & jnp.isfinite(low) & jnp.isfinite(high))
    return Box(jnp.where(valid, low, jnp.nan), jnp.where(valid, high, jnp.nan))


def _is_box(lower: np.ndarray, upper: np.ndarray) -> bool:
    return bool(np.all((lower <= upper) & np.isfinite(lower) & np.isfinite(upper)))


def _concrete(value: ArrayLike) -> np.ndarray | None:
    """The value as numpy where it is known; under jit a jnp operation on it would be traced."""
    return None if isinstance(value, Tracer) else np.asarray(value)


def _floating(value: ArrayLike, name: str) -> jax.Array:
    array = jnp.asarray(value)
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise InvalidInputError(
            f"{name} must be a floating-point array, got {array.dtype}: convert it, e.g. pixels / 255.0."
        )
    if jnp.finfo(array.dtype).bits < 32:
        raise InvalidInputError(
            f"{name} has dtype {array.dtype}, too coarse to bound anything: convert it to float32 or float64."
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


def _require_radius(eps: ArrayLike) -> None:
    radius = _concrete(eps)
    if radius is None or np.all((radius >= 0) & (radius < np.inf)):
        return
    got = (
        f"{float(radius):g}"
        if radius.ndim == 0
        else f"an array with minimum {float(radius.min()):g} and maximum {float(radius.max()):g}"
    )
    raise InvalidInputError(f"eps must be finite and >= 0, got {got}: give the radius in input units.")


def _require_finite(x: ArrayLike) -> None:
    value = _concrete(x)
    if value is not None and not np.all(np.isfinite(value)):
        raise InvalidInputError("x contains NaN or inf: clean the data before building a region.")


def _require_inside(x: ArrayLike, clip: Clip) -> None:
    value, low, high = _concrete(x), _concrete(clip[0]), _concrete(clip[1])
    if low is None or high is None:
        return
    if not np.all(low <= high):
        raise InvalidInputError("clip is empty: its low end must not exceed its high end.")
    if value is not None and not np.all((low <= value) & (value <= high)):
        raise InvalidInputError(
            f"x leaves the clip range: its values span [{float(value.min()):g}, {float(value.max()):g}] "
            f"but clip allows [{float(low.min()):g}, {float(high.max()):g}]: scale the input or widen clip."
        )
