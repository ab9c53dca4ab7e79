"""The residual network of scaled CAP, without batch normalisation (theses/1 and 2, section 4)."""

from dataclasses import field

import flax.linen as nn
import jax

from jaxcert.models.initializers import OUT_CHANNELS_NORMAL, Initialization
from jaxcert.models.layers import ConvLayer, flatten, require_image
from jaxcert.models.network import Classifier


class CAPResNet(Classifier):
    """Residual stages of 16f, 16f, 32f, 64f features, then a hidden layer of 1000.

    Stages: one block to 16f, `blocks` blocks of 16f, `blocks` of 32f and of 64f, the first of each
    of the last two halving the image. With one block and f = 1 it is the "ResNet" of theses/1 and,
    by its 4,214,850 parameters on 32x32x3, the "WRN" of theses/2.

    Attributes:
      num_classes: number of logits.
      blocks: N, the blocks per stage.
      factor: f, the width factor.

    Raises: InvalidInputError for an input that is no image.

    >>> import jax.numpy as jnp
    >>> jax.eval_shape(lambda k, x: CAPResNet(10).init_with_output(k, x)[0],
    ...                jax.random.key(0), jnp.zeros((32, 32, 3))).shape
    (10,)
    """

    num_classes: int
    blocks: int = 1
    factor: int = 1
    initialization: Initialization = field(default=OUT_CHANNELS_NORMAL, kw_only=True)

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        require_image(x)
        x = self.normalized(x)
        x = self.activation(self.conv(x, ConvLayer(16, 3, 1, 1), "conv_0"))
        for index, (features, halves) in enumerate(self._stages()):
            x = self._block(x, features, halves, f"block_{index}")
        x = self.activation(self.dense(flatten(x), 1000, "dense_0"))
        return self.dense(x, self.num_classes, "logits")

    def _stages(self) -> list[tuple[int, bool]]:
        """Features of each block in order and whether it halves the image."""
        small, medium, large = (16 * self.factor, 32 * self.factor, 64 * self.factor)
        plain = self.blocks - 1
        return (
            [(small, False)] * (1 + self.blocks)
            + [(medium, True)] + [(medium, False)] * plain
            + [(large, True)] + [(large, False)] * plain
        )  # fmt: skip

    def _block(self, x: jax.Array, features: int, halves: bool, name: str) -> jax.Array:
        """Two convolutions beside one that adjusts the size; every block has all three."""
        first, skip = (ConvLayer(features, 4, 2, 1), ConvLayer(features, 2, 2)) if halves else (
            ConvLayer(features, 3, 1, 1), ConvLayer(features, 1))  # fmt: skip
        inner = self.activation(self.conv(x, first, f"{name}_conv_0"))
        inner = self.conv(inner, ConvLayer(features, 3, 1, 1), f"{name}_conv_1")
        return self.activation(inner + self.conv(x, skip, f"{name}_skip"))
