"""The windows of the Square attack in a box: each coordinate at one of its two ends."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from jaxcert.attacks.square_schedule import Schedule


@dataclass(frozen=True)
class Corners:
    """Random corners of the box `[lower, upper]`, arrays `[rows, columns, channels]`."""

    lower: jax.Array
    upper: jax.Array
    schedule: Schedule

    def start(self, key: jax.Array) -> jax.Array:
        """Vertical stripes: every column goes to one end, by channel."""
        _, columns, channels = self.lower.shape
        up = jax.random.bernoulli(key, 0.5, (1, columns, channels))
        return jnp.where(up, self.upper, self.lower)

    def move(self, x: jax.Array, query: jax.Array, key: jax.Array) -> jax.Array:
        """`x` with one window at one end of its range, by channel.

        Where that is what `x` has there already, the other end: a query is never spent on the same point.
        """
        rows, columns, channels = x.shape
        draws = jax.random.uniform(key, (2 + channels,), jnp.float32)
        stage = self.schedule.stage(query)
        high, wide = self.schedule.pick(
            stage, np.array([self.schedule.rows, self.schedule.columns], np.int32)
        )
        window = interval_mask(draws[0], high, rows, 0) & interval_mask(draws[1], wide, columns, 1)
        up = (draws[2:] < 0.5).reshape(1, 1, channels)
        corner = jnp.where(up, self.upper, self.lower)
        same = jnp.all(~window | (x == corner))
        return jnp.where(window, jnp.where(up ^ same, self.upper, self.lower), x)


def interval_mask(draw: jax.Array, length: jax.Array, size: int, axis: int) -> jax.Array:
    """Where a run of `length` entries lies on an axis of an image: a boolean array of rank 3.

    A uniform `draw` from [0, 1) chooses among all places.
    """
    return within(offsets(draw, length, size, axis), length)


def offsets(draw: jax.Array, length: jax.Array, size: int, axis: int) -> jax.Array:
    """Every entry's distance from the beginning of that run, an int32 array of rank 3."""
    places = size - length + 1
    first = jnp.minimum((draw * places.astype(jnp.float32)).astype(jnp.int32), places - 1)
    shape = [1, 1, 1]
    shape[axis] = size
    return jax.lax.broadcasted_iota(jnp.int32, shape, axis) - first


def within(offset: jax.Array, length: jax.Array) -> jax.Array:
    """Which entries the run holds."""
    return (offset >= 0) & (offset < length)
