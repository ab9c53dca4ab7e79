"""Folders prepared by tensorflow-datasets, written and read without TensorFlow.

The stock builders of tfds unpack and encode with TensorFlow. The builder here takes decoded images and
gives them to tfds as PIL images in array_record files; what it writes is a normal tfds folder, which
`tfds.data_source(name, data_dir=..., download=False)` reads with no code of ours.
"""

import contextlib
import io
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxcert.data.catalog import CATALOG
from jaxcert.data.reasons import reason
from jaxcert.data.spec import REMEDY, DatasetSpec, assemble, checked_split
from jaxcert.data.types import Dataset, Split
from jaxcert.errors import ConfigError, DataError


def prepare_tfds(
    name: str, raw_dir: Path, tfds_dir: Path, *, catalog: Mapping[str, DatasetSpec] = CATALOG
) -> Path:
    """Write the set `name` from its original files as a tfds folder; return that folder.

    `raw_dir` holds the original files (for MNIST and Fashion-MNIST the four idx files, plain or gzipped;
    for CIFAR-10 its binary archive). The result, `tfds_dir/<name>/<version>`, is complete or absent:
    tfds writes elsewhere and renames. The order of the original files is kept. An existing result is
    returned as it is. MNIST takes about half a minute; tfds shows its progress on stderr.

    Raises `ConfigError` for an unknown name and `DataError` for missing or damaged files.
    """
    if name not in catalog:
        raise ConfigError(f"There are no original files of {name!r}; choose one of {', '.join(catalog)}.")
    spec = catalog[name]
    target = prepared_folder(tfds_dir, spec)
    if (target / "dataset_info.json").is_file():
        return target
    dataset = spec.read_raw(raw_dir, spec)
    if dataset is None:
        names = ", ".join(source.filename for source in spec.sources)
        raise DataError(f"{raw_dir} holds none of the original {name} files; put {names} there.")
    write_prepared(dataset, spec, tfds_dir)
    return target


def prepared_folder(tfds_dir: Path, spec: DatasetSpec) -> Path:
    """Return where tfds keeps `spec` below `tfds_dir`."""
    return tfds_dir / spec.name / spec.version


def write_prepared(dataset: Dataset, spec: DatasetSpec, tfds_dir: Path) -> None:
    """Write `dataset` (uint8 images) as the tfds folder of `spec` below `tfds_dir`."""
    try:
        builder = _builder(dataset, spec, tfds_dir)
        with contextlib.redirect_stdout(sys.stderr):  # tfds announces itself on stdout
            builder.download_and_prepare()
    except OSError as error:
        raise DataError(
            f"{spec.name} could not be written to {tfds_dir} ({reason(error)}); free space there, "
            "or choose another folder (JAXCERT_CACHE for the cache)."
        ) from error


def _import_tfds() -> Any:
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise DataError(
            f"A tfds folder needs tensorflow-datasets, which cannot be imported ({reason(error)}); "
            "install it with: pip install 'jaxcert[train]', or give the original files with data_dir."
        ) from error
    return tfds


def _builder(dataset: Dataset, spec: DatasetSpec, tfds_dir: Path) -> Any:
    """Return a tfds builder named like the stock one; its class exists only for this call."""
    tfds = _import_tfds()

    class Prepared(  # pyright: ignore[reportGeneralTypeIssues]
        tfds.core.GeneratorBasedBuilder,
        skip_registration=True,  # pyright: ignore[reportCallIssue]
    ):
        name = spec.name
        VERSION = tfds.core.Version(spec.version)

        def _info(self) -> Any:
            features = {
                "image": tfds.features.Image(shape=spec.shape),
                "label": tfds.features.ClassLabel(num_classes=spec.num_classes),
            }
            return tfds.core.DatasetInfo(
                builder=self,
                description=f"{spec.name}, written by jaxcert from the original files in their order.",
                features=tfds.features.FeaturesDict(features),
                supervised_keys=("image", "label"),
                disable_shuffling=True,
            )

        def _split_generators(self, dl_manager: Any) -> Any:
            return {
                "train": self._generate_examples(dataset.train),
                "test": self._generate_examples(dataset.test),
            }

        def _generate_examples(self, split: Split) -> Any:
            return _examples(split)

    return Prepared(data_dir=str(tfds_dir), file_format="array_record")


def _examples(split: Split) -> Iterator[tuple[int, dict[str, Any]]]:
    from PIL import Image

    for index, (image, label) in enumerate(zip(split.images, split.labels, strict=True)):
        grey = image.shape[-1] == 1
        yield index, {"image": Image.fromarray(image[..., 0] if grey else image), "label": int(label)}


def find_prepared(folder: Path, spec: DatasetSpec) -> Path | None:
    """Return the tfds folder of `spec` at or just below `folder` (the highest version), or None."""
    if _is_prepared(folder, spec):
        return folder
    versions = [path for path in folder.glob("*.*.*") if _is_prepared(path, spec)]
    return max(versions, key=_version, default=None)


def _is_prepared(folder: Path, spec: DatasetSpec) -> bool:
    return (folder / "dataset_info.json").is_file() and folder.parent.name == spec.name


def _version(folder: Path) -> tuple[int, ...]:
    return tuple(int(part) for part in folder.name.split(".") if part.isdigit())


def read_prepared(folder: Path, spec: DatasetSpec) -> Dataset:
    """Return the set in the tfds folder `folder`, in the order tfds gives.

    Raises `DataError`, naming the folder, if it is damaged, incomplete, of another set, or kept as
    tfrecord (which tfds reads only with TensorFlow).
    """
    train = checked_split(*_decode_split(folder, "train"), spec, "training", folder)
    test = checked_split(*_decode_split(folder, "test"), spec, "test", folder)
    return assemble(spec, train, test, f"tfds folder {folder}")


def _decode_split(folder: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return (images, labels) of one split of a tfds folder."""
    tfds = _import_tfds()
    raw = {"image": tfds.decode.SkipDecoding()}  # PIL alone is 2.5 times as fast as tfds around PIL
    try:
        examples = tfds.builder_from_directory(str(folder)).as_data_source(split=name, decoders=raw)
        pairs = [(_pixels(example["image"]), example["label"]) for example in examples]
        return np.stack([image for image, _ in pairs]), np.array([label for _, label in pairs])
    except Exception as error:  # tfds, array_record and PIL each have errors of their own
        raise DataError(
            f"{folder} is not a readable tfds folder in array_record format ({reason(error)}); "
            f"prepare it again with jaxcert.data.prepare_tfds, or {REMEDY}."
        ) from error


def _pixels(encoded: bytes) -> np.ndarray:
    from PIL import Image

    with Image.open(io.BytesIO(encoded)) as image:
        return np.asarray(image)


def remove_prepared(folder: Path) -> None:
    """Delete a tfds folder that turned out to be damaged."""
    shutil.rmtree(folder, ignore_errors=True)
