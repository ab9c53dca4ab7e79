"""Auto-PGD: projected gradient ascent with momentum that chooses its step size itself."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxcert.attacks.answer import Answer, Network, answer_of, as_label
from jaxcert.attacks.attempts import best_of, better
from jaxcert.attacks.expectation import Expectation
from jaxcert.attacks.flat import flat_network, flat_region
from jaxcert.attacks.objectives import Anchored, Objective, cross_entropy
from jaxcert.attacks.pace import Halving, News, Sparse
from jaxcert.attacks.result import AttackResult, judged, nothing_yet
from jaxcert.attacks.settings import held, require_count
from jaxcert.attacks.start import Start, random_start
from jaxcert.errors import InvalidInputError
from jaxcert.regions import LpBall, Region, scaled
from jaxcert.regions.project import project, project_scaled

Place = Callable[[jax.Array], jax.Array]
"""`key -> x`: where a run begins, as a vector."""
_WIDENED = ((3.0, 0.3), (2.0, 0.3))


class Climb(NamedTuple):
    """Where a run stands: this point and the one before, the highest one, and the best find."""

    index: jax.Array
    x: jax.Array
    before: jax.Array
    loss: jax.Array
    gradient: jax.Array
    highest: jax.Array
    peak: jax.Array
    steepest: jax.Array  # the gradient at the peak
    pace: Any
    found: AttackResult


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Apgd:
    """Auto-PGD; made by `apgd`, which explains the fields."""

    start: Start | None
    steps: int = field(metadata={"static": True})
    restarts: int = field(metadata={"static": True})
    loss: Objective | Anchored = field(metadata={"static": True})
    rho: float = field(metadata={"static": True})
    widened: bool = field(metadata={"static": True})
    early_stop: bool = field(metadata={"static": True})

    def __call__(
        self, fn: Network | Expectation, region: Region, label: ArrayLike, *, key: jax.Array
    ) -> AttackResult:
        """Attack one example; see `apgd`."""
        self, region = held((self, region))
        if self.widened and not _is_l1(region):
            raise InvalidInputError(
                "widened=True is for l_1 balls: leave it out, or build the region with l1_ball."
            )
        start = _default_start(region) if self.start is None else self.start
        place = lambda key: start(region, key=key).reshape(flat.shape)
        flat = flat_region(region)
        answer = answer_of(flat_network(fn, region), self.loss, flat, label)
        label = as_label(label)

        def restart(index):
            return self._run(answer, flat, label, jax.random.fold_in(key, index), place)

        nothing = nothing_yet(answer, flat, key)
        found = best_of(restart, self.restarts, nothing, early_stop=self.early_stop, replace_first=True)
        found = replace(found, x=found.x.reshape(region.shape))
        return jax.lax.stop_gradient(found)

    def _run(
        self, answer: Answer, region: Region, label: jax.Array, key: jax.Array, place: Place
    ) -> AttackResult:
        left, warm = self.steps, False
        for factor, share in _WIDENED if self.widened else ():
            # The last radius gets at least one step.
            steps = min(max(round(share * self.steps), 1), left - 1)
            if steps:
                wide = scaled(region, factor)
                # A user's own start lies in the region itself, the usual one fills the wider ball.
                first = place if warm or self.start is not None else _default_in(wide)
                now = jax.random.fold_in(key, left)
                # A success out there is none, so nothing stops early.
                x = replace(self, early_stop=False)._climb(answer, wide, label, now, first, steps, warm).peak
                place, left, warm = (lambda key, x=x: x), left - steps, True
        return self._climb(answer, region, label, key, place, left, warm).found

    def _climb(
        self,
        answer: Answer,
        region: Region,
        label: jax.Array,
        key: jax.Array,
        place: Place,
        steps: int,
        warm: bool,
    ) -> Climb:
        look = jax.value_and_grad(answer, has_aux=True)
        pace = Sparse(steps, warm) if _is_l1(region) else Halving(steps, self.rho)

        def more(at: Climb):
            going = at.index < steps
            return going & ~at.found.success if self.early_stop else going

        def step(at: Climb) -> Climb:
            far = project_scaled(region, at.x + pace.move(at.pace, region, at.x, at.gradient))
            x = far
            if pace.momentum:
                share = jnp.where(at.index > 0, jnp.asarray(pace.momentum, region.dtype), 0)
                x = at.x + (1 - share) * (far - at.x) + share * (at.x - at.before)
                x = project_scaled(region, x)
            (loss, logits), gradient = look(x, jax.random.fold_in(key, at.index + 1))
            found = better(judged(x, logits, loss, label), at.found)
            higher = loss > at.highest
            highest = jnp.where(higher, loss, at.highest)
            peak = jnp.where(higher, x, at.peak)
            steepest = jnp.where(higher, gradient, at.steepest)
            state, back = pace.adapt(at.pace, region, News(at.index, loss > at.loss, highest, peak))
            here, slope = jnp.where(back, peak, x), jnp.where(back, steepest, gradient)
            return Climb(at.index + 1, here, at.x, loss, slope, highest, peak, steepest, state, found)

        x = project(region, place(key))
        (loss, logits), gradient = look(x, key)
        first = jnp.where(jnp.isnan(loss), -jnp.inf, loss)
        climb = Climb(
            index=jnp.zeros((), jnp.int32),
            x=x,
            before=x,
            loss=first,
            gradient=gradient,
            highest=first,
            peak=x,
            steepest=gradient,
            pace=pace.start(region, x, first),
            found=judged(x, logits, loss, label),
        )
        return jax.lax.while_loop(more, step, climb)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class NormalStart:
    """Begins at the point of the region nearest to the centre plus normal noise of deviation 1."""

    def __call__(self, region: Region, *, key: jax.Array) -> jax.Array:
        return project(region, region.center + jax.random.normal(key, region.shape, region.dtype))


def apgd(
    steps: int = 100,
    restarts: int = 1,
    loss: Objective | Anchored = cross_entropy,
    start: Start | None = None,
    rho: float = 0.75,
    widened: bool = False,
    early_stop: bool = True,
) -> Apgd:
    """Auto-PGD inside a region: no step size to choose. `attack(fn, region, label, key=key)`.

    A step of momentum `x + 0.75 (z - x) + 0.25 (x - x_before)` with `z` the projected gradient step; the
    step begins at twice the radius and is halved at checkpoints as `pace.Halving` says, l_1 balls follow
    `pace.Sparse`, without momentum. `fn`, `region`, `label`, the result and its soundness as for `pgd`: an
    estimate from below of the worst case, which never certifies. Boxes count as l_inf balls; every
    part of a product moves in its own set, with one step size for all.

    Args:
      steps: gradient steps from each start, static.
      restarts: starts, each with its own key, one after the other, static.
      loss: the objective, static: `cross_entropy`, `dlr`, `margin_loss`, ... or your own. For targeted
        attacks see `multi_targeted`.
      start: where to begin; `None` means `random_start()`, in l_1 normal noise projected into the ball.
      rho: share of rising steps at or below which the step is halved, static.
      widened: l_1 only, static: the first 30 % of the steps in the ball of three times the radius, the
        next 30 % in that of twice the radius.
      early_stop: stop at the first misclassified point (AutoAttack), static. `False` looks for the
        highest loss with all steps, as in training or to compare losses.

    Raises:
      InvalidInputError: see `pgd`; steps or restarts below 1, `rho` outside [0, 1], `widened` in
        another region than an l_1 ball.

    Cost: `restarts * (steps + 1)` gradients.

    Source: Croce and Hein 2020 (Auto-PGD), as quoted in theses/1 M4 and theses/4b A6; l_1: the same
    authors 2021. Unlike theirs, the l_2 projection is the exact one onto ball and clip range together.

    >>> import jax, jax.numpy as jnp
    >>> from jaxcert.attacks import apgd
    >>> from jaxcert.regions import linf_ball
    >>> fn = lambda x: jnp.stack([x[0] - x[1], x[1]])
    >>> found = apgd(10)(fn, linf_ball(jnp.array([1.0, 0.0]), 0.2), 0, key=jax.random.key(0))
    >>> bool(found.success), round(float(found.margin), 4)
    (False, 0.4)
    """
    require_count(steps, "steps")
    require_count(restarts, "restarts")
    if not 0 <= rho <= 1:
        raise InvalidInputError(f"rho must lie in [0, 1], got {rho}: it is a share of the steps.")
    return Apgd(start, int(steps), int(restarts), loss, float(rho), widened, early_stop)


def _is_l1(region: Region) -> bool:
    return isinstance(region, LpBall) and region.norm == 1


def _default_in(region: Region) -> Place:
    start = _default_start(region)
    return lambda key: start(region, key=key)


def _default_start(region: Region) -> Start:
    return NormalStart() if _is_l1(region) else random_start()
