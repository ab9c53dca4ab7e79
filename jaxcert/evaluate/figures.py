"""Figures as PNG files. Drawn on matplotlib's Agg canvas, without a display or global state."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from jaxcert.errors import InvalidInputError
from jaxcert.evaluate.radii import RobustAccuracy
from jaxcert.evaluate.report import Report

# Okabe and Ito's palette: distinct for the common kinds of colour blindness.
BLUE, ORANGE, BLACK, GREY = "#0072B2", "#D55E00", "#000000", "#666666"
GREEN, PURPLE = "#009E73", "#CC79A7"
CURVES = ((ORANGE, "v"), (BLUE, "o"), (BLACK, "s"), (GREEN, "D"), (PURPLE, "^"))
INCHES_PER_LEGEND_ENTRY = 2.2


def errors_against_eps(
    reports: Sequence[Report], path: Path, *, title: str, trained_at: Mapping[str, float] | None = None
) -> None:
    """Writes a PNG with one panel per network: clean, attacked and certified error against eps.

    The shaded band between attacked and certified error is where the true robust error lies; a thin line
    marks the eps of training of the networks named in `trained_at`.

    Raises:
      InvalidInputError: there is no report.
    """
    if not reports:
        raise InvalidInputError("A figure of errors needs at least one report, got none.")
    networks = list(dict.fromkeys(report.network for report in reports))
    width = 1.6 + 2.9 * len(networks)
    figure = Figure(figsize=(width, 4.4), layout="constrained")
    panels = figure.subplots(1, len(networks), sharey=True, squeeze=False)[0]
    for panel, network in zip(panels, networks, strict=True):
        mine = sorted((r for r in reports if r.network == network), key=lambda report: report.eps)
        _errors_panel(panel, mine)
        farthest = max(report.eps for report in reports)
        if network in (trained_at or {}):
            trained = (trained_at or {})[network]
            panel.axvline(trained, color=GREY, linewidth=1, zorder=1, label="eps of training")
            farthest = max(farthest, trained)
        panel.set_xlim(0, 1.05 * farthest if farthest else None)
        if len(networks) > 1:
            panel.set_title(network, fontsize=11)
        panel.set_xlabel(f"eps ({_symbol(reports[0].norm)} radius, pixels in [0, 1])", fontsize=9)
    panels[0].set_ylabel("error (% of images)")
    largest = max(100 * max(r.clean, r.attacked or 0, *r.certified.values()) / r.n for r in reports)
    top = 100 if largest > 50 else max(1.25 * largest, 5)
    panels[0].set_ylim(-0.02 * top, 1.02 * top)
    _legend(figure, panels, columns=int(width / INCHES_PER_LEGEND_ENTRY))
    figure.suptitle(f"{title} (n = {_images(reports)})", fontsize=12 if len(networks) > 1 else 10)
    save(figure, path)


def robust_accuracy_against_eps(
    curves: Mapping[str, Sequence[RobustAccuracy]],
    path: Path,
    *,
    title: str,
    norm: float = float("inf"),
    trained_at: float | None = None,
) -> None:
    """Writes a PNG with robust accuracy against eps, one curve per name: an upper bound of the true one.

    A single curve says how many of all images are left at its points. A thin line marks the eps of training.

    Raises:
      InvalidInputError: there is no curve, or one without points.
    """
    if not curves or not all(curves.values()):
        raise InvalidInputError("A figure of robust accuracy needs at least one point of each curve.")
    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    panel = figure.subplots()
    for place, (name, curve) in enumerate(curves.items()):
        color, marker = CURVES[place % len(CURVES)]
        eps, left = [one.eps for one in curve], [one.percent for one in curve]
        panel.plot(eps, left, color=color, marker=marker, markersize=5, label=name, clip_on=False, zorder=3)
    if len(curves) == 1:
        _say_counts(panel, *curves.values())
    if trained_at is not None:
        panel.axvline(trained_at, color=GREY, linewidth=1, zorder=1, label="eps of training")
    farthest = max([trained_at or 0.0, *(one.eps for curve in curves.values() for one in curve)])
    panel.set_xlim(0, 1.12 * farthest if farthest else None)
    panel.set_ylim(0, 105)
    panel.set_xlabel(f"eps ({_symbol(norm)} radius, pixels in [0, 1])", fontsize=9)
    panel.set_ylabel("robust accuracy (% of images)")
    _plain(panel)
    _legend(figure, [panel], columns=2)
    counts = sorted({one.n for curve in curves.values() for one in curve})
    figure.suptitle(f"{title} (n = {_range(counts)})", fontsize=10)
    save(figure, path)


def adversarial_examples(
    originals: np.ndarray,
    adversarial: np.ndarray,
    path: Path,
    *,
    labels: Sequence[int],
    before: Sequence[int],
    after: Sequence[int],
    title: str,
) -> None:
    """Writes a PNG with three rows: originals, adversarial images, and their difference, scaled to be seen.

    Images are `[N, H, W, C]` in [0, 1] with one or three channels; N columns are drawn.
    """
    count = len(originals)
    if not count:
        raise InvalidInputError("A figure of adversarial examples needs at least one image, got none.")
    largest = float(np.abs(adversarial - originals).max()) or 1.0
    figure = Figure(figsize=(1.6 + 1.15 * count, 4.5), layout="constrained")
    panels = figure.subplots(3, count, squeeze=False)
    differences = 0.5 + 0.5 * (adversarial - originals) / largest
    for row, images in enumerate((originals, adversarial, differences)):
        for column in range(count):
            _image_panel(panels[row, column], images[column])
    for column in range(count):
        panels[0, column].set_title(f"label {labels[column]}\nseen as {before[column]}", fontsize=8)
        panels[1, column].set_title(
            f"seen as {after[column]}", fontsize=8, color=BLACK if after[column] == labels[column] else ORANGE
        )
    for row, name in enumerate(("original", "adversarial", "difference")):
        panels[row, 0].set_ylabel(name, fontsize=9)
    figure.suptitle(f"{title}\ndifference: grey is 0, black and white are ∓{largest:.3g}", fontsize=10)
    save(figure, path)


def save(figure: Figure, path: Path) -> None:
    """Writes the figure as PNG; the whole file appears at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    FigureCanvasAgg(figure)
    figure.savefig(partial, format="png", dpi=150)
    os.replace(partial, path)


def _say_counts(panel: Axes, curve: Sequence[RobustAccuracy]) -> None:
    """How many images are left at each point, where there is room for it."""
    room, last = 0.1 * max(one.eps for one in curve), -float("inf")
    for one in curve:
        if one.eps - last < room:
            continue
        last = one.eps
        panel.annotate(
            f"{one.robust}/{one.n}",
            (one.eps, one.percent),
            xytext=(5, 5),
            textcoords="offset points",
            fontsize=8,
            color=GREY,
        )


def _legend(figure: Figure, panels: Sequence[Axes], columns: int) -> None:
    entries = {}
    for panel in panels:
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    figure.legend(
        entries.values(),
        entries.keys(),
        loc="outside lower center",
        ncols=min(columns, len(entries)),
        frameon=False,
        fontsize=9,
    )


def _errors_panel(panel: Axes, reports: Sequence[Report]) -> None:
    reports = _from_zero(reports)
    eps = [report.eps for report in reports]
    clean = [report.percent(report.clean) for report in reports]
    attacked = _percents(reports, [report.attacked for report in reports])
    proved = _percents(reports, [report.best_certified for report in reports])
    if attacked and proved:
        panel.fill_between(
            eps, attacked, proved, color=GREY, alpha=0.22, linewidth=0, label="true robust error lies here"
        )
    if proved:
        panel.plot(eps, proved, color=BLUE, marker="o", markersize=4, label="not certified (upper bound)")
    if attacked:
        panel.plot(
            eps,
            attacked,
            color=ORANGE,
            marker="v",
            markersize=4,
            linestyle="--",
            label="attacked (lower bound)",
        )
    panel.plot(eps, clean, color=BLACK, linestyle=":", label="clean")
    _plain(panel)


def _plain(panel: Axes) -> None:
    panel.xaxis.set_major_locator(MaxNLocator(4))
    panel.set_axisbelow(True)
    panel.grid(color="0.9")
    panel.spines[["top", "right"]].set_visible(False)


def _from_zero(reports: Sequence[Report]) -> list[Report]:
    """The reports with one at eps 0 before them, where every error is the clean error by definition."""
    first = reports[0]
    if first.eps == 0:
        return list(reports)
    attacked = None if first.attacked is None else first.clean
    certified = dict.fromkeys(first.certified, first.clean)
    return [replace(first, eps=0.0, attacked=attacked, certified=certified), *reports]


def _percents(reports: Sequence[Report], counts: Sequence[int | None]) -> list[float]:
    """Percentages by report, or nothing when a report lacks the measure."""
    known = [count for count in counts if count is not None]
    if len(known) < len(counts):
        return []
    return [report.percent(count) for report, count in zip(reports, known, strict=True)]


def _image_panel(panel: Axes, image: np.ndarray) -> None:
    panel.set_xticks([])
    panel.set_yticks([])
    grey = image.shape[-1] == 1
    panel.imshow(image[..., 0] if grey else image, cmap="gray", vmin=0.0, vmax=1.0, interpolation="nearest")


def _symbol(norm: float) -> str:
    return "$\\ell_\\infty$" if norm == float("inf") else f"$\\ell_{{{norm:g}}}$"


def _images(reports: Sequence[Report]) -> str:
    return _range(sorted({report.n for report in reports}))


def _range(counts: Sequence[int]) -> str:
    return f"{counts[0]} images" if len(counts) == 1 else f"{counts[0]} to {counts[-1]} images"
