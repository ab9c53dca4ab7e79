"""Per-image results on disk: JSON lines, written batch by batch, resumable after a kill.

The first line holds the settings, every further line one image. A line counts only when its
newline is there, so a kill in the middle of a write costs at most the line being written.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jaxcert.errors import CheckpointError


@dataclass(frozen=True)
class Record:
    """What one measure found about one image.

    Attributes:
      index: position of the image in its split.
      label, prediction: classes; `correct` says that they agree and that the logits are finite.
      margin: smallest `logit[label] - logit[j]` over the other classes: at the image (clean), at
        the worst point found (attacked), or a lower bound over the whole region (certified);
        `None` where it is not finite.
      attacked_correct: `None` unless the image was attacked; False for a misclassified image.
      certified: `None` unless certification was tried.
      seconds: the image's share of its batch's time, compilation included.
    """

    index: int
    label: int
    prediction: int
    correct: bool
    margin: float | None
    attacked_correct: bool | None = None
    certified: bool | None = None
    seconds: float = 0.0

    def line(self) -> str:
        present = {name: value for name, value in asdict(self).items() if value is not None}
        return json.dumps(present, allow_nan=False) + "\n"

    @staticmethod
    def from_line(line: str) -> "Record":
        return Record(**{"margin": None, **json.loads(line)})


def finite(value: float) -> float | None:
    """`value`, or `None` where JSON could not hold it."""
    return float(value) if math.isfinite(value) else None


@dataclass(frozen=True)
class Results:
    """A results file and the settings it must have been made with (plain JSON values)."""

    path: Path
    settings: Mapping[str, Any]

    def resume(self) -> list[Record]:
        """The records already on disk; creates the file, or repairs its last line, as needed.

        Raises:
          CheckpointError: the file was made with other settings, or is damaged before its end.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        whole = _whole_lines(self.path)
        if not whole:
            self.path.write_text(json.dumps({"settings": dict(self.settings)}, allow_nan=False) + "\n")
            return []
        self._check_settings(whole[0])
        try:
            return [Record.from_line(line) for line in whole[1:]]
        except (ValueError, TypeError) as error:
            raise CheckpointError(
                f"{self.path} holds a line that is no result ({error}): delete the file and run again."
            ) from error

    def append(self, records: Sequence[Record]) -> None:
        """Writes one batch of records to the end of the file."""
        with self.path.open("a") as file:
            file.write("".join(record.line() for record in records))

    def _check_settings(self, header: str) -> None:
        try:
            found = json.loads(header)["settings"]
        except (ValueError, KeyError, TypeError) as error:
            raise CheckpointError(
                f"{self.path} does not begin with the settings of an evaluation: move it away or "
                f"write elsewhere with --out."
            ) from error
        wanted = json.loads(json.dumps(dict(self.settings)))
        different = [name for name in sorted({*found, *wanted}) if found.get(name) != wanted.get(name)]
        if different:
            name = different[0]
            raise CheckpointError(
                f"{self.path} was made with other settings ({name} was {found.get(name)!r}, now "
                f"{wanted.get(name)!r}): delete it or write elsewhere with --out."
            )


def _whole_lines(path: Path) -> list[str]:
    """The complete lines of the file; a last line without its newline is cut off on disk too."""
    if not path.exists():
        return []
    content = path.read_bytes()
    end = content.rfind(b"\n") + 1
    if end < len(content):
        with path.open("r+b") as file:
            file.truncate(end)
    return content[:end].decode(errors="replace").splitlines()
