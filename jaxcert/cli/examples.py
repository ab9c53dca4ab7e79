"""Adversarial examples as files: arrays, and a figure of some of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jaxcert.evaluate import AutoAttackResult, Record
from jaxcert.evaluate.figures import adversarial_examples
from jaxcert.evaluate.points import write_arrays
from jaxcert.evaluate.sweep import Images

SHOWN = 8


@dataclass(frozen=True)
class Examples:
    """Images `[N, H, W, C]`, the points that an attack found, their records, and the classes seen there."""

    originals: np.ndarray
    adversarial: np.ndarray
    records: Sequence[Record]
    after: np.ndarray

    def save(self, path: Path) -> None:
        """Writes the arrays as one npz file."""
        arrays = {
            "originals": self.originals,
            "adversarial": self.adversarial,
            "labels": np.array([record.label for record in self.records]),
            "before": np.array([record.prediction for record in self.records]),
            "after": self.after,
            "index": np.array([record.index for record in self.records]),
        }
        write_arrays(path, arrays)

    def draw(self, path: Path, title: str) -> None:
        """Draws the first images that fell, filled up with others that moved when too few did."""
        fell = [record.correct and not record.attacked_correct for record in self.records]
        rows = sorted(range(len(fell)), key=lambda row: not fell[row])
        moved = [row for row in rows if np.any(self.adversarial[row] != self.originals[row])]
        shown = (moved or rows)[:SHOWN]
        adversarial_examples(
            self.originals[shown],
            self.adversarial[shown],
            path,
            labels=[self.records[row].label for row in shown],
            before=[self.records[row].prediction for row in shown],
            after=self.after[shown].tolist(),
            title=title,
        )


def examples_of(found: AutoAttackResult, images: Images) -> Examples:
    """The examples of an ensemble: the images themselves where it found no adversarial point."""
    originals = np.asarray(images.pixels(np.array([record.index for record in found.records])))
    adversarial, after = originals.copy(), np.array([record.prediction for record in found.records])
    place = {record.index: row for row, record in enumerate(found.records)}
    if rows := [place[index] for index in found.fallen]:
        adversarial[rows], after[rows] = found.points.of(found.fallen)
    return Examples(originals, adversarial, found.records, after)
