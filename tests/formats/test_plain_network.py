"""Networks from npz and JSON: equal to an evaluation by numpy, and mistakes are told."""

import json

import jax
import numpy as np
import pytest

from jaxcert.errors import CheckpointError, InvalidInputError
from jaxcert.formats import read_plain_network
from tests.common.images import first_images
from tests.common.networks import load

SHAPE = (2, 6, 6)


def conv(name, out, inputs, taps, stride=1, pad=0):
    sides = [[pad, pad], [pad, pad]]
    shape = [out, inputs, taps, taps]
    names = {"weight": f"{name}_weight", "bias": f"{name}_bias"}
    return {"type": "conv2d", **names, "weight_shape": shape, "stride": [stride, stride], "padding": sides}


def linear(name, out, inputs):
    names = {"weight": f"{name}_weight", "bias": f"{name}_bias"}
    return {"type": "linear", **names, "weight_shape": [out, inputs]}


def residual():
    body = [conv("b", 3, 3, 3, pad=1), {"type": "relu"}, conv("c", 5, 3, 3, stride=1, pad=1)]
    return {"type": "residual_add", "body": body, "shortcut": [conv("s", 5, 3, 1)]}


POOL = {
    "type": "avgpool2d",
    "kernel": [2, 2],
    "stride": [2, 2],
    "padding": [0, 0, 0, 0],
    "count_include_pad": 0,
}
FLATTEN = {"type": "flatten", "order": "CHW"}
LAYERS = [
    conv("a", 3, 2, 3, pad=1),
    {"type": "relu"},
    residual(),
    {"type": "sigmoid"},
    POOL,
    FLATTEN,
    linear("d", 7, 45),
    {"type": "relu"},
    linear("e", 4, 7),
]
RECORD = {
    "name": "net",
    "dataset": "digits",
    "input_shape_CHW": list(SHAPE),
    "normalization": {"mean": [0.4, 0.5], "std": [0.2, 0.3]},
    "layers": LAYERS,
    "threat_model": {"norm": "2", "eps": [0.1, 0.2]},
}


def arrays_of(layers):
    rng = np.random.default_rng(0)
    found = {}
    for layer in layers:
        if layer["type"] == "residual_add":
            found |= arrays_of(layer["body"]) | arrays_of(layer["shortcut"])
        if "weight" in layer:
            found[layer["weight"]] = rng.normal(size=layer["weight_shape"]).astype(np.float32)
            found[layer["bias"]] = rng.normal(size=layer["weight_shape"][0]).astype(np.float32)
    return found


def written(folder, arrays=None, **changes):
    folder.mkdir(exist_ok=True)
    record = {**RECORD, **changes}
    (folder / "net.json").write_text(json.dumps(record))
    np.savez(folder / "net.npz", **(arrays_of(LAYERS) if arrays is None else arrays))
    return folder / "net.npz"


def test_equal_to_numpy(tmp_path):
    path = written(tmp_path / "nets")
    network = read_plain_network(path)
    images = np.random.default_rng(1).uniform(size=(3, 6, 6, 2)).astype(np.float32)
    found = jax.vmap(lambda x: network.apply(network.params, x))(images)
    np.testing.assert_allclose(found, load(tmp_path, "net").forward(images), rtol=1e-4, atol=1e-4)
    assert (network.name, network.dataset, network.shape) == ("net", "digits", (6, 6, 2))
    assert (network.eps, network.norm) == ((0.1, 0.2), 2.0)
    again = read_plain_network(path.with_suffix(".json"))
    assert (again.apply, hash(again.apply)) == (network.apply, hash(network.apply))


@pytest.mark.parametrize(
    "name", ["abcrown_cifar_resnet_2b", "kw_mnist_small_eps01", "vnncomp_verivital_mnist_avgpool"]
)
def test_published_networks(data_dir, name):
    network = read_plain_network(data_dir / "nets" / f"{name}.npz")
    images, _ = first_images(data_dir, network.dataset, 3)
    found = jax.vmap(lambda x: network.apply(network.params, x))(images.astype(np.float32))
    np.testing.assert_allclose(found, load(data_dir, name).forward(images), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"layers": [{"type": "lstm"}]}, InvalidInputError, "'lstm'"),
        ({"layers": [{**FLATTEN, "order": "HWC"}]}, InvalidInputError, "HWC"),
        ({"layers": [{**POOL, "stride": [1, 1]}]}, InvalidInputError, "side by side"),
        ({"layers": [{**LAYERS[0], "dilation": [2, 2]}]}, InvalidInputError, "'dilation'"),
        ({"layers": [{"type": "relu"}]}, CheckpointError, "one vector of logits"),
        ({"layers": [FLATTEN, linear("d", 7, 45)]}, CheckpointError, "does not describe a network"),
        ({"layers": [linear("nowhere", 4, 72)]}, CheckpointError, "nowhere_weight"),
        ({"input_shape_CHW": None}, CheckpointError, "does not describe a network"),
        ({"threat_model": {"eps": "much"}}, CheckpointError, "does not describe a network"),
    ],
)
def test_what_is_wrong_is_told(tmp_path, changes, error, said):
    with pytest.raises(error, match=said):
        read_plain_network(written(tmp_path, **changes))


def test_bad_files(tmp_path):
    path = written(tmp_path)
    broken = arrays_of(LAYERS)
    broken["a_bias"][0] = np.nan
    with pytest.raises(CheckpointError, match="a_bias holds numbers that are not finite"):
        read_plain_network(written(tmp_path, broken))
    path.write_bytes(b"no archive")
    with pytest.raises(CheckpointError, match="damaged"):
        read_plain_network(path)
    path.unlink()
    with pytest.raises(CheckpointError, match=r"There is no .*net\.npz"):
        read_plain_network(path)
