"""Input regions: what the input of a network may be.

All types are frozen pytrees. They are rebuilt from tracers all the time, so they do not
validate; the constructors in `construct` and `product` do.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class LpBall:
    """The set `{center + delta : || delta / radius ||_p <= 1}`, intersected with `clip`.

    Attributes:
      center: the input, any shape.
      radius: eps in input units, a scalar or an array shaped like `center`. A coordinate
        with radius 0 cannot move (signal-directed sets).
      clip: `None`, or a pair of arrays, each a scalar or shaped like `center`: the range
        outside which no input exists. The centre lies inside it.
      norm: p, a static float >= 1 (`float("inf")` for l_inf).
    """

    center: jax.Array
    radius: jax.Array
    clip: tuple[jax.Array, jax.Array] | None = None
    norm: float = field(default=float("inf"), metadata={"static": True})

    @property
    def shape(self) -> tuple[int, ...]:
        return self.center.shape

    @property
    def dtype(self):
        return self.center.dtype


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Box:
    """The set `{x : lower <= x <= upper}`, coordinate by coordinate, both ends included."""

    lower: jax.Array
    upper: jax.Array

    @property
    def center(self) -> jax.Array:
        return 0.5 * self.lower + 0.5 * self.upper

    @property
    def shape(self) -> tuple[int, ...]:
        return self.lower.shape

    @property
    def dtype(self):
        return self.lower.dtype


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Product:
    """Several inputs, each in a set of its own, independent of one another.

    Engines see one flat vector: the entries of the parts one after the other, in the order of
    `jax.tree_util.tree_leaves`. `unpack` and `pack` convert.

    Attributes:
      parts: a pytree (tuple, dict, ...) whose leaves are `LpBall` and `Box`, all of one dtype.
    """

    parts: Any

    @property
    def members(self) -> tuple[LpBall | Box, ...]:
        """The regions in the order in which they are packed."""
        return tuple(jax.tree_util.tree_leaves(self.parts, is_leaf=_is_member))

    @property
    def structure(self) -> Any:
        """The tree of the parts, with a leaf for every region."""
        return jax.tree_util.tree_structure(self.parts, is_leaf=_is_member)

    @property
    def center(self) -> jax.Array:
        return jnp.concatenate([part.center.reshape(-1) for part in self.members])

    @property
    def shape(self) -> tuple[int, ...]:
        return (sum(math.prod(part.shape) for part in self.members),)

    @property
    def dtype(self):
        return self.members[0].dtype


def _is_member(value: Any) -> bool:
    return isinstance(value, LpBall | Box)


Region = LpBall | Box | Product
