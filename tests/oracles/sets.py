"""Input sets of the oracles on flat vectors: an l_p ball with a radius per coordinate, met with a box."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Set:
    """`{x : ||(x - center) / radius||_p <= 1, lower <= x <= upper}`.

    A coordinate of radius 0 cannot move; the centre lies in `[lower, upper]`; limits may be infinite.
    """

    center: np.ndarray
    radius: np.ndarray
    norm: float
    lower: np.ndarray
    upper: np.ndarray


def ball(center, radius, norm: float, clip: tuple[float, float] | None = None) -> Set:
    center = np.asarray(center, float)
    lower, upper = (-np.inf, np.inf) if clip is None else clip
    radius = np.broadcast_to(np.asarray(radius, float), center.shape)
    return Set(center, radius, norm, np.full(center.shape, lower), np.full(center.shape, upper))


def box(lower, upper) -> Set:
    lower, upper = np.asarray(lower, float), np.asarray(upper, float)
    return Set(0.5 * (lower + upper), 0.5 * (upper - lower), np.inf, lower, upper)


def interval(region: Set) -> tuple[np.ndarray, np.ndarray]:
    """The tightest box around the set; exact for every p because one coordinate may use the whole radius."""
    lower = np.maximum(region.center - region.radius, region.lower)
    upper = np.minimum(region.center + region.radius, region.upper)
    return lower, upper


def contains(region: Set, x: np.ndarray, tolerance: float = 1e-12) -> np.ndarray:
    """Whether each point (last axis) lies in the set."""
    moved = x - region.center
    free = region.radius > 0
    scaled = np.abs(moved[..., free]) / region.radius[free]
    if scaled.shape[-1] == 0:
        inside = np.ones(x.shape[:-1], bool)
    elif np.isinf(region.norm):
        inside = scaled.max(axis=-1) <= 1 + tolerance
    else:
        inside = (scaled**region.norm).sum(axis=-1) <= 1 + tolerance
    inside &= (np.abs(moved[..., ~free]) <= tolerance).all(axis=-1)
    return (
        inside & (x >= region.lower - tolerance).all(axis=-1) & (x <= region.upper + tolerance).all(axis=-1)
    )
