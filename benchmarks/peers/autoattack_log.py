"""What AutoAttack of its authors says while it runs, as numbers."""

import re
import time

from benchmarks.survivors import Stage, Survivors

STAGES = ("apgd-ce", "apgd-t", "fab-t", "square")


class Log:
    """In the place of its logger, which says after each stage what share of the images is left."""

    def __init__(self, images: int):
        self.images, self.left, self.since = images, {}, time.perf_counter()

    def log(self, text: str) -> None:
        said = re.match(r"(?:initial accuracy|robust accuracy after (\S+)): ([\d.]+)%", text)
        if said is not None:
            now, name = time.perf_counter(), (said[1] or "clean").lower()
            self.left[name] = round(float(said[2]) / 100 * self.images), now - self.since
            self.since = now

    def survivors(self) -> Survivors:
        """It runs no stage when nothing is left for it."""
        stages = [Stage(name, *self.left.get(name, (0, 0.0))) for name in STAGES]
        return Survivors(self.images, self.left["clean"][0], stages)
