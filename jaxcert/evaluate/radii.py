"""Robust accuracy against eps: each radius attacks only what the smaller ones left."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from jaxcert.errors import ConfigError
from jaxcert.evaluate.measures import check_eps
from jaxcert.evaluate.report import write_whole
from jaxcert.evaluate.results import Record


@dataclass(frozen=True)
class RobustAccuracy:
    """What is left at one radius.

    Attributes:
      eps: the radius, in input units.
      n: all images; `robust`: those that no attack broke at this or a smaller radius.
      attacked: images that were attacked at this radius.
      seconds: time spent at it, compilation included.

    >>> RobustAccuracy(0.1, n=200, robust=150, attacked=190).percent
    75.0
    """

    eps: float
    n: int
    robust: int
    attacked: int
    seconds: float = 0.0

    @property
    def percent(self) -> float:
        """Robust accuracy in percent."""
        return 100.0 * self.robust / self.n if self.n else float("nan")


def robust_accuracies(
    radii: Sequence[float],
    before: Sequence[Record],
    measure: Callable[[float, Sequence[int]], Sequence[Record]],
) -> list[RobustAccuracy]:
    """Robust accuracy at eps 0 and at each of `radii`, rising: an upper bound of the true one at each.

    A point found in a small ball lies in the larger ones too. So an image that has fallen stays fallen, only
    those that are left are attacked at the next radius, and robust accuracy never rises with eps. Nothing
    is assumed of the images that survive a larger radius.

    Args:
      radii: in input units; those at 0 are left out, as the clean accuracy is what holds there.
      before: records of the clean pass over all images.
      measure: `(eps, indices) -> ` records of an attack on these images, such as `measures.attacked`'s.

    Raises:
      ConfigError: no radius is given.  InvalidInputError: one is negative or not finite.
    """
    if not radii:
        raise ConfigError("Robust accuracy against eps needs at least one eps.")
    for eps in radii:
        check_eps(eps)
    left = [record.index for record in before if record.correct]
    found = [RobustAccuracy(0.0, len(before), len(left), 0)]
    for eps in sorted({float(eps) for eps in radii} - {0.0}):
        records = measure(eps, left)
        attacked, seconds = len(left), sum(record.seconds for record in records)
        left = [record.index for record in records if record.attacked_correct]
        found.append(RobustAccuracy(eps, len(before), len(left), attacked, round(seconds, 3)))
    return found


def write_robust_accuracies(path: Path, found: Sequence[RobustAccuracy], **settings: object) -> None:
    """Writes them as one JSON file with the settings: the whole file appears at once."""
    plain = {**settings, "radii": [asdict(one) for one in found]}
    write_whole(path, json.dumps(plain, indent=2, allow_nan=False) + "\n")
