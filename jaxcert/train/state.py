"""Everything that changes during training, as one pytree."""

from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TrainState:
    """The state of a run after `step` updates.

    Attributes:
      step: int32 scalar, number of updates made.
      params: the network's parameters.
      model_state: its other collections, such as `{"batch_stats": ...}`; empty without any.
      opt_state: the optimiser's state.
      key: typed PRNG key of the run; it never changes, a step folds its number into it.
    """

    step: jax.Array
    params: Any
    model_state: Any
    opt_state: Any
    key: jax.Array

    @property
    def variables(self) -> dict[str, Any]:
        """What `model.apply` takes: parameters and the other collections."""
        return {"params": self.params, **self.model_state}


def initial_state(
    model: nn.Module, optimizer: optax.GradientTransformation, image: jax.Array, *, key: jax.Array
) -> TrainState:
    """The state before the first update; the parameters depend on `key` and the shape of `image` only.

    >>> import jax, jax.numpy as jnp, optax
    >>> state = initial_state(nn.Dense(2), optax.sgd(0.1), jnp.zeros(3), key=jax.random.key(0))
    >>> int(state.step), state.params["kernel"].shape
    (0, (3, 2))
    """
    init_key, run_key = jax.random.split(key)
    variables = dict(model.init(init_key, image))
    params = variables.pop("params")
    return TrainState(jnp.zeros((), jnp.int32), params, variables, optimizer.init(params), run_key)
