"""What an attack returns, and how a point is judged and compared."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from jaxcert.attacks.objectives import is_class, margin_loss
from jaxcert.regions import Region


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class AttackResult:
    """The worst point that an attack found for one example; no gradient flows through it.

    Attributes:
      x: the point, shaped like the input, inside the region.
      success: scalar bool, the network is wrong at `x`: the predicted class (`argmax`, the
        smallest index among equals) is not the label, or the margin is NaN or infinite. A network
        that answers NaN, a label that does not exist and an invalid region therefore count as
        errors, so that bad input never makes a network look robust. `False` proves nothing.
      loss: the attack's objective at `x`, scalar.
      margin: `logits[label] - max_{j != label} logits[j]` at `x`, scalar; NaN where the
        label does not exist. An upper bound of the worst margin over the region.
    """

    x: jax.Array
    success: jax.Array
    loss: jax.Array
    margin: jax.Array


def judged(x: jax.Array, logits: jax.Array, loss: jax.Array, label: jax.Array) -> AttackResult:
    """The point `x` as a result, given the network's answer there."""
    margin = -margin_loss(logits, label)
    is_label = is_class(logits, label)
    wrong, exists = ~jnp.any(is_label & is_class(logits, jnp.argmax(logits))), jnp.any(is_label)
    return AttackResult(x, wrong | ~jnp.isfinite(margin), jnp.where(exists, loss, jnp.nan), margin)


def nothing_yet(
    answer: Callable[[jax.Array, jax.Array], tuple[jax.Array, jax.Array]], region: Region, key: jax.Array
) -> AttackResult:
    """A place for the best point, of the right types; the first point visited replaces it."""
    loss, logits = jax.eval_shape(answer, jax.ShapeDtypeStruct(region.shape, region.dtype), key)
    nan = jnp.full((), jnp.nan)
    x = jnp.full(region.shape, jnp.nan, region.dtype)
    return AttackResult(x, jnp.asarray(False), nan.astype(loss.dtype), nan.astype(logits.dtype))


def worse_for_network(new: AttackResult, old: AttackResult) -> jax.Array:
    """Whether `new` is the better find: success first, then the higher loss (NaN is the lowest)."""
    new_loss = jnp.where(jnp.isnan(new.loss), -jnp.inf, new.loss)
    old_loss = jnp.where(jnp.isnan(old.loss), -jnp.inf, old.loss)
    return (new.success & ~old.success) | ((new.success == old.success) & (new_loss > old_loss))
