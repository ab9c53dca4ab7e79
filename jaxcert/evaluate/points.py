"""Adversarial points on disk: a small file for every batch, so that a kill costs at most one of them."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from jaxcert.devices import is_first
from jaxcert.errors import CheckpointError
from jaxcert.evaluate.results import Record
from jaxcert.evaluate.sweep import Batch


@dataclass(frozen=True)
class AdversarialPoints:
    """The points at which images fell, in a folder for each stage, or in memory where `folder` is `None`.

    Of several processes the first one writes them and can read them.
    """

    folder: Path | None = None
    _stages: list[str] = field(default_factory=list, repr=False)
    _held: dict[int, tuple[np.ndarray, int]] = field(default_factory=dict, repr=False)

    def begin(self, stage: str, *, anew: bool) -> None:
        """Says that a stage begins; `anew` removes what an earlier run with other settings left."""
        self._stages.append(stage)
        if self.folder is not None and anew and is_first():
            shutil.rmtree(self.folder / stage, ignore_errors=True)

    def keep(self, stage: str, batch: Batch, records: Sequence[Record], points: Any, seen: Any) -> None:
        """Keeps the points of the images in this batch that have just fallen."""
        pairs = enumerate(records[: batch.count])
        rows = [row for row, record in pairs if record.correct and not record.attacked_correct]
        if not rows or not is_first():
            return
        if self.folder is None:
            self._held.update({int(batch.indices[row]): (points[row], int(seen[row])) for row in rows})
            return
        arrays = {"index": batch.indices[rows], "adversarial": points[rows], "after": seen[rows]}
        write_arrays(self.folder / stage / f"{int(batch.indices[0]):06d}.npz", arrays)

    def of(self, fallen: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """The points `[M, H, W, C]` of these images and the classes seen there `[M]`, in this order.

        Raises:
          CheckpointError: a file is missing or damaged.
        """
        held = {**self._held, **self._read()}
        missing = [index for index in fallen if index not in held]
        if missing:
            raise CheckpointError(
                f"The adversarial point of image {missing[0]} is not in {self.folder}: delete the results "
                f"beside that folder and run again."
            )
        found = [held[index] for index in fallen]
        return np.array([point for point, _ in found]), np.array([seen for _, seen in found], np.int64)

    def _read(self) -> dict[int, tuple[np.ndarray, int]]:
        held, folder = {}, self.folder
        if folder is None:
            return held
        for path in (path for stage in self._stages for path in sorted((folder / stage).glob("*.npz"))):
            try:
                with np.load(path) as saved:
                    columns = [saved[name] for name in ("index", "adversarial", "after")]
            except (OSError, ValueError, KeyError) as error:
                raise CheckpointError(f"{path} is damaged: delete its folder and run again.") from error
            held |= {int(index): (point, int(seen)) for index, point, seen in zip(*columns, strict=True)}
        return held


def write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Writes an npz file; the whole file appears at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        np.savez_compressed(file, **arrays)  # pyright: ignore[reportArgumentType]
    os.replace(partial, path)
