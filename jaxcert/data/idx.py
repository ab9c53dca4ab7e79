"""The idx format of MNIST and Fashion-MNIST: four files, plain or gzipped.

An idx file is a big-endian header (two zero bytes, a type byte, the number of dimensions, then one
uint32 per dimension) followed by the elements. Only unsigned bytes (type 8) are read.
"""

import gzip
import hashlib
import struct
import zlib
from pathlib import Path

import numpy as np

from jaxcert.data.reasons import reason
from jaxcert.data.spec import REMEDY, DatasetSpec, assemble, checked_split
from jaxcert.data.types import Dataset, Split
from jaxcert.errors import DataError

_UNSIGNED_BYTE = 8
STEMS = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def read_idx(path: Path, ndim: int) -> np.ndarray:
    """Return the uint8 array of `ndim` dimensions stored in the idx file `path` (gzipped if it ends in .gz).

    Raises `DataError`, naming the file, if it cannot be read, is truncated, has another magic number
    (not an idx file of unsigned bytes with `ndim` dimensions), or is longer than its header says.
    """
    payload = _read_bytes(path)
    header = 4 + 4 * ndim
    magic = struct.pack(">HBB", 0, _UNSIGNED_BYTE, ndim)
    if payload[:4] != magic:
        raise DataError(
            f"{path} does not start with the idx magic number {magic.hex()} "
            f"(got {payload[:4].hex() or 'nothing'}); replace the file, or {REMEDY}."
        )
    if len(payload) < header:
        raise DataError(f"{path} ends inside its idx header; replace the file, or {REMEDY}.")
    shape = struct.unpack(f">{ndim}I", payload[4:header])
    expected = int(np.prod(np.array(shape, dtype=object)))
    if len(payload) - header != expected:
        raise DataError(
            f"{path} should hold {expected} bytes after its header (shape {shape}) and holds "
            f"{len(payload) - header}; replace the file, or {REMEDY}."
        )
    return np.frombuffer(payload, np.uint8, offset=header).reshape(shape)


def _read_bytes(path: Path) -> bytes:
    try:
        raw = path.read_bytes()
        return gzip.decompress(raw) if path.suffix == ".gz" else raw
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"{path} cannot be read and is perhaps truncated ({reason(error)}); "
            f"replace the file, or {REMEDY}."
        ) from error


def read_idx_folder(folder: Path, spec: DatasetSpec) -> Dataset | None:
    """Return the set whose four idx files lie in `folder`, or None if none of the four does.

    Raises `DataError` if some but not all of them lie there, if one is damaged, or if the labels are
    those of another data set of the same format (the names of the files do not tell).
    """
    found = {stem: _find(folder, stem) for stem in STEMS}
    if not any(found.values()):
        return None
    files = []
    for stem in STEMS:
        path = found[stem]
        if path is None:
            raise DataError(f"{folder} has no {stem}.gz, which {spec.name} needs; add the file, or {REMEDY}.")
        files.append(path)
    train_images, train_labels, test_images, test_labels = files
    _refuse_foreign(test_labels, spec)
    train = _read_split(train_images, train_labels, spec, "training")
    test = _read_split(test_images, test_labels, spec, "test")
    return assemble(spec, train, test, f"idx files in {folder}")


def _find(folder: Path, stem: str) -> Path | None:
    candidates = (folder / f"{stem}.gz", folder / stem)
    return next((path for path in candidates if path.is_file()), None)


def _read_split(images: Path, labels: Path, spec: DatasetSpec, part: str) -> Split:
    return checked_split(read_idx(images, 3), read_idx(labels, 1), spec, part, images)


# MNIST and Fashion-MNIST use the same four names, so a folder of one could be loaded as the other:
# the gzipped test labels, 5 kB, tell them apart.
_TEST_LABELS = {
    "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6": "mnist",
    "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5": "fashion_mnist",
}


def _refuse_foreign(labels: Path, spec: DatasetSpec) -> None:
    owner = _TEST_LABELS.get(hashlib.sha256(labels.read_bytes()).hexdigest(), spec.name)
    if owner != spec.name:
        raise DataError(f"{labels} belongs to {owner}, not to {spec.name}; load {owner}, or {REMEDY}.")
