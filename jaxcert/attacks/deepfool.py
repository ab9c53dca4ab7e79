"""DeepFool: straight to the nearest linearised boundary, again and again until the class changes."""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxcert.attacks.boundary import boundary_of
from jaxcert.attacks.nearest import Find, Judge, Seeker, SomeNetwork, nearer
from jaxcert.attacks.objectives import Objective
from jaxcert.attacks.settings import require_count, require_number
from jaxcert.regions.nearest import clipped, towards_hyperplane


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class DeepFool(Seeker):
    """DeepFool; see `deepfool`."""

    overshoot: ArrayLike
    steps: int = field(metadata={"static": True})
    loss: Objective | None = field(metadata={"static": True})

    def _seek(self, fn: SomeNetwork, judge: Judge, center: Find, key: jax.Array, fixed: bool) -> Find:
        ball = judge.ball
        boundary = boundary_of(fn, self.loss, judge.region, ball, judge.label)
        reach = 1 + jnp.asarray(self.overshoot, ball.dtype)
        beyond = lambda moved: clipped(ball, ball.center + reach * moved)

        def step(state):
            index, moved, best = state
            keys = jax.random.split(jax.random.fold_in(key, index))
            x = beyond(moved)
            value, gradient = boundary(x, keys[0])
            farther = moved + towards_hyperplane(ball, x, gradient, value)
            moved = jnp.where(jnp.all(jnp.isfinite(farther)), farther, moved)
            return index + 1, moved, nearer(judge.at(beyond(moved), keys[1]), best)

        more = lambda state: (state[0] < self.steps) & jnp.isinf(state[2].distance)
        start = jnp.zeros((), jnp.int32), jnp.zeros_like(ball.center), center
        return jax.lax.while_loop(more, step, start)[2]


def deepfool(steps: int = 50, overshoot: ArrayLike = 0.02, loss: Objective | None = None) -> DeepFool:
    """DeepFool: moves to the linearised decision boundary that looks nearest until the class changes.

    Called as `attack(fn, region, label, key=key)`: succeeds if the point found lies in the region, or
    is still adversarial after it was moved in. `attack.nearest(fn, region, label, key=key)`
    returns a `Nearest`: an upper bound of the minimal distance, within `overshoot` of it on linear
    networks. Estimates: neither certifies; FAB finds nearer points. Norm (any p; the source has 2 and
    infinity), clip range and regions as `fab`.

    Args:
      steps: most steps, static, at least 1.
      overshoot: how far past the boundary the point is placed, as a share of the way there, at least 0,
        may be traced.
      loss: as in `fab`.

    Raises:
      InvalidInputError: as `fab`.

    Cost: per step K gradients (with a loss: one), one forward pass and a projection. The key serves
    randomised networks only.

    Source: Moosavi-Dezfooli, Fawzi and Frossard 2016 (DeepFool), Algorithm 2; the clip range is respected
    at every step here, not only at the end.

    >>> import jax, jax.numpy as jnp
    >>> from jaxcert.attacks import deepfool
    >>> from jaxcert.regions import l2_ball
    >>> fn = lambda x: jnp.stack([3 * x[0] + 4 * x[1], jnp.array(0.0)])
    >>> ball = l2_ball(jnp.array([1.0, 0.5]), 1.2)
    >>> round(float(deepfool().nearest(fn, ball, 0, key=jax.random.key(0)).distance), 2)
    1.02
    """
    require_count(steps, "steps")
    require_number(overshoot, "overshoot", "at least 0", lambda value: 0 <= value < float("inf"))
    return DeepFool(overshoot, int(steps), loss)
