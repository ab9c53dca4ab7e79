"""Small random ReLU networks as arrays, so that one program serves many of them."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np

INPUTS, HIDDEN, CLASSES = 4, 6, 3


def weights(rng: np.random.Generator, count: int) -> list[np.ndarray]:
    """Stacked weights and biases of `count` networks with two hidden layers."""
    widths = [INPUTS, HIDDEN, HIDDEN, CLASSES]
    layers = []
    for n, m in pairwise(widths):
        layers.append(rng.normal(size=(count, m, n)).astype(np.float32) * np.float32(1.4 / n**0.5))
        layers.append(0.3 * rng.normal(size=(count, m)).astype(np.float32))
    return layers


def apply(params, x: jax.Array) -> jax.Array:
    for index in range(0, len(params), 2):
        x = params[index] @ (jax.nn.relu(x) if index else x) + params[index + 1]
    return x


def logits(params, x: np.ndarray) -> np.ndarray:
    """One network at `[..., n]` points, in float64 by numpy."""
    x = np.asarray(x, np.float64)
    for index in range(0, len(params), 2):
        x = np.maximum(x, 0) if index else x
        x = x @ params[index].astype(np.float64).T + params[index + 1]
    return x


def batch(seed: int, count: int):
    """Networks, centres in [0, 1], and the classes that the networks give them."""
    rng = np.random.default_rng(seed)
    params, xs = weights(rng, count), rng.random((count, INPUTS)).astype(np.float32)
    labels = np.array([logits([p[i] for p in params], xs[i]).argmax() for i in range(count)], np.int32)
    return params, jnp.asarray(xs), jnp.asarray(labels)


def least_margin(params, label: int, points: np.ndarray) -> float:
    """The smallest margin of the label over the points."""
    values = logits(params, points)
    others = np.delete(values, label, axis=-1)
    return float((values[..., label, None] - others).min())
