"""Local folders: idx files, npz archives, the CIFAR archive, and what can be wrong with them."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from jaxcert.data import load
from jaxcert.errors import ConfigError, DataError
from tests.data.files import (
    IDX_NAMES,
    idx_bytes,
    images_and_labels,
    is_one_sentence,
    write_cifar_archive,
    write_idx_folder,
)


def refused(name: str, folder: Path) -> str:
    """The message with which `load` refuses `folder`, after checking its form."""
    with pytest.raises(DataError) as caught:
        load(name, folder)
    assert is_one_sentence(caught.value)
    assert "data-dir" in str(caught.value)
    return str(caught.value)


def assert_holds(dataset, arrays) -> None:
    train_images, train_labels, test_images, test_labels = arrays
    shape = (-1, *dataset.shape)
    np.testing.assert_array_equal(dataset.train.images, train_images.reshape(shape))
    np.testing.assert_array_equal(dataset.train.labels, train_labels)
    np.testing.assert_array_equal(dataset.test.images, test_images.reshape(shape))
    np.testing.assert_array_equal(dataset.test.labels, test_labels)


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
@pytest.mark.parametrize("inside", ["", "own"])
def test_idx_files_directly_or_in_a_folder_of_the_name(tmp_path, name, inside):
    arrays = write_idx_folder(tmp_path / name if inside else tmp_path)
    dataset = load(name, str(tmp_path))
    assert (dataset.name, dataset.num_classes, dataset.shape) == (name, 10, (28, 28, 1))
    assert_holds(dataset, arrays)
    assert str(tmp_path) in dataset.source


def test_unzipped_idx_files(tmp_path):
    arrays = write_idx_folder(tmp_path)
    for name in IDX_NAMES:
        (tmp_path / name.removesuffix(".gz")).write_bytes(gzip.decompress((tmp_path / name).read_bytes()))
        (tmp_path / name).unlink()
    assert_holds(load("mnist", tmp_path), arrays)


def test_argument_wins_over_environment(tmp_path, monkeypatch):
    arrays = write_idx_folder(tmp_path / "argument", train=5)
    write_idx_folder(tmp_path / "variable", train=9)
    monkeypatch.setenv("JAXCERT_DATA", str(tmp_path / "variable"))
    assert len(load("mnist").train) == 9
    assert_holds(load("mnist", tmp_path / "argument"), arrays)


def test_loading_local_files_writes_nothing(tmp_path):
    write_idx_folder(tmp_path / "data")
    load("mnist", tmp_path / "data")
    assert not (tmp_path / "cache").exists()


def test_cifar_archive(tmp_path):
    arrays = write_cifar_archive(tmp_path)
    dataset = load("cifar10", tmp_path)
    assert dataset.shape == (32, 32, 3)
    assert_holds(dataset, arrays)


def test_one_npz_with_keras_names(tmp_path):
    arrays = (*images_and_labels(9, (28, 28), 0), *images_and_labels(4, (28, 28), 1))
    np.savez(
        tmp_path / "mnist.npz", **dict(zip(("x_train", "y_train", "x_test", "y_test"), arrays, strict=True))
    )
    assert_holds(load("mnist", tmp_path), arrays)


def write_two_npz(folder: Path, images: np.ndarray, labels: np.ndarray) -> None:
    good_images, good_labels = images_and_labels(4, (32, 32, 3), 1)
    np.savez(folder / "cifar10_train_first9.npz", images=images, labels=labels)
    np.savez(folder / "cifar10_test.npz", images=good_images, labels=good_labels)


def test_npz_per_split(tmp_path):
    images, labels = images_and_labels(9, (32, 32, 3), 0)
    write_two_npz(tmp_path, images, labels)
    assert_holds(load("cifar10", tmp_path), (images, labels, *images_and_labels(4, (32, 32, 3), 1)))


def test_npz_contents_are_checked(tmp_path):
    images, labels = images_and_labels(9, (32, 32, 3), 0)
    floats = (images / 255.0).astype(np.float32)
    with_nan = floats.copy()
    with_nan[3, 1, 1, 1] = np.nan
    for bad_images, bad_labels, word in (
        (with_nan, labels, "nan"),
        (floats * 255, labels, "[0, 1]"),
        (images[:, :28], labels, "(28, 32, 3)"),
        (images, labels + 10, "0 to 9"),
        (images, labels.astype(np.int8) - 10, "from 0"),
        (images, labels[:-1], "9 images and 8 labels"),
        (images, labels * 1.0, "integers"),
    ):
        write_two_npz(tmp_path, bad_images, bad_labels)
        message = refused("cifar10", tmp_path)
        assert word in message
        assert "cifar10_train_first9.npz" in message


def test_npz_files_missing_damaged_or_ambiguous(tmp_path):
    images, labels = images_and_labels(9, (32, 32, 3), 0)
    write_two_npz(tmp_path, images, labels)
    train, test = tmp_path / "cifar10_train_first9.npz", tmp_path / "cifar10_test.npz"
    whole = train.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"not a zip", whole[:200] + b"\xff" * 50 + whole[250:]):
        train.write_bytes(content)
        assert train.name in refused("cifar10", tmp_path)
    np.savez(train, images=images)
    assert "'labels'" in refused("cifar10", tmp_path)
    np.savez(train, images=np.array([{"a": 1}], dtype=object), labels=labels)
    assert train.name in refused("cifar10", tmp_path)
    train.write_bytes(whole)
    (tmp_path / "cifar10_train_first5.npz").write_bytes(whole)
    assert "got 2" in refused("cifar10", tmp_path)
    (tmp_path / "cifar10_train_first5.npz").unlink()
    test.unlink()
    assert "cifar10_test*.npz, got 0" in refused("cifar10", tmp_path)


@pytest.mark.parametrize("broken", IDX_NAMES)
def test_each_idx_file_is_checked(tmp_path, broken):
    arrays = dict(zip(IDX_NAMES, write_idx_folder(tmp_path), strict=True))
    path = tmp_path / broken
    good, raw = path.read_bytes(), idx_bytes(arrays[broken])
    wrong_type = raw[:2] + b"\x0d" + raw[3:]
    for content, word in (
        (good[: len(good) // 2], "truncated"),
        (b"", "magic"),
        (b"<html>not found</html>", "truncated"),
        (gzip.compress(b"\0\0\x08\x05" + raw[4:]), "magic"),
        (gzip.compress(wrong_type), "magic"),
        (gzip.compress(raw[:6]), "header"),
        (gzip.compress(raw[:-1]), "bytes"),
        (gzip.compress(raw + b"\0"), "bytes"),
    ):
        path.write_bytes(content)
        message = refused("mnist", tmp_path)
        assert word in message
        assert broken in message
    path.unlink()
    assert broken in refused("mnist", tmp_path)


def test_idx_labels_out_of_range(tmp_path):
    *_, labels = write_idx_folder(tmp_path)
    labels[2] = 10
    (tmp_path / IDX_NAMES[3]).write_bytes(gzip.compress(idx_bytes(labels)))
    message = refused("mnist", tmp_path)
    assert "got 10" in message
    assert "test" in message


def test_damaged_cifar_archive(tmp_path):
    write_cifar_archive(tmp_path)
    archive = tmp_path / "cifar-10-binary.tar.gz"
    whole = archive.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"not a tar"):
        archive.write_bytes(content)
        assert archive.name in refused("cifar10", tmp_path)


def test_missing_folder_empty_folder_and_unknown_name(tmp_path):
    assert "does not exist" in refused("mnist", tmp_path / "nowhere")
    assert "train-images-idx3-ubyte.gz" in refused("mnist", tmp_path)
    file = tmp_path / "file"
    file.write_text("")
    assert "does not exist" in refused("mnist", file)
    with pytest.raises(ConfigError) as caught:
        load("imagenet", tmp_path)
    assert is_one_sentence(caught.value)
    assert all(name in str(caught.value) for name in ("digits", "mnist", "fashion_mnist", "cifar10"))
