"""The windows of the Square attack in l_2 and l_1 balls: bumps that move mass from window to window.

Everything is in units of the radius. A bump on a window of a x b entries has two halves of opposite
sign, cut across the rows or the columns. In a half of x by y entries the entry at Chebyshev distance d
from its middle `(x // 2, y // 2)` has the height `sum_{j = d+1}^{K+1} j^-q`, `K = max(x // 2, y // 2)`,
with q = 2 for l_2 and 4 for l_1: the sum of the squares around the middle, of radius k = 0..K, weighted
by `(k + 1)^-q`. With `tail(d) = sum_{j > d} j^-q` that is `tail(d) - tail(K + 1)`, and since `tail` falls
and d is the greater of the distances along the two axes, `tail(d) = min(tail(d_row), tail(d_column))`:
two vectors make the bump, wherever it lies.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcert.attacks.square_corners import offsets, within
from jaxcert.attacks.square_schedule import Schedule
from jaxcert.regions import LpBall
from jaxcert.regions.project import place, rounding_slack

_TILES = 5
_ROWS, _COLUMNS = 0, 1


@dataclass(frozen=True)
class Bumps:
    """Points of an l_2 or l_1 ball whose arrays are `[rows, columns, channels]` or scalars."""

    ball: LpBall
    schedule: Schedule

    def start(self, key: jax.Array) -> jax.Array:
        """A grid of 5 x 5 bumps, signs by tile and channel, scaled to the sphere and clipped."""
        rows, columns, channels = self.ball.shape
        tiles = _tiles(rows), _tiles(columns)
        grid = len(tiles[0]), len(tiles[1])
        random = jax.random.bernoulli(key, 0.5, (*grid, 1 + channels))
        of_tile = random[np.repeat(np.arange(grid[0]), tiles[0])][:, np.repeat(np.arange(grid[1]), tiles[1])]
        cut = [np.block([[self.bump(a, b, cut) for b in tiles[1]] for a in tiles[0]]) for cut in (0, 1)]
        across, along = (jnp.asarray(value, self.ball.dtype)[..., None] for value in cut)
        bump = jnp.where(of_tile[..., :1], across, along)
        return self._on_sphere(jnp.where(of_tile[..., 1:], bump, -bump))

    def move(self, x: jax.Array, query: jax.Array, key: jax.Array) -> jax.Array:
        """`x` with the mass of a window moved to another one, which gets a bump on top, by channel.

        What the sphere has left over goes there too, in equal shares of the channels.
        """
        channels = x.shape[-1]
        draws = jax.random.uniform(key, (5 + channels,), jnp.float32)
        stage = self.schedule.stage(query)
        sides = self.schedule.pick(stage, np.array([self.schedule.rows, self.schedule.columns], np.int32))
        bump, into = self.placed_bump(draws[:3], stage, sides)
        out_of = self._window(draws[3:5], sides)[1]
        u = _once(self._units(x))
        mass = self._mass(u)
        each = lambda value: jnp.sum(value, axis=(0, 1), keepdims=True)
        there = each(jnp.where(into, mass, 0.0))
        both = each(jnp.where(into | out_of, mass, 0.0))
        left = jnp.maximum(1 - jnp.sum(mass), 0.0) / channels
        signed = jnp.where((draws[5:] < 0.5).reshape(1, 1, channels), bump, -bump)
        pull = _once(1 / self._root(_positive(there)))
        new = jnp.where(into & (self.ball.radius > 0), signed + u * pull, 0.0)
        new = new * self._root((left + both) / _positive(each(self._mass(new))))
        return self._on_sphere(jnp.where(into, new, jnp.where(out_of, 0.0, u)))

    def placed_bump(
        self, draws: jax.Array, stage: jax.Array, sides: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """A bump of unit length in its window, `[rows, columns, 1]` (arbitrary outside), and the window."""
        (row, column), window = self._window(draws[:2], sides)
        table = self.schedule.pick(stage, self._table())
        cut_rows = draws[2] < table[0]
        first, second = jnp.where(cut_rows, table[1:5], table[5:9]).reshape(2, 2)
        behind = jnp.where(cut_rows, row >= sides[0] // 2, column >= sides[1] // 2)
        down = _tail(_from_middle(row, sides[0], cut_rows), self._power)
        right = _tail(_from_middle(column, sides[1], ~cut_rows), self._power)
        down, right = _once((down, right))
        height = jnp.minimum(down, right) - jnp.where(behind, second[1], first[1])
        return (jnp.where(behind, second[0], first[0]) * height).astype(self.ball.dtype), window

    def _window(self, draws: jax.Array, sides: jax.Array) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
        rows, columns, _ = self.ball.shape
        row, column = offsets(draws[0], sides[0], rows, 0), offsets(draws[1], sides[1], columns, 1)
        return (row, column), within(row, sides[0]) & within(column, sides[1])

    def _table(self) -> np.ndarray:
        """By stage: how often rows are cut, then of both cuts and halves the weight and `tail(K + 1)`."""
        stages = zip(self.schedule.rows, self.schedule.columns, strict=True)
        return np.array([self._describe(*sides) for sides in stages], np.float32).T

    def _describe(self, rows: int, columns: int) -> list[float]:
        often = 0.5 if min(rows, columns) > 1 else float(columns == 1)
        halves = [half for cut in (_ROWS, _COLUMNS) for half in _halves(rows, columns, cut)]
        scales = [scale for cut in (_ROWS, _COLUMNS) for scale in self._scales(rows, columns, cut)]
        tails = [_tail(np.float64(max(half) // 2 + 1), self._power) for half in halves]
        return [often, *(value for pair in zip(scales, tails, strict=True) for value in pair)]

    def _scales(self, rows: int, columns: int, cut: int) -> list[float]:
        """The factors of the two halves: opposite, both of the same length, together of length 1."""
        lengths = [
            float(self._root(np.sum(self._mass(_half(*half, self._power)))))
            for half in _halves(rows, columns, cut)
        ]
        shared = float(self._root(np.float64(sum(length > 0 for length in lengths))))
        return [
            sign / (shared * length) if length else 0.0 for sign, length in zip((1, -1), lengths, strict=True)
        ]

    def bump(self, rows: int, columns: int, cut: int) -> np.ndarray:
        """A bump of unit length; one that cannot be cut this way is all of one sign."""
        halves = zip(_halves(rows, columns, cut), self._scales(rows, columns, cut), strict=True)
        return np.concatenate([scale * _half(*half, self._power) for half, scale in halves], axis=cut)

    @property
    def _power(self) -> int:
        return 2 if self.ball.norm == 2 else 4

    def _mass(self, u: Any) -> Any:
        return u * u if self.ball.norm == 2 else abs(u)

    def _root(self, mass: Any) -> Any:
        if self.ball.norm == 1:
            return mass
        return jnp.sqrt(mass) if isinstance(mass, jax.Array) else np.sqrt(mass)

    def _units(self, x: jax.Array) -> jax.Array:
        return jnp.where(self.ball.radius > 0, (x - self.ball.center) / _positive(self.ball.radius), 0.0)

    def _on_sphere(self, u: jax.Array) -> jax.Array:
        """The point in direction `u`, as far from the centre as the ball reaches, and then clipped."""
        u = jnp.where(self.ball.radius > 0, u, 0.0)
        length = _positive(self._root(jnp.sum(self._mass(u))))
        return place(self.ball, self.ball.radius * ((1 - rounding_slack(self.ball)) / length * u))


def _tiles(size: int) -> list[int]:
    """The lengths of at most five nearly equal tiles."""
    ends = np.arange(min(_TILES, size) + 1) * size // min(_TILES, size)
    return np.diff(ends).tolist()


def _halves(rows: int, columns: int, cut: int) -> list[tuple[int, int]]:
    if cut == _ROWS:
        return [(rows // 2, columns), (rows - rows // 2, columns)]
    return [(rows, columns // 2), (rows, columns - columns // 2)]


def _half(rows: int, columns: int, power: int) -> np.ndarray:
    far = lambda size: np.abs(np.arange(size) - size // 2).astype(float)
    distance = np.maximum(far(rows)[:, None], far(columns)[None, :])
    return _tail(distance, power) - _tail(np.float64(max(rows, columns) // 2 + 1), power)


def _from_middle(offset: jax.Array, length: jax.Array, cut: jax.Array) -> jax.Array:
    """How far an entry of a window is from the middle of its half, along one axis."""
    half = length // 2
    begin = jnp.where(cut & (offset >= half), half, 0)
    size = jnp.where(cut, jnp.where(offset >= half, length - half, half), length)
    return jnp.abs(offset - begin - size // 2).astype(jnp.float32)


def _tail(distance: Any, power: int) -> Any:
    """`sum_{j > d} j^-q` to 1e-6: three terms, and Euler and Maclaurin's formula for the others."""
    z = distance + 4
    rest = z ** (1 - power) / (power - 1) + z**-power / 2 + power / 12 * z ** (-power - 1)
    rest = rest - power * (power + 1) * (power + 2) / 720 * z ** (-power - 3)
    return rest + sum((distance + j) ** -power for j in (1, 2, 3))


def _positive(value: jax.Array) -> jax.Array:
    return jnp.where(value > 0, value, 1.0)


def _once(values: Any) -> Any:
    """The values, computed before they are used: XLA would compute a row's again for each of its entries."""
    return jax.lax.optimization_barrier(values)
