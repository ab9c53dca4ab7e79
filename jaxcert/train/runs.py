"""A run put together from its configuration, for training and for reading it back."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxcert.data import Dataset, Split, load, random_crop, random_flip
from jaxcert.devices import on_first
from jaxcert.errors import CheckpointError, ConfigError
from jaxcert.models import build
from jaxcert.train.checkpoints import Checkpoints, Position
from jaxcert.train.config import TrainConfig
from jaxcert.train.optimizers import build_optimizer, learning_rate_schedule
from jaxcert.train.recipes import build_recipe
from jaxcert.train.run_files import CHECKPOINTS, DataRecord, read_config, read_record
from jaxcert.train.state import TrainState, initial_state
from jaxcert.train.step import AVERAGED, Augment, Recipe


@dataclass(frozen=True)
class Plan:
    """What a configuration and the size of its data determine.

    Attributes:
      model, recipe, optimizer, augment: see `train.step.make_step`.
      state: before the first update.
      steps_per_epoch: updates in one pass.
    """

    model: nn.Module
    recipe: Recipe
    optimizer: optax.GradientTransformation
    augment: Augment | None
    state: TrainState
    steps_per_epoch: int

    def start(self) -> Position:
        """The position before the first update."""
        return Position(self.state, np.zeros(len(AVERAGED) + 1, np.float64))


def crop_then_flip(image: jax.Array, padding: int, *, key: jax.Array) -> jax.Array:
    """A random shift by up to `padding` pixels, then a random mirroring."""
    crop_key, flip_key = jax.random.split(key)
    return random_flip(random_crop(image, padding, key=crop_key), key=flip_key)


AUGMENTATIONS: Mapping[str, Callable[[TrainConfig], Augment | None]] = MappingProxyType(
    {
        "none": lambda config: None,
        "crop": lambda config: partial(random_crop, padding=config.crop_padding),
        "crop-flip": lambda config: partial(crop_then_flip, padding=config.crop_padding),
    }
)


def training_data(config: TrainConfig) -> Dataset:
    """The data set of `config`, cut to its first `train_examples` training images.

    Raises:
      ConfigError: there are fewer images than `train_examples` or than one batch.
      DataError: the files are missing or damaged.
    """
    dataset = load(config.dataset, config.data_dir)
    available = len(dataset.train)
    wanted = available if config.train_examples is None else config.train_examples
    if wanted > available:
        raise ConfigError(f"train_examples is {wanted}, but {dataset.name} has {available}: lower it.")
    if config.batch_size > wanted:
        raise ConfigError(f"batch_size is {config.batch_size}, above the {wanted} training images: lower it.")
    train = Split(dataset.train.images[:wanted], dataset.train.labels[:wanted])
    return replace(dataset, train=train)


def build_model(config: TrainConfig, record: DataRecord) -> nn.Module:
    """The network of `config` for the images described by `record`."""
    statistics = (record.mean, record.std) if config.normalize else None
    return build(config.model, record.num_classes, normalize=statistics)


def plan(config: TrainConfig, record: DataRecord) -> Plan:
    """The plan of `config` on the data described by `record`; deterministic, loads no data."""
    steps = record.train_examples // config.batch_size
    model = build_model(config, record)
    optimizer = build_optimizer(config, learning_rate_schedule(config, steps))
    image = jnp.zeros(record.shape, jnp.float32)
    state = initial_state(model, optimizer, image, key=jax.random.key(config.seed))
    augment = AUGMENTATIONS[config.augmentation](config)
    return Plan(model, build_recipe(config, steps), optimizer, augment, state, steps)


def load_run(run_dir: Path | str) -> tuple[TrainConfig, nn.Module, dict[str, Any]]:
    """The configuration, network and newest variables of a run; needs no data set.

    With several processes all call it: the first one reads, and all get what it read.

    Args:
      run_dir: a folder written by `fit`, whether training ended or not.

    Returns:
      `(config, model, variables)` with `model.apply(variables, x)` the logits of one image.

    Raises:
      CheckpointError: no run, no checkpoint yet, or a damaged one with no whole one before it.
    """
    config, record, variables = on_first(lambda: _read_run(Path(run_dir)))
    return config, build_model(config, record), jax.tree.map(jnp.asarray, variables)


def _read_run(run_dir: Path) -> tuple[TrainConfig, DataRecord, dict[str, Any]]:
    """Configuration, data record and newest variables, as numpy arrays."""
    config, record = read_config(run_dir), read_record(run_dir)
    if not (run_dir / CHECKPOINTS).is_dir():
        raise CheckpointError(f"{run_dir} has no checkpoint yet: train it first.")
    start = plan(config, record).start()
    checkpoints = Checkpoints(run_dir / CHECKPOINTS, read_only=True)
    try:
        position = checkpoints.latest(start)
    finally:
        checkpoints.close()
    if position is None:
        raise CheckpointError(f"{run_dir} has no checkpoint yet: train it first.")
    return config, record, jax.device_get(position.state.variables)
