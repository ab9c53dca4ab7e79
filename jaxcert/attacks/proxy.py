"""Gradients that are wrong on purpose: what an attacker with a poor view of the network climbs."""

from dataclasses import dataclass
from typing import Protocol

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike


class GradientMap(Protocol):
    """What an attack climbs instead of the gradient; `key` differs from step to step."""

    def __call__(self, gradient: jax.Array, *, key: jax.Array) -> jax.Array: ...


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class RotatedGradient:
    """The gradient turned by an angle; see `rotated_gradient`."""

    angle: ArrayLike

    def __call__(self, gradient: jax.Array, *, key: jax.Array) -> jax.Array:
        angle = jnp.asarray(self.angle, gradient.dtype)
        size = jnp.sqrt(jnp.sum(gradient**2))
        unit = gradient / jnp.where(size > 0, size, 1.0)
        axis = jax.random.normal(key, gradient.shape, gradient.dtype)
        axis = axis - jnp.sum(axis * unit) * unit
        length = jnp.sqrt(jnp.sum(axis**2))
        axis = axis / jnp.where(length > 0, length, 1.0)
        return size * (jnp.cos(angle) * unit + jnp.sin(angle) * axis)


def rotated_gradient(angle: ArrayLike) -> RotatedGradient:
    """The gradient, turned by `angle` (radians, may be traced) towards a random direction at right angles.

    `|g| (cos(angle) g / |g| + sin(angle) w)` with a new random unit vector `w` at every step. Used as
    `pgd(gradient=rotated_gradient(angle))`: proxy-gradient PGD, whose success falls about with the cosine.
    A zero gradient stays zero. The random axis is one reading of the source, which does not define it.

    Source: theses/2 A7, (2.2.11), (2.2.12), Fig. 2.2.

    >>> import jax, jax.numpy as jnp
    >>> from jaxcert.attacks import rotated_gradient
    >>> turned = rotated_gradient(jnp.pi / 3)(jnp.array([2.0, 0.0, 0.0]), key=jax.random.key(0))
    >>> round(float(turned[0]), 4), round(float(jnp.linalg.norm(turned)), 4)
    (1.0, 2.0)
    """
    return RotatedGradient(angle)
