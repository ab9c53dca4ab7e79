"""The network of a run as certificates see it: in float64, and recognised by its hash."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxcert.formats import model_hash
from jaxcert.train import TrainConfig, load_run
from jaxcert.train.run_files import DataRecord, read_record


@dataclass(frozen=True)
class DoubleNetwork:
    """A network to be evaluated with 64-bit types on: `fn(x)` of one float64 image, and its hash."""

    fn: Callable[[jax.Array], jax.Array]
    model: str


def double_network(folder: Path) -> DoubleNetwork:
    """The newest network of a run; its parameters are converted to float64, which is exact.

    Raises:
      CheckpointError: there is no run, or it is damaged.
    """
    config, model, variables = load_run(folder)
    return of_variables(config, read_record(folder), model, variables)


def of_variables(config: TrainConfig, record: DataRecord, model: nn.Module, variables: Any) -> DoubleNetwork:
    """The network with these variables."""
    structure = {
        "model": config.model,
        "classes": record.num_classes,
        "shape": list(record.shape),
        "normalize": [list(record.mean), list(record.std)] if config.normalize else None,
    }
    stored = jax.tree.map(np.asarray, variables)

    def fn(x: jax.Array) -> jax.Array:
        wide = jax.tree.map(lambda leaf: jnp.asarray(leaf, x.dtype), stored)
        return model.apply(wide, x)  # pyright: ignore[reportReturnType]

    return DoubleNetwork(fn, model_hash(stored, structure))
