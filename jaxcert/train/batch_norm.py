"""Batch statistics of the clean batch, which clean, attacked and bounded passes then share.

In training a network is normalised by the statistics of the clean images of its batch. They are
computed once, by one pass over the batch; everything per example (the clean loss, the attack, the
bounds) then uses them as constants of the network, through which gradients flow. So bounds hold
for exactly the network whose loss is reported.
"""

from typing import Any

import flax.linen as nn
import jax

from jaxcert.errors import ConfigError

COLLECTION = "batch_stats"


def clean_batch_state(model: nn.Module, variables: dict[str, Any], images: jax.Array) -> dict[str, Any]:
    """The collections besides parameters with batch statistics of `images` [B, ...] alone.

    A module with batch norm has two fields that it hands to its `nn.BatchNorm` layers,
    `use_running_average: bool = True` and `momentum: float`; with momentum 0 the "running" mean
    of a pass is the batch's own. Without batch statistics this returns the collections as they are.

    Raises:
      ConfigError: the network has batch statistics but not these two fields.
    """
    state = {name: value for name, value in variables.items() if name != "params"}
    if COLLECTION not in state:
        return state
    _require_fields(model)
    training = model.clone(use_running_average=False, momentum=0.0)
    _, updated = training.apply(variables, images, mutable=[COLLECTION])
    return {**state, COLLECTION: updated[COLLECTION]}


def running_state(model: nn.Module, old: dict[str, Any], batch: dict[str, Any]) -> dict[str, Any]:
    """`momentum * old + (1 - momentum) * batch` for batch statistics, used in evaluation."""
    if COLLECTION not in old:
        return old
    _require_fields(model)
    momentum = getattr(model, "momentum")  # noqa: B009 - a field of the user's module, not of nn.Module
    average = jax.tree.map(
        lambda before, now: momentum * before + (1.0 - momentum) * now, old[COLLECTION], batch[COLLECTION]
    )
    return {**old, COLLECTION: average}


def _require_fields(model: nn.Module) -> None:
    if not (hasattr(model, "use_running_average") and hasattr(model, "momentum")):
        raise ConfigError(
            f"{type(model).__name__} has batch statistics but not the fields use_running_average and "
            "momentum: add them and pass them to its nn.BatchNorm layers."
        )
