"""Exact minimum of a linear function over an l_p ball, p >= 1, intersected with a box."""

import numpy as np
from scipy.optimize import linprog

from tests.oracles.sets import Set

# Everywhere below: with s = (x - center) / radius the problem is
#     min sum_i g_i s_i,  g = coeffs * radius,  ||s||_p <= 1,  s in the scaled box.
# Moving along -sign(g_i) is the only move worth making, so with w = |g| and the room
# m_i in that direction it becomes  max w.t,  0 <= t <= m,  ||t||_p <= 1.


def minimize(region: Set, coeffs: np.ndarray) -> float:
    return float(coeffs @ minimizer(region, coeffs))


def minimizer(region: Set, coeffs: np.ndarray) -> np.ndarray:
    """A point of the set where `coeffs @ x` is smallest."""
    gain, room, direction = _weights_and_rooms(region, np.asarray(coeffs, float))
    if np.isinf(region.norm):
        steps = room
    elif region.norm == 2:
        steps = _euclidean(gain, room)
    elif region.norm == 1:
        steps = _knapsack(gain, room)
    else:
        steps = _powers(gain, room, region.norm)
    return region.center + region.radius * direction * steps


def minima(region: Set, rows: np.ndarray) -> np.ndarray:
    return np.array([minimize(region, row) for row in rows])


def _weights_and_rooms(region: Set, coeffs):
    direction = np.where(coeffs > 0, -1.0, 1.0)
    limit = np.where(coeffs > 0, region.center - region.lower, region.upper - region.center)
    free = region.radius > 0
    room = np.where(free, np.minimum(limit / np.where(free, region.radius, 1.0), 1.0), 0.0)
    return np.abs(coeffs) * region.radius, room, direction


def _knapsack(gain, room):
    """p = 1: spend the unit budget on the best coordinates first."""
    steps, budget = np.zeros_like(room), 1.0
    for i in np.argsort(-gain, kind="stable"):
        steps[i] = min(room[i], budget)
        budget -= steps[i]
    return steps


def _euclidean(gain, room):
    """p = 2: t_i = min(w_i / mu, m_i); the sets of capped coordinates are tried in order of w_i / m_i.

    With a capped set K the multiplier follows from  sum_K m^2 + sum_free (w / mu)^2 = 1.
    """
    useful = (gain > 0) & (room > 0)
    steps = np.zeros_like(room)
    weight, cap = gain[useful], room[useful]
    if (cap**2).sum() <= 1:
        steps[useful] = cap
        return steps
    order = np.argsort(-weight / cap, kind="stable")
    weight, cap = weight[order].astype(np.longdouble), cap[order].astype(np.longdouble)
    capped = np.concatenate([[0], np.cumsum(cap**2)])
    free = np.concatenate([np.cumsum((weight**2)[::-1])[::-1], [0]])
    for k in range(len(weight)):
        if capped[k] >= 1:
            break
        multiplier = np.sqrt(free[k] / (1 - capped[k]))
        if weight[k] / cap[k] <= multiplier:
            taken = np.where(np.arange(len(weight)) < k, cap, weight / multiplier)
            steps[np.flatnonzero(useful)[order]] = taken.astype(float)
            return steps
    raise AssertionError("the capped sets are exhausted: the ball constraint was not active after all")


def _powers(gain, room, p, iterations=100):
    """Other p: t_i = min((w_i / nu)^(1 / (p - 1)), m_i), the multiplier nu bisected in extended precision.

    The steps are feasible, and nu certifies them: see `duality_gap`.
    """
    steps = np.zeros_like(room)
    useful = (gain > 0) & (room > 0)
    weight, cap = gain[useful].astype(np.longdouble), room[useful].astype(np.longdouble)
    steps[useful] = room[useful]
    if (cap**p).sum() <= 1:
        return steps
    taken = lambda log_nu: np.minimum(np.exp((np.log(weight) - log_nu) / (np.longdouble(p) - 1)), cap)
    high = np.log(weight).max() + np.log(np.longdouble(len(weight)))
    low = np.log(weight).min() - np.log(np.longdouble(2)) - 1
    for _ in range(iterations):
        middle = (low + high) / 2
        low, high = (middle, high) if (taken(middle) ** np.longdouble(p)).sum() > 1 else (low, middle)
    steps[useful] = taken(high).astype(float)
    return steps


def minimize_by_bisection(region: Set, coeffs: np.ndarray, iterations: int = 200) -> float:
    """p = 2 again, by bisecting the multiplier in extended precision; a check of `minimize`."""
    gain, room, _ = _weights_and_rooms(region, np.asarray(coeffs, float))
    gain, room = gain.astype(np.longdouble), room.astype(np.longdouble)
    low, high = np.longdouble(0), np.sqrt((gain**2).sum()) + np.longdouble(1e-300)
    for _ in range(iterations):
        middle = (low + high) / 2
        steps = np.minimum(gain / middle, room)
        low, high = (middle, high) if (steps**2).sum() > 1 else (low, middle)
    steps = np.minimum(gain / high, room)
    return float(coeffs @ region.center - (gain * steps).sum())


def minimize_by_lp(region: Set, coeffs: np.ndarray) -> float:
    """p = 1 and inf by an LP in (x, t) with |x - center| <= radius * t; a check of `minimize`."""
    n = len(region.center)
    eye, scale = np.eye(n), np.diag(region.radius)
    rows = np.block([[eye, -scale], [-eye, -scale]])
    right = np.concatenate([region.center, -region.center])
    if region.norm == 1:
        rows = np.vstack([rows, np.concatenate([np.zeros(n), np.ones(n)])])
        right = np.append(right, 1.0)
    limits = [(lo, hi) for lo, hi in zip(region.lower, region.upper, strict=True)] + [(0, 1)] * n
    result = linprog(np.concatenate([coeffs, np.zeros(n)]), rows, right, bounds=limits, method="highs")
    assert result.status == 0, result.message
    return result.fun
