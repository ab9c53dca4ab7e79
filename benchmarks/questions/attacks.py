"""PGD with 40 steps from one random start, and AutoAttack on a trained network and real images."""

from collections.abc import Sequence

from benchmarks.networks import NETWORKS
from benchmarks.question import Row, Selection, Task
from benchmarks.questions import works
from benchmarks.table import works_table
from benchmarks.work import Work

AUTOATTACK = ("autoattack", "wk-small", 256)


class Attacks:
    name = "attacks"
    title = "PGD-40 and AutoAttack (both draw at random, so that results agree only nearly)"
    minutes = 9.0

    def tasks(self, selection: Selection) -> list[Task]:
        keys = [AUTOATTACK, *(("pgd", net, batch) for batch in (64, 256) for net in NETWORKS)]
        chosen = [Work(*key) for key in keys if selection.takes(*key)]
        return works.tasks(self.name, chosen, selection, works.fits)

    def measure(self, task: Task, repeats: int) -> Row:
        return works.measure(task, repeats)

    def table(self, rows: Sequence[Row], missing: dict[str, str]) -> str:
        return works_table(rows, missing)


QUESTION = Attacks()
