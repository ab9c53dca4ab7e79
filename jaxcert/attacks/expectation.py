"""Randomised networks as attacks see them: the expectation over transformations (EOT)."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from jaxcert.errors import InvalidInputError

RandomNetwork = Callable[..., jax.Array]
"""`(x, key) -> logits [K]`: one draw of a randomised network."""


def mean_probability(draws: jax.Array) -> jax.Array:
    """The logarithm of the mean softmax of `draws [n, K]`: logits `[K]` of the ensemble's prediction.

    >>> import jax.numpy as jnp
    >>> from jaxcert.attacks import mean_probability
    >>> mean_probability(jnp.array([[9.0, 0.0], [0.0, 9.0]])).round(3).tolist()
    [-0.6930000185966492, -0.6930000185966492]
    """
    return jax.nn.logsumexp(jax.nn.log_softmax(draws, axis=-1), axis=0) - jnp.log(
        jnp.asarray(draws.shape[0], draws.dtype)
    )


def mean_logits(draws: jax.Array) -> jax.Array:
    """The mean of `draws [n, K]`: logits `[K]`.

    >>> import jax.numpy as jnp
    >>> from jaxcert.attacks import mean_logits
    >>> mean_logits(jnp.array([[2.0, 0.0], [0.0, 4.0]])).tolist()
    [1.0, 2.0]
    """
    return jnp.mean(draws, axis=0)


@dataclass(frozen=True)
class Expectation:
    """A randomised network that every attack here takes in the place of `fn`; see `expectation`."""

    fn: RandomNetwork
    samples: int
    predict: Callable[[jax.Array], jax.Array]


def expectation(
    fn: RandomNetwork, samples: int = 20, predict: Callable[[jax.Array], jax.Array] = mean_probability
) -> Expectation:
    """A randomised network for attacks: `attack(expectation(fn, 20), region, label, key=key)`.

    At every step an attack draws `samples` networks with fresh keys. It climbs the mean of their
    losses, so its gradient is the mean of theirs (EOT), and judges success, and FAB, Square, DeepFool
    and C&W everything, by `predict` of their logits. The result is a statement about these draws only: replay
    it with others. `expectation(lambda x, key: f(x), 1)` is the attack on `f`.

    Args:
      fn: `(x, key) -> logits [K]`, one draw.
      samples: draws per step, static, at least 1; the works use 20 (and 5, 10).
      predict: `[samples, K] -> [K]`: `mean_probability` (the default) or `mean_logits`. The source
        does not say which of the two it averages.

    Raises:
      InvalidInputError: fewer than one sample.

    Cost: `samples` times that of an attack on one network, in time and memory.
    Source: theses/2 (2.2.8) and A6; Athalye et al. 2018.

    >>> import jax, jax.numpy as jnp
    >>> from jaxcert.attacks import expectation, pgd
    >>> from jaxcert.regions import linf_ball
    >>> noisy = lambda x, key: jnp.stack([x[0], x[1]]) + 0.01 * jax.random.normal(key, (2,))
    >>> ball = linf_ball(jnp.array([1.0, 0.0]), 0.6)
    >>> bool(pgd(5)(expectation(noisy, 4), ball, 0, key=jax.random.key(0)).success)
    True
    """
    if isinstance(samples, bool) or samples < 1:
        raise InvalidInputError(f"An expectation needs at least one sample, got {samples!r}.")
    return Expectation(fn, int(samples), predict)
