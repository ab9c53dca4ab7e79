"""The files of a run besides its checkpoints: configuration, data record, metrics, lock.

A run's folder holds `config.json`, `dataset.json`, `metrics.jsonl` and `checkpoints/`. The first
two are written once, atomically; a metrics line counts only with its newline.
"""

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxcert.data import Dataset
from jaxcert.errors import CheckpointError, ConfigError
from jaxcert.train.config import TrainConfig

CONFIG, DATASET, METRICS, CHECKPOINTS, LOCK = (
    "config.json",
    "dataset.json",
    "metrics.jsonl",
    "checkpoints",
    ".lock",
)


@dataclass(frozen=True)
class DataRecord:
    """What a run remembers of its data set, so that its network can be rebuilt without it.

    Attributes:
      name: of the data set.
      shape: of one image, (H, W, C).
      num_classes: number of logits.
      train_examples: how many training images are used.
      mean, std: per channel over these images, pixels in [0, 1].
      sha256: of the training images and labels used; a run resumes on the same data only.
    """

    name: str
    shape: tuple[int, ...]
    num_classes: int
    train_examples: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    sha256: str

    @staticmethod
    def of(dataset: Dataset) -> "DataRecord":
        train = dataset.train
        sha = hashlib.sha256(np.ascontiguousarray(train.images).tobytes())
        sha.update(np.ascontiguousarray(train.labels).tobytes())
        mean, std = _channel_statistics(train.images)
        return DataRecord(
            dataset.name, dataset.shape, dataset.num_classes, len(train), mean, std, sha.hexdigest()
        )

    @staticmethod
    def from_json(text: str) -> "DataRecord":
        values = json.loads(text)
        tuples = {name: tuple(values[name]) for name in ("shape", "mean", "std")}
        return DataRecord(**{**values, **tuples})


def _channel_statistics(images: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    scale = 255.0 if images.dtype == np.uint8 else 1.0
    axes = (0, 1, 2)
    mean = images.mean(axis=axes, dtype=np.float64) / scale
    # A constant channel has no scale of its own; 1 leaves it as it is.
    std = images.std(axis=axes, dtype=np.float64) / scale
    std = np.where(std > 0.0, std, 1.0)
    return tuple(map(float, mean)), tuple(map(float, std))


@contextlib.contextmanager
def locked(run_dir: Path) -> Iterator[None]:
    """Hold the run's lock; it goes with the process, however that ends.

    Raises:
      CheckpointError: another process trains in this folder, or the path is not a folder.
    """
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise CheckpointError(
            f"{run_dir} cannot be a run's folder because a file is in its way: name another."
        ) from error
    with open(run_dir / LOCK, "w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CheckpointError(
                f"Another process is training in {run_dir}: wait for it, or name another folder."
            ) from error
        yield


def claim(run_dir: Path, config: TrainConfig, record: DataRecord) -> None:
    """Write the run's configuration and data record, or compare them with those already there.

    Raises:
      CheckpointError: the folder holds a run of another configuration or other data, or a
        damaged one.
    """
    if (run_dir / CONFIG).exists():
        _require_same_config(run_dir, config)
    elif (run_dir / METRICS).exists() or (run_dir / CHECKPOINTS).exists():
        raise CheckpointError(
            f"{run_dir} holds results without {CONFIG}: move them away or name another folder."
        )
    else:
        write_atomically(run_dir / CONFIG, config.to_json())
    if not (run_dir / DATASET).exists():
        write_atomically(run_dir / DATASET, json.dumps(asdict(record), indent=2) + "\n")
    elif read_record(run_dir) != record:
        raise CheckpointError(
            f"{run_dir} was trained on other images or labels of {record.name}: give the same data or name "
            "another folder."
        )


def read_config(run_dir: Path) -> TrainConfig:
    """The configuration of the run in `run_dir`.

    Raises:
      CheckpointError: there is none, or it is damaged.
    """
    try:
        return TrainConfig.from_json((run_dir / CONFIG).read_text())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise CheckpointError(
            f"There is no run in {run_dir}: give the folder of a `jaxcert train`."
        ) from error
    except (ConfigError, UnicodeDecodeError) as error:
        raise CheckpointError(
            f"{run_dir / CONFIG} cannot be read ({str(error).rstrip('.')}): restore it or train again."
        ) from error


def read_record(run_dir: Path) -> DataRecord:
    """The data record of the run in `run_dir`.

    Raises:
      CheckpointError: there is none, or it is damaged.
    """
    try:
        return DataRecord.from_json((run_dir / DATASET).read_text())
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{run_dir / DATASET} is missing or damaged: restore it or train again."
        ) from error


def resume_metrics(run_dir: Path, step: int) -> None:
    """Keep the metrics lines up to `step` and drop the rest, so that a resumed run writes none twice."""
    path = run_dir / METRICS
    kept = [line for line in whole_lines(path) if _line_step(line) <= step]
    write_atomically(path, "".join(kept))


def append_metrics(run_dir: Path, line: Mapping[str, Any]) -> None:
    """Add one line; when this returns, it is on disk."""
    with open(run_dir / METRICS, "a") as handle:
        handle.write(json.dumps(line, allow_nan=False) + "\n")
        handle.flush()
        os.fsync(handle.fileno())


def whole_lines(path: Path) -> list[str]:
    """The lines of a text file that end with a newline, none if there is no file."""
    if not path.exists():
        return []
    return [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]


def write_atomically(path: Path, text: str) -> None:
    """Replace the content of `path`; a kill leaves the old or the new file, never half of one."""
    temporary = path.with_name(path.name + ".tmp")
    with open(temporary, "w") as handle:
        handle.write(text)
        handle.flush()
        os.fsync(handle.fileno())
    os.replace(temporary, path)


def _require_same_config(run_dir: Path, config: TrainConfig) -> None:
    found = read_config(run_dir)
    if changed := found.differences(config):
        values = ", ".join(f"{name} {getattr(found, name)} (now {getattr(config, name)})" for name in changed)
        raise CheckpointError(
            f"{run_dir} holds a run with {values}: name another folder or repeat its options."
        )


def _line_step(line: str) -> float:
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError, TypeError):
        return float("inf")
