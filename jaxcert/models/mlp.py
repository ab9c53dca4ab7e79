"""Multi-layer perceptrons, and the activations that the works use."""

from dataclasses import dataclass

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxcert.models.layers import flatten
from jaxcert.models.network import Classifier

relu = jax.nn.relu
sigmoid = jax.nn.sigmoid
tanh = jnp.tanh
arctan = jnp.arctan


@dataclass(frozen=True)
class LeakyReLU:
    """The function `x -> x if x >= 0 else slope * x`; equal slopes make equal activations.

    >>> LeakyReLU(0.1)(jnp.array([-1.0, 2.0])).tolist()
    [-0.10000000149011612, 2.0]
    """

    slope: float = 0.01

    def __call__(self, x: jax.Array) -> jax.Array:
        return jax.nn.leaky_relu(x, self.slope)


class MLP(Classifier):
    """Dense layers of any widths and number, an activation after each but the last.

    Takes an image [H, W, C] or a vector [D], or a batch [B, H, W, C] or [B, D] of them; images
    are flattened by row, column, channel. With no `widths` it is a linear classifier.

    Attributes:
      widths: of the hidden layers.
      num_classes: number of logits.

    Source: theses/4a section 4 (FC1 is `widths=(1024,)`; three hidden layers of 100, 300, 500 or
    1024), theses/3 section 5 (`(500,)`, `(200, 100, 50)`), theses/1 section 4 (`(100,)`).

    >>> net = MLP((16, 16), 2, activation=tanh)
    >>> net.apply(net.init(jax.random.key(0), jnp.zeros(3)), jnp.zeros((5, 3))).shape
    (5, 2)
    """

    widths: tuple[int, ...]
    num_classes: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = flatten(self.normalized(x))
        for index, width in enumerate(self.widths):
            x = self.activation(self.dense(x, width, f"dense_{index}"))
        return self.dense(x, self.num_classes, "logits")
