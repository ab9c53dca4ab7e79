"""Peak memory of one call: what the process grows by at most, beyond what it holds before."""

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


def growth(call: Callable[[], T]) -> tuple[T, int | None]:
    """The result of `call` and the peak of the resident memory during it, less that before, in bytes.

    None where the system does not tell (other than Linux). Freed memory is handed back to the
    system first, so a call cannot hide in what earlier work left in the allocator's pools.
    """
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        _CLEAR.write_text("5")  # resets VmHWM, the peak
        before = _kilobytes("VmRSS")
    except (OSError, AttributeError):
        return call(), None
    result = call()
    return result, max(0, _kilobytes("VmHWM") - before) * 1024


def resident(pid: int) -> int | None:
    """Resident memory of a process in bytes, None if it has ended or the system does not tell."""
    try:
        return _kilobytes("VmRSS", Path(f"/proc/{pid}/status")) * 1024
    except (OSError, LookupError):
        return None


def available() -> int | None:
    """Memory that new processes can have, in bytes; None where the system does not tell."""
    try:
        return _kilobytes("MemAvailable", Path("/proc/meminfo")) * 1024
    except (OSError, LookupError):
        return None


def _kilobytes(name: str, file: Path = _STATUS) -> int:
    for line in file.read_text(encoding="ascii").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise LookupError(f"{file} has no line {name}")
