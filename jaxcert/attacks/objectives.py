"""What attacks maximise: functions of the logits of one example and its label.

An objective is any function `(logits [K], label) -> scalar`. A label outside 0..K-1 gives NaN.
One that needs to know the clean answer is `Anchored`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

Objective = Callable[[jax.Array, jax.Array], jax.Array]


@runtime_checkable
class Anchored(Protocol):
    """An objective that attacks first give the logits at the centre of the region."""

    def anchored(self, logits: jax.Array) -> Objective: ...


def cross_entropy(logits: jax.Array, label: jax.Array) -> jax.Array:
    """`log sum_j exp(logits[j]) - logits[label]`, scalar, in nats.

    >>> import jax.numpy as jnp
    >>> from jaxcert.attacks import cross_entropy
    >>> round(float(cross_entropy(jnp.array([0.0, 0.0]), 1)), 4)
    0.6931
    """
    return jax.nn.logsumexp(logits) - _logit(logits, label)


def margin_loss(logits: jax.Array, label: jax.Array) -> jax.Array:
    """`max_{j != label} logits[j] - logits[label]`: positive exactly where the network is wrong.

    Source: the margin of Carlini and Wagner; theses/2 A9 leaves the formula open and names it.

    >>> import jax.numpy as jnp
    >>> from jaxcert.attacks import margin_loss
    >>> float(margin_loss(jnp.array([1.0, 3.0, 2.0]), 1))
    -1.0
    """
    return jnp.max(jnp.where(is_class(logits, label), -jnp.inf, logits)) - _logit(logits, label)


@dataclass(frozen=True)
class TargetedMargin:
    """The objective `logits[target] - logits[label]`; see `targeted_margin`."""

    target: int | jax.Array

    def __call__(self, logits: jax.Array, label: jax.Array) -> jax.Array:
        return _logit(logits, self.target) - _logit(logits, label)


def targeted_margin(target: int | jax.Array) -> TargetedMargin:
    """The objective `logits[target] - logits[label]`: pushes one class above the label.

    A target outside 0..K-1 gives NaN. `target` may be traced (one attack per class by `vmap`)
    as long as the attack is built inside the traced function. Source: theses/4a 1.2 (4).

    >>> import jax.numpy as jnp
    >>> from jaxcert.attacks import targeted_margin
    >>> float(targeted_margin(2)(jnp.array([1.0, 3.0, 2.5]), 1))
    -0.5
    """
    return TargetedMargin(target)


@dataclass(frozen=True)
class TargetedCrossEntropy:
    """Minus the cross-entropy of `target`; see `targeted_cross_entropy`."""

    target: int | jax.Array

    def __call__(self, logits: jax.Array, label: jax.Array) -> jax.Array:
        exists = jnp.any(is_class(logits, label))
        return jnp.where(exists, _logit(logits, self.target) - jax.nn.logsumexp(logits), jnp.nan)


def targeted_cross_entropy(target: int | jax.Array) -> TargetedCrossEntropy:
    """The objective `log softmax(logits)[target]`: makes one class likely (theses/4b A9).

    `target` as for `targeted_margin`.

    >>> import jax.numpy as jnp
    >>> from jaxcert.attacks import targeted_cross_entropy
    >>> round(float(targeted_cross_entropy(0)(jnp.array([0.0, 0.0]), 1)), 4)
    -0.6931
    """
    return TargetedCrossEntropy(target)


@dataclass(frozen=True)
class KlDivergence:
    """KL(clean || attacked); see `kl_divergence`."""

    def anchored(self, logits: jax.Array) -> Objective:
        clean = jax.nn.log_softmax(logits)

        def divergence(attacked: jax.Array, label: jax.Array) -> jax.Array:
            exists = jnp.any(is_class(attacked, label))
            each = jnp.exp(clean) * (clean - jax.nn.log_softmax(attacked))
            return jnp.where(exists, jnp.sum(each), jnp.nan)

        return divergence


def kl_divergence() -> KlDivergence:
    """The objective `KL(softmax(logits at the centre) || softmax(logits))`, in nats: TRADES (theses/4b D2).

    It does not know the label, and its gradient at the centre is zero: start elsewhere
    (`random_start`).

    >>> import jax.numpy as jnp
    >>> from jaxcert.attacks import kl_divergence
    >>> objective = kl_divergence().anchored(jnp.array([0.0, 0.0]))
    >>> float(objective(jnp.array([1.0, 1.0]), jnp.array(0)))
    0.0
    """
    return KlDivergence()


def is_class(logits: jax.Array, index: ArrayLike) -> jax.Array:
    """Which of the classes has this index, of any integer type: `[K]`, nowhere true if none has."""
    index = jnp.asarray(index)
    # Not the index's own type, in which as many classes may not fit.
    index = index.astype(jnp.int64 if index.dtype.itemsize == 8 else jnp.int32)
    return jnp.arange(logits.shape[0], dtype=index.dtype) == index


def _logit(logits: jax.Array, index: ArrayLike) -> jax.Array:
    chosen = is_class(logits, index)
    return jnp.where(jnp.any(chosen), jnp.where(chosen, logits, 0.0).sum(), jnp.nan)
