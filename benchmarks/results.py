"""Results on disk: JSON lines, first where they come from, then a row per task, written as it is done."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.question import Row

PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "torch")
SAME = ("commit", "machine", "versions", "flags", "contenders")
"""What must not have changed when a run is taken up again."""


@dataclass(frozen=True)
class Results:
    provenance: dict[str, Any]
    rows: tuple[Row, ...]


def provenance(contenders: dict[str, dict[str, str]], flags: dict[str, Any]) -> dict[str, Any]:
    """Everything a reader needs to judge the numbers: code, machine, versions, settings."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": _git("rev-parse", "HEAD"),
        "dirty": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "machine": machine(),
        "versions": {"python": platform.python_version(), **_versions()},
        "contenders": contenders,
        "flags": flags,
        "command": " ".join([Path(sys.executable).name, "-m", "benchmarks", *sys.argv[1:]]),
    }


def machine() -> dict[str, Any]:
    """Processor, cores that this process may use, memory."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9),
        "system": f"{platform.system()} {platform.machine()}",
    }


def start(path: Path, facts: dict[str, Any]) -> Results:
    """A new file, or the rows of an unfinished one; ValueError where circumstances have changed since."""
    if not path.is_file() or not path.read_text(encoding="utf-8").strip():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"provenance": facts}) + "\n", encoding="utf-8")
        return Results(facts, ())
    whole = path.read_text(encoding="utf-8")
    if not whole.endswith("\n"):  # killed while it wrote: that row is measured again
        path.write_text(whole[: whole.rfind("\n") + 1], encoding="utf-8")
    found = read(path)
    changed = [name for name in SAME if found.provenance.get(name) != json.loads(json.dumps(facts[name]))]
    if changed:
        raise ValueError(
            f"{path} holds results of another {', '.join(changed)}: choose another --out, or delete it to "
            "begin anew."
        )
    return found


def append(path: Path, row: Row) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(row)) + "\n")


def read(path: Path) -> Results:
    """The results of a file; a last line cut off by a kill is ignored, later rows replace earlier ones."""
    lines = path.read_text(encoding="utf-8").splitlines()
    parsed = list(_parsed(lines))
    if not parsed or "provenance" not in parsed[0]:
        raise ValueError(f"{path} holds no results: its first line has no provenance.")
    rows = {row.key: row for row in (Row(**line) for line in parsed[1:])}
    return Results(parsed[0]["provenance"], tuple(rows.values()))


def _parsed(lines: Sequence[str]) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(lines, start=1):
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            if number < len(lines):
                raise


def _git(*arguments: str) -> str:
    try:
        folder = Path(__file__).parent
        run = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return run.stdout.strip()


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    facts = dict(line.split(":", 1) for line in lines if ":" in line)
    facts = {name.strip(): value.strip() for name, value in facts.items()}
    wide = " with AVX-512" if "avx512f" in facts.get("flags", "").split() else ""
    return facts.get("model name", platform.processor()) + wide
