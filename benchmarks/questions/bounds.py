"""Bounds and their gradients: how long, in how much memory, and are they the same numbers as the peers'?"""

from collections.abc import Sequence

from benchmarks.networks import NETWORKS
from benchmarks.question import Row, Selection, Task
from benchmarks.questions import works
from benchmarks.table import works_table
from benchmarks.work import Work

FAST = ("forward", "ibp", "ibp-grad", "crown-ibp", "crown-ibp-grad")
SLOW = ("crown", "alpha-crown", "fast-lin")
SMALL_EPS = 0.002
"""With 0.02 most neurons of these untrained networks are unstable; with this most are stable, as in trained
ones: a peer that bounds unstable neurons only is then at its best."""


class Bounds:
    name = "bounds"
    title = "Lower bounds of all margins, and gradients of the worst-case loss"
    minutes = 15.0

    def tasks(self, selection: Selection) -> list[Task]:
        every = [Work(*key) for key in self._keys() if selection.takes(*key)]
        stable = [
            Work("crown", net, 64, SMALL_EPS)
            for net in ("mlp", "wk-small")
            if selection.takes("crown", net, 64)
        ]
        return works.tasks(self.name, [*every, *stable], selection, works.fits)

    def _keys(self) -> list[tuple[str, str, int]]:
        fast = [(op, net, batch) for batch in (64, 256) for net in NETWORKS for op in FAST]
        slow = [(op, net, 64) for op in SLOW for net in NETWORKS]
        large = [("crown", net, 256) for net in NETWORKS]
        gradients = [("crown-grad", net, 64) for net in ("mlp", "wk-small", "resnet-2b")]
        return fast + slow + large + gradients

    def measure(self, task: Task, repeats: int) -> Row:
        return works.measure(task, repeats)

    def table(self, rows: Sequence[Row], missing: dict[str, str]) -> str:
        return works_table(rows, missing)


QUESTION = Bounds()
