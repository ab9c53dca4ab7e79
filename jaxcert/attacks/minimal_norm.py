"""The smallest eps at which an attack still succeeds, by bisection."""

from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxcert.attacks.answer import answer_of, as_label
from jaxcert.attacks.nearest import Nearest, SomeNetwork
from jaxcert.attacks.objectives import margin_loss
from jaxcert.attacks.result import judged
from jaxcert.attacks.settings import require_count
from jaxcert.regions import LpBall, Product, Region, scaled
from jaxcert.regions.contain import gauge
from jaxcert.regions.nearest import measure
from jaxcert.regions.product import split
from jaxcert.regions.project import project


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class MinimalNorm:
    """Bisection over the radius of an attack; see `minimal_norm`."""

    attack: Any
    steps: int = field(metadata={"static": True})

    def nearest(self, fn: SomeNetwork, region: Region, label: ArrayLike, *, key: jax.Array) -> Nearest:
        """The nearest adversarial point found inside the region; see `minimal_norm`."""
        region = jax.lax.stop_gradient(region)
        center_key, key = jax.random.split(key)
        x = project(region, region.center)
        loss, logits = answer_of(fn, margin_loss, region, label)(x, center_key)
        wrong = judged(x, logits, loss, as_label(label)).success
        clean = jnp.where(wrong, 0.0, jnp.inf).astype(region.dtype)

        def attempt(state):
            index, low, high, best = state
            # The whole region first: an attack that fails there ends the search.
            factor = jnp.where(index == 0, 1.0, 0.5 * low + 0.5 * high).astype(region.dtype)
            now = jax.random.fold_in(key, index)
            found = self.attack(fn, scaled(region, factor), label, key=now)
            reached = jnp.minimum(_factor(region, found.x), factor)
            high = jnp.where(found.success, reached, high)
            low = jnp.where(found.success | (index == 0), low, factor)
            new = Nearest(found.x, _distance(region, found.x), found.success)
            take = found.success & (new.distance < best.distance)
            return index + 1, low, high, jax.tree.map(lambda a, b: jnp.where(take, a, b), new, best)

        def more(state):
            index, _, _, best = state
            return (index <= self.steps) & (best.distance > 0) & ((index == 0) | best.found)

        zero, one = jnp.zeros((), region.dtype), jnp.ones((), region.dtype)
        start = jnp.zeros((), jnp.int32), zero, one, Nearest(x, clean, wrong)
        return jax.lax.stop_gradient(jax.lax.while_loop(more, attempt, start)[-1])


def minimal_norm(attack: Any, steps: int = 10) -> MinimalNorm:
    """The nearest adversarial point that a fixed-eps attack finds, by bisection over the radius.

    `minimal_norm(pgd()).nearest(fn, region, label, key=key)` returns a `Nearest`. The attack is run on
    the region first and then on `scaled` ones; every success moves the upper end of the bracket to
    the point that was found, every failure the lower one to the radius that was tried, although
    an attack that fails proves nothing. The distance is that of the point: an upper bound of the minimal
    one, inside the region; nothing is found where the attack fails on the whole region. Estimate: it never
    certifies. FAB and `deepfool` look for the nearest point directly.

    Args:
      attack: any attack, `attack(fn, region, label, key=key) -> AttackResult`.
      steps: halvings after the first attack, static, at least 1: the bracket ends `eps / 2^steps` wide.

    Raises:
      InvalidInputError: a region without a radius (boxes), steps, and what the attack raises.

    Cost: at most `steps + 1` attacks, one after the other.

    Source: theses/4a (3.13), the problem; bisection as in `certified_radius`.

    >>> import jax, jax.numpy as jnp
    >>> from jaxcert.attacks import minimal_norm, pgd
    >>> from jaxcert.regions import linf_ball
    >>> fn = lambda x: jnp.stack([x[0] + x[1], jnp.array(0.0)])
    >>> found = minimal_norm(pgd(5)).nearest(fn, linf_ball(jnp.ones(2), 3.0), 0, key=jax.random.key(0))
    >>> round(float(found.distance), 2)
    1.0
    """
    require_count(steps, "steps")
    return MinimalNorm(attack, int(steps))


def _distance(region: Region, x: jax.Array) -> jax.Array:
    """As `Nearest` has it; only an invalid region has none, and counts as wrong everywhere."""
    if isinstance(region, LpBall):
        distance = measure(region, x - region.center)
    else:
        distance = _factor(region, x)
    return jnp.where(jnp.isnan(distance), 0.0, distance)


def _factor(region: Region, x: jax.Array) -> jax.Array:
    """The multiple of the radius at which `x` lies."""
    if isinstance(region, Product):
        pieces = zip(region.members, split(region, x), strict=True)
        return jnp.max(jnp.stack([_factor(part, piece) for part, piece in pieces]))
    assert isinstance(region, LpBall)
    return gauge(x - region.center, region.radius, region.norm)
