"""The networks in plain numpy: labels, and the check that all contenders compute the same."""

from collections.abc import Iterator, Sequence

import numpy as np

from benchmarks.networks import (
    BATCH_NORM_EPS,
    BatchNorm,
    Conv,
    Dense,
    Flatten,
    Layer,
    Network,
    Relu,
    Residual,
)


def logits(network: Network, weights: Sequence[np.ndarray], images: np.ndarray) -> np.ndarray:
    """Logits `[B, K]` of images `[B, H, W, C]`."""
    return _through(network.layers, iter(weights), images)


def _through(layers: Sequence[Layer], weights: Iterator[np.ndarray], x: np.ndarray) -> np.ndarray:
    for layer in layers:
        match layer:
            case Dense():
                x = x @ next(weights) + next(weights)
            case Conv():
                x = _conv(x, next(weights), layer) + next(weights)
            case BatchNorm():
                scale, bias, mean, variance = (next(weights) for _ in range(4))
                x = (x - mean) * (scale / np.sqrt(variance + np.float32(BATCH_NORM_EPS))) + bias
            case Relu():
                x = np.maximum(x, 0)
            case Flatten():
                x = x.reshape(len(x), -1)
            case Residual(body, shortcut):
                x = _through(body, weights, x) + _through(shortcut, weights, x)
    return x


def _conv(x: np.ndarray, kernel: np.ndarray, layer: Conv) -> np.ndarray:
    """A sum over the taps of products of the shifted image with one tap of the kernel."""
    pad, stride, taps = layer.pad, layer.stride, layer.taps
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    rows, columns = ((size - taps) // stride + 1 for size in x.shape[1:3])
    total = np.zeros((len(x), rows, columns, layer.features), x.dtype)
    for i in range(taps):
        for j in range(taps):
            window = x[:, i : i + rows * stride : stride, j : j + columns * stride : stride]
            total += window[:, :rows, :columns] @ kernel[i, j]
    return total
