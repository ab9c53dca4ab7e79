"""What engines return: intervals and linear functions that enclose a network on a region."""

from dataclasses import dataclass
from typing import NamedTuple

import jax


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Bounds:
    """`lower <= fn(x) <= upper` for every x in the region, entry by entry, shaped like fn(x)."""

    lower: jax.Array
    upper: jax.Array


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class LinearForm:
    """The function `x -> sum(coeffs * x) + offset`; coeffs `[*out, *in]`, offset `[*out]`."""

    coeffs: jax.Array
    offset: jax.Array

    def __call__(self, x: jax.Array) -> jax.Array:
        axes = tuple(range(self.offset.ndim, self.coeffs.ndim))
        lifted = x.reshape((1,) * self.offset.ndim + x.shape)
        return (self.coeffs * lifted).sum(axes) + self.offset


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class LinearBounds:
    """`lower(x) <= fn(x) <= upper(x)` for every x in the region."""

    lower: LinearForm
    upper: LinearForm


class Specification(NamedTuple):
    """What to bound from below: `coeffs @ fn(x) + offset`, coeffs `[S, *out]`, offset `[S]`."""

    coeffs: jax.Array
    offset: jax.Array
