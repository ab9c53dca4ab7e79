"""The common clock: median and spread of warm runs, in wall time and in CPU time of the process."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

LONG_SECONDS = 3.0  # a run longer than this is repeated FEWEST times only
FEWEST = 3
BUDGET_SECONDS = 30.0  # when this has gone, no further run begins
SHORT_SECONDS = 1.0  # short runs are repeated until this much time has gone, at most MOST times
MOST = 101


@dataclass(frozen=True)
class Timing:
    """Milliseconds. Spreads are interquartile ranges; CPU time is that of all threads of the process."""

    wall_ms: float
    wall_spread_ms: float
    cpu_ms: float
    cpu_spread_ms: float
    runs: int


def measure(call: Callable[[], Any], repeats: int = 9) -> Timing:
    """Times `call`, which must be warm already and return only when all of its work is done.

    At least `repeats` runs; `FEWEST` where a run takes more than `LONG_SECONDS`, and fewer still
    where `BUDGET_SECONDS` are over. `Timing.runs` says how many it were.
    """
    walls: list[float] = []
    cpus: list[float] = []
    while not walls or _goes_on(walls, repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        call()
        cpus.append(1e3 * (time.process_time() - cpu))
        walls.append(1e3 * (time.perf_counter() - wall))
    return Timing(statistics.median(walls), spread(walls), statistics.median(cpus), spread(cpus), len(walls))


def spread(times: list[float]) -> float:
    """Interquartile range; 0 of a single one."""
    if len(times) < 2:
        return 0.0
    low, _, high = statistics.quantiles(times, n=4, method="inclusive")
    return high - low


def _goes_on(walls: list[float], repeats: int) -> bool:
    total = sum(walls) / 1e3
    if total > BUDGET_SECONDS:
        return False
    if len(walls) < (min(repeats, FEWEST) if max(walls) > 1e3 * LONG_SECONDS else repeats):
        return True
    return total < SHORT_SECONDS and repeats > FEWEST and len(walls) < MOST
