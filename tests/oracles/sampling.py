"""Points of a set that are likely to be extreme: uniform, boundary, corners, and one-coordinate moves."""

import numpy as np

from tests.oracles.sets import Set, interval


def points(region: Set, count: int, rng: np.random.Generator) -> np.ndarray:
    """`[m, n]` points of the set: about `count` at random, the centre, the axis tips, up to 2^8 corners.

    Pulling a point of the ball into the box moves every coordinate towards the centre,
    so the result stays in the ball.
    """
    n = len(region.center)
    raw = np.concatenate(
        [
            np.zeros((1, n)),
            _unit_ball(rng, region.norm, count, n),
            np.eye(n),
            -np.eye(n),
            _extremes(rng, region.norm, n),
        ]
    )
    return np.clip(region.center + region.radius * raw, region.lower, region.upper)


def corners(region: Set) -> np.ndarray:
    """All corners of the box around the set, at most 2^12; for l_inf sets they lie in the set."""
    lower, upper = interval(region)
    n = len(lower)
    if n > 12:
        raise ValueError(f"{n} coordinates have too many corners; use at most 12")
    bits = (np.arange(2**n)[:, None] >> np.arange(n)[None]) & 1
    return np.where(bits == 1, upper, lower)


def _unit_ball(rng, norm, count, n):
    directions = rng.normal(size=(count, n))
    if np.isinf(norm):
        size = np.abs(directions).max(axis=1, keepdims=True)
    else:
        size = (np.abs(directions) ** norm).sum(axis=1, keepdims=True) ** (1 / norm)
    radii = np.where(rng.random((count, 1)) < 0.5, 1.0, rng.random((count, 1)) ** (1 / n))
    # rounding may leave a point outside by an ulp; shrink by a few
    return directions / size * radii * (1 - 4e-16)


def _extremes(rng, norm, n):
    if norm == 1:
        return np.zeros((0, n))
    signs = rng.choice([-1.0, 1.0], size=(256, n))
    return signs if np.isinf(norm) else signs / n ** (1 / norm) * (1 - 4e-16)
