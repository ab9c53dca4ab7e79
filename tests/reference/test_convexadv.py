"""Fast-Lin against the dual bounds that convex_adversarial, the authors' own program, gave."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

import jaxcert as jc
from tests.reference.bounds import deviation, margins


def record(data_dir, name):
    return json.loads((data_dir / "reference" / f"{name}.json").read_text())


@pytest.mark.parametrize(("name", "count"), [("kw_mnist_small_eps01", 4), ("kw_cifar_small_8_255", 1)])
def test_fast_lin_is_their_dual_bound(data_dir, name, count, x64):
    for entry in record(data_dir, f"convexadv_{name}")["entries"]:
        if entry["dtype"] == "float64":
            ours = margins(data_dir, name, entry, count, "float64", method=jc.fast_lin())
            assert deviation(ours, entry["margins"][:count]) < 1e-7, (
                entry["norm"],
                entry["eps"],
                entry["clip"],
            )


def test_certified_images_and_robust_loss(data_dir):
    """Of the first 200 MNIST test images the same ones are certified, with the same robust cross entropy."""
    theirs = record(data_dir, "convexadv_robust_error_mnist_first200")["results"][
        "kw_mnist_small_eps01_eps0.1_clipFalse"
    ]
    entry = {"norm": "inf", "eps": 0.1, "clip": None}
    ours = margins(data_dir, "kw_mnist_small_eps01", entry, theirs["n"], "float32", method=jc.fast_lin())
    certified = np.asarray(jc.is_certified(jnp.asarray(ours)))
    assert certified.astype(int).tolist() == theirs["robust_flags"]
    loss = np.logaddexp.reduce(np.concatenate([np.zeros((len(ours), 1)), -ours], axis=1), axis=1)
    assert loss == pytest.approx(np.asarray(theirs["per_image_robust_ce"]), rel=2e-3, abs=1e-6)
