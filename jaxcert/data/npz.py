"""Data sets kept as numpy archives: `<name>.npz`, or one archive per split."""

import zipfile
import zlib
from pathlib import Path

import numpy as np

from jaxcert.data.reasons import reason
from jaxcert.data.spec import REMEDY, DatasetSpec, assemble, checked_split
from jaxcert.data.types import Dataset, Split
from jaxcert.errors import DataError


def read_arrays(path: Path, keys: tuple[str, ...]) -> list[np.ndarray]:
    """Return the arrays named `keys` in the archive `path`; never unpickles.

    Raises `DataError`, naming the file, if it is damaged or lacks one of them.
    """
    try:
        # Opened here: np.load(path) leaves the file open when it is not a whole archive.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            missing = [key for key in keys if key not in archive.files]
            if not missing:
                return [archive[key] for key in keys]
            held = ", ".join(archive.files) or "nothing"
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, AttributeError) as error:
        raise DataError(
            f"{path} is not a readable npz archive ({reason(error)}); replace the file, or {REMEDY}."
        ) from error
    raise DataError(
        f"{path} lacks the array {missing[0]!r} (it holds {held}); replace the file, or {REMEDY}."
    )


def read_npz_folder(folder: Path, spec: DatasetSpec) -> Dataset | None:
    """Return the set kept in `folder` as npz, or None if there is no such file.

    Either `<name>.npz` with the arrays x_train, y_train, x_test, y_test, or the two archives
    `<name>_train*.npz` and `<name>_test*.npz` with the arrays images and labels (what follows "train"
    and "test" may say that only a part is there, as in `cifar10_test_first1000.npz`).
    Raises `DataError` for damaged, incomplete or ambiguous files.
    """
    whole = folder / f"{spec.name}.npz"
    if whole.is_file():
        x_train, y_train, x_test, y_test = read_arrays(whole, ("x_train", "y_train", "x_test", "y_test"))
        train = checked_split(x_train, y_train, spec, "training", whole)
        test = checked_split(x_test, y_test, spec, "test", whole)
        return assemble(spec, train, test, f"npz file {whole}")
    if not any(folder.glob(f"{spec.name}_*.npz")):
        return None
    train_file = _only(folder, f"{spec.name}_train*.npz")
    test_file = _only(folder, f"{spec.name}_test*.npz")
    train = _read_split(train_file, spec, "training")
    test = _read_split(test_file, spec, "test")
    return assemble(spec, train, test, f"npz files {train_file.name} and {test_file.name} in {folder}")


def _only(folder: Path, pattern: str) -> Path:
    matches = sorted(folder.glob(pattern))
    if len(matches) != 1:
        raise DataError(
            f"{folder} should hold exactly one {pattern}, got {len(matches)}; "
            f"leave the file to use there, or {REMEDY}."
        )
    return matches[0]


def _read_split(file: Path, spec: DatasetSpec, part: str) -> Split:
    images, labels = read_arrays(file, ("images", "labels"))
    return checked_split(images, labels, spec, part, file)
