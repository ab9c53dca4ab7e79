"""Projected gradient ascent on the loss inside a region."""

from collections.abc import Callable
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.typing import ArrayLike

from jaxcert.attacks.direction import steepest_ascent, uphill
from jaxcert.attacks.objectives import cross_entropy
from jaxcert.attacks.result import AttackResult, judged, worse_for_network
from jaxcert.attacks.start import Start, random_start
from jaxcert.errors import InvalidInputError
from jaxcert.regions import LpBall, Product, Region, flattened
from jaxcert.regions.project import project_scaled

Network = Callable[..., jax.Array]
Objective = Callable[[jax.Array, jax.Array], jax.Array]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Pgd:
    """Projected gradient ascent; made by `pgd`, `fgsm` and `fgsm_rs`, which explain the fields."""

    step_size: ArrayLike | None
    start: Start
    steps: int = field(metadata={"static": True})
    restarts: int = field(metadata={"static": True})
    loss: Objective = field(metadata={"static": True})
    keep_best: bool = field(metadata={"static": True})

    def __call__(self, fn: Network, region: Region, label: ArrayLike, *, key: jax.Array) -> AttackResult:
        """Attack one example; see `pgd`."""
        given, label = label, _as_label(label)
        region = jax.lax.stop_gradient(region)
        answer = _frozen(flattened(fn, region), self.loss, region, label)
        _check_range(given, answer, region)
        return jax.lax.stop_gradient(self._from_all_starts(answer, region, label, key))

    def _from_all_starts(self, answer, region: Region, label: jax.Array, key: jax.Array) -> AttackResult:
        def restart(index, best):
            return _better(
                self._ascend(answer, region, label, jax.random.fold_in(key, index)), best, index == 0
            )

        return jax.lax.fori_loop(0, self.restarts, restart, _nothing_yet(answer, region))

    def _ascend(self, answer, region: Region, label: jax.Array, key: jax.Array) -> AttackResult:
        climb = jax.value_and_grad(answer, has_aux=True)
        chosen = _default_step(region, self.steps) if self.step_size is None else self.step_size
        step_size = jnp.asarray(chosen, region.dtype)
        move = steepest_ascent if self.steps == 1 else uphill

        def step(index, carry):
            x, best = carry
            (loss, logits), gradient = climb(x)
            if self.keep_best:
                best = _better(judged(x, logits, loss, label), best, index == 0)
            return project_scaled(region, x + move(region, x, gradient, step_size)), best

        first = self.start(region, key=key), _nothing_yet(answer, region)
        x, best = jax.lax.fori_loop(0, self.steps, step, first)
        loss, logits = answer(x)
        return _better(judged(x, logits, loss, label), best, not self.keep_best)


def pgd(
    steps: int = 40,
    restarts: int = 1,
    step_size: ArrayLike | None = None,
    loss: Objective = cross_entropy,
    start: Start | None = None,
    keep_best: bool = True,
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
        `margin_loss`, `targeted_margin(k)` or your own.
      start: `random_start()` (the default), `center_start()` or `start_at(x)`.
      keep_best: return the best of all points visited, the first and the last of each start
        included: a misclassified one first, then the highest loss (theses/4b section 8, item
        8). `False` returns the last point of each start and saves the bookkeeping.

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
    _require_count(steps, "steps")
    _require_count(restarts, "restarts")
    step_size = None if step_size is None else _as_step(step_size)
    start = random_start() if start is None else start
    return Pgd(step_size, start, int(steps), int(restarts), loss, keep_best)


def _frozen(fn: Network, loss: Objective, region: Region, label: jax.Array):
    """`x -> (loss, logits)` with everything that `fn` closes over held constant.

    The parameters inside `fn` may be differentiated by the caller. Hoisting and stopping them
    keeps that differentiation out of the loop, where it would store every step for nothing.
    """
    example = jax.ShapeDtypeStruct(region.shape, region.dtype)
    network, parameters = jax.closure_convert(fn, example)
    parameters = jax.lax.stop_gradient(parameters)

    def answer(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        logits = network(x, *parameters)
        return loss(logits, label), logits

    logits = jax.eval_shape(lambda x: network(x, *parameters), example)
    if len(logits.shape) != 1 or logits.shape[0] < 2:
        raise InvalidInputError(
            f"An attack needs a function that maps one example to logits [K] with K >= 2, but it returned "
            f"shape {logits.shape}; remove the batch axis inside it and use jax.vmap outside."
        )
    value = jax.eval_shape(lambda x: answer(x)[0], example)
    if value.shape != ():
        raise InvalidInputError(
            f"An attack's loss must be a scalar per example, but got shape {value.shape}."
        )
    return answer


def _better(new: AttackResult, old: AttackResult, always: jax.Array | bool) -> AttackResult:
    take = worse_for_network(new, old) | always
    return jax.tree.map(lambda a, b: jnp.where(take, a, b), new, old)


def _nothing_yet(answer, region: Region) -> AttackResult:
    """A place for the best point, of the right types; the first point visited replaces it."""
    loss, logits = jax.eval_shape(answer, jax.ShapeDtypeStruct(region.shape, region.dtype))
    nan = jnp.full((), jnp.nan)
    x = jnp.full(region.shape, jnp.nan, region.dtype)
    return AttackResult(x, jnp.asarray(False), nan.astype(loss.dtype), nan.astype(logits.dtype))


def _as_label(label: ArrayLike) -> jax.Array:
    label = jnp.asarray(label)
    if label.ndim != 0 or not jnp.issubdtype(label.dtype, jnp.integer):
        raise InvalidInputError(
            f"An attack takes the label of one example, an integer scalar, but got shape {label.shape} of "
            f"type {label.dtype}; use jax.vmap over a batch."
        )
    return label.astype(jnp.int64 if label.dtype.itemsize == 8 else jnp.int32)


def _check_range(label: ArrayLike, answer, region: Region) -> None:
    if isinstance(label, Tracer):
        return
    _, logits = jax.eval_shape(answer, jax.ShapeDtypeStruct(region.shape, region.dtype))
    # numpy, not jax.numpy: under jit even a constant becomes a tracer once JAX has touched it.
    if not 0 <= int(np.asarray(label)) < logits.shape[0]:
        raise InvalidInputError(
            f"The label is {label}, but the network has classes 0 to {logits.shape[0] - 1}; check the data."
        )


def _require_count(value: int, name: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise InvalidInputError(f"{name} must be an integer of at least 1, got {value!r}.")


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
