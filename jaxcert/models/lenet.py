"""LeNet with a width factor and max pooling (theses/4b section 4, table 4.1)."""

import flax.linen as nn
import jax

from jaxcert.models.layers import ConvLayer, flatten, require_image
from jaxcert.models.network import Classifier


class LeNet(Classifier):
    """Two 5x5 convolutions of 2w and 4w features, each max-pooled 2x2, and a hidden layer of 64w.

    With w = 16 on 28x28x1: convolutions of 32 and 64, 3,136 flattened features, hidden layer 1,024.
    theses/4b varies w from 2 to 16.

    Attributes:
      num_classes: number of logits.
      width: the factor w.

    Raises: InvalidInputError for an input that is no image.

    >>> import jax.numpy as jnp
    >>> variables = jax.eval_shape(LeNet(10, width=2).init, jax.random.key(0), jnp.zeros((28, 28, 1)))
    >>> variables["params"]["dense_0"]["kernel"].shape
    (392, 128)
    """

    num_classes: int
    width: int = 16

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        require_image(x)
        x = self.normalized(x)
        for index, factor in enumerate((2, 4)):
            x = self.conv(x, ConvLayer(factor * self.width, 5, 1, 2), f"conv_{index}")
            x = nn.max_pool(self.activation(x), (2, 2), strides=(2, 2))
        x = self.activation(self.dense(flatten(x), 64 * self.width, "dense_0"))
        return self.dense(x, self.num_classes, "logits")
