"""tfds folders, written and read without TensorFlow, and the cache of decoded arrays."""

import os
import sys

import numpy as np
import pytest

from jaxcert.data import load, prepare_tfds
from jaxcert.errors import ConfigError, DataError
from tests.data.files import is_one_sentence, tree, write_cifar_archive, write_idx_folder


@pytest.fixture(autouse=True)
def no_tensorflow(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)


def decoded_files(cache):
    return sorted((cache / "decoded").glob("*.npz"))


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10"])
def test_plain_tfds_reads_what_we_write(tmp_path, name):
    import tensorflow_datasets as tfds

    raw, prepared = tmp_path / "raw", tmp_path / "tfds"
    raw.mkdir()
    arrays = write_cifar_archive(raw, per_batch=40) if name == "cifar10" else write_idx_folder(raw, 200, 40)
    folder = prepare_tfds(name, raw, prepared)
    assert folder.parent == prepared / name
    for split, images, labels in (("train", *arrays[:2]), ("test", *arrays[2:])):
        source = tfds.data_source(name, split=split, data_dir=prepared, download=False)
        assert len(source) == len(images)
        assert [example["label"] for example in source] == labels.tolist()
        found = np.stack([example["image"] for example in source])
        np.testing.assert_array_equal(found, images.reshape(found.shape))


def test_preparing_says_nothing_on_stdout_and_leaves_no_unfinished_folder(tmp_path, capfd):
    write_idx_folder(tmp_path / "raw")
    folder = prepare_tfds("mnist", tmp_path / "raw", tmp_path / "tfds")
    assert capfd.readouterr().out == ""
    assert not [path for path in tree(tmp_path / "tfds") if "incomplete" in path]
    before = (folder / "dataset_info.json").stat().st_mtime_ns
    assert prepare_tfds("mnist", tmp_path / "raw", tmp_path / "tfds") == folder
    assert (folder / "dataset_info.json").stat().st_mtime_ns == before


def test_prepare_refuses_unknown_names_and_empty_folders(tmp_path):
    with pytest.raises(ConfigError) as unknown:
        prepare_tfds("digits", tmp_path, tmp_path)
    with pytest.raises(DataError) as empty:
        prepare_tfds("mnist", tmp_path, tmp_path)
    blocked = tmp_path / "file"
    blocked.write_text("")
    write_idx_folder(tmp_path / "raw")
    with pytest.raises(DataError) as unwritable:
        prepare_tfds("mnist", tmp_path / "raw", blocked)
    for caught in (unknown, empty, unwritable):
        assert is_one_sentence(caught.value)


@pytest.mark.parametrize("place", [".", "mnist", "mnist/3.0.1"])
def test_load_finds_the_prepared_folder_at_each_level(tmp_path, place):
    arrays = write_idx_folder(tmp_path / "raw")
    prepare_tfds("mnist", tmp_path / "raw", tmp_path / "tfds")
    dataset = load("mnist", tmp_path / "tfds" / place, cache_dir=tmp_path / "cache")
    assert (dataset.train.images[..., 0] == arrays[0]).all()
    assert (dataset.test.labels == arrays[3]).all()


def test_damaged_prepared_folder_is_refused(tmp_path):
    write_idx_folder(tmp_path / "raw")
    folder = prepare_tfds("mnist", tmp_path / "raw", tmp_path / "tfds")
    (record,) = folder.glob("mnist-test.array_record-*")
    whole = record.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    for content in (whole[: len(whole) // 2], b"", bytes(flipped)):
        record.write_bytes(content)
        with pytest.raises(DataError) as caught:
            load("mnist", tmp_path / "tfds", cache_dir=tmp_path / "cache")
        assert str(folder) in str(caught.value)
        assert is_one_sentence(caught.value)
    assert decoded_files(tmp_path / "cache") == []


def test_decoded_arrays_are_kept_and_used(tmp_path):
    write_idx_folder(tmp_path / "raw")
    prepare_tfds("mnist", tmp_path / "raw", tmp_path / "tfds")
    first = load("mnist", tmp_path / "tfds", cache_dir=tmp_path / "cache")
    (kept,) = decoded_files(tmp_path / "cache")
    before = kept.stat().st_mtime_ns
    second = load("mnist", tmp_path / "tfds", cache_dir=tmp_path / "cache")
    assert kept.stat().st_mtime_ns == before
    np.testing.assert_array_equal(first.train.images, second.train.images)
    assert first.source == second.source


def test_damaged_cache_is_rebuilt_not_trusted(tmp_path):
    arrays = write_idx_folder(tmp_path / "raw")
    prepare_tfds("mnist", tmp_path / "raw", tmp_path / "tfds")
    cache = tmp_path / "cache"
    load("mnist", tmp_path / "tfds", cache_dir=cache)
    (kept,) = decoded_files(cache)
    whole = kept.read_bytes()
    with np.load(kept) as archive:
        contents = dict(archive)
    forged = {**contents, "train_images": 255 - contents["train_images"]}
    for write in (
        lambda: kept.write_bytes(whole[: len(whole) // 2]),
        lambda: kept.write_bytes(b""),
        lambda: np.savez(kept, **forged),
        lambda: np.savez(kept, **{name: forged[name] for name in ("train_images", "digest")}),
    ):
        write()
        dataset = load("mnist", tmp_path / "tfds", cache_dir=cache)
        np.testing.assert_array_equal(dataset.train.images[..., 0], arrays[0])
        assert kept.read_bytes() == whole
    assert [path for path in tree(cache) if path.endswith(".part")] == []


def test_changed_folder_is_decoded_again(tmp_path):
    cache, tfds_dir = tmp_path / "cache", tmp_path / "tfds"
    write_idx_folder(tmp_path / "raw")
    folder = prepare_tfds("mnist", tmp_path / "raw", tfds_dir)
    load("mnist", tfds_dir, cache_dir=cache)
    os.utime(folder / "dataset_info.json", ns=(1, 1))
    load("mnist", tfds_dir, cache_dir=cache)
    assert len(decoded_files(cache)) == 2


def test_unwritable_cache_is_done_without(tmp_path):
    arrays = write_idx_folder(tmp_path / "raw")
    prepare_tfds("mnist", tmp_path / "raw", tmp_path / "tfds")
    blocked = tmp_path / "file"
    blocked.write_text("")
    dataset = load("mnist", tmp_path / "tfds", cache_dir=blocked)
    assert (dataset.test.images[..., 0] == arrays[2]).all()
