"""Projected gradient ascent on the loss inside a region."""

from dataclasses import dataclass, field, replace

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.typing import ArrayLike

from jaxcert.attacks.answer import Answer, Network, answer_of, as_label
from jaxcert.attacks.attempts import best_of, better
from jaxcert.attacks.direction import steepest_ascent, uphill
from jaxcert.attacks.expectation import Expectation
from jaxcert.attacks.flat import flat_network, flat_region
from jaxcert.attacks.objectives import Anchored, Objective, cross_entropy
from jaxcert.attacks.proxy import GradientMap
from jaxcert.attacks.result import AttackResult, judged, nothing_yet
from jaxcert.attacks.settings import held, require_count
from jaxcert.attacks.start import Start, random_start
from jaxcert.errors import InvalidInputError
from jaxcert.regions import LpBall, Product, Region
from jaxcert.regions.project import project, project_scaled


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Pgd:
    """Projected gradient ascent; made by `pgd`, `ifgsm`, `fgsm` and `fgsm_rs`, which explain the fields."""

    step_size: ArrayLike | None
    start: Start
    gradient: GradientMap | None
    steps: int = field(metadata={"static": True})
    restarts: int = field(metadata={"static": True})
    loss: Objective | Anchored = field(metadata={"static": True})
    keep_best: bool = field(metadata={"static": True})
    early_stop: bool = field(metadata={"static": True})

    def __call__(
        self, fn: Network | Expectation, region: Region, label: ArrayLike, *, key: jax.Array
    ) -> AttackResult:
        """Attack one example; see `pgd`."""
        self, region = held((self, region))
        flat = flat_region(region)
        answer = answer_of(flat_network(fn, region), self.loss, flat, label)
        label = as_label(label)

        def restart(index):
            now = jax.random.fold_in(key, index)
            start = project(region, self.start(region, key=now)).reshape(flat.shape)
            return self._ascend(answer, flat, label, now, start)

        found = best_of(
            restart,
            self.restarts,
            nothing_yet(answer, flat, key),
            early_stop=self.early_stop,
            replace_first=True,
        )
        return jax.lax.stop_gradient(replace(found, x=found.x.reshape(region.shape)))

    def _ascend(
        self, answer: Answer, region: Region, label: jax.Array, key: jax.Array, start: jax.Array
    ) -> AttackResult:
        climb = jax.value_and_grad(answer, has_aux=True)
        chosen = _default_step(region, self.steps) if self.step_size is None else self.step_size
        step_size = jnp.asarray(chosen, region.dtype)
        move = steepest_ascent if self.steps == 1 else uphill

        def step(index, x, best):
            now = jax.random.fold_in(key, index)
            (loss, logits), gradient = climb(x, now)
            if self.gradient is not None:
                gradient = self.gradient(gradient, key=jax.random.fold_in(now, 1))
            if self.keep_best:
                best = better(judged(x, logits, loss, label), best, index == 0)
            return project_scaled(region, x + move(region, x, gradient, step_size)), best

        def more(state):
            index, _, best = state
            return (index < self.steps) & ~best.success if self.early_stop else index < self.steps

        def go_on(state):
            index, x, best = state
            return index + 1, *step(index, x, best)

        zero, nothing = jnp.zeros((), jnp.int32), nothing_yet(answer, region, key)
        _, x, best = jax.lax.while_loop(more, go_on, (zero, start, nothing))
        loss, logits = answer(x, jax.random.fold_in(key, self.steps))
        return better(judged(x, logits, loss, label), best, not self.keep_best)


def pgd(
    steps: int = 40,
    restarts: int = 1,
    step_size: ArrayLike | None = None,
    loss: Objective | Anchored = cross_entropy,
    start: Start | None = None,
    keep_best: bool = True,
    early_stop: bool = False,
    gradient: GradientMap | None = None,
) -> Pgd:
    """Projected gradient ascent inside a region: called as `attack(fn, region, label, key=key)`.

    `fn` maps one input to logits `[K]`, at its own precision; `region` gives norm, eps and clip;
    `label` is an integer 0..K-1; batches by `jax.vmap`. Each step adds `step_size` times the
    `steepest_ascent` and projects back, both in units of the radius (`project_scaled`), so
    that ellipsoids are climbed as balls are. Norms other than 1, 2 and infinity climb along the
    gradient (`uphill`). Over a product `fn` takes the pytree, every part moves by `step_size`, and
    `result.x` is the flat vector, for `regions.unpack`. The result is inside the region: exactly
    for boxes and l_inf, to rounding otherwise. Estimate from below of the worst case; it never
    certifies.

    Args:
      steps: gradient steps from each start, static, at least 1.
      restarts: how many starts, each with its own key `fold_in(key, i)`, static; they run one
        after the other, so memory does not grow.
      step_size: length of a step in units of eps (of the half-width for boxes), may be traced;
        `None` means `2.5 / steps`, for 1 < p < infinity at least 0.25: steps of total length 2.5 turn too
        little along the sphere (on clipped linear models they stop 4.6 % short of the optimum
        on average, steps of 0.25 eps 0.24 %). The works' settings: 0.25 (theses/2 A6, B.3.2;
        theses/4b 4.2), 0.2 (theses/4b 5.2), `0.01 / eps` (MNIST, theses/4b A3).
      loss: the objective to climb, `(logits, label) -> scalar`, static: `cross_entropy`,
        `margin_loss`, `dlr`, `kl_divergence()`, `targeted_margin(k)`, ... or your own.
      start: `random_start()` (the default), `center_start()` or `start_at(x)`.
      keep_best: return the best of all points visited, the first and the last of each start
        included: a misclassified one first, then the highest loss (theses/4b section 8, item
        8). `False` returns the last point of each start and saves the bookkeeping.
      early_stop: go on only until a misclassified point is found (with `keep_best`), static. The step
        from that point is still made, and the better of the two is returned. A batch ends when all its
        examples have fallen or used their steps.
      gradient: what is climbed in the place of the gradient, `(gradient, key=key) -> gradient`, such
        as `rotated_gradient`.

    Returns:
      An `AttackResult`. Gradients do not flow into it nor through the loop, so
      that training on `result.x` differentiates the loss at the worst point (Danskin).

    Raises:
      InvalidInputError: logits not of rank 1 or fewer than two classes, a loss that is not a
        scalar, a label that is not an integer scalar, and, where values are concrete, a label
        out of range. A traced bad label or an invalid region gives NaN loss and margin and
        `success=True`: it counts as an error, never as robustness. So does an answer that is not finite.

    Cost: `restarts * (steps` gradients and one forward pass`)`.

    Source: theses/4b A3, theses/4a 1.2 (2), (3), theses/1 M3 (2.11, whose printed step is the raw
    gradient), theses/2 A5 (2.1.7, whose start is the clean input).

    >>> import jax, jax.numpy as jnp
    >>> from jaxcert.attacks import pgd
    >>> from jaxcert.regions import l2_ball
    >>> fn = lambda x: jnp.stack([x[0], x[1]])
    >>> result = pgd(steps=10)(fn, l2_ball(jnp.array([1.0, 0.0]), 0.5), 0, key=jax.random.key(0))
    >>> bool(result.success), round(float(result.margin), 3)
    (False, 0.293)
    """
    require_count(steps, "steps")
    require_count(restarts, "restarts")
    step_size = None if step_size is None else _as_step(step_size)
    start = random_start() if start is None else start
    if early_stop and not keep_best:
        raise InvalidInputError("early_stop looks at every point, so it needs keep_best=True.")
    return Pgd(step_size, start, gradient, int(steps), int(restarts), loss, keep_best, early_stop)


def _default_step(region: Region, steps: int) -> float:
    members = region.members if isinstance(region, Product) else (region,)
    curved = any(isinstance(part, LpBall) and 1 < part.norm < float("inf") for part in members)
    return max(2.5 / steps, 0.25) if curved else 2.5 / steps


def _as_step(step_size: ArrayLike) -> ArrayLike:
    if isinstance(step_size, Tracer):
        return step_size
    value = np.asarray(step_size)
    if value.ndim != 0 or not 0 < value < np.inf:
        raise InvalidInputError(f"step_size must be one positive number in units of eps, got {step_size}.")
    return step_size
