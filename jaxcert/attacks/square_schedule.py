"""How large the windows of the Square attack are, from query to query."""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

_HALVED_AFTER = 10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000
"""Of 10,000 queries: the share of the image inside a window is halved behind each of these."""


@dataclass(frozen=True)
class Schedule:
    """Static: stage k holds from query `first[k]` on, with windows of `rows[k]` times `columns[k]`."""

    first: tuple[int, ...]
    rows: tuple[int, ...]
    columns: tuple[int, ...]

    def stage(self, query: jax.Array) -> jax.Array:
        """Which stage `query` (0, 1, ...) is in, an int32 scalar."""
        return jnp.sum(query >= jnp.asarray(self.first[1:], query.dtype), dtype=jnp.int32)

    def pick(self, stage: jax.Array, table: np.ndarray) -> jax.Array:
        """`table[..., stage]` for a constant table; a masked sum is faster than a gather under vmap."""
        here = stage == jax.lax.broadcasted_iota(jnp.int32, table.shape, table.ndim - 1)
        return jnp.sum(
            jnp.where(here, jnp.asarray(table), jnp.zeros((), table.dtype)), axis=-1, dtype=table.dtype
        )


def schedule(
    shape: tuple[int, int], p_init: float, horizon: int, queries: int, least: int = 1, odd: bool = False
) -> Schedule:
    """The stages of `queries` queries on an image of `shape = (rows, columns)`.

    A window holds a share p of the image: `p_init`, halved nine times in the course of `horizon`
    queries. It is a square where that fits and otherwise takes the whole of the shorter axis.
    With `least` and `odd` the sides are at least that long and odd, as far as the image goes.
    """
    starts = [0, *(count * horizon // 10_000 + 1 for count in _HALVED_AFTER)]
    stages = {}
    for halvings, first in enumerate(starts):
        sides = _sides(shape, p_init / 2**halvings, least, odd)
        if first < queries and sides not in stages.values():
            stages[first] = sides
    rows, columns = zip(*stages.values(), strict=True)
    return Schedule(tuple(stages), rows, columns)


def _sides(shape: tuple[int, int], share: float, least: int, odd: bool) -> tuple[int, int]:
    short, long = sorted(shape)
    side = round(math.sqrt(share * short * long))
    across = _fitting(side, short, least, odd)
    along = _fitting(side if side <= short else round(share * long), long, least, odd)
    return (across, along) if shape[0] <= shape[1] else (along, across)


def _fitting(side: int, limit: int, least: int, odd: bool) -> int:
    side = max(side, least)
    return min(side + (odd and side % 2 == 0), limit)
