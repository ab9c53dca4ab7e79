"""Forward linear bounds of ReLU networks in float64: each node between two linear functions of the input."""

import numpy as np

from tests.oracles.crown import Slope, relu_lines
from tests.oracles.linear_min import minima
from tests.oracles.nets import Add, Affine, Net, Relu
from tests.oracles.sets import Set


def bounds(net: Net, region: Set, slope: Slope) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper bounds of the output."""
    size = len(region.center)
    start = (np.eye(size), np.zeros(size))
    found = [(start, start)]
    for node in net:
        match node:
            case Affine(parent, weight, bias):
                low, high = found[parent]
                plus, minus = np.maximum(weight, 0), np.minimum(weight, 0)
                found.append(
                    (
                        (plus @ low[0] + minus @ high[0], plus @ low[1] + minus @ high[1] + bias),
                        (plus @ high[0] + minus @ low[0], plus @ high[1] + minus @ low[1] + bias),
                    )
                )
            case Relu(parent):
                low, high = found[parent]
                ends = minima(region, low[0]) + low[1], -(minima(region, -high[0]) - high[1])
                under, over, intercept = relu_lines(*ends, slope)
                found.append(
                    (
                        (under[:, None] * low[0], under * low[1]),
                        (over[:, None] * high[0], over * high[1] + intercept),
                    )
                )
            case Add(first, second):
                pairs = zip(found[first], found[second], strict=True)
                found.append(tuple((a[0] + b[0], a[1] + b[1]) for a, b in pairs))
    low, high = found[-1]
    return minima(region, low[0]) + low[1], -(minima(region, -high[0]) - high[1])
