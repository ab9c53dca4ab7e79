"""How long are traces and compilations, above all of training steps, and does anything compile twice?

Every task is done with two different weights, radii and labels: programs compiled for the second are
counted and should be none.
"""

import time
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import images, networks
from benchmarks.compilations import counted
from benchmarks.contenders import JAXCERT
from benchmarks.goals import COMPILE_SECONDS
from benchmarks.jaxcert_side import bounds, gradient, initial, training
from benchmarks.jaxcert_weights import variables
from benchmarks.networks import NETWORKS
from benchmarks.question import Row, Selection, Task
from benchmarks.table import cell, markdown, verdict
from benchmarks.work import TRAINING, Work, parse

OPERATIONS = (*TRAINING, "crown-ibp-grad")
BATCH = 64


class CompileTime:
    name = "compile-time"
    title = "Tracing and compiling (jaxcert; wall seconds, without a compilation cache)"
    minutes = 4.0

    def tasks(self, selection: Selection) -> list[Task]:
        if JAXCERT not in selection.contenders:
            return []
        keys = [(op, net, BATCH) for op in OPERATIONS for net in NETWORKS]
        return [Task(self.name, JAXCERT, Work(*key).id) for key in keys if selection.takes(*key)]

    def measure(self, task: Task, repeats: int) -> Row:
        """data: trace_s, compile_s, cpu_s (of both), recompiled: programs compiled for other values."""
        work = parse(task.id)
        start = variables(work.network, networks.weights(work.network))
        xs = jnp.asarray(images.images(work.network, work.batch))
        other = jax.tree.map(lambda leaf: 0.9 * leaf, start)
        if work.operation in TRAINING:
            step, optimizer = training(work)
            jitted = jax.jit(step, donate_argnums=0)
            # Radius and shares come from schedules of the step number: a later step has others.
            one, two = (
                (initial(tree, optimizer), xs, _labels(work, n)) for n, tree in enumerate((start, other))
            )
        else:
            function = gradient(work) if work.operation.endswith("-grad") else bounds(work)
            jitted = jax.jit(function)
            one, two = (
                (tree, xs, jnp.float32(work.eps / (1 + n)), _labels(work, n))
                for n, tree in enumerate((start, other))
            )
        begin, spent = time.perf_counter(), time.process_time()
        lowered = jitted.lower(*one)
        traced = time.perf_counter()
        lowered.compile()
        done = time.perf_counter()
        cpu = time.process_time() - spent
        data = {"trace_s": traced - begin, "compile_s": done - traced, "cpu_s": cpu}
        jax.block_until_ready(jitted(*one))
        before = counted()
        jax.block_until_ready(jitted(*two))
        data["recompiled"] = counted() - before
        return Row(*task.key, "ok", "", data)

    def table(self, rows: Sequence[Row], missing: dict[str, str]) -> str:
        head = [
            "work",
            "trace s",
            "compile s",
            "both s",
            "CPU s of both",
            f"goal < {COMPILE_SECONDS:g} s",
            "compiled for new values",
        ]
        return markdown(head, [_line(row) for row in rows])


def _labels(work: Work, shift: int) -> jax.Array:
    return jnp.asarray((np.arange(work.batch) + shift) % 10, jnp.int32)


def _line(row: Row) -> list[str]:
    if row.status != "ok":
        return [row.id, row.status, row.message, "", "", "", ""]
    trace, compiled = row.data["trace_s"], row.data["compile_s"]
    reached = (
        verdict(trace + compiled < COMPILE_SECONDS) if parse(row.id).operation in TRAINING else "no goal"
    )
    again = str(row.data["recompiled"])
    return [
        row.id,
        cell(trace),
        cell(compiled),
        cell(trace + compiled),
        cell(row.data["cpu_s"]),
        reached,
        again,
    ]


QUESTION = CompileTime()
