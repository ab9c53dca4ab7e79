"""Margins against those of auto_LiRPA on published networks (provenance: README of the data folder).

Each row: network, images to compare, which recorded entries. Methods that another tool specifies fully
(IBP, CROWN-IBP, pure CROWN, same slope, its default mixture of IBP and CROWN) must agree to 1e-7 in double
and 1e-4 in single precision. A selection: `python -m tests.reference.compare NETWORK` compares every entry.
"""

import jax
import numpy as np
import pytest

from tests.common.images import first_images
from tests.reference.bounds import METHODS, MIXTURES, deviation, margins, network, record

# Dense networks, and convolutions without padding, are specified fully for l_2 too. With padding the
# tool's IBP takes the whole kernel's norm at the border, where fewer weights act: ours is tighter there.
L2_PADDED = ("IBP", "CROWN-IBP")
ALL = ("IBP", "CROWN-IBP", "CROWN", "CROWN-same-slope")
CHEAP = ("IBP", "CROWN-IBP")
PURE = ("IBP", "CROWN-IBP", "CROWN")
L2 = (*ALL, "CROWN-ibp-first-layer")
MIXED, FIRST_LAYER = MIXTURES
TABLE = [
    ("abcrown_mnist_2_20_toy", 4, ALL, ("inf clip", "inf")),
    ("abcrown_mnist_2_20_toy", 4, L2, ("2",)),
    ("eran_mnist_6_100_nat", 4, ALL, ("inf clip", "inf")),
    ("eran_mnist_6_100_nat", 4, L2, ("2",)),
    ("vnncomp_mnistfc_256x2", 4, ALL, ("inf clip",)),
    ("vnncomp_mnistfc_256x2", 4, L2, ("2",)),
    ("kw_mnist_small_eps01", 2, ALL, ("inf clip", "inf", "2 padded")),
    ("kw_mnist_small_eps03", 2, ALL, ("inf clip",)),
    ("sdp_mnist_cnn_a_adv", 2, PURE, ("inf clip",)),
    ("eran_mnist_conv_small_nat", 2, ALL, ("inf clip",)),
    ("eran_mnist_conv_small_nat", 2, L2, ("2",)),
    ("vnncomp_verivital_mnist_avgpool", 1, PURE, ("inf clip",)),
    ("vnncomp_marabou_cifar_small", 2, ALL, ("inf clip",)),
    ("eran_cifar_conv_small_pgd", 1, PURE, ("inf clip",)),
    ("oval_cifar_base_kw", 2, ALL, ("inf clip",)),
    ("oval_cifar_wide_kw", 1, PURE, ("inf clip",)),
    ("kw_cifar_small_8_255", 1, PURE, ("inf clip",)),
    ("sdp_cifar_cnn_a_adv", 1, PURE, ("inf clip",)),
    ("sdp_cifar_cnn_a_mix", 1, PURE, ("inf clip",)),
    ("abcrown_cifar_resnet_2b", 1, PURE, ("inf clip",)),
]
SIGMOID = "vnncomp_eran_mnist_sigmoid_6_200"
FILES = tuple(f"autolirpa_{name}" for name in (*dict.fromkeys(row[0] for row in TABLE), SIGMOID))
CASES = [(name, count, m, kind) for name, count, ms, kinds in TABLE for kind in kinds for m in ms]


def entries(data_dir, name, method, norm, clipped, dtype="float64"):
    found = [
        e
        for e in record(data_dir, f"autolirpa_{name}")["entries"]
        if (e["method"], e["norm"], e["clip"] is not None, e["dtype"]) == (method, norm, clipped, dtype)
    ]
    assert found, f"no entry {method}, norm {norm}, clip {clipped}, {dtype} in {name}"
    return found


def threat(kind):
    norm = kind.split()[0]
    return norm, "clip" in kind


@pytest.mark.parametrize(("name", "count", "method", "kind"), CASES)
def test_margins_in_double_precision(data_dir, name, count, method, kind, x64):
    for entry in entries(data_dir, name, method, *threat(kind)):
        ours = margins(data_dir, name, entry, count, "float64")
        recorded = np.asarray(entry["margins"][:count])
        if "padded" in kind and method == "IBP":
            assert (ours >= recorded - 1e-7 * np.abs(recorded)).all()
        elif "padded" not in kind or method not in L2_PADDED:
            assert deviation(ours, recorded) < 1e-7, entry["eps"]


@pytest.mark.parametrize(("name", "clipped"), [("vnncomp_mnistfc_256x2", c) for c in (True, False)])
def test_default_mixture_of_the_tool(data_dir, name, clipped, x64):
    """All 16 images, as they were recorded: the mixture depends on the whole batch."""
    (entry,) = entries(data_dir, name, MIXED, "inf", clipped)
    assert deviation(margins(data_dir, name, entry, 16, "float64"), entry["margins"]) < 1e-7


@pytest.mark.parametrize("method", PURE)
@pytest.mark.parametrize("name", ["kw_mnist_small_eps01", "eran_mnist_6_100_nat"])
def test_margins_in_single_precision(data_dir, name, method):
    (entry,) = entries(data_dir, name, method, "inf", True, "float32")
    assert deviation(margins(data_dir, name, entry, 4, "float32"), entry["margins"][:4]) < 1e-4


def test_sigmoid_network(data_dir, x64):
    """IBP is fully specified; the tool's tangent points are not: ours are sound and no looser on average."""
    name, count = SIGMOID, 4
    for entry in entries(data_dir, name, "IBP", "inf", True):
        assert deviation(margins(data_dir, name, entry, count, "float64"), entry["margins"][:count]) < 1e-7
    for method in ("CROWN-IBP", "CROWN"):
        for entry in entries(data_dir, name, method, "inf", True):
            ours = margins(data_dir, name, entry, count, "float64")
            recorded = np.asarray(entry["margins"][:count])
            assert ours.mean() >= recorded.mean() - 1e-3 * np.abs(recorded).mean(), (method, entry["eps"])
            assert (ours <= sampled(data_dir, name, entry, count) + 1e-9).all()


def sampled(data_dir, name, entry, count):
    """Smallest margins over random corners of the clipped ball."""
    net = network(data_dir, name)
    images, labels = first_images(data_dir, net.dataset, count)
    rng = np.random.default_rng(0)
    smallest = []
    for image, label in zip(images, labels, strict=True):
        moved = image + entry["eps"] * rng.choice([-1.0, 0.0, 1.0], size=(200, *image.shape))
        logits = net.forward(np.clip(moved, 0, 1))
        others = np.delete(logits, label, axis=1)
        smallest.append((logits[:, [label]] - others).min(axis=0))
    return np.stack(smallest)


def test_methods_of_the_table_are_those_that_exist():
    assert set(METHODS) == set(ALL)
    assert jax.tree.leaves(METHODS) == []
