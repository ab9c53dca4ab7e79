"""Interval bound propagation; the first affine nodes use the set itself, not only its box."""

import numpy as np

from tests.oracles.linear_min import minima
from tests.oracles.nets import Add, Affine, Net, Relu
from tests.oracles.sets import Set, interval

Interval = tuple[np.ndarray, np.ndarray]


def propagate(net: Net, region: Set, exact_first_layer: bool = True) -> list[Interval]:
    """Lower and upper bounds of the input and every node.

    An affine function of the input is bounded exactly over the set (for l_2 and l_1 sets this is
    tighter than its box); every later node sees boxes only.
    """
    found: list[Interval] = [interval(region)]
    for node in net:
        match node:
            case Affine(0, weight, bias) if exact_first_layer:
                found.append((minima(region, weight) + bias, -minima(region, -weight) + bias))
            case Affine(parent, weight, bias):
                lower, upper = found[parent]
                positive, negative = np.maximum(weight, 0), np.minimum(weight, 0)
                found.append(
                    (
                        positive @ lower + negative @ upper + bias,
                        positive @ upper + negative @ lower + bias,
                    )
                )
            case Relu(parent):
                lower, upper = found[parent]
                found.append((np.maximum(lower, 0), np.maximum(upper, 0)))
            case Add(first, second):
                found.append((found[first][0] + found[second][0], found[first][1] + found[second][1]))
    return found
