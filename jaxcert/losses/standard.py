"""Cross-entropy of logits and a label."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxcert.errors import InvalidInputError


def cross_entropy(logits: jax.Array, label: jax.Array | int) -> jax.Array:
    """Softmax cross-entropy `-log softmax(logits)[label]` of one example, in nats.

    Args:
      logits: `[K]` real scores of the K classes.
      label: integer scalar in `[0, K)`.

    Returns:
      A scalar >= 0, NaN where a traced label is out of range.

    Raises:
      InvalidInputError: logits that are not a vector, a label that is not one integer, or a
        concrete label out of range.

    Exact up to rounding; cost O(K). Source: theses/1 §1.1 (M1).

    >>> import jax.numpy as jnp
    >>> round(float(cross_entropy(jnp.zeros(2), 1)), 4)
    0.6931
    """
    if logits.ndim != 1:
        raise InvalidInputError(
            f"cross_entropy expects the logits [K] of one example, got shape {logits.shape}: use jax.vmap."
        )
    label = _checked_label(label, logits.shape[0])
    # An indicator instead of logits[label]: indexing clamps an invalid label to a valid class.
    chosen = jnp.arange(logits.shape[0]) == label
    loss = jax.nn.logsumexp(logits) - jnp.sum(jnp.where(chosen, logits, 0.0))
    return jnp.where(jnp.any(chosen), loss, jnp.nan)


def _checked_label(label: jax.Array | int, classes: int) -> jax.Array:
    array = jnp.asarray(label)
    if array.shape != () or not jnp.issubdtype(array.dtype, jnp.integer):
        raise InvalidInputError(
            f"A label is one integer, got shape {array.shape} of {array.dtype}: use jax.vmap."
        )
    if not isinstance(array, Tracer) and not 0 <= int(np.asarray(array)) < classes:
        raise InvalidInputError(f"Label {int(array)} is outside [0, {classes}), the classes of the logits.")
    return array
