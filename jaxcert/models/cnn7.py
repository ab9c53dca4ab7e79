"""The seven-layer CNN with batch normalisation on which certified training is compared today."""

import flax.linen as nn
import jax

from jaxcert.models.dm import DMLarge
from jaxcert.models.layers import ConvLayer, flatten, require_image
from jaxcert.models.network import Classifier

TORCH_MOMENTUM = 0.9  # PyTorch calls it 0.1: the share of the new statistics


class CNN7(Classifier):
    """`DMLarge` with padding 1 and batch norm after each of its layers but the last.

    Five 3x3 convolutions (64, 64, 128 with stride 2, 128, 128), a hidden layer of 512; each is
    followed by batch norm and the activation. 17,192,650 parameters on 32x32x3 with 10 classes,
    and 2,048 batch statistics.

    Attributes:
      num_classes: number of logits.
      use_running_average: normalise by the stored statistics, as evaluation and bounds do; False
        needs a batch [B, H, W, C] and uses its own (see `jaxcert.train.batch_norm`).
      momentum: share of the old statistics when new ones are stored.

    Parameters are named conv_i, norm_i (i = 0, ..., 4), dense_0, norm_5, logits.
    Returns logits [num_classes] or [B, num_classes].
    Raises: InvalidInputError for an input that is no image.
    Source: Shi et al. 2021 (Fast Certified Robust Training); CTBench, `cnn_7layer_bn`.

    >>> import jax.numpy as jnp
    >>> variables = jax.eval_shape(CNN7(10).init, jax.random.key(0), jnp.zeros((32, 32, 3)))
    >>> sorted(variables), variables["batch_stats"]["norm_5"]["mean"].shape
    (['batch_stats', 'params'], (512,))
    """

    num_classes: int
    use_running_average: bool = True
    momentum: float = TORCH_MOMENTUM

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        require_image(x)
        x = self.normalized(x)
        layers = [ConvLayer(layer.features, layer.kernel, layer.stride, 1) for layer in DMLarge.convs]
        for index, layer in enumerate(layers):
            x = self.activation(self._norm(self.conv(x, layer, f"conv_{index}"), index))
        x = self.dense(flatten(x), 512, "dense_0")
        x = self.activation(self._norm(x, len(layers)))
        return self.dense(x, self.num_classes, "logits")

    def _norm(self, x: jax.Array, index: int) -> jax.Array:
        return nn.BatchNorm(
            use_running_average=self.use_running_average,
            momentum=self.momentum,
            epsilon=1e-5,
            param_dtype=self.param_dtype,
            name=f"norm_{index}",
        )(x)
