"""A linear network and small images, for which every error has a closed form."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

SHAPE = (2, 2, 1)
CLASSES = 3


@dataclass(frozen=True)
class Images:
    """The part of a split that evaluation needs."""

    images: np.ndarray
    labels: np.ndarray

    def pixels(self, indices):
        return self.images[indices]


@dataclass(frozen=True)
class Found:
    """The part of an attack's result that evaluation needs."""

    x: jax.Array


def apply(weights, x):
    return weights @ x.reshape(-1)


def weights(seed=0):
    """Rows of mean zero: the brightness of an image decides nothing, so margins are of all sizes."""
    rows = np.random.default_rng(seed).normal(size=(CLASSES, 4))
    return (rows - rows.mean(axis=1, keepdims=True)).astype(np.float32)


def images(count, *, flip=0, seed=1):
    """`count` images inside [0.3, 0.7], labelled by the network; the first `flip` wrongly."""
    pixels = np.random.default_rng(seed).uniform(0.3, 0.7, size=(count, *SHAPE)).astype(np.float32)
    labels = np.argmax(pixels.reshape(count, -1) @ weights().T, axis=-1).astype(np.int32)
    labels[:flip] = (labels[:flip] + 1) % CLASSES
    return Images(pixels, labels)


def exact_margins(split, eps):
    """Smallest margin of each image over its l_inf ball (which the clip range does not touch)."""
    flat, found = split.images.reshape(len(split.labels), -1).astype(np.float64), []
    for x, label in zip(flat, split.labels, strict=True):
        rows = np.delete(weights()[label].astype(np.float64) - weights().astype(np.float64), label, axis=0)
        found.append(np.min(rows @ x - eps * np.abs(rows).sum(axis=1)))
    return np.array(found)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ExactAttack:
    """The corner of the l_inf ball with the smallest margin, by trying every other class."""

    def __call__(self, fn, region, label, *, key):
        del key
        jacobian = jax.jacobian(fn)(region.center)
        rows = jacobian[label][None] - jacobian
        corners = region.center[None] - region.radius * jnp.sign(rows)
        logits = jax.vmap(fn)(corners)
        margins = jnp.take(logits, label, axis=1) - jnp.diagonal(logits)
        margins = jnp.where(jnp.arange(CLASSES) == label, jnp.inf, margins)
        return Found(corners[jnp.argmin(margins)])


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Cheat:
    """Leaves the region."""

    def __call__(self, fn, region, label, *, key):
        del fn, label, key
        return Found(region.center + 1.5 * region.radius)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class NoAttack:
    """Leaves the image as it is."""

    def __call__(self, fn, region, label, *, key):
        del fn, label, key
        return Found(region.center)
