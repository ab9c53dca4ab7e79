"""Inputs as images: rows, columns, channels, whatever the shape of the region."""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from jaxcert.regions import Box, LpBall, Product, Region
from jaxcert.regions.interval import interval


@dataclass(frozen=True)
class Layout:
    """How arrays of one shape are seen as `[rows, columns, channels]`, all static.

    Rank 3 is an image whose channels lie on `channel_axis`, rank 2 an image of one channel, anything else
    (and a product) a single row: a vector.
    """

    shape: tuple[int, ...]
    channel_axis: int

    def to_image(self, x: jax.Array) -> jax.Array:
        if len(self.shape) == 3:
            return jnp.moveaxis(x, self.channel_axis, -1)
        return x.reshape(*self.shape, 1) if len(self.shape) == 2 else x.reshape(1, math.prod(self.shape), 1)

    def from_image(self, x: jax.Array) -> jax.Array:
        return jnp.moveaxis(x, -1, self.channel_axis) if len(self.shape) == 3 else x.reshape(self.shape)


def as_image(region: Region, layout: Layout) -> LpBall | Box:
    """The same region, its points in the layout; a product as the smallest box around it."""
    if isinstance(region, Product):
        region = Box(*interval(region))
    return jax.tree.map(
        lambda leaf: leaf if jnp.ndim(leaf) == 0 and region.shape else layout.to_image(leaf), region
    )
