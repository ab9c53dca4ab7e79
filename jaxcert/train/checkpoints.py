"""Checkpoints of a run, by Orbax: atomic, the last two kept, verified when they are read.

Orbax writes a checkpoint under a temporary name and renames it when it is complete, so a kill
leaves either a whole checkpoint or none. A checkpoint also holds the sha256 of its content, so
one that was damaged later (a truncated file, a full disk) is recognised and passed over.
"""

import hashlib
import warnings
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from jaxcert.errors import CheckpointError
from jaxcert.train.state import TrainState

KEPT = 2


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
        content = _content(position)
        step = int(position.state.step)
        self._manager.save(step, args=ocp.args.StandardSave({"content": content, "sha256": _digest(content)}))
        self._manager.wait_until_finished()

    def latest(self, like: Position) -> Position | None:
        """The newest whole checkpoint, None if there is none at all.

        `like` has the structure, shapes and types that are expected. Damaged newer checkpoints
        are passed over with a warning; `drop_after` removes them.

        Raises:
          CheckpointError: there are checkpoints, and all are damaged.
        """
        steps = sorted(self._manager.all_steps(), reverse=True)
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
        content = _content(like)
        expected = {"content": content, "sha256": _digest(content)}
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, expected)
        try:
            found = self._manager.restore(step, args=ocp.args.StandardRestore(abstract))
        except (
            Exception
        ):  # Orbax and TensorStore raise many types for a damaged file; all mean the same here.
            return None
        if not np.array_equal(np.asarray(found["sha256"]), _digest(found["content"])):
            return None
        return _position(found["content"])


def _content(position: Position) -> dict[str, Any]:
    state = {field.name: getattr(position.state, field.name) for field in fields(TrainState)}
    return {**state, "key": jax.random.key_data(position.state.key), "totals": position.totals}


def _position(content: dict[str, Any]) -> Position:
    state = {field.name: content[field.name] for field in fields(TrainState)}
    state["key"] = jax.random.wrap_key_data(content["key"])
    return Position(TrainState(**state), np.asarray(content["totals"]))


def _digest(content: dict[str, Any]) -> np.ndarray:
    sha = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(content):
        array = np.asarray(leaf)
        sha.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape}".encode())
        sha.update(np.ascontiguousarray(array).tobytes())
    return np.frombuffer(sha.digest(), np.uint8)
