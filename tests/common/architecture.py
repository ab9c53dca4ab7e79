"""What one of the shared architectures is, and the layers and shapes that several of them use."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax import lax

Params = dict[str, Any]
OUTPUTS = 3


@dataclass(frozen=True, eq=False)
class Architecture:
    name: str
    in_shape: tuple[int, ...]
    shapes: dict[str, tuple[int, ...]]
    apply: Callable[[Params, jax.Array], jax.Array]
    relu_only: bool = True
    # Whether it holds functions without a value everywhere (quotients, logarithms, roots) or exponentials
    # that overflow: bounds of large regions may then be NaN, which certifies nothing.
    partial: bool = False

    def init(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Weights of size 1/sqrt(fan-in), times a random gain; biases small; `var*` positive."""
        gain = rng.uniform(0.5, 2.0)
        return {name: _draw(rng, name, shape, gain) for name, shape in self.shapes.items()}


def _draw(rng, name, shape, gain):
    if name.startswith("var"):
        return rng.uniform(0.2, 2.0, shape)
    if name.startswith("b"):
        return 0.3 * rng.normal(size=shape)
    return gain * rng.normal(size=shape) / np.sqrt(max(np.prod(shape[:-1]), 1))


def conv(x, kernel, bias, strides=(1, 1), padding="VALID", dilation=(1, 1), groups=1, input_dilation=(1, 1)):
    out = lax.conv_general_dilated(
        x[None],
        kernel,
        strides,
        padding,
        lhs_dilation=input_dilation,
        rhs_dilation=dilation,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )[0]
    return out + bias[None, None]


def head(params, h):
    """Flatten and one affine layer."""
    return h.reshape(-1) @ params["w_out"] + params["b_out"]


def dense_shapes(hidden: int, inputs: int = 4) -> dict[str, tuple[int, ...]]:
    return {"w": (inputs, hidden), "b": (hidden,), **head_shapes(hidden)}


def two_shapes(hidden: int) -> dict[str, tuple[int, ...]]:
    return {**dense_shapes(hidden), "w1": (hidden, hidden), "b1": (hidden,)}


def several_shapes(hidden: int, functions: int) -> dict[str, tuple[int, ...]]:
    """A layer whose values go through several functions side by side, and a head on all of them."""
    return {"w": (4, hidden), "b": (hidden,), **head_shapes(functions * hidden)}


def head_shapes(features: int) -> dict[str, tuple[int, ...]]:
    return {"w_out": (features, OUTPUTS), "b_out": (OUTPUTS,)}


def conv_shapes(features: int, **kernels: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """Kernels named k, k1, ... each with a bias b, b1, ... and a head on `features`."""
    biases = {name.replace("k", "b"): (shape[-1],) for name, shape in kernels.items()}
    return {**kernels, **biases, **head_shapes(features)}


IMAGE = (4, 4, 2)
