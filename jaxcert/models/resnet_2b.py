"""ResNet-2B of alpha-beta-CROWN and of VNN-COMP: two residual blocks, no batch normalisation."""

import flax.linen as nn
import jax

from jaxcert.models.layers import ConvLayer, flatten, require_image
from jaxcert.models.network import Classifier


class ResNet2B(Classifier):
    """A strided convolution of 8, two residual blocks of 16 features, a hidden layer of 100.

    112,006 parameters on 32x32x3 with 10 classes. The first block halves the image and has a
    strided 1x1 convolution beside it, the second adds its input. Published with weights for
    CIFAR-10, behind a normalisation by mean (0.4914, 0.4822, 0.4465) and standard deviation
    (0.2471, 0.2435, 0.2616).

    Parameters are named conv_0; block_i_conv_0, block_i_conv_1, block_0_skip; dense_0, logits.
    Returns logits [num_classes] or [B, num_classes].
    Raises: InvalidInputError for an input that is no image.
    Source: alpha-beta-CROWN, `cifar10_resnet/resnet2b`, used in Wang et al. 2021 (beta-CROWN).

    >>> import jax.numpy as jnp
    >>> jax.eval_shape(lambda k, x: ResNet2B(10).init_with_output(k, x)[0],
    ...                jax.random.key(0), jnp.zeros((32, 32, 3))).shape
    (10,)
    """

    num_classes: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        require_image(x)
        x = self.activation(self.conv(self.normalized(x), ConvLayer(8, 3, 2, 1), "conv_0"))
        skip = self.conv(x, ConvLayer(16, 1, 2), "block_0_skip")
        x = self.activation(self._body(x, 2, "block_0") + skip)
        x = self.activation(self._body(x, 1, "block_1") + x)
        x = self.activation(self.dense(flatten(x), 100, "dense_0"))
        return self.dense(x, self.num_classes, "logits")

    def _body(self, x: jax.Array, stride: int, name: str) -> jax.Array:
        x = self.activation(self.conv(x, ConvLayer(16, 3, stride, 1), f"{name}_conv_0"))
        return self.conv(x, ConvLayer(16, 3, 1, 1), f"{name}_conv_1")
