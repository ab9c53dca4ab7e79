"""Small data sets and their files, made for the tests (numpy and the standard library only)."""

import gzip
import hashlib
import io
import struct
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from jaxcert.data import CATALOG, DatasetSpec, Source

IDX_NAMES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)


def images_and_labels(count: int, shape: tuple[int, ...], seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, *shape), dtype=np.uint8), rng.integers(0, 10, count, dtype=np.uint8)


def idx_bytes(array: np.ndarray) -> bytes:
    header = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.tobytes()


def write_idx_folder(folder: Path, train: int = 20, test: int = 7) -> tuple[np.ndarray, ...]:
    """Write the four files; return (train images, train labels, test images, test labels)."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays = (*images_and_labels(train, (28, 28), 0), *images_and_labels(test, (28, 28), 1))
    for name, array in zip(IDX_NAMES, arrays, strict=True):
        (folder / name).write_bytes(gzip.compress(idx_bytes(array), mtime=0))
    return arrays


def write_cifar_archive(folder: Path, per_batch: int = 4) -> tuple[np.ndarray, ...]:
    """Write a small CIFAR-10 binary archive; return the arrays as `write_idx_folder` does."""
    arrays = (
        *images_and_labels(5 * per_batch, (32, 32, 3), 0),
        *images_and_labels(per_batch, (32, 32, 3), 1),
    )
    records = []
    for images, labels in (arrays[:2], arrays[2:]):
        planes = np.moveaxis(images, -1, 1).reshape(len(images), -1)
        records.append(np.concatenate([labels[:, None], planes], axis=1))
    contents = {"test_batch.bin": records[1]}
    for number in range(5):
        contents[f"data_batch_{number + 1}.bin"] = records[0][number * per_batch : (number + 1) * per_batch]
    with tarfile.open(folder / "cifar-10-binary.tar.gz", "w:gz") as tar:
        for name, rows in contents.items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = rows.size
            tar.addfile(member, io.BytesIO(rows.tobytes()))
    return arrays


def spec_served_from(base_url: str, folder: Path) -> DatasetSpec:
    """MNIST with the idx files of `folder`, and their checksums, served below `base_url`."""
    sources = tuple(
        Source(f"{base_url}/{name}", hashlib.sha256((folder / name).read_bytes()).hexdigest())
        for name in IDX_NAMES
    )
    return replace(CATALOG["mnist"], sources=sources)


def tree(folder: Path) -> list[str]:
    """Every file below `folder`, hidden ones included."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def is_one_sentence(error: BaseException) -> bool:
    text = str(error)
    return text.endswith(".") and "\n" not in text and ". " not in text
