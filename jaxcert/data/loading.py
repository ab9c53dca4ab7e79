"""`load`: a data set by name, from local files if there are any, else through tensorflow-datasets."""

import os
from collections.abc import Mapping
from pathlib import Path

from jaxcert.data.cache import read_prepared_cached
from jaxcert.data.catalog import CATALOG
from jaxcert.data.digits import load_digits
from jaxcert.data.download import fetch_sources
from jaxcert.data.npz import read_npz_folder
from jaxcert.data.prepared import find_prepared, prepare_tfds, prepared_folder, remove_prepared
from jaxcert.data.spec import REMEDY, DatasetSpec
from jaxcert.data.types import Dataset
from jaxcert.errors import ConfigError, DataError

DATASETS = ("digits", *CATALOG)


def load(
    name: str,
    data_dir: Path | str | None = None,
    *,
    download: bool = True,
    cache_dir: Path | str | None = None,
    catalog: Mapping[str, DatasetSpec] = CATALOG,
) -> Dataset:
    """Return the data set `name`: "digits", "mnist", "fashion_mnist" or "cifar10".

    "digits" comes with scikit-learn and needs no files. The others are read from `data_dir`, or from
    the folder named by the environment variable JAXCERT_DATA if `data_dir` is None: either of
    `<folder>/<name>` and `<folder>`, in this order, may hold

    - the original files (idx, plain or .gz; for CIFAR-10 `cifar-10-binary.tar.gz`),
    - `<name>.npz` with x_train, y_train, x_test, y_test,
    - `<name>_train*.npz` and `<name>_test*.npz` with images and labels, perhaps a part of the set,
    - a folder prepared by tfds in array_record format (`<name>/3.0.1`).

    A folder that is given is the only place looked at. If none is given, the original files are
    downloaded once (unless `download` is false), checked against their published sha256, and prepared
    through tensorflow-datasets (without TensorFlow) in `cache_dir`, by default the folder named by
    JAXCERT_CACHE, else `~/.cache/jaxcert`. `Dataset.source` says where the images came from. Order and
    pixels are those of the original files, except for a folder that tfds itself prepared, which has
    tfds's shuffled order.

    `catalog` replaces the table of known sets (other mirrors, a smaller set in a test).
    Raises `ConfigError` for an unknown name, and `DataError` for missing, truncated or damaged files,
    labels or pixels out of range, and failed downloads.

    >>> digits = load("digits")
    >>> digits.num_classes, digits.test.pixels(slice(0, 5)).shape
    (10, (5, 8, 8, 1))
    """
    if name == "digits":
        return load_digits()
    if name not in catalog:
        raise ConfigError(f"There is no data set {name!r}; choose one of digits, {', '.join(catalog)}.")
    spec = catalog[name]
    cache = _cache_dir(cache_dir)
    folder = data_dir if data_dir is not None else os.environ.get("JAXCERT_DATA") or None
    if folder is not None:
        return _load_local(spec, Path(folder).expanduser(), cache)
    return _load_published(spec, cache, download=download)


def _cache_dir(cache_dir: Path | str | None) -> Path:
    if cache_dir is None:
        cache_dir = os.environ.get("JAXCERT_CACHE") or "~/.cache/jaxcert"
    return Path(cache_dir).expanduser()


def _load_local(spec: DatasetSpec, folder: Path, cache: Path) -> Dataset:
    if not folder.is_dir():
        raise DataError(
            f"The data folder {folder} does not exist; create it with the {spec.name} files, or {REMEDY}."
        )
    for place in (folder / spec.name, folder):
        if not place.is_dir():
            continue
        dataset = spec.read_raw(place, spec) or read_npz_folder(place, spec)
        if dataset is not None:
            return dataset
        prepared = find_prepared(place, spec)
        if prepared is not None:
            return read_prepared_cached(prepared, spec, cache)
    names = ", ".join(source.filename for source in spec.sources)
    raise DataError(
        f"Neither {folder / spec.name} nor {folder} holds {spec.name} ({names}, npz files or a tfds folder); "
        f"put the files there, or {REMEDY}."
    )


def _load_published(spec: DatasetSpec, cache: Path, *, download: bool) -> Dataset:
    prepared = prepared_folder(cache / "tfds", spec)
    if (prepared / "dataset_info.json").is_file():
        try:
            return read_prepared_cached(prepared, spec, cache)
        except DataError:
            remove_prepared(prepared)  # our own copy is damaged: build it again from the checked files
    raw = cache / "downloads" / spec.name
    fetch_sources(spec, raw, download=download)
    prepare_tfds(spec.name, raw, cache / "tfds", catalog={spec.name: spec})
    return read_prepared_cached(prepared, spec, cache)
