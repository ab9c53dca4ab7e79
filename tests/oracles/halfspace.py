"""The distance from a point to a half-space inside a box, in a weighted l_p norm, by general solvers.

min || delta / weight ||_p   subject to   coeffs . (center + delta) + offset <= 0,
                                          lower <= center + delta <= upper.
"""

import numpy as np
from scipy.optimize import linprog

from tests.oracles.sets import Set


def distance(region: Set, coeffs: np.ndarray, offset: float) -> float:
    """Distance in units of `region.radius`, the weight; inf if the box does not meet the half-space."""
    value = float(coeffs @ region.center + offset)
    if value <= 0:
        return 0.0
    free = (region.radius > 0) & (coeffs != 0)
    weight, slope = region.radius[free], coeffs[free]
    low = (region.lower - region.center)[free] / weight
    high = (region.upper - region.center)[free] / weight
    if value > -np.minimum(slope * weight * low, slope * weight * high).sum():
        return np.inf
    solve = {1.0: _by_lp, np.inf: _by_lp}.get(region.norm, _by_bisection)
    return solve(slope * weight, value, low, high, region.norm)


def _by_lp(gain, value, low, high, norm) -> float:
    """Variables: the moves and bounds of their sizes (p = 1), or one bound of all (p = inf)."""
    n = len(gain)
    sizes = n if norm == 1 else 1
    above = -np.eye(n) if norm == 1 else -np.ones((n, 1))
    rows = np.block(
        [[gain[None], np.zeros((1, sizes))], [np.eye(n), above], [-np.eye(n), above]],
    )
    right = np.concatenate([[-value], np.zeros(2 * n)])
    cost = np.concatenate([np.zeros(n), np.ones(sizes)])
    limits = [*zip(low, high, strict=True), *[(0, None)] * sizes]
    found = linprog(cost, A_ub=rows, b_ub=right, bounds=[(a, b) for a, b in limits], method="highs")
    assert found.status == 0, found.message
    return float(found.fun)


def _by_bisection(gain, value, low, high, norm, iterations: int = 300) -> float:
    """1 < p < inf: the minimiser of the Lagrangian is clipped entry by entry; bisect its multiplier."""

    def moves(multiplier):
        free = -np.sign(gain) * (multiplier * np.abs(gain) / norm) ** (1 / (norm - 1))
        return np.clip(free, low, high)

    below, above = 0.0, 1.0
    while gain @ moves(above) + value > 0 and above < 1e300:
        above *= 4
    for _ in range(iterations):
        middle = 0.5 * (below + above)
        below, above = (middle, above) if gain @ moves(middle) + value > 0 else (below, middle)
    return float(np.linalg.norm(moves(above), norm))
