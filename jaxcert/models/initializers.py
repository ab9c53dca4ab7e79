"""The works' weight initialisations.

An `Initializer` is a function `(key, shape, dtype) -> array`, as in `jax.nn.initializers`;
kernels are HWIO (convolution) or [in, out] (dense), so every axis but the last counts
towards fan-in. An `Initialization` says how a whole network starts.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp

Initializer = Callable[..., jax.Array]


def fan_in(shape: Sequence[int]) -> int:
    """Number of inputs that one output of a kernel shaped `[..., in, out]` sums over.

    >>> fan_in((3, 3, 16, 32))
    144
    """
    return math.prod(shape[:-1])


def zeros(key: jax.Array, shape: Sequence[int], dtype: Any = jnp.float32) -> jax.Array:
    """An array of zeros; `key` is ignored."""
    return jnp.zeros(shape, dtype)


def out_channels_normal(key: jax.Array, shape: Sequence[int], dtype: Any = jnp.float32) -> jax.Array:
    """Kernel drawn from N(0, 2 / (k_h * k_w * out)), for convolutions.

    Returns: an array of `shape` [k_h, k_w, in, out]. The variance counts the outputs, not the
    inputs (He initialisation of the backward pass). Needs a typed `key`.
    Source: theses/1 section 4 (CAP ResNet), theses/2 section 5.2 (BCP, CIFAR-10 and Tiny ImageNet).

    >>> out_channels_normal(jax.random.key(0), (3, 3, 1, 8)).shape
    (3, 3, 1, 8)
    """
    std = math.sqrt(2.0 / (math.prod(shape[:-2]) * shape[-1]))
    return std * jax.random.normal(key, shape, dtype)


def fan_in_uniform(key: jax.Array, shape: Sequence[int], dtype: Any = jnp.float32) -> jax.Array:
    """Kernel drawn from U(-b, b) with b = 1 / sqrt(fan_in): the default of PyTorch's layers.

    Source: theses/4a section 4 (the PER networks start from PyTorch's defaults).

    >>> bool(jnp.all(jnp.abs(fan_in_uniform(jax.random.key(0), (100, 10))) <= 0.1))
    True
    """
    return _symmetric_uniform(key, shape, dtype, 1.0 / math.sqrt(fan_in(shape)))


def truncated_he_normal(key: jax.Array, shape: Sequence[int], dtype: Any = jnp.float32) -> jax.Array:
    """Kernel drawn from N(0, 2 / fan_in), redrawn outside two standard deviations.

    The standard deviation is that of the normal law before truncation, so the weights' own is
    0.8796 of it; `jax.nn.initializers.he_normal` corrects for this and is wider.
    Source: theses/4a section 4 (MMR).

    >>> truncated_he_normal(jax.random.key(0), (100, 10)).shape
    (100, 10)
    """
    std = math.sqrt(2.0 / fan_in(shape))
    return std * jax.random.truncated_normal(key, -2.0, 2.0, shape, dtype)


@dataclass(frozen=True)
class FanInUniformBias:
    """Bias drawn from U(-b, b), b = 1 / sqrt(fan_in) of the kernel it belongs to.

    An initializer equal to every other of the same `fan_in`, so that modules compare equal.

    >>> FanInUniformBias(4)(jax.random.key(0), (8,)).shape
    (8,)
    """

    fan_in: int

    def __call__(self, key: jax.Array, shape: Sequence[int], dtype: Any = jnp.float32) -> jax.Array:
        return _symmetric_uniform(key, shape, dtype, 1.0 / math.sqrt(self.fan_in))


def zero_bias(fan_in: int) -> Initializer:
    """The initializer of zeros, whatever the layer's `fan_in`."""
    return zeros


@dataclass(frozen=True)
class Initialization:
    """How a network starts: kernels of both kinds of layer and, by fan-in, their biases.

    Attributes:
      conv_kernel, dense_kernel: initializers.
      conv_bias, dense_bias: functions of the layer's fan-in that return an initializer.

    >>> Initialization(jax.nn.initializers.he_normal(), jax.nn.initializers.he_normal()).conv_bias(9) is zeros
    True
    """

    conv_kernel: Initializer
    dense_kernel: Initializer
    conv_bias: Callable[[int], Initializer] = zero_bias
    dense_bias: Callable[[int], Initializer] = zero_bias


FAN_IN_UNIFORM = Initialization(fan_in_uniform, fan_in_uniform, FanInUniformBias, FanInUniformBias)
"""Weights and biases U(-1/sqrt(fan_in), 1/sqrt(fan_in)): PyTorch's default."""

OUT_CHANNELS_NORMAL = Initialization(out_channels_normal, fan_in_uniform, zero_bias, FanInUniformBias)
"""CAP and BCP: convolutions N(0, 2/(k^2 out)) without bias, dense layers as PyTorch's default."""

TRUNCATED_HE = Initialization(truncated_he_normal, truncated_he_normal)
"""MMR: truncated normal of He's variance, zero biases."""

INITIALIZATIONS: Mapping[str, Initialization] = MappingProxyType(
    {
        "fan-in-uniform": FAN_IN_UNIFORM,
        "out-channels-normal": OUT_CHANNELS_NORMAL,
        "truncated-he": TRUNCATED_HE,
    }
)
"""The initialisations by the names that the command line uses."""


def _symmetric_uniform(key: jax.Array, shape: Sequence[int], dtype: Any, bound: float) -> jax.Array:
    return jax.random.uniform(key, shape, dtype, minval=-bound, maxval=bound)
