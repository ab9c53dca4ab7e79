"""Exact minimum of a linear function of a tiny ReLU network: every activation pattern that meets the set.

On one pattern the network is affine and its inputs form a polyhedron `rows @ x <= right`. Patterns are
explored neuron by neuron, dropping those whose polyhedron misses the set. l_inf, box and l_1 sets give one
LP per pattern. For l_2 sets in the plane the optimum lies on one of finitely many points (`_planar`).
"""

from itertools import combinations

import numpy as np
from scipy.optimize import linprog

from tests.oracles.linear_min import minimizer
from tests.oracles.nets import Net, layers
from tests.oracles.sets import Set, contains, interval


def minimum(net: Net, region: Set, row: np.ndarray) -> float:
    """The exact minimum of `row @ output` over the set."""
    return minimum_and_patterns(net, region, row)[0]


def minimum_and_patterns(net: Net, region: Set, row: np.ndarray) -> tuple[float, int]:
    """The minimum and the number of linear regions that meet the set."""
    pieces = linear_pieces(net, region)
    found = [
        _minimize(region, row @ slope, rows, right) + row @ shift for slope, shift, rows, right in pieces
    ]
    finite = [value for value in found if np.isfinite(value)]
    return float(min(finite)), len(finite)


def linear_pieces(net: Net, region: Set):
    """`(slope, shift, rows, right)` for every pattern: output = slope @ x + shift where rows @ x <= right."""
    n = len(region.center)
    stack = layers(net)
    pieces = [(np.eye(n), np.zeros(n), np.zeros((0, n)), np.zeros(0))]
    for depth, (weight, bias) in enumerate(stack):
        pieces = [(weight @ slope, weight @ shift + bias, a, b) for slope, shift, a, b in pieces]
        if depth < len(stack) - 1:
            pieces = [active for piece in pieces for active in _split(region, *piece)]
    return pieces


def _split(region, slope, shift, rows, right):
    """Every sign pattern of the pre-activations `slope @ x + shift` that the polyhedron allows."""
    open_pieces = [(np.zeros(len(shift)), rows, right)]
    for j in range(len(shift)):
        grown = []
        for signs, a, b in open_pieces:
            for on in (True, False):
                side = -slope[j] if on else slope[j]
                limit = shift[j] if on else -shift[j]
                more_rows, more_right = np.vstack([a, side]), np.append(b, limit)
                if np.isfinite(_minimize(region, side, a, b, at_most=limit)):
                    pattern = signs.copy()
                    pattern[j] = float(on)
                    grown.append((pattern, more_rows, more_right))
        open_pieces = grown
    return [(slope * signs[:, None], shift * signs, a, b) for signs, a, b in open_pieces]


def _minimize(region, coeffs, rows, right, at_most=np.inf) -> float:
    """Minimum of `coeffs @ x` over set and polyhedron; inf if empty or larger than `at_most`."""
    lower, upper = interval(region)
    if np.minimum(coeffs * lower, coeffs * upper).sum() > at_most:
        return np.inf
    best = _planar(region, coeffs, rows, right) if region.norm == 2 else _lp(region, coeffs, rows, right)
    return best if best <= at_most else np.inf


def _lp(region, coeffs, rows, right):
    lower, upper = interval(region)
    n = len(lower)
    if np.isinf(region.norm):
        result = linprog(coeffs, rows, right, bounds=np.stack([lower, upper], 1), method="highs")
    elif region.norm == 1:
        spread = np.diag(region.radius)
        eye, none = np.eye(n), np.zeros((len(rows), n))
        stacked = np.block(
            [[rows, none], [eye, -spread], [-eye, -spread], [np.zeros((1, n)), np.ones((1, n))]]
        )
        limits = np.concatenate([right, region.center, -region.center, [1.0]])
        ranges = np.concatenate([np.stack([lower, upper], 1), np.tile([0.0, 1.0], (n, 1))])
        result = linprog(np.append(coeffs, np.zeros(n)), stacked, limits, bounds=ranges, method="highs")
    else:
        raise ValueError(f"enumeration handles p = 1, 2, inf, got {region.norm}")
    assert result.status in (0, 2), result.message
    return result.fun if result.status == 0 else np.inf


def _planar(region, coeffs, rows, right):
    """Two inputs, p = 2: the minimum is the ball's own minimiser, a vertex, or an edge meeting the circle."""
    n = len(region.center)
    if n != 2 or (region.radius == 0).any():
        raise ValueError(f"exact l_2 enumeration is for two inputs that both move, got {n}")
    lower, upper = interval(region)
    edges = np.vstack([rows, np.eye(2), -np.eye(2)])
    limits = np.concatenate([right, upper, -lower])
    candidates = [minimizer(region, coeffs)]
    for i, j in combinations(range(len(edges)), 2):
        pair = edges[[i, j]]
        if abs(np.linalg.det(pair)) > 1e-13:
            candidates.append(np.linalg.solve(pair, limits[[i, j]]))
    for edge, limit in zip(edges, limits, strict=True):
        candidates.extend(_edge_and_circle(region, edge, limit))
    points = np.array(candidates)
    inside = contains(region, points, 1e-9) & (points @ edges.T <= limits + 1e-9).all(axis=1)
    return (points[inside] @ coeffs).min() if inside.any() else np.inf


def _edge_and_circle(region, edge, limit):
    """Points of the line `edge @ x = limit` on the circle, in coordinates scaled to the unit circle."""
    normal = edge * region.radius
    length = np.linalg.norm(normal)
    if length < 1e-14:
        return []
    distance = (limit - edge @ region.center) / length
    if abs(distance) > 1:
        return []
    foot, along = distance * normal / length, np.array([-normal[1], normal[0]]) / length
    half = np.sqrt(max(1 - distance**2, 0))
    return [region.center + region.radius * (foot + sign * half * along) for sign in (-1, 1)]
