"""The published networks of the data folder: a plain JAX function of one NHWC image, and a numpy twin.

The files hold NCHW networks (OIHW kernels, flatten in C, H, W order); they are converted once here.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

Params = dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Network:
    """`params` are float32 as stored; `apply(params, x)` maps one NHWC image to logits."""

    name: str
    dataset: str
    params: Params
    layers: tuple[dict, ...]
    record: dict[str, Any] = field(repr=False)

    def apply(self, params, x: jax.Array) -> jax.Array:
        return _apply(self.layers, params, x)

    def forward(self, images: np.ndarray) -> np.ndarray:
        """Logits of a batch in float64, by numpy alone."""
        return _forward(self.layers, self.params, np.asarray(images, np.float64))

    def cast(self, dtype) -> Params:
        return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), self.params)


def load(data_dir: Path, name: str) -> Network:
    record = json.loads((data_dir / "nets" / f"{name}.json").read_text())
    stored = np.load(data_dir / "nets" / f"{name}.npz")
    params: Params = {}
    layers: list[dict] = []
    if record["normalization"]:
        params |= {key: np.array(record["normalization"][key], np.float64) for key in ("mean", "std")}
        layers.append({"type": "normalise"})
    layers += _convert(record["layers"], stored, params, tuple(record["input_shape_CHW"]))[0]
    return Network(record["name"], record["dataset"], params, tuple(layers), record)


def names(data_dir: Path) -> list[str]:
    return sorted(path.stem for path in (data_dir / "nets").glob("*.json"))


def _convert(layers, stored, params, shape):
    """Layers with their parameters in NHWC form, and the CHW shape behind them."""
    converted = []
    flattened_from = None
    for layer in layers:
        kind = layer["type"]
        new = {"type": kind}
        if kind == "conv2d":
            new |= {key: layer[key] for key in ("weight", "bias", "stride", "padding")}
            params[layer["weight"]] = stored[layer["weight"]].transpose(2, 3, 1, 0)
            params[layer["bias"]] = stored[layer["bias"]]
            shape = _conv_shape(shape, layer)
        elif kind == "linear":
            new |= {key: layer[key] for key in ("weight", "bias")}
            weight = stored[layer["weight"]]
            if flattened_from is not None:
                weight = weight.reshape(-1, *flattened_from).transpose(0, 2, 3, 1).reshape(len(weight), -1)
            params[layer["weight"]] = weight.T
            params[layer["bias"]] = stored[layer["bias"]]
            flattened_from, shape = None, (len(weight),)
        elif kind == "flatten":
            flattened_from = shape
        elif kind == "avgpool2d":
            if any(layer["padding"]) or layer["kernel"] != layer["stride"]:
                raise ValueError(f"only tiling average pools are read here, got {layer}")
            new |= {"kernel": layer["kernel"]}
            shape = (shape[0], *(n // k for n, k in zip(shape[1:], layer["kernel"], strict=True)))
        elif kind == "residual_add":
            new["body"], after = _convert(layer["body"], stored, params, shape)
            new["shortcut"], _ = _convert(layer["shortcut"], stored, params, shape)
            shape = after
        converted.append(new)
    return converted, shape


def _conv_shape(shape, layer):
    out, _, *taps = layer["weight_shape"]
    sizes = [
        (n + sum(pad) - k) // s + 1
        for n, pad, k, s in zip(shape[1:], layer["padding"], taps, layer["stride"], strict=True)
    ]
    return (out, *sizes)


def _apply(layers, params, x):
    for layer in layers:
        match layer["type"]:
            case "normalise":
                x = (x - params["mean"][None, None]) / params["std"][None, None]
            case "conv2d":
                x = lax.conv_general_dilated(
                    x[None],
                    params[layer["weight"]],
                    tuple(layer["stride"]),
                    layer["padding"],
                    dimension_numbers=("NHWC", "HWIO", "NHWC"),
                )[0]
                x = x + params[layer["bias"]][None, None]
            case "linear":
                x = x @ params[layer["weight"]] + params[layer["bias"]]
            case "relu":
                x = jax.nn.relu(x)
            case "sigmoid":
                x = jax.nn.sigmoid(x)
            case "flatten":
                x = x.reshape(-1)
            case "avgpool2d":
                window = (*layer["kernel"], 1)
                total = lax.reduce_window(x, np.zeros((), x.dtype), lax.add, window, window, "VALID")
                x = total / float(np.prod(window))
            case "residual_add":
                x = _apply(layer["body"], params, x) + _apply(layer["shortcut"], params, x)
            case kind:
                raise ValueError(f"unknown layer type {kind}")
    return x


def _forward(layers, params, x):
    for layer in layers:
        match layer["type"]:
            case "normalise":
                x = (x - params["mean"]) / params["std"]
            case "conv2d":
                weight, bias = (params[layer[key]].astype(np.float64) for key in ("weight", "bias"))
                x = _conv(x, weight, layer["stride"], layer["padding"]) + bias
            case "linear":
                weight, bias = (params[layer[key]].astype(np.float64) for key in ("weight", "bias"))
                x = x @ weight + bias
            case "relu":
                x = np.maximum(x, 0)
            case "sigmoid":
                x = 0.5 * (1 + np.tanh(0.5 * x))
            case "flatten":
                x = x.reshape(len(x), -1)
            case "avgpool2d":
                high, wide = layer["kernel"]
                n, rows, columns, channels = x.shape
                rows, columns = rows // high, columns // wide
                x = x[:, : rows * high, : columns * wide].reshape(n, rows, high, columns, wide, channels)
                x = x.mean(axis=(2, 4))
            case "residual_add":
                x = _forward(layer["body"], params, x) + _forward(layer["shortcut"], params, x)
    return x


def _conv(x, kernel, strides, padding):
    x = np.pad(x, ((0, 0), *padding, (0, 0)))
    taps = kernel.shape[:2]
    rows, columns = ((n - k) // s + 1 for n, k, s in zip(x.shape[1:3], taps, strides, strict=True))
    total = 0.0
    for i in range(taps[0]):
        for j in range(taps[1]):
            window = x[:, i : i + rows * strides[0] : strides[0], j : j + columns * strides[1] : strides[1]]
            total = total + window @ kernel[i, j]
    return total
