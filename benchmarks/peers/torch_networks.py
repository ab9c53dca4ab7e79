"""The neutral networks as torch modules with exactly the same weights.

torch counts NCHW and OIHW and flattens by channel, row, column; every weight array therefore has a
`Layout` that says how it is turned, and gradients are turned back by it.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from benchmarks import networks
from benchmarks.networks import BATCH_NORM_EPS, Layer


@dataclass(frozen=True)
class Layout:
    """A torch array is the neutral one as `shape`, its axes permuted by `axes`, then as `torch_shape`."""

    shape: tuple[int, ...]
    axes: tuple[int, ...]
    torch_shape: tuple[int, ...]

    def to_torch(self, array: np.ndarray) -> torch.Tensor:
        turned = np.ascontiguousarray(array.reshape(self.shape).transpose(self.axes))
        return torch.from_numpy(turned.reshape(self.torch_shape).copy())

    def to_neutral(self, tensor: torch.Tensor) -> np.ndarray:
        """Flat, in the neutral order."""
        turned = tensor.detach().numpy().reshape([self.shape[axis] for axis in self.axes])
        return turned.transpose(np.argsort(self.axes)).ravel()


class Residual(nn.Module):
    def __init__(self, body: nn.Sequential, shortcut: nn.Sequential):
        super().__init__()
        self.body, self.shortcut = body, shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x) + self.shortcut(x)


@dataclass(frozen=True)
class TorchNetwork:
    """`module` from NCHW images to logits; `trained`: its trainable parameters in the neutral order."""

    module: nn.Sequential
    trained: list[tuple[nn.Parameter, Layout]]

    @property
    def parameters(self) -> list[nn.Parameter]:
        return [parameter for parameter, _ in self.trained]

    def flat_gradient(self) -> np.ndarray:
        """What the last backward pass left, float32 `[all trainable weights]` in the neutral order."""
        parts = []
        for parameter, layout in self.trained:
            # A bias that the result does not depend on, as in the last layer of equal margins, gets none.
            gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            parts.append(layout.to_neutral(gradient))
        return np.concatenate(parts)


def build(name: str, weights: Sequence[np.ndarray], channels_last: bool = False) -> TorchNetwork:
    """A network of `benchmarks.networks` in evaluation mode."""
    net = networks.network(name)
    builder = _Builder(iter(weights))
    module = nn.Sequential(*builder.layers(net.layers, net.shape)).eval()
    if channels_last:
        module = module.to(memory_format=torch.channels_last)
    return TorchNetwork(module, builder.trained)


def images_to_torch(images: np.ndarray, channels_last: bool = False) -> torch.Tensor:
    """NHWC numpy -> the torch tensor NCHW, in memory by channel or by pixel."""
    x = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2)
    # Not `contiguous`: with one channel both orders count as contiguous, and torch goes by the strides.
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    return torch.empty(x.shape, memory_format=memory_format).copy_(x)


def labels_to_torch(labels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(labels.astype(np.int64))


def margin_rows(labels: torch.Tensor, classes: int) -> torch.Tensor:
    """`[B, K-1, K]`: label minus each other class, in increasing order of the other class."""
    eye = torch.eye(classes)
    rows = eye[labels].unsqueeze(1) - eye.unsqueeze(0)
    others = labels.unsqueeze(1) != torch.arange(classes).unsqueeze(0)
    return rows[others].view(len(labels), classes - 1, classes)


def worst_cross_entropy(margins: torch.Tensor) -> torch.Tensor:
    """Mean over the batch of `log(1 + sum_j exp(-margin_j))`."""
    worst = torch.cat([margins.new_zeros(len(margins), 1), -margins], dim=1)
    return nn.functional.cross_entropy(worst, torch.zeros(len(margins), dtype=torch.long))


class _Builder:
    def __init__(self, weights: Iterator[np.ndarray]):
        self.weights = weights
        self.trained: list[tuple[nn.Parameter, Layout]] = []

    def layers(self, layers: Sequence[Layer], shape: tuple[int, ...]) -> Iterator[nn.Module]:
        flattened = None
        for layer in layers:
            match layer:
                case networks.Dense(features):
                    yield self._dense(features, shape[0], flattened)
                    flattened = None
                case networks.Conv():
                    yield self._conv(layer, shape[-1])
                case networks.BatchNorm():
                    yield self._batch_norm(shape)
                case networks.Relu():
                    yield nn.ReLU()
                case networks.Flatten():
                    flattened = shape
                    yield nn.Flatten()
                case networks.Residual(body, shortcut):
                    yield Residual(
                        nn.Sequential(*self.layers(body, shape)), nn.Sequential(*self.layers(shortcut, shape))
                    )
            shape = networks.shape_after(layer, shape)

    def _dense(self, features: int, inputs: int, flattened: tuple[int, ...] | None) -> nn.Linear:
        if flattened is None:
            layout = Layout((inputs, features), (1, 0), (features, inputs))
        else:
            layout = Layout((*flattened, features), (3, 2, 0, 1), (features, math.prod(flattened)))
        return self._filled(nn.Linear(inputs, features), layout)

    def _conv(self, layer: networks.Conv, channels: int) -> nn.Conv2d:
        taps, features = layer.taps, layer.features
        layout = Layout((taps, taps, channels, features), (3, 2, 0, 1), (features, channels, taps, taps))
        return self._filled(nn.Conv2d(channels, features, taps, layer.stride, layer.pad), layout)

    def _batch_norm(self, shape: tuple[int, ...]) -> nn.Module:
        kind = nn.BatchNorm1d if len(shape) == 1 else nn.BatchNorm2d
        made = self._filled(kind(shape[-1], eps=BATCH_NORM_EPS), _vector(shape[-1]))
        for statistics in (made.running_mean, made.running_var):
            statistics.copy_(torch.from_numpy(next(self.weights)))
        return made

    def _filled(self, layer: nn.Module, layout: Layout) -> nn.Module:
        for parameter, how in ((layer.weight, layout), (layer.bias, _vector(len(layer.bias)))):
            parameter.data = how.to_torch(next(self.weights))
            self.trained.append((parameter, how))
        return layer


def _vector(length: int) -> Layout:
    return Layout((length,), (0,), (length,))
