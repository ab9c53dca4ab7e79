"""Margins of jaxcert on a published network, for the recorded threat models."""

import math
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np

import jaxcert as jc
from tests.common.images import first_images
from tests.common.networks import load

METHODS = {
    "IBP": jc.ibp(),
    "CROWN-IBP": jc.crown_ibp(),
    "CROWN": jc.crown(),
    "CROWN-same-slope": jc.fast_lin(),
}


@cache
def network(data_dir, name):
    return load(data_dir, name)


@cache
def _compiled(net, method, norm, clipped):
    """Compiled once per method and kind of region; eps, images and labels are data."""

    def margins(params, x, eps, label):
        region = jc.lp_ball(x, eps, norm, (0.0, 1.0) if clipped else None)
        return jc.margins(method, lambda x: net.apply(params, x), region, label)

    return jax.jit(jax.vmap(margins, in_axes=(None, 0, None, 0)))


def margins(data_dir, name, entry, count, dtype, method=None) -> np.ndarray:
    """`[count, 9]` margins of the first test images under the threat model of a recorded entry."""
    net = network(data_dir, name)
    images, labels = first_images(data_dir, net.dataset, count)
    norm = math.inf if entry["norm"] == "inf" else float(entry["norm"])
    run = _compiled(net, method or METHODS[entry["method"]], norm, entry["clip"] is not None)
    eps = jnp.asarray(entry["eps"], dtype)
    return np.asarray(run(net.cast(dtype), jnp.asarray(images, dtype), eps, jnp.asarray(labels)))


def deviation(ours, recorded) -> float:
    """Largest difference relative to the size of the recorded margins of the same image."""
    recorded = np.asarray(recorded)
    scale = np.abs(recorded).max(axis=1, keepdims=True)
    return float((np.abs(ours - recorded) / scale).max())
