"""What the tests of minimal-norm attacks share: random networks, closed forms, exact distances."""

import math
from functools import cache

import jax
import numpy as np

from tests.oracles import halfspace, minimal_distance, nets, sets

SIZE, CLASSES = 5, 4
NORMS = (1.0, 2.0, math.inf)


def linear(weight):
    return lambda x: weight @ x


def linear_case(seed, weighted, classes=CLASSES):
    """Weights, centre, radius and label of a linear network that is right at the centre."""
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=(classes, SIZE)).astype(np.float32)
    center = rng.random(SIZE).astype(np.float32)
    center[0] = rng.integers(0, 2)
    radius = rng.uniform(0.1, 1.0, SIZE) * (np.arange(SIZE) != 2) if weighted else 0.3
    return weight, center, np.asarray(radius, np.float32), int(np.argmax(weight @ center))


def linear_distance(weight, center, radius, label, norm, clipped):
    """The exact distance, in input units or multiples of a radius per coordinate."""
    unit = radius if radius.ndim else np.ones(SIZE)
    region = sets.ball(center, unit, norm, (0.0, 1.0) if clipped else (-1e9, 1e9))
    slopes = [(weight[label] - weight[j]).astype(float) for j in range(len(weight)) if j != label]
    return min(halfspace.distance(region, slope, 0.0) for slope in slopes)


def relu(params, x):
    return params[2] @ jax.nn.relu(params[0] @ x + params[1]) + params[3]


@cache
def relu_cases(norm, networks=4, inputs=3, hidden=6, points=5):
    """Parameters, inputs, labels and exact distances inside [0, 1] of random two-layer networks."""
    params, xs, labels, exact = [], [], [], []
    for seed in range(networks):
        rng = np.random.default_rng(seed)
        w1, w2 = 2 * rng.normal(size=(hidden, inputs)), rng.normal(size=(3, hidden))
        b1, b2 = -w1 @ rng.random(inputs) + 0.3 * rng.normal(size=hidden), 0.1 * rng.normal(size=3)
        net = nets.mlp([w1, w2], [b1, b2])
        pieces = minimal_distance.pieces_in(net, np.zeros(inputs), np.ones(inputs))
        for x in rng.random((points, inputs)):
            label = int(np.argmax(nets.forward(net, x)))
            params.append((w1, b1, w2, b2))
            xs.append(x)
            labels.append(label)
            exact.append(minimal_distance.distance(pieces, x, label, norm))
    stacked = tuple(np.stack(leaf) for leaf in zip(*params, strict=True))
    return stacked, np.stack(xs), np.array(labels), np.array(exact)
