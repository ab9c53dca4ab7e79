"""The whole MNIST test set under CROWN with clipping on the Wong-Kolter small network, with all cores.

With a data folder (JAXCERT_DATA) the published certified network at eps 0.1 and the real images; without
one the benchmarks' own weights and images, which take the same time. One call of `map_examples`, as a user
would write it; the time includes tracing and compiling.
"""

import os
import time
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import jaxcert as jc
from benchmarks import images, memory, networks
from benchmarks.contenders import JAXCERT
from benchmarks.goals import TEST_SET_SECONDS
from benchmarks.jaxcert_weights import model, variables
from benchmarks.question import Row, Selection, Task
from benchmarks.table import cell, markdown, verdict
from jaxcert.data import load

NETWORK, IMAGES, EPS = "wk-small", 10_000, 0.1
PUBLISHED = Path("nets") / "kw_mnist_small_eps01.npz"


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
        net, folder = model(NETWORK), os.environ.get("JAXCERT_DATA")
        published = folder is not None and (Path(folder) / PUBLISHED).is_file()
        weights, xs, ys = _published(Path(folder)) if folder and published else _own()
        params = variables(NETWORK, weights)

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
        note = f"{len(certified)} images, " + ("published network" if published else "own weights and images")
        return Row(*task.key, "ok", note, data)

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


def _published(folder: Path) -> tuple[list[np.ndarray], jax.Array, jax.Array]:
    """The weights of the data folder (OIHW, and a first dense layer on channel, row, column), and MNIST."""
    stored = np.load(folder / PUBLISHED)
    kernels = [stored[f"{index:02}_weight"] for index in range(4)]
    biases = [stored[f"{index:02}_bias"] for index in range(4)]
    channels = len(kernels[1])
    side = round((kernels[2].shape[1] / channels) ** 0.5)
    first = kernels[2].reshape(-1, channels, side, side).transpose(0, 2, 3, 1).reshape(len(kernels[2]), -1)
    layouts = [kernels[0].transpose(2, 3, 1, 0), kernels[1].transpose(2, 3, 1, 0), first.T, kernels[3].T]
    weights = [array.astype(np.float32) for pair in zip(layouts, biases, strict=True) for array in pair]
    test = load("mnist", folder).test
    chosen = slice(0, IMAGES)
    return weights, jnp.asarray(test.pixels(chosen)), jnp.asarray(test.labels[chosen], jnp.int32)


def _own() -> tuple[list[np.ndarray], jax.Array, jax.Array]:
    batch = 500
    xs, ys = images.images(NETWORK, batch), images.labels(NETWORK, batch)
    times = IMAGES // batch
    return (
        networks.weights(NETWORK),
        jnp.asarray(np.tile(xs, (times, 1, 1, 1))),
        jnp.asarray(np.tile(ys, times)),
    )


QUESTION = TestSet()
