"""The whole MNIST test set under CROWN with clipping on the Wong-Kolter small network, with all cores.

With a data folder (`published`) the certified network at eps 0.1 and the real images; without one the
benchmarks' own weights and images, which take the same time. One call of `map_examples`, as a user
would write it; the time includes tracing and compiling.
"""

import os
import time
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

import jaxcert as jc
from benchmarks import images, memory, networks, published
from benchmarks.contenders import JAXCERT
from benchmarks.goals import TEST_SET_SECONDS
from benchmarks.jaxcert_weights import model, variables
from benchmarks.question import Row, Selection, Task
from benchmarks.table import cell, markdown, verdict

NETWORK, IMAGES, EPS = "wk-small", 10_000, 0.1


class TestSet:
    name = "test-set"
    title = f"The whole MNIST test set: CROWN with clipping, {NETWORK}, eps {EPS}, all cores"
    minutes = 4.0

    def tasks(self, selection: Selection) -> list[Task]:
        if JAXCERT not in selection.contenders or not selection.takes("crown", NETWORK, IMAGES):
            return []
        return [Task(self.name, JAXCERT, NETWORK, cores=len(os.sched_getaffinity(0)), seconds=900.0)]

    def measure(self, task: Task, repeats: int) -> Row:
        """data: seconds (wall), cpu_seconds, cores, uncertified (images), peak_bytes."""
        net = model(NETWORK)
        try:
            weights, (pixels, labels) = published.weights(NETWORK), published.images(IMAGES)
            whose = "published network"
        except published.Missing:
            weights, pixels, labels = _own()
            whose = "own weights and images"
        params, xs, ys = variables(NETWORK, weights), jnp.asarray(pixels), jnp.asarray(labels)

        def certify(x, y):
            region = jc.linf_ball(x, EPS, clip=(0.0, 1.0))
            return jc.is_certified(jc.margins(jc.crown(), lambda z: net.apply(params, z), region, y))

        wall, cpu = time.perf_counter(), time.process_time()
        call = lambda: np.asarray(jc.map_examples(certify, xs, ys))
        certified, growth = memory.growth(call)
        data = {
            "seconds": time.perf_counter() - wall,
            "cpu_seconds": time.process_time() - cpu,
            "cores": task.cores,
            "uncertified": int((~certified).sum()),
            "peak_bytes": growth,
        }
        return Row(*task.key, "ok", f"{len(certified)} images, {whose}", data)

    def table(self, rows: Sequence[Row], missing: dict[str, str]) -> str:
        head = ["network", "cores", "seconds", "CPU seconds", "not certified", "peak MB", "goal", "notes"]
        return markdown(head, [_line(row) for row in rows])


def _line(row: Row) -> list[str]:
    if row.status != "ok":
        return [row.id, "", row.status, "", "", "", "", row.message]
    data = row.data
    goal = f"< {TEST_SET_SECONDS:g} s on 2 cores: {verdict(data['seconds'] < TEST_SET_SECONDS)}"
    peak = "" if data["peak_bytes"] is None else cell(data["peak_bytes"] / 1e6)
    seconds = [cell(data["seconds"]), cell(data["cpu_seconds"])]
    return [row.id, str(data["cores"]), *seconds, str(data["uncertified"]), peak, goal, row.message]


def _own() -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    batch = 500
    xs, ys = images.images(NETWORK, batch), images.labels(NETWORK, batch)
    times = IMAGES // batch
    return (
        networks.weights(NETWORK),
        np.tile(xs, (times, 1, 1, 1)),
        np.tile(ys, times),
    )


QUESTION = TestSet()
