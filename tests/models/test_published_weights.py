"""Published weights in our modules: the logits of the numpy twin and the clean errors of the sources."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcert.models import CNNA, CNNSmall, ResNet2B
from tests.common import images, networks

LAYERS = ("conv_0", "conv_1", "dense_0", "logits")
RESNET_LAYERS = (
    *("conv_0", "block_0_conv_0", "block_0_conv_1", "block_0_skip", "block_1_conv_0", "block_1_conv_1"),
    *("dense_0", "logits"),
)


def variables_of(network, layers):
    params = {
        layer: {"kernel": network.params[f"{i:02}_weight"], "bias": network.params[f"{i:02}_bias"]}
        for i, layer in enumerate(layers)
    }
    return jax.tree.map(jnp.asarray, {"params": params})


@pytest.mark.parametrize(
    ("name", "constructor", "layers", "number", "wrong"),
    [
        ("kw_mnist_small_eps01", CNNSmall, LAYERS, 10_000, 180),
        ("sdp_cifar_cnn_a_adv", CNNA, LAYERS, 1000, 336),  # normalises, then pads
        ("abcrown_cifar_resnet_2b", ResNet2B, RESNET_LAYERS, 1000, 297),
    ],
)
def test_logits_and_clean_errors(data_dir, name, constructor, layers, number, wrong):
    network = networks.load(data_dir, name)
    record = network.record["normalization"]
    model = constructor(10, normalize=record and (tuple(record["mean"]), tuple(record["std"])))
    pixels, labels = images.first_images(data_dir, network.dataset, number)
    apply, variables = jax.jit(model.apply), variables_of(network, layers)
    batches = [jnp.asarray(chunk, jnp.float32) for chunk in np.split(pixels, number // 1000)]
    logits = np.concatenate([apply(variables, batch) for batch in batches])
    assert int((logits.argmax(-1) != labels).sum()) == wrong
    np.testing.assert_allclose(logits[:5], network.forward(pixels[:5]), rtol=1e-3, atol=1e-3)
