"""The binary version of CIFAR-10: one tar.gz of six files of 3,073-byte records.

A record is one label byte, then 1,024 bytes each of red, green and blue, row by row.
"""

import tarfile
import zlib
from pathlib import Path

import numpy as np

from jaxcert.data.reasons import reason
from jaxcert.data.spec import REMEDY, DatasetSpec, assemble, checked_split
from jaxcert.data.types import Dataset, Split
from jaxcert.errors import DataError

ARCHIVE = "cifar-10-binary.tar.gz"
_FOLDER = "cifar-10-batches-bin"
_TRAIN = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
_TEST = ("test_batch.bin",)


def read_cifar_folder(folder: Path, spec: DatasetSpec) -> Dataset | None:
    """Return CIFAR-10 read from `cifar-10-binary.tar.gz` in `folder`, or None if it is not there.

    The archive is read in memory and never unpacked. Raises `DataError`, naming the file, if it is
    damaged or incomplete.
    """
    archive = folder / ARCHIVE
    if not archive.is_file():
        return None
    members = _read_members(archive)
    train = _split([members[name] for name in _TRAIN], spec, "training", archive)
    test = _split([members[name] for name in _TEST], spec, "test", archive)
    return assemble(spec, train, test, f"archive {archive}")


def _read_members(archive: Path) -> dict[str, bytes]:
    members = {}
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for name in (*_TRAIN, *_TEST):
                handle = tar.extractfile(f"{_FOLDER}/{name}")
                members[name] = handle.read() if handle else b""
    except (OSError, EOFError, KeyError, tarfile.TarError, zlib.error) as error:
        raise DataError(
            f"{archive} is damaged or incomplete ({reason(error)}); replace the file, or {REMEDY}."
        ) from error
    return members


def _split(parts: list[bytes], spec: DatasetSpec, part: str, archive: Path) -> Split:
    height, width, channels = spec.shape
    size = 1 + height * width * channels
    if any(len(content) % size for content in parts):
        raise DataError(f"{archive} holds a record shorter than {size} bytes; replace the file, or {REMEDY}.")
    records = np.frombuffer(b"".join(parts), np.uint8).reshape(-1, size)
    planes = records[:, 1:].reshape(-1, channels, height, width)
    images = np.ascontiguousarray(planes.transpose(0, 2, 3, 1))
    return checked_split(images, records[:, 0], spec, part, archive)
