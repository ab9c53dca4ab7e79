"""How a `Work` is measured: what the questions on bounds, training, attacks and scaling have in common."""

import time
from collections.abc import Callable, Iterable
from dataclasses import asdict

from benchmarks import memory, timer
from benchmarks.contender import Prepared
from benchmarks.contenders import load
from benchmarks.flops import needed
from benchmarks.goals import GOALS
from benchmarks.inputs import inputs
from benchmarks.published import Missing
from benchmarks.question import GOAL, THOROUGH, USUAL, Row, Selection, Task
from benchmarks.sketch import sketch
from benchmarks.work import Work, parse

USUAL_FLOPS = 3e11
GOAL_SECONDS = 1200.0
"""Limit of the works that have a goal: full CROWN on dm-medium takes the peer minutes a run."""


def tasks(
    question: str, works: Iterable[Work], selection: Selection, usual: Callable[[Work], bool]
) -> list[Task]:
    """Every work by every contender; those of goals come first, those that are not `usual` are thorough."""
    tier = lambda work: GOAL if work.id in GOALS else USUAL if usual(work) else THOROUGH
    limit = lambda work: GOAL_SECONDS if work.id in GOALS else None
    return [
        Task(question, contender, work.id, tier=tier(work), seconds=limit(work))
        for work in works
        for contender in selection.contenders
    ]


def fits(work: Work) -> bool:
    """Whether a usual run has the time for a work: few operations, and batch 256 on three networks only."""
    small = work.batch <= 64 or work.network in ("mlp", "wk-small", "dm-medium")
    return (small and needed(work) < USUAL_FLOPS) or work.id == "alpha-crown/mlp/64"


def measure(task: Task, repeats: int) -> Row:
    """Prepares, runs once (memory and values are of this run), then times warm runs.

    data: `timer.Timing`'s numbers; first_ms, trace_s, compile_s; peak_bytes (growth of the
    process in the first run), temp_bytes and flops by XLA; compiled_later (programs compiled after the first
    run, 0 is right); sketch; note. Contenders without a figure have None.
    """
    work = parse(task.id)
    contender = load(task.contender)
    reason = contender.refuses(work)
    if reason is not None:
        return Row(*task.key, "refused", reason)
    try:
        given = inputs(work)
    except Missing as missing:
        return Row(*task.key, "refused", str(missing))
    prepared = contender.prepare(work, *given)
    start = time.perf_counter()
    result, growth = memory.growth(prepared.call)
    first_ms = 1e3 * (time.perf_counter() - start)
    data = {"sketch": sketch(prepared.values(result)), "first_ms": first_ms, "peak_bytes": growth}
    del result
    count = prepared.compilations
    before = count() if count is not None else None
    data |= asdict(timer.measure(prepared.call, repeats))
    data["compiled_later"] = None if count is None else count() - before
    told = "" if prepared.told is None else prepared.told()
    message = ", ".join(part for part in (prepared.note, told) if part)
    return Row(*task.key, "ok", message, data | _facts(prepared))


def _facts(prepared: Prepared) -> dict[str, float | int | None]:
    return {
        "trace_s": prepared.trace_s,
        "compile_s": prepared.compile_s,
        "temp_bytes": prepared.temp_bytes,
        "flops": prepared.flops,
    }
