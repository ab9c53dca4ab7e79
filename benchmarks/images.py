"""Images and labels: smooth, in [0, 1], the same at every call, and no data set needed."""

import numpy as np

from benchmarks.logits import logits
from benchmarks.networks import network, weights


def images(name: str, batch: int) -> np.ndarray:
    """float32 `[batch, H, W, C]` for a network: a few random waves per image, from 0 to 1."""
    height, width, channels = network(name).shape
    rng = np.random.default_rng(1)
    rows, columns = np.mgrid[0:height, 0:width] / max(height, width)
    waves = 6
    frequency = rng.uniform(-3.0, 3.0, (2, batch, waves, channels))
    phase = rng.uniform(0.0, 2 * np.pi, (batch, waves, channels))
    angle = np.einsum("bwc,hv->bhvwc", frequency[0], rows) + np.einsum("bwc,hv->bhvwc", frequency[1], columns)
    total = np.sin(2 * np.pi * angle + phase[:, None, None]).sum(axis=-2)
    low, high = total.min(axis=(1, 2, 3), keepdims=True), total.max(axis=(1, 2, 3), keepdims=True)
    return ((total - low) / (high - low)).astype(np.float32)


def labels(name: str, batch: int) -> np.ndarray:
    """int32 `[batch]`: what the network says itself, so that attacks and bounds have something to lose."""
    return logits(network(name), weights(name), images(name, batch)).argmax(axis=-1).astype(np.int32)
