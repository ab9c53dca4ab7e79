"""Norms that neither overflow nor underflow, with finite derivatives at 0."""

import jax
import jax.numpy as jnp
from jax import lax


def dual_norm(gains: jax.Array, norm: float) -> jax.Array:
    """Return `||gains||_q` over the last axis, 1/p + 1/q = 1 with p = `norm`, p > 1 or p = 1.

    Scaling by the largest entry keeps the powers from over- and underflowing; entries at 0 have the
    derivative 0, a subgradient of the norm.
    """
    size = magnitude(gains)
    if norm == 1.0:
        return jnp.max(size, axis=-1)
    largest = lax.stop_gradient(jnp.max(size, axis=-1))
    unit = jnp.where(largest > 0, largest, 1)
    ratio = size / unit[..., None]
    power = norm / (norm - 1.0)
    moving = ratio > 0
    powers = jnp.where(moving, jnp.where(moving, ratio, 1) ** power, ratio)
    total = jnp.sum(powers if norm != 2.0 else ratio * ratio, axis=-1)
    root = jnp.sqrt(positive(total)) if norm == 2.0 else positive(total) ** (1.0 / power)
    return jnp.where(total > 0, unit * root, unit * total)


def magnitude(value: jax.Array) -> jax.Array:
    """`|value|` with the derivative 0 at 0, where `jnp.abs` has 1."""
    return value * jnp.sign(value)


def positive(value: jax.Array) -> jax.Array:
    """`value` where it is positive, 1 elsewhere: a safe operand under a mask."""
    return jnp.where(value > 0, value, 1)
