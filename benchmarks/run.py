"""Measures all tasks of some questions, one after the other, and writes each row as it is done."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import isolation, results
from benchmarks.catalog import QUESTIONS, question
from benchmarks.contenders import JAXCERT, MODULES
from benchmarks.flops import needed
from benchmarks.question import THOROUGH, USUAL, Row, Selection, Task
from benchmarks.table import timed
from benchmarks.work import OPERATIONS, parse

CPU_FLOPS = 1e11
"""A rate that one core does not exceed: a work whose needed operations take longer than the limit at
this rate is not begun, and its row says so."""


@dataclass(frozen=True)
class Plan:
    """What to run: questions and what `Selection` restricts; see `python -m benchmarks run --help`."""

    questions: tuple[str, ...] = tuple(QUESTIONS)
    networks: tuple[str, ...] | None = None
    batches: tuple[int, ...] | None = None
    operations: tuple[str, ...] | None = None
    peers: bool = True
    thorough: bool = False
    seconds: float = 300.0
    repeats: int = 9
    platform: str = "cpu"


def run(plan: Plan, out: Path) -> results.Results:
    """Measures what `out` does not hold yet; returns all of it. ValueError: `out` is of another run."""
    found = isolation.versions()
    missing = {name: why["missing"] for name, why in found.items() if "missing" in why}
    if JAXCERT in missing:
        raise RuntimeError(f"jaxcert cannot be imported here: {missing[JAXCERT]}")
    contenders = tuple(name for name in MODULES if name not in missing and (plan.peers or name == JAXCERT))
    flags = {"threads": 1, "repeats": plan.repeats, "seconds": plan.seconds, "platform": plan.platform}
    flags |= {
        "cores": isolation.cores(1),
        "XLA_FLAGS": isolation.ONE_THREAD if plan.platform == "cpu" else "",
    }
    so_far = results.start(out, results.provenance(found, flags))
    tasks = planned(plan, contenders)
    todo = [task for task in tasks if task.key not in {row.key for row in so_far.rows}]
    print(f"{len(tasks)} tasks, {len(todo)} to do; contenders: {', '.join(contenders)}", flush=True)
    for name, why in missing.items():
        print(f"left out: {name} ({why})", flush=True)
    refused = isolation.refusals(sorted({task.contender for task in todo}), _works(todo))
    for number, task in enumerate(todo, start=1):
        reason = refused.get(task.contender, {}).get(task.id)
        row = _done(task, plan) if reason is None else Row(*task.key, "refused", reason)
        results.append(out, row)
        if reason is None:
            print(f"[{number}/{len(todo)}] {task.contender:12} {task.id:32} {_said(row)}", flush=True)
    return results.read(out)


def planned(plan: Plan, contenders: Sequence[str]) -> list[Task]:
    """The tasks in the order in which they are done: those of the goals first."""
    selection = Selection(tuple(contenders), plan.networks, plan.batches, plan.operations)
    tasks = [task for name in plan.questions for task in question(name).tasks(selection)]
    highest = THOROUGH if plan.thorough else USUAL
    return sorted((task for task in tasks if task.tier <= highest), key=lambda task: task.tier)


def _done(task: Task, plan: Plan) -> Row:
    least = _least_seconds(task) if plan.platform == "cpu" else 0.0
    if least > (task.seconds or plan.seconds):
        return Row(*task.key, "time", f"not begun: needs {least * CPU_FLOPS / 1e12:.1f} TFLOP")
    limits = isolation.usual_limits(plan.seconds)
    return isolation.measure(task, limits, platform=plan.platform, repeats=plan.repeats)


def _least_seconds(task: Task) -> float:
    return needed(parse(task.id)) / CPU_FLOPS if _works([task]) else 0.0


def _works(tasks: Sequence[Task]) -> list[str]:
    """The ids of the tasks that are works to be timed."""
    return [
        task.id for task in tasks if task.id.split("/")[0] in OPERATIONS and task.question != "compile-time"
    ]


def _said(row: Row) -> str:
    if row.status != "ok" or "cpu_ms" not in row.data:
        return f"{row.status} {row.message}"
    return f"{timed(row)} CPU ms, {row.data['runs']} runs {row.message}"
