"""On what a work is done: weights, images and labels, the same for every contender."""

import numpy as np

from benchmarks import images, networks, published
from benchmarks.work import Work

Inputs = tuple[list[np.ndarray], np.ndarray, np.ndarray]
"""Weights in the order of `networks.weights`, float32 images `[B, H, W, C]`, int32 labels `[B]`."""


def inputs(work: Work) -> Inputs:
    """Untrained weights and generated images, except for AutoAttack; may raise `published.Missing`."""
    name, batch = work.network, work.batch
    if work.operation == "autoattack":
        return published.weights(name), *published.images(batch)
    return networks.weights(name), images.images(name, batch), images.labels(name, batch)
