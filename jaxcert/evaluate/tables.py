"""Reports as text: a table for the terminal and the same table in Markdown."""

from collections.abc import Sequence

from jaxcert.evaluate.autoattack import AutoAttackResult
from jaxcert.evaluate.radii import RobustAccuracy
from jaxcert.evaluate.report import Report


def text_table(reports: Sequence[Report]) -> str:
    """A table with aligned columns, one line per report; errors in percent of n images.

    >>> print(text_table([Report("tiny", 0.1, n=100, clean=2, attacked=5, certified={"crown": 9})]))
    network  eps    n  clean error %  attacked error %  crown certified error %
    -------  ---  ---  -------------  ----------------  -----------------------
    tiny     0.1  100           2.00              5.00                     9.00
    """
    return _text(_rows(reports))


def stage_table(found: AutoAttackResult) -> str:
    """A table of an ensemble's stages: how many images each attacked and left, robust accuracy, seconds."""
    rows = [["stage", "images", "robust", "robust accuracy %", "seconds"]]
    for stage in found.summary()["stages"]:
        accuracy = f"{100 * stage['robust_accuracy']:.2f}"
        rows.append(
            [stage["name"], str(stage["images"]), str(stage["robust"]), accuracy, f"{stage['seconds']:.1f}"]
        )
    return _text(rows)


def radius_table(found: Sequence[RobustAccuracy]) -> str:
    """A table of robust accuracy against eps.

    >>> print(radius_table([RobustAccuracy(0, 8, 8, 0), RobustAccuracy(0.1, 8, 6, 8, 1.5)]))
    eps  images  attacked  robust  robust accuracy %  seconds
    ---  ------  --------  ------  -----------------  -------
    0         8         0       8             100.00      0.0
    0.1       8         8       6              75.00      1.5
    """
    rows = [["eps", "images", "attacked", "robust", "robust accuracy %", "seconds"]]
    for one in found:
        counts = [str(one.n), str(one.attacked), str(one.robust)]
        rows.append([f"{one.eps:g}", *counts, f"{one.percent:.2f}", f"{one.seconds:.1f}"])
    return _text(rows)


def markdown_table(reports: Sequence[Report]) -> str:
    """The same table in Markdown, numbers to the right."""
    header, *body = _rows(reports)
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, rule, *body))


def methods_of(reports: Sequence[Report]) -> list[str]:
    """The certification methods that occur, in the order in which they first do."""
    return list(dict.fromkeys(method for report in reports for method in report.certified))


def _rows(reports: Sequence[Report]) -> list[list[str]]:
    methods = methods_of(reports)
    measures = ["clean", "attacked", *[f"{method} certified" for method in methods]]
    header = ["network", "eps", "n", *[f"{measure} error %" for measure in measures]]
    return [header, *[_row(report, methods) for report in reports]]


def _row(report: Report, methods: Sequence[str]) -> list[str]:
    errors = [report.clean, report.attacked, *[report.certified.get(method) for method in methods]]
    shown = ["-" if count is None else f"{report.percent(count):.2f}" for count in errors]
    return [report.network, f"{report.eps:g}", str(report.n), *shown]


def _text(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    rule = ["-" * width for width in widths]
    return "\n".join(_aligned(row, widths) for row in (rows[0], rule, *rows[1:]))


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    first = row[0].ljust(widths[0])
    return "  ".join([first, *[cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]])
