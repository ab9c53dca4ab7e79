"""The nearest adversarial point that an attack found, and what that says about a region."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxcert.attacks.answer import Answer, Network, answer_of, as_label
from jaxcert.attacks.attempts import better
from jaxcert.attacks.expectation import Expectation
from jaxcert.attacks.flat import flat_network, flat_region
from jaxcert.attacks.objectives import margin_loss
from jaxcert.attacks.result import AttackResult, judged
from jaxcert.attacks.settings import held
from jaxcert.errors import InvalidInputError
from jaxcert.regions import Box, LpBall, Region, contains
from jaxcert.regions.nearest import measure
from jaxcert.regions.product import joined
from jaxcert.regions.project import project, project_scaled

SomeNetwork = Network | Expectation


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Nearest:
    """The nearest adversarial point found for one example: an upper bound of the minimal distance, no more.

    Attributes:
      x: the point, shaped like the input, inside the clip range; the centre where none was found.
      distance: its distance from the centre in the region's norm, scalar, in input units; where the
        region's radius is an array, and for boxes and products, as a multiple of radius or half-width. 0
        where the network is wrong at the centre, `inf` where nothing was found, which proves nothing.
      found: scalar bool. Points where the network answers NaN or infinity count as found, as do a
        label that does not exist and an invalid region (distance 0): bad input never looks robust.
    """

    x: jax.Array
    distance: jax.Array
    found: jax.Array


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Find:
    """A point as judged, and its distance if it is adversarial (else inf)."""

    result: AttackResult
    distance: jax.Array


def gauge_ball(region: Region) -> LpBall:
    """The ball whose norm measures distances in the region; boxes and products are l_inf balls.

    Raises:
      InvalidInputError: a product with a part of another norm.
    """
    if isinstance(region, LpBall):
        return region
    if isinstance(region, Box):
        return LpBall(region.center, 0.5 * region.upper - 0.5 * region.lower)
    balls = [gauge_ball(part) for part in region.members]
    if any(ball.norm != math.inf for ball in balls):
        raise InvalidInputError(
            "A minimal distance needs one norm: over a product it is that of l_inf balls and boxes. "
            "Use pgd, or a product of l_inf balls and boxes."
        )
    radius = [jnp.broadcast_to(ball.radius, ball.shape) for ball in balls]
    if all(ball.clip is None for ball in balls):
        return LpBall(region.center, joined(region, radius))
    low, high = zip(*(_ends(ball) for ball in balls), strict=True)
    return LpBall(
        region.center, joined(region, radius), (joined(region, list(low)), joined(region, list(high)))
    )


@dataclass(frozen=True)
class Judge:
    """Says how good a find a point is, for one network, region and label; `ball` measures distances."""

    answer: Answer
    region: Region
    ball: LpBall
    label: jax.Array

    def at(self, x: jax.Array, key: jax.Array) -> Find:
        """What the network says at `x`, a point of the clip range."""
        return self.of(x, *self.answer(x, key))

    def of(self, x: jax.Array, loss: jax.Array, logits: jax.Array) -> Find:
        """The same, where the answer is known."""
        result = judged(x, logits, loss, self.label)
        distance = measure(self.ball, x - self.ball.center)
        # Only an invalid region has no distance: it counts as wrong everywhere.
        distance = jnp.where(jnp.isnan(distance), 0.0, distance)
        return Find(result, jnp.where(result.success, distance, jnp.inf))

    def reaches(self, find: Find) -> jax.Array:
        """Whether the find is in the region, up to rounding: cheap, for the loops."""
        return find.distance <= self._limit()

    def share(self, find: Find) -> jax.Array:
        """How far out the find is, as a share of the region, at most 1."""
        limit = self._limit()
        return jnp.where(limit > 0, jnp.minimum(find.distance / jnp.where(limit > 0, limit, 1.0), 1.0), 1.0)

    def _limit(self) -> jax.Array:
        """The distance at which the region ends."""
        return jnp.ones((), self.ball.dtype) if self.ball.radius.ndim else self.ball.radius

    def center(self, key: jax.Array) -> Find:
        """The centre: a find where the network is wrong there, the placeholder of one elsewhere."""
        return self.at(project(self.region, self.region.center), key)

    def within(self, find: Find, center: Find, key: jax.Array) -> AttackResult:
        """The find as an attack on the region; one outside of it is moved in and judged again."""
        inside = find.result.success & contains(self.region, find.result.x)
        x = project_scaled(self.region, find.result.x)
        loss, logits = self.answer(x, key)
        moved = better(judged(x, logits, loss, self.label), center.result)
        return jax.tree.map(lambda a, b: jnp.where(inside, a, b), find.result, moved)


def nearer(new: Find, old: Find) -> Find:
    """The find at the smaller distance."""
    take = new.distance < old.distance
    return jax.tree.map(lambda a, b: jnp.where(take, a, b), new, old)


class Seeker(ABC):
    """An attack that looks for the nearest adversarial point, and so also attacks a region."""

    def _judge(self, fn: SomeNetwork, region: Region, label: ArrayLike) -> Judge:
        return Judge(answer_of(fn, margin_loss, region, label), region, gauge_ball(region), as_label(label))

    @abstractmethod
    def _seek(self, fn: SomeNetwork, judge: Judge, center: Find, key: jax.Array, fixed: bool) -> Find:
        """The nearest find; with `fixed` one inside the region will do."""

    def __call__(self, fn: SomeNetwork, region: Region, label: ArrayLike, *, key: jax.Array) -> AttackResult:
        """Attack one example inside its region."""
        self, region = held((self, region))
        center_key, key, last_key = jax.random.split(key, 3)
        fn, flat = flat_network(fn, region), flat_region(region)
        judge = self._judge(fn, flat, label)
        center = judge.center(center_key)
        find = self._seek(fn, judge, center, key, True)
        found = judge.within(find, center, last_key)
        return jax.lax.stop_gradient(replace(found, x=found.x.reshape(region.shape)))

    def nearest(self, fn: SomeNetwork, region: Region, label: ArrayLike, *, key: jax.Array) -> Nearest:
        """The nearest adversarial point found, inside the region or not."""
        self, region = held((self, region))
        center_key, key, _ = jax.random.split(key, 3)
        fn, flat = flat_network(fn, region), flat_region(region)
        judge = self._judge(fn, flat, label)
        find = self._seek(fn, judge, judge.center(center_key), key, False)
        x = find.result.x.reshape(region.shape)
        return jax.lax.stop_gradient(Nearest(x, find.distance, find.result.success))


def _ends(ball: LpBall) -> tuple[jax.Array, jax.Array]:
    """The clip range of every coordinate; infinite without one."""
    far = jnp.full((), jnp.inf, ball.dtype)
    low, high = (-far, far) if ball.clip is None else ball.clip
    return jnp.broadcast_to(low, ball.shape), jnp.broadcast_to(high, ball.shape)
