"""Figures: ratios beside the goals; time against depth, width, classes and batch, on log axes."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter

from benchmarks.contenders import JAXCERT
from benchmarks.goals import GOALS
from benchmarks.question import Row
from benchmarks.questions.scaling import OPERATIONS, QUESTION, SWEEPS
from benchmarks.table import ratio

COLOURS = dict(zip(OPERATIONS, ("#0072B2", "#009E73", "#D55E00", "#CC79A7"), strict=True))
WORKS = ("bounds", "training", "attacks")
"""The questions whose rows are times of works."""
NAMES = {"ibp": "IBP", "crown-ibp": "CROWN-IBP", "crown": "CROWN", "pgd": "PGD-40"}


def scaling(rows: Sequence[Row], path: Path, clock: str = "cpu") -> None:
    """One panel per sweep; solid: jaxcert, dashed: the peer (auto_LiRPA for bounds, torch for PGD)."""
    found = {row.key[1:]: row for row in rows if row.question == QUESTION.name}
    peers = {row.contender for row in found.values()} - {JAXCERT}
    columns = 4
    figure, grid = plt.subplots(2, columns, figsize=(15, 7.2), sharey=True, layout="constrained")
    panels = grid.ravel()
    for panel, sweep in zip(panels, SWEEPS):
        _panel(panel, sweep, found, sorted(peers), clock)
    for panel in grid[:, 0]:
        panel.set_ylabel(f"{'CPU' if clock == 'cpu' else 'wall'} ms per batch")
    _legend(panels[len(SWEEPS)], peers)
    for panel in panels[len(SWEEPS) + 1 :]:
        panel.axis("off")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def goals(rows: Sequence[Row], path: Path, clock: str = "cpu") -> None:
    """Reached ratios beside the goals: left of the bar's end means met, one line per work."""
    # Other questions ask other things of the same works.
    found = {(row.contender, row.id): row for row in rows if row.question in WORKS}
    figure, panel = plt.subplots(figsize=(9, 7), layout="constrained")
    for place, (work, goal) in enumerate(GOALS.items()):
        panel.barh(place, goal.share, color="#DDDDDD", height=0.7)
        mine, peer = found.get((JAXCERT, work)), found.get((goal.peer, work))
        share = None if mine is None else ratio(mine, peer, clock)
        if share is None:
            panel.text(goal.share + 0.01, place, "no ratio", va="center", fontsize=9)
        else:
            panel.plot(share, place, "o", color="#009E73" if share <= goal.share else "#D55E00")
    panel.set_yticks(range(len(GOALS)), [f"{work} / {goal.peer}" for work, goal in GOALS.items()])
    panel.invert_yaxis()
    panel.axvline(1.0, color="black", linewidth=1)
    panel.set_xlim(left=0)
    panel.set_xlabel("time of jaxcert as a share of the peer's (bar: goal, dot: reached, line: equal)")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _panel(
    panel: Axes, sweep: str, found: dict[tuple[str, str], Row], peers: Sequence[str], clock: str
) -> None:
    points = [(quantity, work) for name, quantity, work in QUESTION.points() if name == sweep]
    for contender in (JAXCERT, *peers):
        for operation in OPERATIONS:
            curve = [
                (quantity, row.data[f"{clock}_ms"])
                for quantity, work in points
                if work.operation == operation
                and (row := found.get((contender, work.id))) is not None
                and row.status == "ok"
            ]
            if curve:
                style = "-o" if contender == JAXCERT else "--s"
                panel.plot(
                    *zip(*curve, strict=True), style, color=COLOURS[operation], markersize=4, linewidth=1.5
                )
    ticks = sorted({quantity for quantity, _ in points})
    panel.set_xscale("log")
    panel.set_yscale("log")
    panel.set_xticks(ticks)
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panel.xaxis.set_minor_formatter(NullFormatter())
    panel.set_xlabel(sweep)
    panel.grid(True, which="major", alpha=0.3)


def _legend(panel: Axes, peers: set[str]) -> None:
    panel.axis("off")
    lines = [panel.plot([], [], "-", color=COLOURS[name], label=NAMES[name])[0] for name in OPERATIONS]
    lines.append(panel.plot([], [], "-o", color="black", markersize=4, label="jaxcert")[0])
    if peers:
        label = "peer (auto_LiRPA for bounds,\ntorch for PGD)"
        lines.append(panel.plot([], [], "--s", color="black", markersize=4, label=label)[0])
    panel.legend(handles=lines, loc="center", frameon=False, fontsize=12)
