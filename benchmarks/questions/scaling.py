"""How cost grows with depth, width, number of classes and batch: where is a wall, and whose comes first?

Sweeps of one quantity each, the others at `mlp-4x256-10` or `conv-4x16-10` and batch 32.
"""

from collections.abc import Iterator, Sequence

from benchmarks.contenders import JAXCERT
from benchmarks.flops import needed
from benchmarks.goals import LIRPA, TORCH
from benchmarks.question import THOROUGH, USUAL, Row, Selection, Task
from benchmarks.questions import works
from benchmarks.table import works_table
from benchmarks.work import Work

OPERATIONS = ("ibp", "crown-ibp", "crown", "pgd")
BATCH = 32
SWEEPS = {
    "depth of an MLP (layers)": [(f"mlp-{depth}x256-10", depth, BATCH) for depth in (2, 4, 10)],
    "depth of a CNN (layers)": [(f"conv-{depth}x16-10", depth, BATCH) for depth in (2, 4, 6)],
    "width of an MLP (units)": [(f"mlp-4x{width}-10", width, BATCH) for width in (64, 256, 1024)],
    "classes (MLP)": [(f"mlp-4x256-{classes}", classes, BATCH) for classes in (10, 50, 200)],
    "batch (MLP)": [("mlp-4x256-10", batch, batch) for batch in (1, BATCH, 512)],
    "batch (CNN)": [("conv-4x16-10", batch, batch) for batch in (1, BATCH, 512)],
}
"""Name -> (network, the quantity, batch)."""


class Scaling:
    name = "scaling"
    title = "Cost against depth, width, classes and batch"
    minutes = 10.0

    def tasks(self, selection: Selection) -> list[Task]:
        chosen = dict.fromkeys(work for _, _, work in self.points() if selection.takes(*_key(work)))
        return [
            Task(self.name, contender, work.id, tier=USUAL if needed(work) < works.USUAL_FLOPS else THOROUGH)
            for work in chosen
            for contender in (JAXCERT, TORCH if work.base == "pgd" else LIRPA)
            if contender in selection.contenders
        ]

    def points(self) -> Iterator[tuple[str, int, Work]]:
        """(sweep, quantity, work) of every point of every curve."""
        for sweep, points in SWEEPS.items():
            for net, quantity, batch in points:
                for operation in OPERATIONS:
                    yield sweep, quantity, Work(operation, net, batch)

    def measure(self, task: Task, repeats: int) -> Row:
        return works.measure(task, repeats)

    def table(self, rows: Sequence[Row], missing: dict[str, str]) -> str:
        return works_table(rows, missing)


def _key(work: Work) -> tuple[str, str, int]:
    return work.operation, work.network, work.batch


QUESTION = Scaling()
