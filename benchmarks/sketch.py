"""A few numbers that stand for a large result, so that results of different processes can be compared."""

from collections.abc import Sequence

import numpy as np

KEPT = 256


def sketch(values: np.ndarray) -> list[float]:
    """The largest absolute value, the l_2 norm, the size, and up to `KEPT` entries at fixed random places."""
    flat = np.asarray(values, np.float64).ravel()
    places = np.arange(flat.size)
    if flat.size > KEPT:
        places = np.sort(np.random.default_rng(2).choice(flat.size, KEPT, replace=False))
    largest, norm = (float(np.abs(flat).max()), float(np.linalg.norm(flat))) if flat.size else (0.0, 0.0)
    return [largest, norm, float(flat.size), *flat[places].tolist()]


def difference(mine: Sequence[float], theirs: Sequence[float]) -> float | None:
    """Largest difference of kept entries and of norms, relative to the largest; None: other sizes."""
    if len(mine) != len(theirs) or mine[2] != theirs[2]:
        return None
    left, right = np.asarray(mine), np.asarray(theirs)
    scale = max(left[0], right[0], np.finfo(np.float32).tiny)
    norms = abs(left[1] - right[1]) / max(left[1], right[1], np.finfo(np.float32).tiny)
    entries = np.abs(left[3:] - right[3:]).max(initial=0.0) / scale
    return (
        float(max(entries, norms)) if np.isfinite(left).all() and np.isfinite(right).all() else float("nan")
    )


def mean_advantage(mine: Sequence[float], theirs: Sequence[float]) -> float:
    """Mean of mine - theirs over the kept entries: for lower bounds, how much tighter mine are."""
    return float(np.mean(np.asarray(mine[3:]) - np.asarray(theirs[3:])))
