"""Where the time of a work goes: the operations of XLA's program by their share, from warm runs."""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

from benchmarks.isolation import cores, environment
from benchmarks.table import cell, markdown

MARK = "profile: "
RUNS = 7
CONTAINERS = ("while", "call", "conditional")  # their time is that of the operations inside


@dataclass(frozen=True)
class Operation:
    """An instruction of the compiled program: ms in the fastest run, how often it ran, what it is."""

    name: str
    ms: float
    times: float
    what: str


def profile(work: str, top: int = 25) -> str:
    """Markdown of the `top` operations of a work by jaxcert, measured in a process of its own on one core."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.profile", work, folder, str(cores(1)[0])]
        root = Path(__file__).resolve().parents[1]
        said = subprocess.run(
            command, env=environment(1, "cpu"), cwd=root, capture_output=True, text=True, check=False
        )
    lines = [line for line in said.stdout.splitlines() if line.startswith(MARK)]
    if not lines:
        raise ValueError(
            f"{work} could not be profiled: {(said.stderr.strip().splitlines() or ['no reason'])[-1]}"
        )
    found = [Operation(*entry) for entry in json.loads(lines[-1].removeprefix(MARK))]
    total = sum(operation.ms for operation in found)
    rows = [
        [op.name, cell(op.ms), f"{100 * op.ms / max(total, 1e-9):.0f} %", f"{op.times:g}", op.what[:160]]
        for op in found[:top]
    ]
    head = ["operation", "ms", "share", "times", "what"]
    return f"{work}: {cell(total)} ms in {len(found)} operations\n\n{markdown(head, rows)}"


def measure(work: str, folder: str) -> list[Operation]:
    """The operations of a work, slowest first; call it in a process that has one thread."""
    import jax

    from benchmarks.inputs import inputs
    from benchmarks.jaxcert_side import CONTENDER
    from benchmarks.work import parse

    chosen = parse(work)
    prepared = CONTENDER.prepare(chosen, *inputs(chosen))
    if prepared.program is None:
        raise ValueError("it is not one program")
    prepared.call()
    with jax.profiler.trace(folder):
        for _ in range(RUNS):
            prepared.call()
    (file,) = Path(folder).rglob("*.xplane.pb")
    return _operations(jax.profiler.ProfileData.from_file(str(file)), _instructions(prepared.program()))


def _instructions(program: str) -> dict[str, str]:
    """Name -> its shape and operation, and where in the user's code it comes from."""
    found = {}
    for line in program.splitlines():
        parts = re.match(r"\s*(?:ROOT )?%?([\w.-]+) = (\S+) ([\w-]+)\(", line)
        if parts is not None:
            source = re.search(r'op_name="([^"]*)"', line)
            shape = parts[2].split("{")[0]
            found[parts[1]] = f"{parts[3]} {shape} {source[1] if source else ''}"
    return found


def _operations(data, instructions: dict[str, str]) -> list[Operation]:
    """The fastest run of each: what else runs on the machine only ever adds."""
    runs: dict[str, Counter[int]] = defaultdict(Counter)
    times: Counter[str] = Counter()
    for plane in data.planes:
        for line in plane.lines:
            for event in line.events:
                stats = dict(event.stats)
                name = str(stats.get("hlo_op", ""))
                if not name or name.startswith(CONTAINERS):
                    continue
                runs[name][stats.get("run_id", 0)] += event.duration_ns
                times[name] += 1
    found = [
        Operation(name, min(spent.values()) / 1e6, times[name] / len(spent), instructions.get(name, ""))
        for name, spent in runs.items()
    ]
    return sorted(found, key=lambda operation: -operation.ms)


if __name__ == "__main__":
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {int(sys.argv[3])})
    found = measure(sys.argv[1], sys.argv[2])
    print(MARK + json.dumps([[op.name, op.ms, op.times, op.what] for op in found]))
