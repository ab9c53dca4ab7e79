"""PGD with 40 steps from one random start."""

from collections.abc import Sequence

from benchmarks.networks import NETWORKS
from benchmarks.question import Row, Selection, Task
from benchmarks.questions import works
from benchmarks.table import works_table
from benchmarks.work import Work


class Attacks:
    name = "attacks"
    title = "PGD-40 (starts are random, so the success rates agree only nearly)"
    minutes = 3.0

    def tasks(self, selection: Selection) -> list[Task]:
        keys = [("pgd", net, batch) for batch in (64, 256) for net in NETWORKS]
        chosen = [Work(*key) for key in keys if selection.takes(*key)]
        return works.tasks(self.name, chosen, selection, works.fits)

    def measure(self, task: Task, repeats: int) -> Row:
        return works.measure(task, repeats)

    def table(self, rows: Sequence[Row], missing: dict[str, str]) -> str:
        return works_table(rows, missing)


QUESTION = Attacks()
