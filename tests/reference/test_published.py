"""Numbers that others published for networks they trained, over whole test sets.

`kw_mnist_small_eps01`: the authors' table (clean 1.80 %, certified error 5.82 % of 10,000 by their dual
bound, which is Fast-Lin without clipping). The counts on the first 1,000 images, 67 (Fast-Lin, no clip) and
59 (CROWN, clip), were made with independent programs. `abcrown_cifar_resnet_2b`: the README of
alpha-beta-CROWN, accuracies on 10,000 images; only 1,000 are here.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcert as jc
from tests.common.images import first_images
from tests.common.networks import load

pytestmark = pytest.mark.optimised
RESNET_EVERY = 8


def certified(data_dir, name, method, eps, clip, count, every=1):
    """One flag per image: proven by the method. eps is traced, so all radii share one compilation."""
    network = load(data_dir, name)
    params = network.cast(jnp.float32)
    images, labels = (part[::every] for part in first_images(data_dir, network.dataset, count))

    def one(image, label):
        fn = lambda x: network.apply(params, x)
        region = jc.linf_ball(image, eps, clip=clip)
        return jc.is_certified(jc.margins(method, fn, region, label))

    images = jnp.asarray(images, jnp.float32)
    logits = jax.jit(jax.vmap(lambda x: network.apply(params, x)))(images)
    # A misclassified image has a negative margin at the centre: no sound bound certifies it.
    correct = np.flatnonzero(np.argmax(logits, axis=-1) == labels)
    run = jax.jit(lambda xs, ys: jc.map_examples(one, xs, ys))
    flags = np.zeros(len(labels), bool)
    flags[correct] = run(images[correct], jnp.asarray(labels[correct]))
    return flags


@pytest.mark.slow
def test_fast_lin_certifies_the_published_share_of_the_mnist_test_set(data_dir):
    flags = certified(data_dir, "kw_mnist_small_eps01", jc.fast_lin(), 0.1, None, 10_000)
    assert int((~flags).sum()) == 582
    assert int((~flags[:1000]).sum()) == 67


def test_crown_with_clipping_on_the_first_thousand_mnist_images(data_dir):
    flags = certified(data_dir, "kw_mnist_small_eps01", jc.crown(), 0.1, (0.0, 1.0), 1_000)
    assert int((~flags).sum()) == 59


def test_clean_error_of_the_mnist_network(data_dir):
    network = load(data_dir, "kw_mnist_small_eps01")
    images, labels = first_images(data_dir, network.dataset, 10_000)
    params = network.cast(jnp.float32)
    logits = jax.jit(jax.vmap(lambda x: network.apply(params, x)))(jnp.asarray(images, jnp.float32))
    assert int((np.argmax(logits, axis=-1) != labels).sum()) == 180


@pytest.mark.slow
@pytest.mark.parametrize(("eps", "published"), [(2 / 255, 26.88), (1 / 255, 57.16)])
def test_crown_on_the_cifar_resnet(data_dir, eps, published):
    """On every eighth of the 1,000 images that are here: all of them take six minutes (see the README)."""
    name, clip = "abcrown_cifar_resnet_2b", (0.0, 1.0)
    flags = certified(data_dir, name, jc.crown(), eps, clip, 1_000, RESNET_EVERY)
    # Two standard errors of the share in a sample from 10,000 images of which `published` % are verified.
    share, n = published / 100, len(flags)
    error = 100 * np.sqrt(share * (1 - share) / n * (1 - n / 10_000))
    assert abs(100 * flags.mean() - published) < 2 * error
