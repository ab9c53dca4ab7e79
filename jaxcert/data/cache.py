"""Decoded arrays of tfds folders, kept as npz: tfds decodes one image at a time, which is slow."""

import contextlib
import hashlib
from pathlib import Path

import numpy as np

from jaxcert.data.npz import read_arrays
from jaxcert.data.prepared import read_prepared
from jaxcert.data.spec import DatasetSpec, assemble, checked_split
from jaxcert.data.types import Dataset
from jaxcert.data.whole_file import whole_file
from jaxcert.errors import DataError

_ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")


def read_prepared_cached(folder: Path, spec: DatasetSpec, cache_dir: Path) -> Dataset:
    """Return the set in the tfds folder `folder`, decoded once and then kept in `cache_dir`.

    The kept file is named after the path, sizes and times of the folder's files and holds the sha256 of
    its arrays: another folder or changed files give another name, and a damaged file is decoded again.
    Raises `DataError` as `read_prepared` does. A cache that cannot be written is done without.
    """
    kept = cache_dir / "decoded" / f"{spec.name}-{_fingerprint(folder)}.npz"
    if kept.is_file():
        try:
            return _read(kept, folder, spec)
        except DataError:
            pass  # damaged: decode again and replace it
    dataset = read_prepared(folder, spec)
    with contextlib.suppress(OSError):  # a read-only or full disk costs time only
        _write(kept, dataset)
    return dataset


def _fingerprint(folder: Path) -> str:
    """Return a name for the state of the files in `folder`."""
    state = [str(folder.resolve())]
    for path in sorted(folder.iterdir()):
        stat = path.stat()
        state.append(f"{path.name} {stat.st_size} {stat.st_mtime_ns}")
    return hashlib.sha256("\n".join(state).encode()).hexdigest()[:16]


def _digest(arrays: list[np.ndarray]) -> np.ndarray:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return np.frombuffer(digest.digest(), np.uint8)


def _write(kept: Path, dataset: Dataset) -> None:
    train, test = dataset.train, dataset.test
    arrays = [train.images, train.labels, test.images, test.labels]
    with whole_file(kept) as part, part.open("wb") as file:
        np.savez(file, digest=_digest(arrays), **dict(zip(_ARRAYS, arrays, strict=True)))


def _read(kept: Path, folder: Path, spec: DatasetSpec) -> Dataset:
    *arrays, digest = read_arrays(kept, (*_ARRAYS, "digest"))
    if not np.array_equal(digest, _digest(arrays)):
        raise DataError(f"{kept} is damaged (its checksum differs); delete it.")
    train = checked_split(arrays[0], arrays[1], spec, "training", kept)
    test = checked_split(arrays[2], arrays[3], spec, "test", kept)
    return assemble(spec, train, test, f"tfds folder {folder}")
