"""The networks as neutral tuples of layers, and their weights in numpy: what every contender builds from.

NHWC and HWIO; a dense layer takes the flattened image by row, column, channel. Convolutions
are cross-correlations with zero padding. Inputs are not normalised.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

BATCH_NORM_EPS = 1e-5


@dataclass(frozen=True)
class Dense:
    """Weights: kernel [in, out], bias [out]."""

    features: int


@dataclass(frozen=True)
class Conv:
    """Weights: kernel [taps, taps, in, out], bias [out]; `pad` zeros on every side."""

    features: int
    taps: int
    stride: int = 1
    pad: int = 0


@dataclass(frozen=True)
class BatchNorm:
    """Over the last axis. Weights: scale, bias, and the given statistics mean, variance (not trainable)."""


@dataclass(frozen=True)
class Relu:
    pass


@dataclass(frozen=True)
class Flatten:
    pass


@dataclass(frozen=True)
class Residual:
    """body(x) + shortcut(x), an empty shortcut being x itself. Weights: the body's, then the shortcut's."""

    body: tuple["Layer", ...]
    shortcut: tuple["Layer", ...] = ()


Layer = Dense | Conv | BatchNorm | Relu | Flatten | Residual


@dataclass(frozen=True)
class Network:
    """Layers on images of `shape` [H, W, C]; the last layer is the logits' Dense."""

    layers: tuple[Layer, ...]
    shape: tuple[int, int, int] = (28, 28, 1)

    @property
    def classes(self) -> int:
        last = self.layers[-1]
        assert isinstance(last, Dense)
        return last.features


def _relus(*layers: Layer) -> tuple[Layer, ...]:
    """A ReLU after each layer."""
    return tuple(part for layer in layers for part in (layer, Relu()))


def _normalised(*layers: Layer) -> tuple[Layer, ...]:
    """Batch norm and a ReLU after each layer."""
    return tuple(part for layer in layers for part in (layer, BatchNorm(), Relu()))


CIFAR = (32, 32, 3)

NETWORKS: Mapping[str, Network] = MappingProxyType(
    {
        "mlp": Network((Flatten(), *_relus(Dense(256), Dense(256)), Dense(10))),
        "wk-small": Network(
            (*_relus(Conv(16, 4, 2, 1), Conv(32, 4, 2, 1)), Flatten(), *_relus(Dense(100)), Dense(10))
        ),
        "wk-large": Network(
            (
                *_relus(Conv(32, 3, 1, 1), Conv(32, 4, 2, 1), Conv(64, 3, 1, 1), Conv(64, 4, 2, 1)),
                Flatten(),
                *_relus(Dense(512), Dense(512)),
                Dense(10),
            )
        ),
        "dm-medium": Network(
            (
                *_relus(Conv(32, 3, 1), Conv(32, 4, 2), Conv(64, 3, 1), Conv(64, 4, 2)),
                Flatten(),
                *_relus(Dense(512), Dense(512)),
                Dense(10),
            )
        ),
        "resnet-2b": Network(
            (
                *_relus(Conv(8, 3, 2, 1)),
                Residual((*_relus(Conv(16, 3, 2, 1)), Conv(16, 3, 1, 1)), (Conv(16, 1, 2),)),
                Relu(),
                Residual((*_relus(Conv(16, 3, 1, 1)), Conv(16, 3, 1, 1))),
                Relu(),
                Flatten(),
                *_relus(Dense(100)),
                Dense(10),
            ),
            CIFAR,
        ),
        "cnn7-bn": Network(
            (
                *_normalised(
                    Conv(64, 3, 1, 1),
                    Conv(64, 3, 1, 1),
                    Conv(128, 3, 2, 1),
                    Conv(128, 3, 1, 1),
                    Conv(128, 3, 1, 1),
                ),
                Flatten(),
                *_normalised(Dense(512)),
                Dense(10),
            ),
            CIFAR,
        ),
    }
)
"""784-256-256-10; the Wong-Kolter networks; DM medium without padding; alpha-beta-CROWN's CIFAR ResNet-2B;
the 7-layer CNN with batch norm of certified training."""

FAMILIES = re.compile(r"(mlp|conv)-(\d+)x(\d+)-(\d+)")
"""Networks for scaling, "mlp-LxW-K" and "conv-LxW-K": L layers of weights, W units or channels, K logits.

All but the last layer of conv-LxW-K are 3x3 convolutions with padding 1, the first with stride 2.
"""


def network(name: str) -> Network:
    """The network of a name of `NETWORKS` or of the `FAMILIES`; KeyError for others."""
    found = FAMILIES.fullmatch(name)
    if found is None:
        return NETWORKS[name]
    depth, width, classes = (int(part) for part in found.groups()[1:])
    hidden = depth - 1
    if found[1] == "mlp":
        return Network((Flatten(), *_relus(*(Dense(width),) * hidden), Dense(classes)))
    convs = [Conv(width, 3, 2 if index == 0 else 1, 1) for index in range(hidden)]
    return Network((*_relus(*convs), Flatten(), Dense(classes)))


def shape_after(layer: Layer, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of one example after a layer."""
    match layer:
        case Dense(features):
            return (features,)
        case Conv(features, taps, stride, pad):
            return (*((size + 2 * pad - taps) // stride + 1 for size in shape[:2]), features)
        case Flatten():
            return (math.prod(shape),)
        case Residual(body):
            return shape_through(body, shape)
        case _:
            return shape


def shape_through(layers: Sequence[Layer], shape: tuple[int, ...]) -> tuple[int, ...]:
    for layer in layers:
        shape = shape_after(layer, shape)
    return shape


def weights(name: str) -> list[np.ndarray]:
    """All weights of a network in the order of its layers, float32, the same at every call.

    Kernels by He, small biases, batch norm as after some training (statistics that are not 0 and 1).
    """
    net = network(name)
    return list(_drawn(net.layers, net.shape, np.random.default_rng(0)))


def trainable(name: str) -> list[bool]:
    """For each array of `weights` whether it is trained: all but the statistics of batch norm."""
    return list(_trained(network(name).layers))


def _drawn(layers: Sequence[Layer], shape: tuple[int, ...], rng: np.random.Generator) -> Iterator[np.ndarray]:
    for layer in layers:
        match layer:
            case Dense(features):
                yield from _affine(rng, (shape[0], features))
            case Conv(features, taps):
                yield from _affine(rng, (taps, taps, shape[-1], features))
            case BatchNorm():
                yield from _statistics(rng, shape[-1])
            case Residual(body, shortcut):
                yield from _drawn(body, shape, rng)
                yield from _drawn(shortcut, shape, rng)
        shape = shape_after(layer, shape)


def _affine(rng: np.random.Generator, shape: tuple[int, ...]) -> Iterator[np.ndarray]:
    fan_in = math.prod(shape[:-1])
    yield (rng.standard_normal(shape) * math.sqrt(2.0 / fan_in)).astype(np.float32)
    yield rng.uniform(-0.1, 0.1, shape[-1]).astype(np.float32)


def _statistics(rng: np.random.Generator, channels: int) -> Iterator[np.ndarray]:
    for low, high in ((0.8, 1.2), (-0.1, 0.1), (-0.1, 0.1), (0.5, 1.5)):
        yield rng.uniform(low, high, channels).astype(np.float32)


def _trained(layers: Sequence[Layer]) -> Iterator[bool]:
    for layer in layers:
        match layer:
            case Dense() | Conv():
                yield from (True, True)
            case BatchNorm():
                yield from (True, True, False, False)
            case Residual(body, shortcut):
                yield from _trained(body)
                yield from _trained(shortcut)
