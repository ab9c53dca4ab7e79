"""The folder of a run that trains: process 0 reads and writes it, and what it reads reaches every process."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxcert.devices import on_first
from jaxcert.train.checkpoints import Checkpoints, Position, content_of, position_of
from jaxcert.train.config import TrainConfig
from jaxcert.train.run_files import CHECKPOINTS, DataRecord, append_metrics, claim, locked, resume_metrics


@dataclass(frozen=True)
class RunFolder:
    """What a training loop writes; nothing in other processes than the first, whose `checkpoints` is None."""

    path: Path
    checkpoints: Checkpoints | None

    def append(self, line: Mapping[str, Any]) -> None:
        """Add one line of metrics."""
        if self.checkpoints is not None:
            append_metrics(self.path, line)

    def save(self, position: Position) -> None:
        """Write one checkpoint."""
        if self.checkpoints is not None:
            self.checkpoints.save(position)


@contextmanager
def opened(
    path: Path, config: TrainConfig, record: DataRecord, start: Position
) -> Iterator[tuple[RunFolder, Position]]:
    """The run's folder, locked for this run, and the position to go on from: `start` without a checkpoint.

    Raises:
      CheckpointError: see `run_files.locked`, `run_files.claim` and `Checkpoints.latest`.
    """
    with ExitStack() as stack:
        mine: list[Checkpoints] = []

        def resume() -> dict[str, Any]:
            stack.enter_context(locked(path))
            claim(path, config, record)
            checkpoints = Checkpoints(path / CHECKPOINTS, read_only=False)
            stack.callback(checkpoints.close)
            mine.append(checkpoints)
            position = checkpoints.latest(start) or start
            step = int(position.state.step)
            checkpoints.drop_after(step)
            resume_metrics(path, step)
            return content_of(position)

        position = position_of(on_first(resume))
        yield RunFolder(path, mine[0] if mine else None), position
