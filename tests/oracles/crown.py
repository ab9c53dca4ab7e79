"""Backward linear bounds of ReLU networks (CROWN, Fast-Lin, CROWN-IBP), written node by node in float64.

A bound of `rows @ node` walks from the node to the input: an affine node is composed, a ReLU is
replaced by its lower or upper line according to the sign of the coefficient, and what reaches the
input is minimised exactly over the set.
"""

from collections.abc import Callable

import numpy as np

from tests.oracles.interval import propagate
from tests.oracles.linear_min import minima
from tests.oracles.nets import Add, Affine, Net, Relu, widths
from tests.oracles.sets import Set

Slope = Callable[[np.ndarray, np.ndarray], np.ndarray]


def adaptive(lower, upper):
    return np.where(upper > -lower, 1.0, 0.0)


def parallel(lower, upper):
    return upper / (upper - lower)


def zero(lower, upper):
    return np.zeros_like(lower)


def one(lower, upper):
    return np.ones_like(lower)


def relu_lines(lower, upper, slope: Slope):
    """Slopes of the lower and upper line and the intercept of the upper one (the lower passes through 0)."""
    unstable = (lower < 0) & (upper > 0)
    low, high = np.where(unstable, lower, -1.0), np.where(unstable, upper, 1.0)
    stable_slope = np.where(upper <= 0, 0.0, 1.0)
    chord = np.where(unstable, high / (high - low), stable_slope)
    return (
        np.where(unstable, slope(low, high), stable_slope),
        chord,
        np.where(unstable, -chord * low, 0.0),
    )


def linear_lower(net: Net, rows: np.ndarray, node: int, lines: dict[int, tuple], inputs: int):
    """Coefficients and offset with `coeffs @ x + offset <= rows @ value[node]` on the whole set."""
    coeffs = {node: np.asarray(rows, float)}
    offset = np.zeros(len(rows))
    for i in range(node, 0, -1):
        if i not in coeffs:
            continue
        current = coeffs.pop(i)
        match net[i - 1]:
            case Affine(parent, weight, bias):
                offset = offset + current @ bias
                passed = [(parent, current @ weight)]
            case Relu(parent):
                lower_slope, upper_slope, intercept = lines[parent]
                offset = offset + np.minimum(current, 0) @ intercept
                slopes = np.where(current >= 0, lower_slope, upper_slope)
                passed = [(parent, current * slopes)]
            case Add(first, second):
                passed = [(first, current), (second, current)]
        for parent, part in passed:
            coeffs[parent] = coeffs.get(parent, 0) + part
    return coeffs.get(0, np.zeros((len(rows), inputs))), offset


def relaxations(net: Net, region: Set, slope: Slope, bound_node: Callable) -> dict[int, tuple]:
    """The lines of every ReLU, keyed by the node it acts on.

    `bound_node(i, lines)` gives bounds of node i.
    """
    lines: dict[int, tuple] = {}
    for node in net:
        if isinstance(node, Relu) and node.parent not in lines:
            lines[node.parent] = relu_lines(*bound_node(node.parent, lines), slope)
    return lines


def backward_bounds(net: Net, region: Set, lines: dict[int, tuple], node: int):
    """Lower and upper bounds of one node by two backward passes."""
    inputs = len(region.center)
    eye = np.eye(widths(net, inputs)[node])
    sides = []
    for rows in (eye, -eye):
        coeffs, offset = linear_lower(net, rows, node, lines, inputs)
        sides.append(minima(region, coeffs) + offset)
    return sides[0], -sides[1]


def crown_lines(net: Net, region: Set, slope: Slope) -> dict[int, tuple]:
    """Pre-activation bounds by the same backward method, without any interval arithmetic mixed in."""
    return relaxations(net, region, slope, lambda i, lines: backward_bounds(net, region, lines, i))


def crown_ibp_lines(net: Net, region: Set, slope: Slope) -> dict[int, tuple]:
    found = propagate(net, region)
    return relaxations(net, region, slope, lambda i, lines: found[i])


def lower(net: Net, region: Set, rows: np.ndarray, lines: dict[int, tuple]) -> np.ndarray:
    """Lower bounds of `rows @ output` under the given relaxations."""
    coeffs, offset = linear_lower(net, rows, len(net), lines, len(region.center))
    return minima(region, coeffs) + offset


def crown(net: Net, region: Set, rows: np.ndarray, slope: Slope = adaptive) -> np.ndarray:
    return lower(net, region, rows, crown_lines(net, region, slope))


def crown_ibp(net: Net, region: Set, rows: np.ndarray, slope: Slope = adaptive) -> np.ndarray:
    return lower(net, region, rows, crown_ibp_lines(net, region, slope))


def fast_lin(net: Net, region: Set, rows: np.ndarray) -> np.ndarray:
    return crown(net, region, rows, parallel)


def preactivations(net: Net, region: Set, slope: Slope = adaptive) -> dict[int, tuple]:
    """CROWN bounds of every node that a ReLU acts on."""
    lines = crown_lines(net, region, slope)
    return {i: backward_bounds(net, region, lines, i) for i in lines}
