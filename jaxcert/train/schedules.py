"""Schedules: pure functions of a (traced) step, for eps, kappa, beta and learning rates.

Every factory returns a function from an integer step to a scalar of the default float type.
A ramp is `start` for `warmup` steps, then moves to `end` within `rampup` steps, and stays
there; both ends are met exactly. All numbers are closed-form, so a schedule has no state, a
resumed run needs nothing but its step, and `jax.jit` never retraces over steps. The same
functions are learning-rate schedules for Optax.
"""

import math
from collections.abc import Callable, Sequence
from typing import Literal

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxcert.errors import ConfigError

Schedule = Callable[[ArrayLike], jax.Array]
Shape = Literal["linear", "geometric", "smoothed", "cosine"]

# Exponent and mid-point of auto_LiRPA's smoothed schedule (theses/1 §5 [EXT]).
_SMOOTH_POWER = 4
_SMOOTH_MID = 0.25


def constant(value: float) -> Schedule:
    """The same value at every step.

    >>> float(constant(0.5)(10))
    0.5
    """
    _check_finite("constant", value)
    return lambda step: jnp.full_like(_as_float(step), value)


def linear(start: float, end: float, *, warmup: int = 0, rampup: int = 0) -> Schedule:
    """`start` for `warmup` steps, then a straight line to `end` over `rampup` steps.

    Source: theses/4b (4.29) linear (before clipping), theses/2 §5.3.

    Raises:
      ConfigError: a value that is not finite, or a negative number of steps.

    >>> ramp = linear(0.0, 0.4, warmup=10, rampup=20)
    >>> [round(float(ramp(step)), 3) for step in (0, 10, 20, 30, 99)]
    [0.0, 0.0, 0.2, 0.4, 0.4]
    """
    return _ramp("linear", start, end, warmup, rampup, lambda progress: progress)


def cosine(start: float, end: float, *, warmup: int = 0, rampup: int = 0) -> Schedule:
    """A half cosine wave from `start` to `end`: slow at both ends.

    Source: theses/4b (4.29) cosine (before clipping; see `clipped`). As a learning rate it is
    cosine annealing with `end=0`.

    Raises:
      ConfigError: a value that is not finite, or a negative number of steps.

    >>> round(float(cosine(0.0, 1.0, rampup=2)(1)), 3)
    0.5
    """
    return _ramp(
        "cosine", start, end, warmup, rampup, lambda progress: 0.5 - 0.5 * jnp.cos(jnp.pi * progress)
    )


def smoothed(
    start: float, end: float, *, warmup: int = 0, rampup: int = 0, mid: float = _SMOOTH_MID
) -> Schedule:
    """Growth with the fourth power of time up to the share `mid` of the ramp, then a straight line.

    Source: theses/1 §5 [EXT] (mid 0.25 for MNIST, 0.4 for CIFAR-10 and Tiny ImageNet).

    Raises:
      ConfigError: a value that is not finite, a negative number of steps, or mid outside (0, 1].

    >>> ramp = smoothed(0.0, 1.0, rampup=100, mid=0.5)
    >>> [round(float(ramp(step)), 3) for step in (0, 50, 100)]
    [0.0, 0.2, 1.0]
    """
    if not 0.0 < mid <= 1.0:
        raise ConfigError(f"The mid-point of a smoothed schedule is a share in (0, 1], got {mid}.")
    return _ramp("smoothed", start, end, warmup, rampup, lambda progress: _smoothed_share(progress, mid))


def geometric(start: float, end: float, *, warmup: int = 0, rampup: int = 0) -> Schedule:
    """`start * (end / start) ** progress`: equal ratios in equal times, for positive ends.

    Source: theses/1 §5 [EXT], the ramp of COAP training.

    Raises:
      ConfigError: `start` or `end` not positive and finite, or a negative number of steps.

    >>> round(float(geometric(0.01, 0.16, rampup=4)(2)), 4)
    0.04
    """
    _check_steps("geometric", warmup, rampup)
    if not (0.0 < start < math.inf and 0.0 < end < math.inf):
        raise ConfigError(
            f"A geometric schedule needs a positive start and end, got {start} and {end}: give a "
            "positive start or use a linear schedule."
        )
    # start * exp(rate) may miss end by a rounding, so the last value is end itself.
    rate = math.log(end / start)

    def value(step):
        progress = _progress(step, warmup, rampup)
        return jnp.where(progress >= 1.0, end, start * jnp.exp(rate * progress))

    return value


def piecewise(start: float, factor: float, milestones: Sequence[int]) -> Schedule:
    """`start`, multiplied by `factor` at every milestone (a step) that has been reached.

    As a learning rate: step decay (theses/1 §5). As eps with factor 2: the doubling budget of
    theses/4a Table 3.5.

    Raises:
      ConfigError: milestones that are negative or not increasing, or numbers that are not finite.

    >>> decay = piecewise(1.0, 0.5, (10, 20))
    >>> [float(decay(step)) for step in (9, 10, 20)]
    [1.0, 0.5, 0.25]
    """
    _check_finite("piecewise", start, factor)
    milestones = tuple(milestones)
    if any(step < 0 for step in milestones) or list(milestones) != sorted(set(milestones)):
        raise ConfigError(f"Milestones must be increasing steps >= 0, got {list(milestones)}.")

    def value(step):
        rate = jnp.full_like(_as_float(step), start)
        for milestone in milestones:
            rate = jnp.where(jnp.asarray(step) >= milestone, factor * rate, rate)
        return rate

    return value


def clipped(schedule: Schedule, lower: float, upper: float) -> Schedule:
    """The values of `schedule`, clipped to `[lower, upper]`.

    `clipped(cosine(0.0, 0.6, rampup=period), 0.0, 0.4)` is the budget of theses/4b (4.29) for
    MNIST: it meets its target 0.4 before the period ends.

    >>> round(float(clipped(linear(0.0, 0.8, rampup=4), 0.0, 0.4)(3)), 3)
    0.4
    """
    if not lower <= upper:
        raise ConfigError(f"A schedule is clipped to a range, got lower {lower} above upper {upper}.")
    return lambda step: jnp.clip(schedule(step), lower, upper)


def with_linear_warmup(schedule: Schedule, warmup: int) -> Schedule:
    """`schedule`, multiplied by `(step + 1) / warmup` during the first `warmup` steps.

    >>> float(with_linear_warmup(constant(1.0), 4)(1))
    0.5
    """
    _check_steps("with_linear_warmup", warmup, 0)
    if warmup == 0:
        return schedule
    return lambda step: schedule(step) * jnp.minimum((_as_float(step) + 1.0) / warmup, 1.0)


def _ramp(
    name: str, start: float, end: float, warmup: int, rampup: int, share: Callable[[jax.Array], jax.Array]
) -> Schedule:
    _check_finite(name, start, end)
    _check_steps(name, warmup, rampup)

    def value(step):
        progress = _progress(step, warmup, rampup)
        done = share(progress)
        # Written as a mean of the two ends so that done = 0 and done = 1 meet them exactly.
        return jnp.where(progress >= 1.0, end, (1.0 - done) * start + done * end)

    return value


def _progress(step: ArrayLike, warmup: int, rampup: int) -> jax.Array:
    elapsed = _as_float(step) - warmup
    if rampup == 0:
        return jnp.where(elapsed >= 0.0, jnp.ones_like(elapsed), jnp.zeros_like(elapsed))
    return jnp.clip(elapsed / rampup, 0.0, 1.0)


def _smoothed_share(progress: jax.Array, mid: float) -> jax.Array:
    # a p^n below mid and its tangent above: value 1 at p = 1 gives
    # a mid^n + n a mid^(n-1) (1 - mid) = 1, so a = 1 / (mid^(n-1) (n - (n - 1) mid)).
    n = _SMOOTH_POWER
    scale = 1.0 / (mid ** (n - 1) * (n - (n - 1) * mid))
    tangent = scale * mid**n + n * scale * mid ** (n - 1) * (progress - mid)
    return jnp.where(progress < mid, scale * progress**n, tangent)


def _as_float(step: ArrayLike) -> jax.Array:
    return jnp.asarray(step).astype(jnp.result_type(float))


def _check_finite(name: str, *values: float) -> None:
    if not all(math.isfinite(value) for value in values):
        raise ConfigError(f"A {name} schedule needs finite values, got {values}.")


def _check_steps(name: str, warmup: int, rampup: int) -> None:
    if warmup < 0 or rampup < 0:
        raise ConfigError(
            f"A {name} schedule needs warm-up and ramp-up of at least 0 steps, got {warmup} and {rampup}."
        )
