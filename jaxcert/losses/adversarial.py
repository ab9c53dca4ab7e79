"""Loss at the point that an attack found."""

from collections.abc import Callable

import jax

from jaxcert.losses.standard import cross_entropy


def adversarial_cross_entropy(
    fn: Callable[[jax.Array], jax.Array], attacked: jax.Array, label: jax.Array | int
) -> jax.Array:
    """Cross-entropy of `fn` at an attacked input that counts as a constant of the outer problem.

    By Danskin's theorem the gradient of the worst-case loss with respect to the parameters is
    the gradient at the maximiser, so none flows into `attacked` (theses/1 (2.3)-(2.4)).

    Args:
      fn: one input to logits `[K]`.
      attacked: an input inside the region, as from `jaxcert.pgd`.
      label: integer scalar in `[0, K)`.

    Returns:
      A scalar in nats: a lower estimate of the worst-case loss, never a certificate. Cost: one
      forward pass.

    >>> import jax.numpy as jnp
    >>> round(float(adversarial_cross_entropy(lambda x: x, jnp.zeros(2), 0)), 4)
    0.6931
    """
    return cross_entropy(fn(jax.lax.stop_gradient(attacked)), label)
