"""The dual bound of Wong and Kolter (theses/1: equations 2.17 to 2.20) for chains affine, ReLU, ..., affine.

Notation of the source: nu_k = -c, nu_hat_i = W_i^T nu_{i+1}, nu_i = D_i nu_hat_i with D in {0, 1, u/(u-l)}.
It never speaks of lines, and shares no code with `crown`; the two must agree for parallel slopes.
"""

import numpy as np

from tests.oracles.linear_min import minima
from tests.oracles.nets import Net, layers
from tests.oracles.sets import Set


def lower(net: Net, region: Set, rows: np.ndarray) -> np.ndarray:
    """The dual value J for every row c: a lower bound of `c @ output` over the set."""
    weights, biases = zip(*layers(net), strict=True)
    bounds = preactivation_bounds(weights, biases, region)
    return _dual_value(weights, biases, bounds, region, np.asarray(rows, float))


def preactivation_bounds(weights, biases, region: Set):
    """Bounds of every hidden pre-activation, layer by layer, from the same dual with c = e_j and c = -e_j."""
    bounds = []
    for depth in range(1, len(weights)):
        eye = np.eye(len(biases[depth - 1]))
        head, shifts = weights[:depth], biases[:depth]
        bounds.append(
            (_dual_value(head, shifts, bounds, region, eye), -_dual_value(head, shifts, bounds, region, -eye))
        )
    return bounds


def _dual_value(weights, biases, bounds, region, objectives):
    nu = -objectives
    value = np.zeros(len(objectives))
    for i in range(len(weights) - 1, -1, -1):
        value -= nu @ biases[i]
        nu_hat = nu @ weights[i]
        if i == 0:
            break
        lower, upper = bounds[i - 1]
        spanning = (lower < 0) & (upper > 0)
        scale = np.where(spanning, upper / np.where(spanning, upper - lower, 1.0), (lower >= 0) * 1.0)
        nu = nu_hat * scale
        value += np.maximum(nu, 0) @ np.where(spanning, lower, 0.0)
    return value + minima(region, -nu_hat)
