"""Small functions that the tests of bounds share."""

import jax
import jax.numpy as jnp
import numpy as np

IN, HIDDEN, OUT = 4, 6, 3


def params(seed=0, classes=OUT):
    rng = np.random.default_rng(seed)
    draw = lambda *shape: jnp.asarray(rng.normal(size=shape) / np.sqrt(shape[0]), jnp.float32)
    return {
        "w0": draw(IN, HIDDEN),
        "b0": draw(HIDDEN),
        "w1": draw(HIDDEN, HIDDEN),
        "b1": draw(HIDDEN),
        "w2": draw(HIDDEN, classes),
    }


def apply(p, x):
    hidden = jax.nn.relu(x @ p["w0"] + p["b0"])
    return jax.nn.relu(hidden @ p["w1"] + p["b1"]) @ p["w2"]


def net(seed=0, classes=OUT):
    p = params(seed, classes)
    return lambda x: apply(p, x)


X = jnp.array([0.3, 0.6, 0.1, 0.8])
