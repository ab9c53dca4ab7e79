"""How far from the machine's own limit: operations needed, per second, against the best measured rates.

The limits are the highest float32 rates of matrix products and of convolutions in XLA among some shapes,
in one thread. The table joins them with the times of the other questions of the same results.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

from benchmarks import timer
from benchmarks.contenders import JAXCERT
from benchmarks.flops import needed
from benchmarks.question import GOAL, Row, Selection, Task
from benchmarks.table import cell, markdown
from benchmarks.work import OPERATIONS, parse

PRODUCTS = ((256, 256, 256), (576, 784, 256), (1024, 1024, 1024), (2048, 2048, 2048))
"""Rows, inner size, columns."""
CONVOLUTIONS = (
    (64, 14, 16, 32, 4, 2),
    (64, 26, 32, 32, 3, 1),
    (64, 26, 64, 64, 3, 1),
    (16, 32, 128, 128, 3, 1),
)
"""Images, side, channels in and out, taps, stride; padding 1."""


class Roofline:
    name = "roofline"
    title = "Distance to the machine's own limit"
    minutes = 0.5

    def tasks(self, selection: Selection) -> list[Task]:
        if JAXCERT not in selection.contenders:
            return []
        return [
            Task(self.name, JAXCERT, "products", tier=GOAL),
            Task(self.name, JAXCERT, "convolutions", tier=GOAL),
        ]

    def measure(self, task: Task, repeats: int) -> Row:
        """data: "rates", shape -> GFLOP/s."""
        rates = {"products": _products, "convolutions": _convolutions}[task.id](repeats)
        return Row(*task.key, "ok", "", {"rates": rates})

    def table(self, rows: Sequence[Row], missing: dict[str, str]) -> str:
        lines = [
            [row.id, shape, cell(rate)]
            for row in rows
            if row.status == "ok"
            for shape, rate in row.data["rates"].items()
        ]
        return markdown(["kernel", "shape", "GFLOP/s"], lines)


def limits(rows: Sequence[Row]) -> dict[str, float]:
    """Best GFLOP/s of products and of convolutions among the results; empty where not measured."""
    return {
        row.id: max(row.data["rates"].values())
        for row in rows
        if row.question == "roofline" and row.status == "ok"
    }


def shares(rows: Sequence[Row], clock: str = "cpu_ms") -> str:
    """Markdown: for every timed work of jaxcert the operations needed, their rate, its share of the best."""
    best = limits(rows)
    if not best:
        return "The rates of the machine were not measured."
    lines = []
    for row in rows:
        if row.contender != JAXCERT or row.status != "ok" or row.id.split("/")[0] not in OPERATIONS:
            continue
        if row.question not in ("bounds", "training", "attacks"):
            continue
        work = parse(row.id)
        limit = best.get("products" if work.network.startswith("mlp") else "convolutions", max(best.values()))
        rate = needed(work) / row.data[clock] / 1e6
        told = row.data.get("flops")
        lines.append([
            row.id, cell(needed(work) / 1e9), cell(rate), f"{100 * rate / limit:.0f} %",
            "" if not told else f"{told / needed(work):.2f}",
        ])  # fmt: skip
    head = ["work", "GFLOP needed", "GFLOP/s of those", "share of the best rate", "XLA's count / needed"]
    return markdown(head, lines)


def _products(repeats: int) -> dict[str, float]:
    found = {}
    for rows, inner, columns in PRODUCTS:
        left, right = jnp.ones((rows, inner)), jnp.ones((inner, columns))
        found[f"{rows}x{inner}x{columns}"] = _rate(
            jnp.dot, (left, right), 2 * rows * inner * columns, repeats
        )
    return found


def _convolutions(repeats: int) -> dict[str, float]:
    found = {}
    for count, side, inputs, outputs, taps, stride in CONVOLUTIONS:
        x, kernel = jnp.ones((count, side, side, inputs)), jnp.ones((taps, taps, inputs, outputs))

        def conv(x, kernel, stride=stride):
            pads = ((1, 1), (1, 1))
            return lax.conv_general_dilated(
                x, kernel, (stride, stride), pads, dimension_numbers=("NHWC", "HWIO", "NHWC")
            )

        out = (side + 2 - taps) // stride + 1
        work = 2 * count * out * out * outputs * taps * taps * inputs
        name = f"{count}x{side}x{side}x{inputs} -> {outputs}, {taps}x{taps}/{stride}"
        found[name] = _rate(conv, (x, kernel), work, repeats)
    return found


def _rate(function, operands, work: int, repeats: int) -> float:
    """GFLOP/s of warm runs, by CPU time on CPU (one thread) and by wall time elsewhere."""
    jitted = jax.jit(function)
    call = lambda: jax.block_until_ready(jitted(*operands))
    call()
    timing = timer.measure(call, repeats)
    on_cpu = jax.devices()[0].platform == "cpu"
    return work / (timing.cpu_ms if on_cpu else timing.wall_ms) / 1e6


QUESTION = Roofline()
