"""What evaluation asks of a network, randomised or not: something to attack, and logits at a point."""

from collections.abc import Callable
from typing import Any

import jax

from jaxcert.attacks import Expectation

Apply = Callable[..., jax.Array] | Expectation
"""`apply(variables, x) -> logits [K]` for one image, or an `expectation` over `fn(variables, x, key)`."""


def attackable(apply: Apply, variables: Any) -> Any:
    """What an attack takes as `fn`."""
    if isinstance(apply, Expectation):
        return Expectation(
            lambda x, key: apply.fn(variables, x, key),  # pyright: ignore[reportFunctionMemberAccess]
            apply.samples,
            apply.predict,
        )
    return lambda x: apply(variables, x)


def logits_at(apply: Apply, variables: Any, x: jax.Array, key: jax.Array) -> jax.Array:
    """Logits at one image; a randomised network is judged by the prediction of draws with this key."""
    if isinstance(apply, Expectation):
        draws = jax.random.split(key, apply.samples)
        return apply.predict(jax.vmap(lambda draw: apply.fn(variables, x, draw))(draws))
    return apply(variables, x)
