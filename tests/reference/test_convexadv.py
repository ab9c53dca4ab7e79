"""Fast-Lin against the dual bounds that convex_adversarial, the authors' own program, gave."""

import jax.numpy as jnp
import numpy as np
import pytest

import jaxcert as jc
from tests.reference.bounds import deviation, margins, record

NETWORKS = [("kw_mnist_small_eps01", 2), ("kw_cifar_small_8_255", 1)]
ROBUST = "convexadv_robust_error_mnist_first200"
FILES = (*(f"convexadv_{name}" for name, _ in NETWORKS), ROBUST)
ROBUST_ERRORS = [
    ("kw_mnist_small_eps01", 0.1, False, 200),
    ("kw_mnist_small_eps01", 0.1, True, 20),
    ("kw_mnist_small_eps03", 0.3, False, 20),
    ("kw_mnist_small_eps03", 0.3, True, 20),
]


@pytest.mark.parametrize(("name", "count"), NETWORKS)
def test_fast_lin_is_their_dual_bound(data_dir, name, count, x64):
    for entry in record(data_dir, f"convexadv_{name}")["entries"]:
        if entry["dtype"] == "float64":
            ours = margins(data_dir, name, entry, count, "float64", method=jc.fast_lin())
            assert deviation(ours, entry["margins"][:count]) < 1e-7, (
                entry["norm"],
                entry["eps"],
                entry["clip"],
            )


@pytest.mark.parametrize(("name", "eps", "clipped", "count"), ROBUST_ERRORS)
def test_certified_images_and_robust_loss(data_dir, name, eps, clipped, count):
    """Of the first MNIST test images the same ones are certified, with the same robust cross entropy."""
    theirs = record(data_dir, ROBUST)["results"][f"{name}_eps{eps}_clip{clipped}"]
    entry = {"norm": "inf", "eps": eps, "clip": [0, 1] if clipped else None}
    ours = margins(data_dir, name, entry, count, "float32", method=jc.fast_lin())
    certified = np.asarray(jc.is_certified(jnp.asarray(ours)))
    assert certified.astype(int).tolist() == theirs["robust_flags"][:count]
    loss = np.logaddexp.reduce(np.concatenate([np.zeros((len(ours), 1)), -ours], axis=1), axis=1)
    assert loss == pytest.approx(np.asarray(theirs["per_image_robust_ce"][:count]), rel=2e-3, abs=1e-6)
