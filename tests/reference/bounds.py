"""Margins of jaxcert on a published network, for the recorded threat models."""

import json
import math
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np

import jaxcert as jc
from tests.common.images import first_images
from tests.common.networks import Network, load
from tests.reference.sparse import BATCH, IbpWhereStable

# Methods that another tool specifies to the last digit.
METHODS = {
    "IBP": jc.ibp(),
    "CROWN-IBP": jc.crown_ibp(),
    "CROWN": jc.crown(),
    "CROWN-same-slope": jc.fast_lin(),
}
# The same passes with mixtures of the tool. Its IBP of a first layer in an l_2 ball is exact, as ours
# always is, but for convolutions with padding.
MIXTURES = {
    "CROWN-tool-default": jc.crown(intermediate=IbpWhereStable()),
    "CROWN-ibp-first-layer": jc.crown(),
}
STEPS = 20
OPTIMISED = {
    "alpha-CROWN-fixed-intermediate": jc.alpha_crown(STEPS, intermediate=jc.crown()),
    "alpha-CROWN-full": jc.alpha_crown(STEPS),
}
RECORDED = METHODS | MIXTURES | OPTIMISED


def record(data_dir, name):
    """One file of the reference folder, by its stem."""
    return json.loads((data_dir / "reference" / f"{name}.json").read_text())


@cache
def network(data_dir, name):
    return load(data_dir, name)


_ALIKE: dict[str, Network] = {}


def alike(net):
    """The first network with the same layers: several differ in nothing but their weights."""
    return _ALIKE.setdefault(repr(net.layers), net)


@cache
def _compiled(net, method, norm, clipped, chunk):
    """Compiled once per architecture, method and kind of region; weights, eps, images and labels are data."""

    def margins(params, x, eps, label):
        region = jc.lp_ball(x, eps, norm, (0.0, 1.0) if clipped else None)
        return jc.margins(method, lambda x: net.apply(params, x), region, label)

    @jax.jit
    def run(params, xs, eps, labels):
        one = lambda pair: margins(params, pair[0], eps, pair[1])
        pairs = (xs, labels)
        return jax.lax.map(one, pairs, batch_size=chunk) if chunk else jax.vmap(one, axis_name=BATCH)(pairs)

    return run


def margins(data_dir, name, entry, count, dtype, method=None, chunk=0) -> np.ndarray:
    """`[count, 9]` margins of the first test images under the threat model of a recorded entry.

    `chunk` images are computed at a time, 0 for all.
    """
    net = network(data_dir, name)
    images, labels = first_images(data_dir, net.dataset, count)
    norm = math.inf if entry["norm"] == "inf" else float(entry["norm"])
    method = RECORDED[entry["method"]] if method is None else method
    run = _compiled(alike(net), method, norm, entry["clip"] is not None, chunk)
    eps = jnp.asarray(entry["eps"], dtype)
    return np.asarray(run(net.cast(dtype), jnp.asarray(images, dtype), eps, jnp.asarray(labels)))


def deviation(ours, recorded) -> float:
    """Largest difference relative to the size of the recorded margins of the same image."""
    recorded = np.asarray(recorded)
    scale = np.abs(recorded).max(axis=1, keepdims=True)
    return float((np.abs(ours - recorded) / scale).max())
