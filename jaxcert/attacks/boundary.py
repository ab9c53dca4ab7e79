"""A network's decision boundaries, linearised: the hyperplane that looks nearest."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxcert.attacks.answer import Network, answer_of, as_label, logits_of
from jaxcert.attacks.expectation import Expectation
from jaxcert.attacks.objectives import Objective
from jaxcert.regions import LpBall, Region
from jaxcert.regions.halfspace import gauge_weight
from jaxcert.regions.norms import dual_norm

Boundary = Callable[[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]
"""`(x, key) -> (value, gradient)` of a function that is negative where the network is right."""


def boundary_of(
    fn: Network | Expectation, loss: Objective | None, region: Region, ball: LpBall, label: ArrayLike
) -> Boundary:
    """The loss, or where that is `None` the logit difference whose linearised zero is nearest to `x`.

    Nearest as the source has it: `|difference| / ||gradient||_q`, the clip range left aside. What is not
    finite counts as value 0 and gradient 0, so that an attack stays where it is.
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
        is_label = jnp.arange(found.shape[0]) == label
        found = found - jnp.sum(jnp.where(is_label, found, 0.0))
        return found, (found, is_label)

    slopes = jax.jacrev(differences, has_aux=True)

    def of_nearest(x, key):
        gradients, (values, is_label) = slopes(x, key)
        gradients = gradients.reshape(values.shape[0], -1)
        weight = jnp.broadcast_to(gauge_weight(ball), ball.shape).reshape(1, -1)
        steep = _steepness(gradients * weight, ball.norm)
        distance = jnp.where(steep > 0, jnp.abs(values) / jnp.where(steep > 0, steep, 1.0), jnp.inf)
        usable = ~is_label & jnp.isfinite(distance)
        chosen = jnp.arange(values.shape[0]) == jnp.argmin(jnp.where(usable, distance, jnp.inf))
        value = jnp.sum(jnp.where(chosen & usable, values, 0.0))
        gradient = jnp.sum(jnp.where((chosen & usable)[:, None], gradients, 0.0), axis=0)
        return _finite(value.astype(ball.dtype), gradient.reshape(x.shape))

    return of_nearest


def _steepness(gains: jax.Array, norm: float) -> jax.Array:
    return jnp.sum(jnp.abs(gains), axis=-1) if norm == math.inf else dual_norm(gains, norm)


def _finite(value: jax.Array, gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    known = jnp.isfinite(value) & jnp.all(jnp.isfinite(gradient))
    return jnp.where(known, value, 0.0), jnp.where(known, gradient, 0.0)
