"""What the library knows about a published data set: shape, classes, files and their checksums."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from jaxcert.data.types import Dataset, Split, check_split, make_split
from jaxcert.errors import DataError, InvalidInputError

REMEDY = "pass another folder with data_dir (--data-dir, or JAXCERT_DATA)"


@dataclass(frozen=True)
class Source:
    """A file on the network and the sha256 of its bytes (lower-case hexadecimal).

    The file is used only if its bytes have this checksum, whatever server or mirror `url` names.
    """

    url: str
    sha256: str

    @property
    def filename(self) -> str:
        return self.url.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class DatasetSpec:
    """A published image set: its tfds `name` and `version`, image `shape`, and original files.

    `read_raw(folder, spec)` returns the set read from its original files in `folder`, or None when
    none of them lies there. `sources` are those files on the network.
    """

    name: str
    version: str
    shape: tuple[int, int, int]
    num_classes: int
    sources: tuple[Source, ...]
    read_raw: "RawReader"


RawReader = Callable[[Path, DatasetSpec], Dataset | None]


def checked_split(images, labels, spec: DatasetSpec, part: str, file: Path) -> Split:
    """Return the `part` split read from `file`; `DataError` naming the file if it does not fit `spec`."""
    try:
        split = make_split(images, labels)
        check_split(split, spec.num_classes, spec.shape, part)
    except InvalidInputError as error:
        reason = str(error).split(";")[0]
        raise DataError(f"{file} is not usable as {spec.name} ({reason}); {replace(spec)}.") from error
    return split


def replace(spec: DatasetSpec) -> str:
    """Return the end of a sentence that tells how to get good files of `spec`."""
    return f"replace it with the published {spec.name} file, or {REMEDY}"


def assemble(spec: DatasetSpec, train: Split, test: Split, source: str) -> Dataset:
    """Return the data set made of two splits of `spec`; `source` says where they came from."""
    return Dataset(spec.name, train, test, spec.num_classes, spec.shape, source)
