"""Training objectives of ONE example, as pure functions of logits, margins and labels.

Batching is the caller's `jax.vmap`, averaging the caller's `jnp.mean`. None of these functions
decides whether an input is certified: a small certified loss is not a certificate.
"""

from jaxcert.losses.adversarial import adversarial_cross_entropy
from jaxcert.losses.certified import (
    crown_ibp_loss,
    ibp_loss,
    mixed,
    mixed_margins,
    worst_case_cross_entropy,
)
from jaxcert.losses.standard import cross_entropy

__all__ = [
    "adversarial_cross_entropy",
    "cross_entropy",
    "crown_ibp_loss",
    "ibp_loss",
    "mixed",
    "mixed_margins",
    "worst_case_cross_entropy",
]
