"""A network's decision boundaries, linearised: the hyperplane that looks nearest."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxcert.attacks.answer import Network, answer_of, as_label, logits_of
from jaxcert.attacks.expectation import Expectation
from jaxcert.attacks.objectives import Objective, is_class
from jaxcert.regions import LpBall, Region
from jaxcert.regions.halfspace import gauge_weight
from jaxcert.regions.nearest import measure, towards_hyperplane

Boundary = Callable[[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]
"""`(x, key) -> (value, gradient)` of a function that is negative where the network is right."""


def boundary_of(
    fn: Network | Expectation, loss: Objective | None, region: Region, ball: LpBall, label: ArrayLike
) -> Boundary:
    """The loss, or where that is `None` the logit difference whose linearised zero is nearest to `x`.

    Nearest inside the clip range (the source measures as if there were none); a hyperplane that no point
    of it meets is taken only if there is no other. What is not finite counts as value 0 and gradient 0,
    so that an attack stays where it is.
    """
    if loss is not None:
        climb = jax.value_and_grad(answer_of(fn, loss, region, label), has_aux=True)

        def of_loss(x, key):
            (value, _), gradient = climb(x, key)
            return _finite(value.astype(ball.dtype), gradient)

        return of_loss
    logits, label = logits_of(fn, region, label), as_label(label)

    def differences(x, key):
        found = logits(x, key)
        is_label = is_class(found, label)
        found = found - jnp.sum(jnp.where(is_label, found, 0.0))
        return found, (found, is_label)

    slopes = jax.jacrev(differences, has_aux=True)

    def of_nearest(x, key):
        gradients, (values, is_label) = slopes(x, key)
        values = values.astype(ball.dtype)
        across = lambda value, gradient: measure(ball, towards_hyperplane(ball, x, gradient, value))
        distance = jax.vmap(across)(values, gradients)
        rows = gradients.reshape(values.shape[0], -1)
        usable = ~is_label & jnp.isfinite(distance) & jnp.any(rows != 0, axis=-1)
        met = usable & _meets_clip(ball, x, values, gradients)
        distance = jnp.where(met | (usable & ~jnp.any(met)), distance, jnp.inf)
        chosen = usable & (jnp.arange(values.shape[0]) == jnp.argmin(distance))
        value = jnp.sum(jnp.where(chosen, values, 0.0))
        gradient = jnp.sum(jnp.where(chosen[:, None], rows, 0.0), axis=0)
        return _finite(value, gradient.reshape(x.shape))

    return of_nearest


def _meets_clip(ball: LpBall, x: jax.Array, values: jax.Array, gradients: jax.Array) -> jax.Array:
    """Which linear functions, `[K]` with gradients `[K, *shape]`, are 0 somewhere in the clip range."""
    if ball.clip is None:
        return jnp.ones(values.shape, bool)
    free, batch = gauge_weight(ball) > 0, (values.shape[0], *(1 for _ in ball.shape))
    down, up = (jnp.where(free, gap, 0.0)[None] for gap in (x - ball.clip[0], ball.clip[1] - x))
    gap = jnp.where((gradients > 0) == (values > 0).reshape(batch), down, up)
    reach = jnp.where(gradients == 0, 0.0, jnp.abs(gradients) * gap)
    return jnp.sum(reach.reshape(values.shape[0], -1), axis=-1) >= jnp.abs(values)


def _finite(value: jax.Array, gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    known = jnp.isfinite(value) & jnp.all(jnp.isfinite(gradient))
    return jnp.where(known, value, 0.0), jnp.where(known, gradient, 0.0)
