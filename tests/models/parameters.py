"""Parameters for the models' tests, without compiling their initialisation."""

import math

import jax
import jax.numpy as jnp
import numpy as np


def shapes(model, image_shape, dtype=jnp.float32):
    """The variables as ShapeDtypeStructs: no memory is spent."""
    return jax.eval_shape(model.init, jax.random.key(0), jax.ShapeDtypeStruct(image_shape, dtype))


def count(model, image_shape) -> int:
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes(model, image_shape)))


def random_variables(model, image_shape, dtype=np.float32, seed=0):
    """Variables drawn so that activations neither die nor explode, biases included."""
    rng = np.random.default_rng(seed)

    def draw(leaf):
        fan_in = math.prod(leaf.shape[:-1])
        return jnp.asarray((rng.normal(size=leaf.shape) * math.sqrt(2.0 / fan_in)).astype(dtype))

    return jax.tree.map(draw, shapes(model, image_shape, dtype))


def images(image_shape, number, dtype=np.float32, seed=1):
    return jnp.asarray(np.random.default_rng(seed).uniform(size=(number, *image_shape)).astype(dtype))
