"""What a question is: tasks to be measured one by one, each in its own process, and how they are shown."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

GOAL, USUAL, THOROUGH = range(3)


@dataclass(frozen=True)
class Task:
    """One measurement: `id` is for the question to understand, usually that of a `Work`.

    `tier`: `GOAL` comes first in a run, then `USUAL`; `THOROUGH` only where it is asked for.
    `cores`: how many cores the process may use. `seconds`: its own limit instead of the run's.
    """

    question: str
    contender: str
    id: str
    tier: int = USUAL
    cores: int = 1
    seconds: float | None = None

    @property
    def key(self) -> tuple[str, str, str]:
        return self.question, self.contender, self.id


@dataclass(frozen=True)
class Selection:
    """What a run is asked to measure; None means the question's own choice."""

    contenders: tuple[str, ...]
    networks: tuple[str, ...] | None = None
    batches: tuple[int, ...] | None = None
    operations: tuple[str, ...] | None = None

    def takes(self, operation: str, network: str, batch: int) -> bool:
        chosen = ((operation, self.operations), (network, self.networks), (batch, self.batches))
        return all(allowed is None or value in allowed for value, allowed in chosen)


@dataclass(frozen=True)
class Row:
    """A task and what came of it.

    Attributes:
      status: "ok"; "refused" (not for this contender); "time" or "memory" (beyond the limit, stopped
        or not begun); "failed" (it raised or crashed).
      message: one line that says why it is not "ok".
      data: numbers by name; those of a work are listed in `works.measure`.
    """

    question: str
    contender: str
    id: str
    status: str
    message: str = ""
    data: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str, str]:
        return self.question, self.contender, self.id


class Question(Protocol):
    """One per file in `benchmarks/questions/`; the file's `QUESTION` is one.

    `name` is what the command line and results say, `title` a sentence for the table, `minutes` the
    expected duration of all its tasks on two cores, with peers.
    """

    name: str
    title: str
    minutes: float

    def tasks(self, selection: Selection) -> list[Task]: ...

    def measure(self, task: Task, repeats: int) -> Row:
        """Does one task; called in the process that is measured."""
        ...

    def table(self, rows: Sequence[Row], missing: dict[str, str]) -> str:
        """Markdown of all rows of the question; `missing`: peer -> why it was left out."""
        ...
