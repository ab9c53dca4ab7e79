"""Downloads: only whole files with the right checksum are used, and nothing else is left behind."""

import shutil
from dataclasses import replace

import pytest

from jaxcert.data import CATALOG, Source, load
from jaxcert.errors import DataError
from tests.data.files import IDX_NAMES, is_one_sentence, spec_served_from, tree, write_idx_folder


def refused(cache, spec, *, download=True) -> str:
    with pytest.raises(DataError) as caught:
        load("mnist", cache_dir=cache, catalog={"mnist": spec}, download=download)
    assert is_one_sentence(caught.value)
    message = str(caught.value)
    assert "--data-dir" in message
    assert all(name in message for name in IDX_NAMES)
    return message


def test_first_load_downloads_and_later_loads_need_no_network(server, tmp_path):
    url, folder = server
    train_images, train_labels, test_images, test_labels = write_idx_folder(folder)
    spec = spec_served_from(url, folder)
    cache = tmp_path / "cache"
    first = load("mnist", cache_dir=cache, catalog={"mnist": spec})
    shutil.rmtree(folder)
    second = load("mnist", cache_dir=cache, catalog={"mnist": spec}, download=False)
    for dataset in (first, second):
        assert (dataset.train.images[..., 0] == train_images).all()
        assert (dataset.train.labels == train_labels).all()
        assert (dataset.test.images[..., 0] == test_images).all()
        assert (dataset.test.labels == test_labels).all()
    assert not [path for path in tree(cache) if path.endswith(".part") or "incomplete" in path]


def test_damaged_copy_is_rebuilt_from_the_checked_files(server, tmp_path):
    url, folder = server
    images, *_ = write_idx_folder(folder)
    spec = spec_served_from(url, folder)
    load("mnist", cache_dir=tmp_path, catalog={"mnist": spec})
    shutil.rmtree(tmp_path / "decoded")
    for record in (tmp_path / "tfds" / "mnist" / "3.0.1").glob("*.array_record-*"):
        record.write_bytes(record.read_bytes()[:100])
    again = load("mnist", cache_dir=tmp_path, catalog={"mnist": spec}, download=False)
    assert (again.train.images[..., 0] == images).all()


def test_wrong_checksum_truncation_missing_file_and_dead_server(server, tmp_path):
    url, folder = server
    write_idx_folder(folder)
    spec = spec_served_from(url, folder)
    cache = tmp_path / "cache"
    last = folder / IDX_NAMES[3]
    whole = last.read_bytes()
    for content in (whole[:-5], b"", whole + b"x"):
        last.write_bytes(content)
        message = refused(cache, spec)
        assert "sha256" in message
        assert IDX_NAMES[3] in message
    last.unlink()
    assert "404" in refused(cache, spec)
    # The three good files are kept, and no part of the fourth.
    assert tree(cache) == sorted(f"downloads/mnist/{name}" for name in IDX_NAMES[:3])
    last.write_bytes(whole)
    assert len(load("mnist", cache_dir=cache, catalog={"mnist": spec}).test) == 7


def test_unreachable_server_bad_url_and_unwritable_cache(tmp_path):
    for url in ("http://127.0.0.1:9", (tmp_path / "absent").as_uri(), "no-scheme"):
        sources = tuple(Source(f"{url}/{name}", "0" * 64) for name in IDX_NAMES)
        assert "could not be downloaded" in refused(
            tmp_path / "cache", replace(CATALOG["mnist"], sources=sources)
        )
    assert tree(tmp_path) == []
    blocked = tmp_path / "file"
    blocked.write_text("")
    write_idx_folder(tmp_path / "idx")
    spec = spec_served_from((tmp_path / "idx").as_uri(), tmp_path / "idx")
    assert "could not be downloaded" in refused(blocked, spec)


def test_download_can_be_forbidden(server, tmp_path):
    url, folder = server
    write_idx_folder(folder)
    refused(tmp_path / "cache", spec_served_from(url, folder), download=False)
    assert tree(tmp_path / "cache") == []


def test_a_damaged_download_is_fetched_again(server, tmp_path):
    url, folder = server
    write_idx_folder(folder)
    spec = spec_served_from(url, folder)
    kept = tmp_path / "downloads" / "mnist" / IDX_NAMES[0]
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"half")
    load("mnist", cache_dir=tmp_path, catalog={"mnist": spec})
    assert kept.read_bytes() == (folder / IDX_NAMES[0]).read_bytes()


def test_cache_folder_comes_from_the_environment(server, tmp_path, monkeypatch):
    url, folder = server
    write_idx_folder(folder)
    monkeypatch.setenv("JAXCERT_CACHE", str(tmp_path / "elsewhere"))
    load("mnist", catalog={"mnist": spec_served_from(url, folder)})
    assert (tmp_path / "elsewhere" / "tfds" / "mnist" / "3.0.1" / "dataset_info.json").is_file()
