"""Bounds against recorded ones and recorded optima of small networks: MILP, enumeration, triangle LPs."""

import math
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcert as jc
from tests.reference.bounds import METHODS, OPTIMISED, margins, record

TINY = ("exact_tiny_mlp_a", "exact_tiny_mlp_b", "exact_tiny_mlp_c")
TOY = "exact_abcrown_mnist_2_20_toy"
FILES = (*TINY, TOY)
FIXED, FULL = OPTIMISED
LONG = f"{FIXED}-200it"
TRIANGLE = "LP-triangle-CROWN-intermediate"
OTHERS = {"forward": jc.forward(), "tightest": jc.tightest(jc.ibp(), jc.forward(), jc.crown())}
SLOPED = OPTIMISED | {LONG: jc.alpha_crown(200, intermediate=jc.crown())}


def tiny(params, x):
    h = jax.nn.relu(params["W0"] @ x + params["b0"])
    return params["W2"] @ jax.nn.relu(params["W1"] @ h + params["b1"]) + params["b2"]


@cache
def compiled(clipped):
    def everything(params, x, eps, label):
        region = jc.lp_ball(x, eps, math.inf, (0.0, 1.0) if clipped else None)
        fn = lambda x: tiny(params, x)
        methods = METHODS | OTHERS | SLOPED
        return {name: jc.margins(method, fn, region, label) for name, method in methods.items()}

    return jax.jit(jax.vmap(everything, in_axes=(None, 0, 0, 0)))


@pytest.mark.parametrize("clipped", [False, True])
@pytest.mark.parametrize("name", TINY)
def test_tiny_networks(data_dir, name, clipped, x64):
    arrays = np.load(data_dir / "reference" / f"{name}.npz")
    recorded = [e for e in record(data_dir, name)["entries"] if (e["clip"] is not None) == clipped]
    params = {key: jnp.asarray(arrays[key]) for key in ("W0", "b0", "W1", "b1", "W2", "b2")}
    inputs = jnp.asarray(arrays["X"])[np.array([e["input"] for e in recorded])]
    radii, labels = (jnp.array([e[key] for e in recorded]) for key in ("eps", "label"))
    ours = {m: np.asarray(v) for m, v in compiled(clipped)(params, inputs, radii, labels).items()}

    def theirs(method):
        return np.array([e["margins"][method] for e in recorded])

    for method in METHODS:
        assert ours[method] == pytest.approx(theirs(method), rel=1e-7, abs=1e-9), method
    for method, found in ours.items():
        assert (found <= theirs("exact-enumeration") + 1e-8).all(), method
    assert (ours["tightest"] >= np.fmax(ours["IBP"], ours["CROWN"]) - 1e-12).all()
    for method in SLOPED:
        assert (ours[method] >= theirs("CROWN") - 1e-9).all(), method
        if method != FULL:
            assert (ours[method] <= theirs(TRIANGLE) + 1e-7).all(), method
            assert ours[method].mean() >= theirs(method).mean() - 1e-8, method
    # What is left to the triangle relaxation, the best that slopes can do, after 200 steps.
    assert (theirs(TRIANGLE) - ours[LONG]).mean() <= (theirs(TRIANGLE) - theirs(LONG)).mean() + 1e-8
    assert ours[FULL].mean() >= theirs(FULL).mean() - 1e-8


@pytest.mark.parametrize("clipped", [False, True])
def test_mnist_network_with_twenty_neurons(data_dir, clipped):
    for chosen, entry in recorded_toy(data_dir, clipped):
        exact = np.array([e["margins"]["exact-attained"] for e in chosen])
        for name, method in (METHODS | {"forward": jc.forward()}).items():
            ours = margins(data_dir, "abcrown_mnist_2_20_toy", entry, 16, "float32", method)
            assert (ours <= exact + 1e-5).all(), name
            if name in METHODS:
                theirs = np.array([e["margins"][name] for e in chosen])
                assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-4), name


@pytest.mark.parametrize("clipped", [False, True])
def test_slopes_of_twenty_neurons_stay_below_the_triangle(data_dir, clipped, x64):
    for chosen, entry in recorded_toy(data_dir, clipped):
        names = (FIXED, TRIANGLE, "CROWN")
        theirs, triangle, start = (np.array([e["margins"][m] for e in chosen]) for m in names)
        ours = margins(data_dir, "abcrown_mnist_2_20_toy", entry, 16, "float64", OPTIMISED[FIXED])
        assert (ours >= start - 1e-8).all()
        assert (ours <= triangle + 1e-7).all()
        assert ours.mean() >= theirs.mean() - 1e-8


def recorded_toy(data_dir, clipped):
    entries = record(data_dir, TOY)["entries"]
    for eps in (0.03, 0.1):
        chosen = [e for e in entries if e["eps"] == eps and (e["clip"] is not None) == clipped]
        assert [e["image"] for e in chosen] == list(range(16))
        yield chosen, {"norm": "inf", "eps": eps, "clip": chosen[0]["clip"]}
