"""Input regions: what the input of a network may be.

Both types are frozen pytrees. They are rebuilt from tracers all the time, so they do not
validate; the constructors in `construct` do.
"""

from dataclasses import dataclass, field

import jax


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


Region = LpBall | Box
