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
        options = ocp.CheckpointManagerOptions(
            max_to_keep=KEPT,
            enable_async_checkpointing=False,
            cleanup_tmp_directories=not read_only,
            create=not read_only,
            read_only=read_only,
        )
        self._manager = ocp.CheckpointManager(folder.absolute(), options=options)

    def save(self, position: Position) -> None:
        """Write one checkpoint; when this returns, it is complete on disk."""
        step = int(position.state.step)
        self._manager.save(step, args=ocp.args.StandardSave(_content(position)))
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
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, _content(like))
        try:
            return _position(self._manager.restore(step, args=ocp.args.StandardRestore(abstract)))
        except Exception:  # Orbax raises many types where the structure is another; all mean the same here.
            return None


def _content(position: Position) -> dict[str, Any]:
    state = {field.name: getattr(position.state, field.name) for field in fields(TrainState)}
    return {**state, "key": jax.random.key_data(position.state.key), "totals": position.totals}


def _position(content: Mapping[str, Any]) -> Position:
    state = {field.name: content[field.name] for field in fields(TrainState)}
    state["key"] = jax.random.wrap_key_data(content["key"])
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
