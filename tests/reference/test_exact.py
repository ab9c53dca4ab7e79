"""Bounds against recorded ones and recorded exact optima of tiny networks (MILP and enumeration)."""

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcert as jc
from tests.reference.bounds import METHODS, margins


def tiny(params, x):
    h = jax.nn.relu(params["W0"] @ x + params["b0"])
    return params["W2"] @ jax.nn.relu(params["W1"] @ h + params["b1"]) + params["b2"]


@pytest.mark.parametrize("clipped", [False, True])
@pytest.mark.parametrize("name", ["a", "b", "c"])
def test_tiny_networks(data_dir, name, clipped, x64):
    folder = data_dir / "reference"
    arrays = np.load(folder / f"exact_tiny_mlp_{name}.npz")
    recorded = json.loads((folder / f"exact_tiny_mlp_{name}.json").read_text())["entries"]
    recorded = [e for e in recorded if (e["clip"] is not None) == clipped]
    params = {key: jnp.asarray(arrays[key]) for key in ("W0", "b0", "W1", "b1", "W2", "b2")}
    inputs = jnp.asarray(arrays["X"])[np.array([e["input"] for e in recorded])]

    @jax.jit
    @jax.vmap
    def everything(x, eps, label):
        region = jc.lp_ball(x, eps, math.inf, (0.0, 1.0) if clipped else None)
        return {
            m: jc.margins(method, lambda x: tiny(params, x), region, label) for m, method in METHODS.items()
        }

    found = everything(
        inputs, jnp.array([e["eps"] for e in recorded]), jnp.array([e["label"] for e in recorded])
    )
    for method, ours in found.items():
        theirs = np.array([e["margins"][method] for e in recorded])
        exact = np.array([e["margins"]["exact-enumeration"] for e in recorded])
        assert np.asarray(ours) == pytest.approx(theirs, rel=1e-7, abs=1e-9), method
        assert (np.asarray(ours) <= exact + 1e-8).all(), method


@pytest.mark.parametrize("clipped", [False, True])
def test_mnist_network_with_twenty_neurons(data_dir, clipped):
    recorded = json.loads((data_dir / "reference" / "exact_abcrown_mnist_2_20_toy.json").read_text())[
        "entries"
    ]
    for eps in (0.03, 0.1):
        chosen = [e for e in recorded if e["eps"] == eps and (e["clip"] is not None) == clipped]
        exact = np.array([e["margins"]["exact-attained"] for e in chosen])
        assert [e["image"] for e in chosen] == list(range(16))
        for name, method in METHODS.items():
            entry = {"norm": "inf", "eps": eps, "clip": chosen[0]["clip"]}
            ours = margins(data_dir, "abcrown_mnist_2_20_toy", entry, 16, "float32", method)
            assert (ours <= exact + 1e-5).all(), name
            theirs = np.array([e["margins"][name] for e in chosen])
            assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-4), name
