"""How Auto-PGD sets its step size: from what the last steps brought, at fixed checkpoints.

A pace is made once per run and asked after every step. All sizes are in units of the radius.
"""

from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcert.attacks.direction import uphill
from jaxcert.regions import Box, LpBall, Product, Region, interval
from jaxcert.regions.product import joined, split


class News(NamedTuple):
    """What a step brought: whether the loss rose, the highest loss so far and where it is."""

    index: jax.Array
    rose: jax.Array
    highest: jax.Array
    peak: jax.Array


class HalvingState(NamedTuple):
    """The step, the rises and the highest loss at the last checkpoint, and whether it kept the step."""

    size: jax.Array
    rises: jax.Array
    before: jax.Array
    kept: jax.Array


@dataclass(frozen=True)
class Halving:
    """Halve the step where it has become too long: for every norm but l_1.

    At a checkpoint the step is halved, and the climb goes on from the highest point, if the loss
    rose in at most `rho` of the steps since the last one, or if nothing has changed since then: the step
    was kept and the highest loss is the same. Checkpoints come after 22 % of the steps, then after
    3 % fewer each time, at least 6 %.
    """

    steps: int
    rho: float = field(default=0.75)
    momentum: ClassVar[float] = 0.25

    def start(self, region: Region, x: jax.Array, loss: jax.Array) -> HalvingState:
        zero = jnp.zeros((), jnp.int32)
        return HalvingState(jnp.asarray(2.0, region.dtype), zero, loss, jnp.asarray(False))

    def move(self, state: HalvingState, region: Region, x: jax.Array, gradient: jax.Array) -> jax.Array:
        return state.size * _direction(region, gradient)

    def adapt(self, state: HalvingState, region: Region, news: News) -> tuple[HalvingState, jax.Array]:
        lengths = _windows(self.steps)
        at = jnp.arange(self.steps, dtype=jnp.int32) == news.index
        window = jnp.sum(jnp.where(at, jnp.asarray(lengths), 0), dtype=jnp.int32)
        rises = state.rises + news.rose.astype(jnp.int32)
        checkpoint = window > 0
        few = rises.astype(state.size.dtype) <= self.rho * window.astype(state.size.dtype)
        still = state.kept & (state.before >= news.highest)
        shorten = checkpoint & (few | still)
        chosen = HalvingState(
            jnp.where(shorten, 0.5 * state.size, state.size),
            jnp.where(checkpoint, 0, rises),
            jnp.where(checkpoint, news.highest, state.before),
            jnp.where(checkpoint, ~shorten, state.kept),
        )
        return chosen, shorten


class SparseState(NamedTuple):
    """The step, the share of coordinates it goes along, and the share that the peak had moved."""

    size: jax.Array
    share: jax.Array
    moved: jax.Array


@dataclass(frozen=True)
class Sparse:
    """Steps along the steepest coordinates only, as many as suit the best point: for l_1 balls.

    The step is shared equally by the coordinates of the largest gradients, not counting those at
    the end of their range (which the source would choose for ever). At a checkpoint, after
    every 4 % of the steps, their number becomes two thirds of the coordinates in which the
    highest point differs from the centre. Where that number has fallen by 5 %, the step is as long as
    the radius again and the climb goes on from the highest point; else it is divided by 1.5, to a
    tenth of the radius at least.

    Source: Croce and Hein 2021 ("Mind the box").
    """

    steps: int
    warm: bool = False
    """Whether the start is what an earlier run found, so that its sparsity counts."""
    momentum: ClassVar[float] = 0.0

    def start(self, region: Region, x: jax.Array, loss: jax.Array) -> SparseState:
        one = jnp.ones((), region.dtype)
        moved = _moved(region, x)
        if self.warm:
            return SparseState(one, moved / 1.5, moved)
        return SparseState(one, 0.2 * one, one)

    def move(self, state: SparseState, region: Region, x: jax.Array, gradient: jax.Array) -> jax.Array:
        assert isinstance(region, LpBall)
        slope = region.radius * jnp.nan_to_num(gradient)
        low, high = interval(region)
        slope = jnp.where(((slope > 0) & (x >= high)) | ((slope < 0) & (x <= low)), 0, slope)
        chosen = _steepest(jnp.abs(slope), state.share) & (slope != 0)
        count = jnp.maximum(jnp.sum(chosen, dtype=region.dtype), 1)
        return state.size / count * region.radius * jnp.where(chosen, jnp.sign(slope), 0)

    def adapt(self, state: SparseState, region: Region, news: News) -> tuple[SparseState, jax.Array]:
        every = max(int(0.04 * self.steps), 1)
        checkpoint = (news.index + 1) % every == 0
        moved = _moved(region, news.peak)
        sparser = moved < 0.95 * state.moved
        size = jnp.clip(jnp.where(sparser, 1.0, state.size / 1.5), 0.1, 1.0)
        chosen = SparseState(size, moved / 1.5, moved)
        kept = jax.tree.map(lambda new, old: jnp.where(checkpoint, new, old), chosen, state)
        return kept, checkpoint & sparser


def _windows(steps: int) -> np.ndarray:
    """For every step the number of steps since the last checkpoint if it is one, else 0."""
    lengths = np.zeros(steps, np.int32)
    window, end = max(int(0.22 * steps), 1), 0
    while end + window <= steps:
        end += window
        lengths[end - 1] = window
        window = max(window - max(int(0.03 * steps), 1), max(int(0.06 * steps), 1))
    return lengths


def _direction(region: Region, gradient: jax.Array) -> jax.Array:
    """The step of gauge 1 uphill; a coordinate without slope stays, unlike in `steepest_ascent`."""
    if isinstance(region, Product):
        pieces = zip(region.members, split(region, gradient), strict=True)
        return joined(region, [_direction(part, slope) for part, slope in pieces])
    if isinstance(region, Box):
        return (0.5 * region.upper - 0.5 * region.lower) * jnp.sign(jnp.nan_to_num(gradient))
    if region.norm == float("inf"):
        return region.radius * jnp.sign(jnp.nan_to_num(gradient))
    return uphill(region, region.center, gradient)


def _moved(region: Region, x: jax.Array) -> jax.Array:
    """The share of coordinates that differ from the centre."""
    return jnp.sum(x != region.center, dtype=region.dtype) / max(x.size, 1)


def _steepest(slope: jax.Array, share: jax.Array) -> jax.Array:
    """The coordinates with the `share` of largest values, at least one, ties included, found by bisection.

    A sort of every gradient would take as long as the gradient itself.
    """
    wanted = jnp.maximum(jnp.floor(share * slope.size), 1)

    def halve(_, bracket):
        low, high = bracket
        middle = 0.5 * low + 0.5 * high
        enough = jnp.sum(slope >= middle, dtype=slope.dtype) >= wanted
        return jnp.where(enough, middle, low), jnp.where(enough, high, middle)

    largest = jnp.max(slope, initial=0.0)
    low, _ = jax.lax.fori_loop(0, 20, halve, (jnp.zeros_like(largest), largest))
    return slope >= low
