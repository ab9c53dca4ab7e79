"""Losses on certified margins: cross-entropy of the worst-case logits, and its mixtures.

A margin is a lower bound of `logit[label] - logit[j]` over the input region. Because softmax
cross-entropy only depends on logit differences, the cross-entropy of the vector that has 0 at
the label and minus the margin elsewhere is an upper bound of the loss over the whole region
(theses/4a §1.7; theses/1 Theorem 2.2).
"""

import jax
import jax.numpy as jnp

from jaxcert.errors import InvalidInputError
from jaxcert.losses.standard import cross_entropy


def worst_case_cross_entropy(margins: jax.Array) -> jax.Array:
    """Upper bound of the cross-entropy over a region: `log(1 + sum_j exp(-margins[j]))`, in nats.

    Args:
      margins: `[K-1]` lower bounds of the label's logit minus each other logit, as from
        `jaxcert.margins`.

    Returns:
      A scalar >= 0; NaN if a margin is NaN. Sound if the margins are: it is at least the
      cross-entropy at every point of the region.

    Raises:
      InvalidInputError: margins that are not a vector.

    Cost O(K). Source: theses/4a §1.7 (elision), theses/1 (2.21).

    >>> import jax.numpy as jnp
    >>> round(float(worst_case_cross_entropy(jnp.zeros(1))), 4)
    0.6931
    """
    if margins.ndim != 1:
        raise InvalidInputError(
            f"worst_case_cross_entropy expects the margins [K-1] of one example, got shape "
            f"{margins.shape}: use jax.vmap."
        )
    at_label = jnp.zeros((1,), margins.dtype)
    return jax.nn.logsumexp(jnp.concatenate([at_label, -margins]))


def mixed(natural: jax.Array, robust: jax.Array, kappa: jax.Array | float) -> jax.Array:
    """`kappa * natural + (1 - kappa) * robust`: the share kappa in [0, 1] of the natural loss.

    NaN in either loss gives NaN whatever kappa is. Source: theses/2 (C.1.1).

    >>> float(mixed(1.0, 3.0, 0.25))
    2.5
    """
    return kappa * natural + (1.0 - kappa) * robust


def mixed_margins(crown_ibp: jax.Array, ibp: jax.Array, beta: jax.Array | float) -> jax.Array:
    """`beta * crown_ibp + (1 - beta) * ibp`: sound for beta in [0, 1], as a mean of two lower bounds.

    beta = 1 is pure CROWN-IBP and beta = 0 pure IBP, as in theses/1 §1.4 and theses/2 (3.3.16).
    theses/4a §1.14 writes the same mixture with beta and 1 - beta exchanged.

    Args:
      crown_ibp: `[K-1]` margins by CROWN-IBP.
      ibp: `[K-1]` margins by IBP.
      beta: scalar in [0, 1].

    >>> import jax.numpy as jnp
    >>> mixed_margins(jnp.array([2.0]), jnp.array([1.0]), 1.0).tolist()
    [2.0]
    """
    return beta * crown_ibp + (1.0 - beta) * ibp


def ibp_loss(
    logits: jax.Array, label: jax.Array | int, ibp_margins: jax.Array, kappa: jax.Array | float
) -> jax.Array:
    """IBP training loss: kappa times clean cross-entropy plus 1 - kappa times worst-case cross-entropy.

    Args:
      logits: `[K]` logits of the clean input.
      label: integer scalar in `[0, K)`.
      ibp_margins: `[K-1]` margins by IBP, with the specification fused into the last layer.
      kappa: scalar in [0, 1]; 0 is the purely certified loss.

    Returns:
      A scalar; NaN if a margin is NaN. Source: theses/2 (C.1.1) with beta = 0.

    >>> import jax.numpy as jnp
    >>> round(float(ibp_loss(jnp.zeros(2), 0, jnp.zeros(1), 0.5)), 4)
    0.6931
    """
    return mixed(cross_entropy(logits, label), worst_case_cross_entropy(ibp_margins), kappa)


def crown_ibp_loss(
    logits: jax.Array,
    label: jax.Array | int,
    crown_ibp_margins: jax.Array,
    ibp_margins: jax.Array,
    beta: jax.Array | float,
    kappa: jax.Array | float,
) -> jax.Array:
    """CROWN-IBP training loss: the worst-case cross-entropy is taken on the mixed margins.

    Args:
      logits: `[K]` logits of the clean input.
      label: integer scalar in `[0, K)`.
      crown_ibp_margins: `[K-1]` margins by CROWN-IBP.
      ibp_margins: `[K-1]` margins by IBP.
      beta: scalar in [0, 1], 1 is pure CROWN-IBP (see `mixed_margins` for the other convention).
      kappa: scalar in [0, 1], share of the clean cross-entropy.

    Returns:
      A scalar; NaN if a margin is NaN. Source: theses/2 (3.3.16) and (C.1.1).

    >>> import jax.numpy as jnp
    >>> round(float(crown_ibp_loss(jnp.zeros(2), 0, jnp.zeros(1), -jnp.ones(1), 1.0, 0.0)), 4)
    0.6931
    """
    margins = mixed_margins(crown_ibp_margins, ibp_margins, beta)
    return mixed(cross_entropy(logits, label), worst_case_cross_entropy(margins), kappa)
