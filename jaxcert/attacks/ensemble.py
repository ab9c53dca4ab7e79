"""Several networks as one: attacks on it look for a point that fools their common prediction."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from jaxcert.attacks.expectation import mean_probability
from jaxcert.errors import InvalidInputError


def ensemble(fns: Sequence[Callable[..., jax.Array]]) -> Callable[..., jax.Array]:
    """The network that averages the probabilities of `fns`: `x -> log mean_k softmax(fns[k](x))`, `[K]`.

    Its softmax is that mean, so that the cross-entropy of an attack or a loss is minus the log of the
    mean probability. Exact. Networks of one architecture with stacked parameters need no Python loop:
    `lambda x: mean_probability(jax.vmap(apply, (0, None))(parameters, x))`.

    Raises:
      InvalidInputError: no network; when called, logits of different shapes.

    Cost: that of all networks together.
    Source: theses/4b A11, D5.

    >>> import jax, jax.numpy as jnp
    >>> from jaxcert.attacks import ensemble
    >>> both = ensemble([lambda x: jnp.array([x, 0.0]), lambda x: jnp.array([-x, 0.0])])
    >>> [round(value, 4) for value in jax.nn.softmax(both(3.0)).tolist()]
    [0.5, 0.5]
    """
    members = tuple(fns)
    if not members:
        raise InvalidInputError("An ensemble needs at least one network.")

    def logits(x) -> jax.Array:
        found = [fn(x) for fn in members]
        shapes = sorted({value.shape for value in found})
        if len(shapes) > 1:
            raise InvalidInputError(
                f"The networks of an ensemble must have the same classes, got logits of shapes {shapes}."
            )
        return mean_probability(jnp.stack(found))

    return logits
