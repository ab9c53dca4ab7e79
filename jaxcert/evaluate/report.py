"""A report: error counts of one network at one eps, checked for consistency when it is made."""

import itertools
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from jaxcert.errors import CheckpointError, InconsistentReportError
from jaxcert.evaluate.results import Record


@dataclass(frozen=True)
class Report:
    """Errors of one network under one threat model; made, it is consistent.

    Attributes:
      network: its name in tables and figures.
      eps: radius in input units; `norm` is the p of the ball (JSON holds `"inf"` as a string).
      n: number of images evaluated.
      clean: misclassified images.
      attacked: images misclassified at the point that the attack found, or `None` if not attacked;
        `attacked / n` is a lower bound of the robust error.
      certified: images not certified, by method; `certified[m] / n` is an upper bound of the robust
        error.
      seconds: time spent, by measure, compilation included.
      settings: everything needed to make the report again (plain JSON values).

    Raises:
      InconsistentReportError: clean <= attacked <= certified (each method), within 0..n, is broken.

    >>> report = Report("tiny", 0.1, n=100, clean=2, attacked=5, certified={"crown": 9})
    >>> report.percent(report.attacked)
    5.0
    """

    network: str
    eps: float
    norm: float = float("inf")
    n: int = 0
    clean: int = 0
    attacked: int | None = None
    certified: Mapping[str, int] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        attacked = self.clean if self.attacked is None else self.attacked
        for method, errors in (self.certified or {"no method": self.n}).items():
            chain = (0, self.clean, attacked, errors, self.n)
            if any(low > high for low, high in itertools.pairwise(chain)):
                raise InconsistentReportError(
                    f"The report of {self.network!r} at eps {self.eps:g} is inconsistent: of {self.n} images "
                    f"{self.clean} are clean, {attacked} attacked and {errors} certified errors ({method}), "
                    f"but 0 <= clean <= attacked <= certified <= n must hold: do not use it and report a bug."
                )

    def percent(self, errors: int) -> float:
        """Errors as a percentage of the images."""
        return 100.0 * errors / self.n if self.n else float("nan")

    @property
    def best_certified(self) -> int | None:
        """The fewest certified errors that any method reached."""
        return min(self.certified.values()) if self.certified else None


def make_report(
    network: str,
    *,
    eps: float,
    norm: float = float("inf"),
    clean: Sequence[Record],
    attacked: Sequence[Record] | None = None,
    certified: Mapping[str, Sequence[Record]] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Report:
    """The report of per-image records, which must be about the same images.

    Raises:
      InconsistentReportError: the measures saw other images or labels, an image is certified by some
        method but misclassified or successfully attacked (the image is named), or the counts are
        out of order.

    >>> right, wrong = Record(0, 3, 3, True, 1.5), Record(1, 7, 2, False, -0.5)
    >>> make_report("tiny", eps=0.1, clean=[right, wrong]).clean
    1
    """
    certified = certified or {}
    _check_images(network, eps, clean, attacked, certified)
    measures = {"clean": clean, **({"attacked": attacked} if attacked is not None else {}), **certified}
    return Report(
        network=network,
        eps=float(eps),
        norm=float(norm),
        n=len(clean),
        clean=sum(not record.correct for record in clean),
        attacked=None if attacked is None else sum(not record.attacked_correct for record in attacked),
        certified={
            method: sum(not (record.correct and record.certified) for record in records)
            for method, records in certified.items()
        },
        seconds={name: round(sum(r.seconds for r in records), 3) for name, records in measures.items()},
        settings=dict(settings or {}),
    )


def write_reports(path: Path, reports: Sequence[Report]) -> None:
    """Writes reports as one JSON file: the whole file appears at once, or nothing does."""
    plain = [{**asdict(report), "norm": f"{report.norm:g}"} for report in reports]
    write_whole(path, json.dumps({"reports": plain}, indent=2, allow_nan=False) + "\n")


def read_reports(path: Path) -> list[Report]:
    """Reads what `write_reports` wrote, and checks each report again.

    Raises:
      CheckpointError: there is no such file, or it is damaged.  InconsistentReportError: see `Report`.
    """
    try:
        plain = json.loads(path.read_text())["reports"]
        return [Report(**{**fields, "norm": float(fields["norm"])}) for fields in plain]
    except InconsistentReportError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is no readable report: run the evaluation again.") from error


def write_whole(path: Path, text: str) -> None:
    """Writes a text file so that a kill never leaves half of it under its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text)
    os.replace(partial, path)


def _check_images(
    network: str,
    eps: float,
    clean: Sequence[Record],
    attacked: Sequence[Record] | None,
    certified: Mapping[str, Sequence[Record]],
) -> None:
    where = f"of {network!r} at eps {eps:g}"
    images = [(record.index, record.label) for record in clean]
    measures = {**certified, **({"attacked": attacked} if attacked is not None else {})}
    for name, records in measures.items():
        if [(record.index, record.label) for record in records] != images:
            raise InconsistentReportError(
                f"The {name} results {where} are not about the same images as the clean results: evaluate "
                f"both on the same images."
            )
    misclassified = {record.index for record in clean if not record.correct}
    fallen = {record.index for record in attacked or () if not record.attacked_correct}
    for method, records in certified.items():
        for record in records:
            if record.certified and record.index in misclassified | fallen:
                how = "misclassified" if record.index in misclassified else "successfully attacked"
                raise InconsistentReportError(
                    f"Image {record.index} is certified by {method} {where} but is {how}, so one of the "
                    f"two is wrong: do not use these results and report a bug."
                )
