"""The exact distance from a point to the nearest input that a tiny ReLU network gets wrong.

One small program per linear region of the network and wrong class: `min ||x - center||_p` where the region's
inequalities hold and the margin is at most 0. Linear programs for p = 1 and infinity; for p = 2 the
least-distance problem of Lawson and Hanson (Solving least squares problems, chapter 23), by `nnls`.
"""

import numpy as np
from scipy.optimize import linprog, nnls

from tests.oracles.enumeration import linear_pieces
from tests.oracles.nets import Net, margin_rows
from tests.oracles.sets import box, interval


def pieces_in(net: Net, lower: np.ndarray, upper: np.ndarray) -> list:
    """The linear regions that meet a box, with the box's own faces among their inequalities."""
    region = box(lower, upper)
    low, high = interval(region)
    eye = np.eye(len(low))
    return [
        (slope, shift, np.vstack([rows, eye, -eye]), np.concatenate([right, high, -low]))
        for slope, shift, rows, right in linear_pieces(net, region)
    ]


def distance(pieces: list, center: np.ndarray, label: int, norm: float) -> float:
    """The minimal distance in the l_p norm; inf where the network is right in the whole box."""
    programs = []
    for slope, shift, rows, right in pieces:
        for row in margin_rows(len(shift), label):
            wrong_rows = np.vstack([rows, row @ slope])
            wrong_right = np.append(right, -row @ shift) - wrong_rows @ center
            programs.append((_least_squares(-wrong_rows, -wrong_right), wrong_rows, wrong_right))
    programs.sort(key=lambda program: program[0])
    best, shrink = np.inf, len(center) ** min(1 / norm - 1 / 2, 0)
    for euclidean, rows, right in programs:
        if shrink * euclidean >= best:  # ||z||_p >= n^min(1/p - 1/2, 0) ||z||_2
            break
        best = min(best, euclidean if norm == 2 else _by_lp(rows, right, norm))
    return float(best)


def _by_lp(rows: np.ndarray, right: np.ndarray, norm: float) -> float:
    """`min ||z||_p` subject to `rows @ z <= right`, p = 1 or infinity; inf if that is empty."""
    n = rows.shape[1]
    sizes = n if norm == 1 else 1
    above = -np.eye(n) if norm == 1 else -np.ones((n, 1))
    eye, none = np.eye(n), np.zeros((len(rows), sizes))
    found = linprog(
        np.concatenate([np.zeros(n), np.ones(sizes)]),
        np.block([[rows, none], [eye, above], [-eye, above]]),
        np.concatenate([right, np.zeros(2 * n)]),
        bounds=[(None, None)] * n + [(0, None)] * sizes,
        method="highs",
    )
    assert found.status in (0, 2), found.message
    return float(found.fun) if found.status == 0 else np.inf


def _least_squares(rows: np.ndarray, right: np.ndarray) -> float:
    """`min ||z||_2` subject to `rows @ z >= right`; inf if that is empty."""
    target = np.append(np.zeros(rows.shape[1]), 1.0)
    stacked = np.vstack([rows.T, right])
    multipliers, _ = nnls(stacked, target)
    residual = stacked @ multipliers - target
    if np.linalg.norm(residual) < 1e-9:
        return np.inf
    return float(np.linalg.norm(residual[:-1] / residual[-1]))
