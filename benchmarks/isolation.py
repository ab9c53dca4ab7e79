"""One task in a fresh process with its own cores, threads, time and memory; whatever happens is a row."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import memory
from benchmarks.question import Row, Task
from benchmarks.worker import MARK

ONE_THREAD = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
POLL_SECONDS = 0.25


@dataclass(frozen=True)
class Limits:
    """Of one task: wall seconds of the whole process, and its resident memory in bytes (None: no limit)."""

    seconds: float = 300.0
    bytes: int | None = None


def usual_limits(seconds: float) -> Limits:
    """Nine tenths of the memory that is free now."""
    free = memory.available()
    return Limits(seconds, None if free is None else int(0.9 * free))


def cores(count: int) -> list[int]:
    """The first cores that this process may use."""
    allowed = (
        sorted(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else list(range(os.cpu_count() or 1))
    )
    return allowed[:count]


def environment(count: int, platform: str) -> dict[str, str]:
    """The environment of a worker with so many threads, and without a compilation cache."""
    values = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    values |= {name: str(count) for name in THREADS} | {
        "JAX_PLATFORMS": platform,
        "BENCHMARK_PLATFORM": platform,
    }
    if platform == "cpu" and count == 1:
        values["XLA_FLAGS"] = ONE_THREAD
    return values


def measure(task: Task, limits: Limits, *, platform: str = "cpu", repeats: int = 9) -> Row:
    """The row of a task, done in a process of its own."""
    chosen = cores(task.cores)
    arguments = [task.question, task.contender, task.id]
    if platform == "cpu":
        arguments += [",".join(map(str, chosen)), str(repeats)]
    said, end = _run(arguments, environment(len(chosen), platform), limits, task.seconds or limits.seconds)
    if end is not None:
        return Row(*task.key, *end)
    found = _marked(said.out)
    if found is not None:
        return Row(**found)
    return Row(*task.key, "failed", f"exit status {said.status}: {said.tail}")


def versions() -> dict[str, dict[str, str]]:
    """Contender -> {"version": ...} or {"missing": why}, asked in a process of its own."""
    said, _ = _run(["--versions"], environment(1, "cpu"), Limits(), 300.0)
    found = _marked(said.out)
    if found is None:
        raise RuntimeError(f"The versions of the contenders cannot be asked for: {said.tail}")
    return found


def refusals(contenders: Sequence[str], works: Sequence[str]) -> dict[str, dict[str, str]]:
    """Contender -> {id of a work: why it refuses}, asked in one process for all."""
    with tempfile.TemporaryDirectory() as folder:
        asked = Path(folder) / "asked.json"
        asked.write_text(json.dumps({"contenders": list(contenders), "works": list(works)}))
        said, _ = _run(["--refusals", str(asked)], environment(1, "cpu"), Limits(), 300.0)
    found = _marked(said.out)
    if found is None:
        raise RuntimeError(f"The contenders cannot be asked what they refuse: {said.tail}")
    return found


@dataclass(frozen=True)
class _Said:
    out: str
    tail: str
    status: int


def _run(
    arguments: list[str], values: Mapping[str, str], limits: Limits, seconds: float
) -> tuple[_Said, tuple[str, str] | None]:
    """What the worker said, and (status, message) if it was stopped for its time or memory."""
    command = [sys.executable, "-m", "benchmarks.worker", *arguments]
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        root = Path(__file__).resolve().parents[1]
        process = subprocess.Popen(command, env=dict(values), stdout=out, stderr=err, cwd=root)
        end = _watch(process, limits, seconds)
        status = process.wait()
        out.seek(0)
        err.seek(0)
        lines = err.read().strip().splitlines() or [""]
        if end is None and status == -9:
            end = ("memory", "killed by the system, which does so when memory runs out")
        return _Said(out.read(), lines[-1][:200], status), end


def _watch(process: subprocess.Popen, limits: Limits, seconds: float) -> tuple[str, str] | None:
    start = time.monotonic()
    while process.poll() is None:
        if time.monotonic() - start > seconds:
            process.kill()
            return "time", f"stopped after {seconds:g} s"
        used = memory.resident(process.pid)
        if limits.bytes is not None and used is not None and used > limits.bytes:
            process.kill()
            return "memory", f"stopped at {used / 1e9:.1f} GB"
        time.sleep(POLL_SECONDS)
    return None


def _marked(out: str) -> dict[str, Any] | None:
    for line in reversed(out.splitlines()):
        if line.startswith(MARK):
            return json.loads(line.removeprefix(MARK))
    return None
