"""One update of a network: pure functions of (state, images, labels)."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from jaxcert.chunking import mean_gradient
from jaxcert.train.batch_norm import clean_batch_state, running_state
from jaxcert.train.objectives import ExampleLoss, Levels, Objective
from jaxcert.train.schedules import Schedule
from jaxcert.train.state import TrainState

Metrics = dict[str, jax.Array]
Step = Callable[[TrainState, ArrayLike, ArrayLike], tuple[TrainState, Metrics]]
Augment = Callable[..., jax.Array]

AVERAGED = tuple(field.name for field in fields(ExampleLoss))
"""Metrics that are means over the batch."""
LEVELS = ("eps", "kappa", "beta", "learning_rate")
"""Metrics that are the scheduled values of the step."""
METRICS = (*AVERAGED, "gradient_norm", *LEVELS)
"""All metrics of a step."""


@dataclass(frozen=True)
class Recipe:
    """A training method: what is minimised, and how its levels change with the step.

    Attributes:
      objective: loss of one example.
      eps, kappa, beta, learning_rate: schedules; the last is for reports, the optimiser has
        its own copy.
    """

    objective: Objective
    eps: Schedule
    kappa: Schedule
    beta: Schedule
    learning_rate: Schedule

    def levels(self, step: jax.Array | int) -> Levels:
        return Levels(self.eps(step), self.kappa(step), self.beta(step))


def make_step(
    model: nn.Module,
    recipe: Recipe,
    optimizer: optax.GradientTransformation,
    *,
    augment: Augment | None = None,
) -> Step:
    """A pure function `step(state, images, labels) -> (state, metrics)`, to be jitted once by the caller.

    Args:
      model: linen module from one example to logits `[K]`; with batch norm see `batch_norm`.
      recipe: the method. Its levels are computed from `state.step`, so nothing retraces when they change.
      optimizer: an Optax transformation.
      augment: `augment(image, key=key) -> image`, or None.

    Returns:
      `step`: takes images `[B, ...]` in the network's input units and integer labels `[B]`;
      metrics is a dictionary of the scalars named in `METRICS`: means over the batch
      (`AVERAGED`; errors are shares in [0, 1]), the norm of the gradient before clipping, and
      the scheduled `LEVELS`. A label out of range or an image outside [0, 1] makes the loss NaN.
      Randomness is drawn from `state.key` and `state.step` only.
    """

    def step(state: TrainState, images: ArrayLike, labels: ArrayLike) -> tuple[TrainState, Metrics]:
        images, labels = jnp.asarray(images), jnp.asarray(labels)
        augment_key, objective_key = jax.random.split(jax.random.fold_in(state.key, state.step))
        if augment is not None:
            images = _augmented(augment, images, augment_key)
        keys = jax.random.split(objective_key, images.shape[0])
        levels = jax.tree.map(lambda level: level.astype(images.dtype), recipe.levels(state.step))

        # The batch's statistics depend on the parameters too: their part of the gradient is pulled back.
        batch_state, pull_back = jax.vjp(
            lambda params: clean_batch_state(model, {"params": params, **state.model_state}, images),
            state.params,
        )

        def loss(
            variables: Any, x: jax.Array, label: jax.Array, key: jax.Array
        ) -> tuple[jax.Array, ExampleLoss]:
            params, rest = variables
            found = recipe.objective(model.apply, {"params": params, **rest}, x, label, levels, key=key)
            return found.loss, found

        (_, means), (direct, through) = mean_gradient(loss, (state.params, batch_state), images, labels, keys)
        gradient = jax.tree.map(jnp.add, direct, *pull_back(through))
        # Optax mixes integer counts with floats, which a caller's strict promotion would refuse.
        with jax.numpy_dtype_promotion("standard"):
            updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
        metrics = {
            **{name: getattr(means, name) for name in AVERAGED},
            "gradient_norm": _norm(gradient),
            "eps": levels.eps,
            "kappa": levels.kappa,
            "beta": levels.beta,
            "learning_rate": recipe.learning_rate(state.step),
        }
        new = replace(
            state,
            step=state.step + 1,
            params=optax.apply_updates(state.params, updates),
            model_state=running_state(model, state.model_state, batch_state),
            opt_state=opt_state,
        )
        return new, metrics

    return step


def _augmented(augment: Augment, images: jax.Array, key: jax.Array) -> jax.Array:
    keys = jax.random.split(key, images.shape[0])
    return jax.vmap(lambda image, key: augment(image, key=key))(images, keys)


def _norm(tree: Any) -> jax.Array:
    return jnp.sqrt(sum(jnp.sum(leaf * leaf) for leaf in jax.tree.leaves(tree)))
