"""Whole training steps: loss, gradient and Adam update of IBP, CROWN-IBP and PGD-10 adversarial training."""

from collections.abc import Sequence

from benchmarks.networks import NETWORKS
from benchmarks.question import Row, Selection, Task
from benchmarks.questions import works
from benchmarks.table import works_table
from benchmarks.work import TRAINING, Work


class Training:
    name = "training"
    title = "Training steps (loss, gradient, Adam update)"
    minutes = 8.0

    def tasks(self, selection: Selection) -> list[Task]:
        keys = [(op, net, batch) for batch in (64, 256) for net in NETWORKS for op in TRAINING]
        chosen = [Work(*key) for key in keys if selection.takes(*key)]
        return works.tasks(self.name, chosen, selection, works.fits)

    def measure(self, task: Task, repeats: int) -> Row:
        return works.measure(task, repeats)

    def table(self, rows: Sequence[Row], missing: dict[str, str]) -> str:
        return works_table(rows, missing)


QUESTION = Training()
