"""The neutral weights in jaxcert's linen networks, and back."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.networks import FAMILIES, BatchNorm, Conv, Dense, Layer, Residual, network, trainable
from jaxcert.models import MLP, Classifier, ConvLayer, ConvNet, build

MODELS: Mapping[str, str] = {
    "mlp": "mlp-256-256",
    "wk-small": "cnn-small",
    "wk-large": "cnn-large",
    "dm-medium": "dm-medium",
    "resnet-2b": "resnet-2b",
    "cnn7-bn": "cnn7-bn",
}

Place = tuple[str, str, str]
"""Collection, layer and name of one array among the variables of a linen network."""


def model(name: str) -> Classifier:
    """The linen network of a neutral one."""
    found = FAMILIES.fullmatch(name)
    if found is None:
        return build(MODELS[name], network(name).classes)
    depth, width, classes = (int(part) for part in found.groups()[1:])
    if found[1] == "mlp":
        return MLP((width,) * (depth - 1), classes)
    return ConvNet(classes, tuple(ConvLayer(width, 3, 1 if i else 2, 1) for i in range(depth - 1)))


def variables(name: str, weights: Sequence[np.ndarray]) -> dict[str, Any]:
    """What `model(name).apply` takes, from the neutral weights."""
    tree: dict[str, Any] = {}
    for (collection, layer, leaf), array in zip(places(name), weights, strict=True):
        tree.setdefault(collection, {}).setdefault(layer, {})[leaf] = jnp.asarray(array)
    return tree


def flat(name: str, params: Mapping[str, Any]) -> np.ndarray:
    """A tree like the trainable parameters (a gradient) as one vector in the neutral order."""
    chosen = [place for place, kept in zip(places(name), trainable(name), strict=True) if kept]
    return np.concatenate([np.asarray(params[layer][leaf]).ravel() for _, layer, leaf in chosen])


def places(name: str) -> list[Place]:
    """Where each of the neutral weights is among the variables, by the names that jaxcert.models give."""
    return list(_Names().of(network(name).layers))


class _Names:
    """Counts layers as the modules do: conv_0, norm_0, ..., dense_0, logits, block_i_conv_j, block_i_skip."""

    def __init__(self) -> None:
        self.convs = self.norms = self.denses = self.blocks = 0

    def of(self, layers: Sequence[Layer]) -> Iterator[Place]:
        for index, layer in enumerate(layers):
            match layer:
                case Conv():
                    yield from _affine(f"conv_{self.convs}")
                    self.convs += 1
                case Dense():
                    last = index == len(layers) - 1
                    yield from _affine("logits" if last else f"dense_{self.denses}")
                    self.denses += 1
                case BatchNorm():
                    yield from (("params", f"norm_{self.norms}", leaf) for leaf in ("scale", "bias"))
                    yield from (("batch_stats", f"norm_{self.norms}", leaf) for leaf in ("mean", "var"))
                    self.norms += 1
                case Residual(body, shortcut):
                    convs = [layer for layer in body if isinstance(layer, Conv)]
                    for number in range(len(convs)):
                        yield from _affine(f"block_{self.blocks}_conv_{number}")
                    if shortcut:
                        yield from _affine(f"block_{self.blocks}_skip")
                    self.blocks += 1


def _affine(layer: str) -> Iterator[Place]:
    yield from (("params", layer, leaf) for leaf in ("kernel", "bias"))


def shapes_agree(name: str, weights: Sequence[np.ndarray]) -> bool:
    """Whether the weights have exactly the places and shapes that the linen network asks for."""
    image = jax.ShapeDtypeStruct(network(name).shape, jnp.float32)
    wanted = jax.eval_shape(model(name).init, jax.random.key(0), image)
    shape = lambda leaf: leaf.shape
    return jax.tree.map(shape, wanted) == jax.tree.map(shape, variables(name, weights))
