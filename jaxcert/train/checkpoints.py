"""Checkpoints of a run, by Orbax: atomic, the last two kept, verified when they are read.

Orbax writes a checkpoint under a temporary name and renames it when it is complete. Then a list
of its files with their sha256 is added, atomically: a checkpoint without the list was never
finished, and one whose files do not agree with it was damaged later (a truncated file, a full
disk). Neither is read, so nothing half-written is taken for whole.
"""

import hashlib
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from jaxcert.errors import CheckpointError
from jaxcert.train.run_files import write_atomically
from jaxcert.train.state import TrainState

KEPT = 2
MANIFEST = "sha256.json"


@dataclass(frozen=True)
class Position:
    """What a run resumes from.

    Attributes:
      state: after `state.step` updates; the step also tells the epoch and the position inside it.
      totals: float64 array, sums of the epoch's metrics up to this step.
    """

    state: TrainState
    totals: np.ndarray


class Checkpoints:
    """The checkpoints in one folder, opened for training (see `open_for_training`) or for reading."""

    def __init__(self, folder: Path, *, read_only: bool) -> None:
        self._folder = folder
        if not read_only:
            folder.mkdir(parents=True, exist_ok=True)
        options = ocp.CheckpointManagerOptions(
            max_to_keep=KEPT,
            enable_async_checkpointing=False,
            cleanup_tmp_directories=not read_only,
            create=False,
            read_only=read_only,
            multiprocessing_options=_alone(),
        )
        self._manager = ocp.CheckpointManager(folder.absolute(), options=options)

    def save(self, position: Position) -> None:
        """Write one checkpoint; when this returns, it is complete on disk."""
        step = int(position.state.step)
        # Numpy arrays: what is stored does not know on which devices or how many it was.
        self._manager.save(step, args=ocp.args.StandardSave(content_of(position)))
        self._manager.wait_until_finished()
        folder = self._folder / str(step)
        write_atomically(folder / MANIFEST, json.dumps(_digests(folder), indent=2) + "\n")

    def latest(self, like: Position) -> Position | None:
        """The newest whole checkpoint, None if there is none at all.

        `like` has the structure, shapes and types that are expected. Damaged newer checkpoints
        are passed over with a warning; `drop_after` removes them.

        Raises:
          CheckpointError: there are checkpoints, and all are damaged.
        """
        saved = sorted(self._manager.all_steps(), reverse=True)
        steps = [step for step in saved if (self._folder / str(step) / MANIFEST).exists()]
        for step in steps:
            position = self._read(step, like)
            if position is not None:
                return position
            warnings.warn(
                f"Checkpoint {self._folder / str(step)} is damaged: trying the one before.", stacklevel=2
            )
        if steps:
            raise CheckpointError(
                f"Every checkpoint in {self._folder} is damaged or of another program version: "
                "delete the run's folder and train again."
            )
        return None

    def drop_after(self, step: int) -> None:
        """Delete the checkpoints of later steps (damaged ones that a resumed run writes again)."""
        for later in [saved for saved in self._manager.all_steps() if saved > step]:
            self._manager.delete(later)

    def close(self) -> None:
        self._manager.close()

    def _read(self, step: int, like: Position) -> Position | None:
        if not _is_whole(self._folder / str(step)):
            return None
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, content_of(like))
        try:
            return position_of(self._manager.restore(step, args=ocp.args.StandardRestore(abstract)))
        except Exception:  # Orbax raises many types where the structure is another; all mean the same here.
            return None


def _alone() -> ocp.options.MultiprocessingOptions:
    """Orbax does not wait for other processes: the state is the same in all, and one reads and writes it."""
    if jax.process_count() == 1:
        return ocp.options.MultiprocessingOptions()
    mine = jax.process_index()
    return ocp.options.MultiprocessingOptions(
        primary_host=mine, active_processes={mine}, barrier_sync_key_prefix=f"jaxcert-{mine}"
    )


def content_of(position: Position) -> dict[str, Any]:
    """The position as numpy arrays by name, to be stored or sent; `position_of` reads it back."""
    state = {field.name: getattr(position.state, field.name) for field in fields(TrainState)}
    state["key"] = jax.random.key_data(position.state.key)
    return {**jax.device_get(state), "totals": position.totals}


def position_of(content: Mapping[str, Any]) -> Position:
    """The position that `content_of` took apart, its state on JAX's default device."""
    state = {field.name: jax.tree.map(jnp.asarray, content[field.name]) for field in fields(TrainState)}
    state["key"] = jax.random.wrap_key_data(state["key"])
    return Position(TrainState(**state), np.asarray(content["totals"]))


def _is_whole(folder: Path) -> bool:
    try:
        return json.loads((folder / MANIFEST).read_text()) == _digests(folder)
    except (OSError, ValueError):
        return False


def _digests(folder: Path) -> dict[str, str]:
    """The sha256 of every file of a checkpoint, by its path inside; the manifest itself apart."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if path.name != MANIFEST and path.suffix != ".tmp"
    }
