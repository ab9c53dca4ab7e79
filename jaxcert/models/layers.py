"""What every network here is made of: normalisation, convolution sizes, flattening.

Inputs are images [H, W, C] or batches [B, H, W, C] (dense networks also take vectors [D] or
batches [B, D]), floating point, in the network's input units: an odd number of axes is one
example.
"""

import math
from dataclasses import dataclass

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxcert.errors import InvalidInputError

Padding = int | tuple[tuple[int, int], tuple[int, int]]
Statistics = tuple[tuple[float, ...], tuple[float, ...]]


@dataclass(frozen=True)
class ConvLayer:
    """Size of a convolution: output features, square kernel, stride, zero padding per side.

    `padding` is one number for all four sides or ((top, bottom), (left, right)).
    """

    features: int
    kernel: int
    stride: int = 1
    padding: Padding = 0


class Normalize(nn.Module):
    """Per-channel `(x - mean) / std`, constants of the network and not parameters.

    Put first, so that regions and attacks stay in input units; later zero padding pads with
    the mean, as the works do.

    Attributes:
      mean, std: one number per channel, in input units; `std` positive.
    Raises: InvalidInputError unless their lengths equal the input's channel number.

    >>> layer = Normalize(mean=(0.5,), std=(0.25,))
    >>> layer.apply({}, jnp.ones((1, 1, 1))).item()
    2.0
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        channels = x.shape[-1]
        if not len(self.mean) == len(self.std) == channels:
            raise InvalidInputError(
                f"Normalize got {len(self.mean)} means and {len(self.std)} standard deviations for an input "
                f"of {channels} channels: give one of each per channel."
            )
        if not all(0.0 < s < float("inf") for s in self.std):
            raise InvalidInputError(f"Normalize needs positive finite standard deviations, got {self.std}.")
        shape = (1,) * (x.ndim - 1) + (channels,)
        mean = jnp.asarray(self.mean, x.dtype).reshape(shape)
        std = jnp.asarray(self.std, x.dtype).reshape(shape)
        return (x - mean) / std


def flatten(x: jax.Array) -> jax.Array:
    """One vector per example: [H, W, C] -> [H*W*C], [B, H, W, C] -> [B, H*W*C]; vectors stay.

    Features go by row, then column, then channel. A PyTorch network flattens channel, row,
    column: permute the input axis of its first dense kernel to use it here.

    >>> flatten(jnp.zeros((2, 4, 4, 3))).shape, flatten(jnp.zeros((4, 4, 3))).shape
    ((2, 48), (48,))
    """
    batch = x.shape[: 1 - x.ndim % 2]
    return x.reshape(*batch, math.prod(x.shape[len(batch) :]))


def require_image(x: jax.Array) -> None:
    """Raises InvalidInputError unless `x` is an image [H, W, C] or a batch [B, H, W, C]."""
    if x.ndim not in (3, 4):
        raise InvalidInputError(
            f"A convolutional network takes one image [H, W, C] or a batch [B, H, W, C], got shape {x.shape}."
        )
