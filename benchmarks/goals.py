"""The goals: CPU time of jaxcert as a share of the peer's; same work, machine and run, one thread."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from benchmarks.work import Work

LIRPA, TORCH, AUTOATTACK = "auto_LiRPA", "torch", "autoattack"
BATCH = 64
PEAK_SHARE = 0.5
"""Peak memory at most this share of the peer's."""
COMPILE_SECONDS = 6.0
"""A training step compiles in less."""
TEST_SET_SECONDS = 300.0
"""The whole MNIST test set under CROWN with clipping, Wong-Kolter small, two cores."""


@dataclass(frozen=True)
class Goal:
    peer: str
    share: float


_COLUMNS = ("mlp", "wk-small", "dm-medium")
_ROWS = {
    "ibp": (LIRPA, 0.25, 0.35, 0.25),
    "ibp-grad": (LIRPA, 0.35, 0.6, 0.8),
    "crown-ibp": (LIRPA, 0.25, 0.4, 0.5),
    "crown-ibp-grad": (LIRPA, 0.35, 0.5, 0.5),
    "crown": (LIRPA, 0.3, 0.25, 0.3),
    "pgd": (TORCH, 0.5, 0.6, 0.6),
    "train-pgd": (TORCH, 0.5, 0.6, 0.6),
}

GOALS: Mapping[str, Goal] = MappingProxyType(
    {
        Work(operation, network, BATCH).id: Goal(peer, share)
        for operation, (peer, *shares) in _ROWS.items()
        for network, share in zip(_COLUMNS, shares, strict=True)
    }
    | {Work("autoattack", "wk-small", 256).id: Goal(AUTOATTACK, 0.5)}
)
"""Id of a work -> its goal."""
