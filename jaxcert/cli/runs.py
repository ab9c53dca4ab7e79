"""A finished run, opened for evaluation."""

import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax

from jaxcert.data import Dataset, load
from jaxcert.devices import on_all, require_same
from jaxcert.errors import ConfigError
from jaxcert.evaluate import Subject, fingerprint
from jaxcert.train import TrainConfig, load_run


@dataclass(frozen=True)
class ModelApply:
    """`model.apply` for one image; equal models make equal functions, so that they share compiled code."""

    model: nn.Module

    def __call__(self, variables: Any, x: jax.Array) -> jax.Array:
        return self.model.apply(variables, x)  # pyright: ignore[reportReturnType]


@dataclass(frozen=True)
class OpenedRun:
    """A trained network with the configuration and the data set of its run."""

    folder: Path
    config: TrainConfig
    apply: ModelApply
    variables: Any
    dataset: Dataset

    def subject(self, name: str | None = None) -> Subject:
        """The network and the test images, under the run's name by default."""
        test = self.dataset.test
        identity = {
            "network": fingerprint(self.variables),
            "model": self.config.model,
            "images": fingerprint(test.images, test.labels),
        }
        return Subject(name or self.folder.name, self.apply, self.variables, test, identity)


def open_run(folder: Path, data_dir: Path | None) -> OpenedRun:
    """Loads the run's newest checkpoint and its data set; several processes must have the same test images.

    Raises:
      CheckpointError: there is no run, or it is damaged.  DataError: the data are missing or damaged.
    """
    with warnings.catch_warnings(record=True) as passed_over:
        warnings.simplefilter("always")
        config, model, variables = load_run(folder)
    for note in passed_over:  # of use only when a checkpoint was found; else the error says it all
        warnings.warn(note.message, stacklevel=2)
    config = replace(config, data_dir=data_dir or config.data_dir)
    dataset = on_all(lambda: load(config.dataset, config.data_dir))
    require_same("test images", lambda: fingerprint(dataset.test.images, dataset.test.labels))
    return OpenedRun(folder, config, ModelApply(model), variables, dataset)


def first_images(count: int, limit: int | None) -> range:
    """Positions of the first `limit` of `count` images, all when `limit` is None.

    Raises:
      ConfigError: the limit is not positive.
    """
    if limit is not None and limit < 1:
        raise ConfigError(f"--limit must be at least 1 image, got {limit}.")
    return range(count if limit is None else min(count, limit))


def require_writable(folder: Path) -> None:
    """Makes the folder, and fails where nothing can be written there: before the work, not after it.

    Raises:
      OSError: with the path.
    """
    folder.mkdir(parents=True, exist_ok=True)
    probe = folder / ".writable"
    probe.touch()
    probe.unlink()
