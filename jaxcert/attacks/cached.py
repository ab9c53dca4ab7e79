"""Perturbations kept from epoch to epoch: one step a time, each from where the last one ended."""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxcert.attacks.answer import Network
from jaxcert.attacks.expectation import Expectation
from jaxcert.attacks.objectives import Anchored, Objective, cross_entropy
from jaxcert.attacks.pgd import pgd
from jaxcert.attacks.result import AttackResult
from jaxcert.attacks.start import start_at
from jaxcert.errors import InvalidInputError
from jaxcert.regions import Region
from jaxcert.regions.sample import sample


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Cached:
    """What is remembered of one example.

    Attributes:
      delta: `x - center`, shaped like the input, in input units.
    """

    delta: jax.Array


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Atta:
    """One step from the remembered perturbation; see `atta`."""

    step_size: ArrayLike
    loss: Objective | Anchored = field(metadata={"static": True})

    def init(self, region: Region, *, key: jax.Array) -> Cached:
        """The first perturbation: a random point of the region (`regions.sample`) minus its centre."""
        return Cached(random_delta(region, key=key))

    def __call__(
        self, fn: Network | Expectation, region: Region, label: ArrayLike, cached: Cached, *, key: jax.Array
    ) -> tuple[AttackResult, Cached]:
        """Attack one example and remember the perturbation; see `atta`."""
        require_shape(region, cached.delta)
        start = start_at(region.center + cached.delta)
        step = pgd(1, step_size=self.step_size, loss=self.loss, start=start, keep_best=False)
        result = step(fn, region, label, key=key)
        return result, Cached(delta_of(result, region, cached.delta))


def atta(step_size: ArrayLike = 0.5, loss: Objective | Anchored = cross_entropy) -> Atta:
    """Attacks that go on from epoch to epoch: `result, cached = attack(fn, region, label, cached, key=key)`.

    `cached = attack.init(region, key=key)` is the first perturbation, random; every call projects
    `center + delta` into the region, takes one step of `pgd` and returns the point after it together
    with its perturbation. Pure: the caller keeps the state, one `Cached` per training example, and
    indexes it by the example. Starting afresh every so many epochs (the reset period of the works: 10,
    or never) means calling `init` again. Estimate from below of the worst case; it never certifies.

    With random crops and flips the perturbation lives on the padded canvas: initialise it there,
    `crop_cached` before the step, `paste_cached` after it (`attacks.canvas`).

    Args:
      step_size: length of the step in units of eps (of the half-width for boxes), may be traced;
        0.5 is the works' 4/255 at eps = 8/255.
      loss: the objective to climb, static.

    Returns:
      For one example an `AttackResult` as `pgd(1)` gives it, and the new `Cached`. Where the region is
      invalid the old perturbation stays.

    Raises:
      InvalidInputError: a perturbation not shaped like the region, and as `pgd`.

    Cost: one gradient and one forward pass; memory of one input per training example.
    Source: theses/4b A5; Algorithms 4.1, 5.2, 5.3.

    >>> import jax, jax.numpy as jnp
    >>> from jaxcert.attacks import atta
    >>> from jaxcert.regions import linf_ball
    >>> attack, key = atta(step_size=0.5), jax.random.key(0)
    >>> fn = lambda x: jnp.stack([x[0], x[1]])
    >>> region = linf_ball(jnp.array([1.0, 0.0]), 0.2)
    >>> cached = attack.init(region, key=key)
    >>> for epoch in range(4):
    ...     result, cached = attack(fn, region, 0, cached, key=key)
    >>> [round(value, 4) for value in cached.delta.tolist()]
    [-0.2, 0.2]
    """
    return Atta(step_size, loss)


def random_delta(region: Region, *, key: jax.Array) -> jax.Array:
    """A random point of the region minus its centre."""
    return jax.lax.stop_gradient(sample(region, key=key) - region.center)


def delta_of(result: AttackResult, region: Region, old: jax.Array) -> jax.Array:
    """The perturbation of the result; the old one where there is none, so that NaN is not kept for ever."""
    delta = result.x - jax.lax.stop_gradient(region.center)
    return jnp.where(jnp.all(jnp.isfinite(delta)), delta, jax.lax.stop_gradient(old))


def require_shape(region: Region, delta: jax.Array) -> None:
    """Raises InvalidInputError unless the perturbation is shaped like the region."""
    if delta.shape != region.shape:
        raise InvalidInputError(
            f"The cached perturbation has shape {delta.shape} and the region {region.shape}: build it with "
            "init, and cut the window out of a padded canvas with crop_cached."
        )
