"""The real images, against what their publishers and the data folder's README say of them."""

import hashlib
import shutil

import numpy as np
import pytest

from jaxcert.data import CATALOG, load, prepare_tfds
from jaxcert.errors import DataError
from tests.data.files import write_idx_folder

MNIST_TRAIN = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
MNIST_TEST = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
CIFAR_TRAIN_10000 = [1005, 974, 1032, 1016, 999, 937, 1030, 1001, 1025, 981]
CIFAR_TEST_1000 = [103, 89, 100, 103, 90, 86, 112, 102, 106, 109]


def histogram(split) -> list[int]:
    return np.bincount(split.labels, minlength=10).tolist()


def test_mnist(data_dir):
    mnist = load("mnist", data_dir)
    assert (mnist.train.images.shape, mnist.test.images.shape) == ((60000, 28, 28, 1), (10000, 28, 28, 1))
    assert histogram(mnist.train) == MNIST_TRAIN
    assert histogram(mnist.test) == MNIST_TEST
    assert mnist.train.images.mean() / 255 == pytest.approx(0.13066, abs=1e-5)
    assert mnist.train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert mnist.test.labels[:5].tolist() == [7, 2, 1, 0, 4]


def test_fashion_mnist(data_dir):
    fashion = load("fashion_mnist", data_dir)
    assert histogram(fashion.train) == [6000] * 10
    assert histogram(fashion.test) == [1000] * 10
    assert fashion.train.images.mean() / 255 == pytest.approx(0.28604, abs=1e-5)


def test_cifar10_part(data_dir):
    cifar = load("cifar10", data_dir)
    assert (cifar.train.images.shape, cifar.test.images.shape) == ((10000, 32, 32, 3), (1000, 32, 32, 3))
    assert histogram(cifar.train) == CIFAR_TRAIN_10000
    assert histogram(cifar.test) == CIFAR_TEST_1000
    assert cifar.test.labels[:10].tolist() == [3, 8, 8, 0, 6, 6, 1, 6, 3, 1]
    assert "first1000" in cifar.source


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_the_catalog_has_the_checksums_of_the_real_files(data_dir, name):
    for source in CATALOG[name].sources:
        content = (data_dir / name / source.filename).read_bytes()
        assert hashlib.sha256(content).hexdigest() == source.sha256


def test_fashion_files_are_not_taken_for_mnist(data_dir):
    with pytest.raises(DataError, match="belongs to fashion_mnist, not to mnist"):
        load("mnist", data_dir / "fashion_mnist")
    with pytest.raises(DataError, match="belongs to mnist, not to fashion_mnist"):
        load("fashion_mnist", data_dir / "mnist")


def test_real_mnist_test_images_through_tfds(data_dir, tmp_path):
    """All 10,000 test images survive PNG and array_record in their order (training images: a few made up)."""
    raw = tmp_path / "raw"
    write_idx_folder(raw)
    for name in ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"):
        shutil.copyfile(data_dir / "mnist" / name, raw / name)
    prepare_tfds("mnist", raw, tmp_path / "tfds")
    original = load("mnist", data_dir)
    prepared = load("mnist", tmp_path / "tfds", cache_dir=tmp_path / "cache")
    np.testing.assert_array_equal(prepared.test.images, original.test.images)
    np.testing.assert_array_equal(prepared.test.labels, original.test.labels)
