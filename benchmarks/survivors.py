"""What the stages of AutoAttack did, told in the same way for every contender."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Stage:
    """`robust`: images that are left after it; `seconds`: wall time."""

    name: str
    robust: int
    seconds: float


@dataclass(frozen=True)
class Survivors:
    """`clean`: images that are right before any attack, of `images` in all."""

    images: int
    clean: int
    stages: Sequence[Stage]

    @property
    def counts(self) -> np.ndarray:
        """The result that `benchmarks.work` describes."""
        return np.array([self.clean, *(stage.robust for stage in self.stages)], np.float64)

    @property
    def text(self) -> str:
        """Such as "246 of 256 robust; apgd-ce 246 in 1.9 s, ..."."""
        last = self.stages[-1].robust if self.stages else self.clean
        parts = [f"{stage.name} {stage.robust} in {stage.seconds:.1f} s" for stage in self.stages]
        return f"{last} of {self.images} robust; {', '.join(parts)}"
