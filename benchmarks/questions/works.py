"""How a `Work` is measured: what the questions on bounds, training, attacks and scaling have in common."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict

from benchmarks import images, memory, networks, timer
from benchmarks.contender import Prepared
from benchmarks.contenders import JAXCERT, load
from benchmarks.question import Row, Selection, Task
from benchmarks.sketch import sketch
from benchmarks.work import Work, parse


def tasks(
    question: str, works: Iterable[Work], selection: Selection, first: Sequence[str] = ()
) -> list[Task]:
    """Every work by every contender of the selection; `first`: ids of the works that goals are about."""
    return [
        Task(question, contender, work.id, first=work.id in first)
        for work in works
        for contender in selection.contenders
    ]


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
    net, batch = work.network, work.batch
    prepared = contender.prepare(
        work, networks.weights(net), images.images(net, batch), images.labels(net, batch)
    )
    start = time.perf_counter()
    result, growth = memory.growth(prepared.call)
    first_ms = 1e3 * (time.perf_counter() - start)
    data = {"sketch": sketch(prepared.values(result)), "first_ms": first_ms, "peak_bytes": growth}
    del result
    count = prepared.compilations
    before = count() if count is not None else None
    data |= asdict(timer.measure(prepared.call, repeats))
    data["compiled_later"] = None if count is None else count() - before
    return Row(*task.key, "ok", prepared.note, data | _facts(prepared))


def _facts(prepared: Prepared) -> dict[str, float | int | None]:
    return {
        "trace_s": prepared.trace_s,
        "compile_s": prepared.compile_s,
        "temp_bytes": prepared.temp_bytes,
        "flops": prepared.flops,
    }


__all__ = ["JAXCERT", "measure", "tasks"]
