"""The difference-of-logits ratio: a margin that does not change when all logits are shifted or scaled."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from jaxcert.attacks.objectives import margin_loss, targeted_margin

_TINY = 1e-12


def dlr(logits: jax.Array, label: jax.Array) -> jax.Array:
    """`(max_{j != label} z_j - z_label) / (z_(1) - z_(3))`, scalar; `z_(k)` is the k-th largest logit.

    With two classes there is no third logit, and the ratio would be constant: the margin itself
    is returned, `margin_loss`.

    Source: Croce and Hein 2020 (Auto-PGD), named in theses/4b A6 and theses/1 M4.

    >>> import jax.numpy as jnp
    >>> from jaxcert.attacks import dlr
    >>> float(dlr(jnp.array([5.0, 3.0, 1.0, 0.0]), jnp.array(0)))
    -0.5
    """
    margin = margin_loss(logits, label)
    if logits.shape[0] < 3:
        return margin
    first, _, third = _largest(logits, 3)
    return margin / (first - third + _TINY)


@dataclass(frozen=True)
class TargetedDlr:
    """The targeted difference-of-logits ratio; see `targeted_dlr`."""

    target: int | jax.Array

    def __call__(self, logits: jax.Array, label: jax.Array) -> jax.Array:
        margin = targeted_margin(self.target)(logits, label)
        if logits.shape[0] < 3:
            return margin
        if logits.shape[0] == 3:
            first, _, third = _largest(logits, 3)
            return margin / (first - third + _TINY)
        first, _, third, fourth = _largest(logits, 4)
        return margin / (first - 0.5 * (third + fourth) + _TINY)


def targeted_dlr(target: int | jax.Array) -> TargetedDlr:
    """`(z_target - z_label) / (z_(1) - (z_(3) + z_(4)) / 2)`, an objective like `targeted_margin`.

    With three classes the fourth logit does not exist and `z_(3)` takes its place; with two the
    margin itself is returned. Source: as `dlr`.

    >>> import jax.numpy as jnp
    >>> from jaxcert.attacks import targeted_dlr
    >>> float(targeted_dlr(1)(jnp.array([5.0, 3.0, 1.0, 1.0]), jnp.array(0)))
    -0.5
    """
    return TargetedDlr(target)


def _largest(logits: jax.Array, count: int) -> list[jax.Array]:
    """The `count` largest logits, falling; a sort would cost more than these few passes."""
    found, left = [], logits
    places = jnp.arange(logits.shape[0])
    for _ in range(count):
        at = places == jnp.argmax(jax.lax.stop_gradient(left))
        found.append(jnp.sum(jnp.where(at, logits, 0.0)))
        left = jnp.where(at, -jnp.inf, left)
    return found
