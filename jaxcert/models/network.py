"""The common part of the networks, and networks that are a chain of convolutions and dense layers."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxcert.errors import InvalidInputError
from jaxcert.kernels import conv_general_dilated
from jaxcert.models.initializers import FAN_IN_UNIFORM, Initialization, fan_in
from jaxcert.models.layers import ConvLayer, Normalize, Padding, Statistics, flatten, require_image


class Classifier(nn.Module, kw_only=True):
    """Base of the networks: the options that they share and their layers.

    Attributes:
      normalize: None, or (mean, std) per channel for a first `Normalize` layer.
      activation: elementwise function between layers.
      initialization: how parameters start; see `initializers`.
      param_dtype: dtype of the parameters; the input must have the same.
      precision: of the convolutions and products, None for JAX's default.
    """

    normalize: Statistics | None = None
    activation: Callable[[jax.Array], jax.Array] = jax.nn.relu
    initialization: Initialization = FAN_IN_UNIFORM
    param_dtype: Any = jnp.float32
    precision: jax.lax.Precision | None = None

    def normalized(self, x: jax.Array) -> jax.Array:
        if not jnp.issubdtype(x.dtype, jnp.floating):
            raise InvalidInputError(
                f"A network takes floating-point inputs, got {x.dtype}: convert the images to [0, 1] first."
            )
        if self.normalize is None:
            return x
        mean, std = self.normalize
        return Normalize(tuple(mean), tuple(std), name="normalize")(x)

    def conv(self, x: jax.Array, layer: ConvLayer, name: str) -> jax.Array:
        size = layer.kernel
        shape = (size, size, x.shape[-1], layer.features)
        padding = layer.padding
        y = nn.Conv(
            layer.features,
            (size, size),
            strides=layer.stride,
            padding=((padding, padding),) * 2 if isinstance(padding, int) else padding,
            kernel_init=self.initialization.conv_kernel,
            bias_init=self.initialization.conv_bias(fan_in(shape)),
            param_dtype=self.param_dtype,
            precision=self.precision,
            conv_general_dilated=conv_general_dilated,
            name=name,
        )(x)
        if 0 in y.shape[-3:]:
            raise InvalidInputError(
                f"{type(self).__name__} has no room left at {name}: its input is {x.shape[-3:]} and its "
                f"kernel {size}x{size}; use larger images or more padding."
            )
        return y

    def dense(self, x: jax.Array, features: int, name: str) -> jax.Array:
        return nn.Dense(
            features,
            kernel_init=self.initialization.dense_kernel,
            bias_init=self.initialization.dense_bias(x.shape[-1]),
            param_dtype=self.param_dtype,
            precision=self.precision,
            name=name,
        )(x)


class ConvNet(Classifier):
    """Convolutions, then dense layers, an activation after each but the last.

    Attributes:
      num_classes: number of logits.
      convs, widths: the convolutions and the hidden dense layers; subclasses give them.
      padding: None, or the padding of every convolution in place of its own.

    Parameters are named conv_0, conv_1, ..., dense_0, ..., logits.
    Returns logits [num_classes] or [B, num_classes].
    Raises: InvalidInputError for an input that is no image or too small.

    >>> net = ConvNet(10, convs=(ConvLayer(4, 3, stride=2, padding=1),), widths=(16,))
    >>> variables = net.init(jax.random.key(0), jnp.zeros((8, 8, 1)))
    >>> net.apply(variables, jnp.zeros((5, 8, 8, 1))).shape
    (5, 10)
    """

    num_classes: int
    convs: tuple[ConvLayer, ...] = ()
    widths: tuple[int, ...] = ()
    padding: Padding | None = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        require_image(x)
        x = self.normalized(x)
        for index, layer in enumerate(self.convs):
            if self.padding is not None:
                layer = replace(layer, padding=self.padding)
            x = self.activation(self.conv(x, layer, f"conv_{index}"))
        x = flatten(x)
        for index, width in enumerate(self.widths):
            x = self.activation(self.dense(x, width, f"dense_{index}"))
        return self.dense(x, self.num_classes, "logits")
