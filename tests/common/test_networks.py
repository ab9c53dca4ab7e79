"""The networks of the data folder are read right: recorded logits and clean errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.common.images import first_images
from tests.common.networks import load

NETS = [
    "abcrown_cifar_resnet_2b",
    "abcrown_mnist_2_20_toy",
    "eran_cifar_conv_small_pgd",
    "eran_mnist_6_100_nat",
    "eran_mnist_conv_small_nat",
    "kw_cifar_small_8_255",
    "kw_mnist_small_eps01",
    "kw_mnist_small_eps03",
    "oval_cifar_base_kw",
    "oval_cifar_wide_kw",
    "sdp_cifar_cnn_a_adv",
    "sdp_cifar_cnn_a_mix",
    "sdp_mnist_cnn_a_adv",
    "vnncomp_eran_mnist_sigmoid_6_200",
    "vnncomp_marabou_cifar_small",
    "vnncomp_mnistfc_256x2",
    "vnncomp_verivital_mnist_avgpool",
]


@pytest.mark.parametrize("name", NETS)
def test_recorded_logits(data_dir, name):
    network = load(data_dir, name)
    images, _ = first_images(data_dir, network.dataset, 4)
    recorded = np.array(network.record["measured"]["logits_first4_test_images_f32_sha_hint"])
    ours = network.forward(images)
    assert ours == pytest.approx(recorded, rel=2e-5, abs=2e-4)
    apply = jax.jit(jax.vmap(network.apply, in_axes=(None, 0)))
    in_jax = apply(network.cast(jnp.float32), jnp.asarray(images, jnp.float32))
    assert np.asarray(in_jax) == pytest.approx(ours, rel=1e-4, abs=1e-3)
    with jax.enable_x64(True):
        in_jax = apply(network.cast(jnp.float64), jnp.asarray(images))
        assert np.asarray(in_jax) == pytest.approx(ours, rel=1e-11, abs=1e-11)


@pytest.mark.parametrize("name", ["abcrown_cifar_resnet_2b", "kw_mnist_small_eps01", "kw_cifar_small_8_255"])
def test_recorded_clean_errors(data_dir, name):
    network = load(data_dir, name)
    count = network.record["measured"]["n"]
    images, labels = first_images(data_dir, network.dataset, count)
    apply = jax.jit(jax.vmap(network.apply, in_axes=(None, 0)))
    logits = apply(network.cast(jnp.float32), jnp.asarray(images, jnp.float32))
    wrong = int((np.argmax(np.asarray(logits), axis=-1) != labels).sum())
    assert wrong == network.record["measured"]["misclassified"]
