"""Plain networks: a JSON file that lists layers in order, and an npz file beside it that holds their arrays.

The files describe channels first (kernels OIHW, flattening in the order C, H, W); what is read here takes
images `[H, W, C]`, and the arrays are turned round once. Normalisation, if any, comes first; padding is
with zeros behind it.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcert.errors import CheckpointError, InvalidInputError
from jaxcert.kernels import conv_general_dilated

Params = dict[str, np.ndarray]
Layer = Callable[[Mapping[str, jax.Array], jax.Array], jax.Array]


@dataclass(frozen=True)
class PlainApply:
    """`apply(params, x) -> logits` of one image; equal layers make equal functions."""

    layers: tuple[Layer, ...]

    def __call__(self, params: Mapping[str, jax.Array], x: jax.Array) -> jax.Array:
        for layer in self.layers:
            x = layer(params, x)
        return x


@dataclass(frozen=True, eq=False)
class PlainNetwork:
    """A network from a file.

    Attributes:
      name: its name; `dataset`: that of the images that it was made for.
      shape: of one image, `(H, W, C)`.
      apply, params: `apply(params, x) -> logits [K]` of one image with pixels in [0, 1], float32.
      eps: radii for which it was made, in input units, perhaps none; `norm`: p of the ball, or `None`.
    """

    name: str
    dataset: str
    shape: tuple[int, int, int]
    apply: PlainApply
    params: Params = field(repr=False)
    eps: tuple[float, ...] = ()
    norm: float | None = None


def read_plain_network(path: Path) -> PlainNetwork:
    """Reads `NAME.npz` and `NAME.json`; `path` is either of them.

    Layers known: conv2d, linear, relu, sigmoid, flatten, avgpool2d (windows side by side), residual_add.

    Raises:
      CheckpointError: a file is missing or damaged, or its layers do not fit together.
      InvalidInputError: it has a layer of a kind that is not known, or with options that are not.
    """
    record, arrays = _read(path)
    try:
        channels, height, width = (int(size) for size in record["input_shape_CHW"])
        build = _Builder(path, arrays, {}, (channels, height, width))
        first = (build.normalise(record["normalization"]),) if record.get("normalization") else ()
        layers = (*first, *build.layers(record["layers"]))
        threat = record.get("threat_model") or {}
        network = PlainNetwork(
            name=str(record["name"]),
            dataset=str(record["dataset"]),
            shape=(height, width, channels),
            apply=PlainApply(layers),
            params=build.params,
            eps=tuple(float(eps) for eps in np.atleast_1d(threat.get("eps", ()))),
            norm=float(threat["norm"]) if "norm" in threat else None,
        )
        image = jax.ShapeDtypeStruct(network.shape, np.float32)
        logits = jax.eval_shape(network.apply, network.params, image)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        if isinstance(error, InvalidInputError):
            raise
        reason = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else error}".rstrip(".")
        raise CheckpointError(
            f"{path} does not describe a network ({reason}): make its files anew."
        ) from error
    if len(logits.shape) != 1:
        raise CheckpointError(
            f"The layers of {path} end in shape {logits.shape}, not in one vector of logits: repair them."
        )
    return network


def _read(path: Path) -> tuple[dict[str, Any], Mapping[str, np.ndarray]]:
    for part in (path.with_suffix(".json"), path.with_suffix(".npz")):
        if not part.is_file():
            raise CheckpointError(f"There is no {part}: a network needs NAME.json and NAME.npz side by side.")
    try:
        record = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        with np.load(path.with_suffix(".npz")) as saved:
            return record, dict(saved)
    except (OSError, ValueError, EOFError) as error:
        raise CheckpointError(f"{path} or the file beside it is damaged: make both anew.") from error


@dataclass
class _Builder:
    """Turns descriptions into layers; `shape` is CHW, or the length of a vector, behind the last one."""

    path: Path
    arrays: Mapping[str, np.ndarray]
    params: Params
    shape: tuple[int, ...]
    flat: tuple[int, ...] | None = None

    def layers(self, described: Sequence[Mapping[str, Any]]) -> tuple[Layer, ...]:
        return tuple(self.layer(one) for one in described)

    def layer(self, described: Mapping[str, Any]) -> Layer:
        kind = described["type"]
        if kind not in _KINDS:
            raise InvalidInputError(
                f"{self.path} has a layer of the kind {kind!r}: only {', '.join(_KINDS)} are known."
            )
        return _KINDS[kind](self, described)

    def take(self, name: str, turn: Callable[[np.ndarray], np.ndarray]) -> str:
        array = np.asarray(self.arrays[name], np.float32)
        if not np.isfinite(array).all():
            raise ValueError(f"{name} holds numbers that are not finite")
        self.params[name] = np.ascontiguousarray(turn(array))
        return name

    def normalise(self, described: Mapping[str, Any]) -> Layer:
        for name in ("mean", "std"):
            self.params[name] = np.asarray(described[name], np.float32).reshape(1, 1, -1)
        return _Normalise()

    def conv(self, described: Mapping[str, Any]) -> Layer:
        self.only(described, "type", "weight", "weight_shape", "bias", "stride", "padding")
        weight = self.take(described["weight"], lambda kernel: kernel.transpose(2, 3, 1, 0))
        bias = self.take(described["bias"], lambda row: row.reshape(1, 1, -1))
        stride = tuple(int(size) for size in described["stride"])
        padding = tuple((int(before), int(after)) for before, after in described["padding"])
        high, wide, _, channels = self.params[weight].shape
        sizes = zip(self.shape[1:], (high, wide), stride, padding, strict=True)
        places = tuple((size + sum(pad) - taps) // step + 1 for size, taps, step, pad in sizes)
        self.shape = (channels, *places)
        return _Conv(weight, bias, stride, padding)

    def linear(self, described: Mapping[str, Any]) -> Layer:
        self.only(described, "type", "weight", "weight_shape", "bias")
        before, self.flat = self.flat, None

        def turn(weight: np.ndarray) -> np.ndarray:
            if before is not None:
                channels_first = weight.reshape(len(weight), *before)
                weight = channels_first.transpose(0, 2, 3, 1).reshape(len(weight), -1)
            return weight.T

        weight = self.take(described["weight"], turn)
        bias = self.take(described["bias"], lambda row: row)
        self.shape = (self.params[weight].shape[1],)
        return _Linear(weight, bias)

    def flatten(self, described: Mapping[str, Any]) -> Layer:
        self.only(described, "type", "order")
        if described.get("order", "CHW") != "CHW":
            raise InvalidInputError(
                f"{self.path} flattens in the order {described['order']!r}: only CHW is known."
            )
        self.flat, self.shape = self.shape, (math.prod(self.shape),)
        return _Flatten()

    def average_pool(self, described: Mapping[str, Any]) -> Layer:
        self.only(described, "type", "kernel", "stride", "padding", "count_include_pad")
        window = tuple(int(size) for size in described["kernel"])
        channels, *sizes = self.shape
        if list(described["stride"]) != list(window) or np.any(described["padding"]):
            raise InvalidInputError(f"{self.path} has an average pool whose windows do not lie side by side.")
        self.shape = (channels, *(size // side for size, side in zip(sizes, window, strict=True)))
        return _AveragePool(window)

    def residual(self, described: Mapping[str, Any]) -> Layer:
        self.only(described, "type", "body", "shortcut")
        before = self.shape
        shortcut = self.layers(described["shortcut"])
        self.shape = before
        return _Sum(PlainApply(self.layers(described["body"])), PlainApply(shortcut))

    def only(self, described: Mapping[str, Any], *known: str) -> None:
        unknown = sorted(set(described) - set(known))
        if unknown:
            raise InvalidInputError(
                f"{self.path} has a layer {described['type']} with the unknown option {unknown[0]!r}."
            )


_KINDS: Mapping[str, Callable[[_Builder, Mapping[str, Any]], Layer]] = MappingProxyType(
    {
        "conv2d": _Builder.conv,
        "linear": _Builder.linear,
        "relu": lambda builder, described: _Pointwise("relu"),
        "sigmoid": lambda builder, described: _Pointwise("sigmoid"),
        "flatten": _Builder.flatten,
        "avgpool2d": _Builder.average_pool,
        "residual_add": _Builder.residual,
    }
)


@dataclass(frozen=True)
class _Normalise:
    def __call__(self, params: Mapping[str, jax.Array], x: jax.Array) -> jax.Array:
        return (x - params["mean"]) / params["std"]


@dataclass(frozen=True)
class _Conv:
    weight: str
    bias: str
    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]

    def __call__(self, params: Mapping[str, jax.Array], x: jax.Array) -> jax.Array:
        layout = ("NHWC", "HWIO", "NHWC")
        kernel = params[self.weight]
        found = conv_general_dilated(x[None], kernel, self.stride, self.padding, dimension_numbers=layout)
        return found[0] + params[self.bias]


@dataclass(frozen=True)
class _Linear:
    weight: str
    bias: str

    def __call__(self, params: Mapping[str, jax.Array], x: jax.Array) -> jax.Array:
        return x @ params[self.weight] + params[self.bias]


@dataclass(frozen=True)
class _Pointwise:
    name: str

    def __call__(self, params: Mapping[str, jax.Array], x: jax.Array) -> jax.Array:
        return jax.nn.relu(x) if self.name == "relu" else jax.nn.sigmoid(x)


@dataclass(frozen=True)
class _Flatten:
    def __call__(self, params: Mapping[str, jax.Array], x: jax.Array) -> jax.Array:
        return x.reshape(-1)


@dataclass(frozen=True)
class _AveragePool:
    window: tuple[int, ...]

    def __call__(self, params: Mapping[str, jax.Array], x: jax.Array) -> jax.Array:
        high, wide = self.window
        rows, columns = x.shape[0] // high, x.shape[1] // wide  # what fills no window is left out
        tiles = x[: rows * high, : columns * wide].reshape(rows, high, columns, wide, x.shape[2])
        return jnp.mean(tiles, axis=(1, 3))


@dataclass(frozen=True)
class _Sum:
    body: PlainApply
    shortcut: PlainApply

    def __call__(self, params: Mapping[str, jax.Array], x: jax.Array) -> jax.Array:
        return self.body(params, x) + self.shortcut(params, x)
