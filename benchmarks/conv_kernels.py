"""Compile and run times of the convolution kernels against XLA's own, alone, mapped and in loops.

    python -m benchmarks.conv_kernels [--out results.json] [--repeats 9] [--only kw-small-2]

Every line is one computation compiled by jit: `native` through jax.lax.conv_general_dilated, `ours` through
jaxcert.kernels. Times are milliseconds: compile in wall clock; run in wall clock (median, and the
interquartile spread) and in CPU time of the process over all threads (median), which a busy machine
disturbs less. For one thread start it under `taskset -c 0`. The lines of one group do the same work, so
`grad(vmap)` and `vmap(grad)` beside `batched` show what mapping costs; loops give the time of one iteration.
"""

import argparse
import json
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
from jax import lax

from benchmarks import timer
from jaxcert import kernels

LAYOUT = ("NHWC", "HWIO", "NHWC")
ITERATIONS = 3


@dataclass(frozen=True)
class Shape:
    """A convolution layer of a network and a batch for it."""

    name: str
    batch: int
    size: int
    inputs: int
    outputs: int
    taps: int
    stride: int
    padding: int
    groups: int = 1


# The two convolutions of the Wong-Kolter small network on a batch of images, the second one also on margin
# coefficients (images times margins), an unpadded layer of the DM networks, and a grouped one.
SHAPES = (
    Shape("kw-small-1", 64, 28, 1, 16, 4, 2, 1),
    Shape("kw-small-2", 64, 14, 16, 32, 4, 2, 1),
    Shape("margins", 288, 14, 16, 32, 4, 2, 1),
    Shape("unpadded", 64, 24, 32, 32, 3, 1, 0),
    Shape("grouped", 16, 10, 16, 16, 3, 1, 1, 4),
)


@dataclass(frozen=True)
class Measurement:
    shape: str
    computation: str
    kernels: str
    compile_ms: float
    run_ms: float
    spread_ms: float
    cpu_ms: float


def convolution(shape: Shape, conv: Callable):
    """conv(x [N, H, W, C], kernel) with the geometry of `shape`."""
    pads = ((shape.padding, shape.padding),) * 2
    strides = (shape.stride, shape.stride)
    return lambda x, kernel: conv(
        x, kernel, strides, pads, dimension_numbers=LAYOUT, feature_group_count=shape.groups
    )


def arguments(shape: Shape):
    left, right = jax.random.split(jax.random.key(0))
    x = jax.random.normal(left, (shape.batch, shape.size, shape.size, shape.inputs))
    size = (shape.taps, shape.taps, shape.inputs // shape.groups, shape.outputs)
    return x, 0.1 * jax.random.normal(right, size)


def computations(conv: Callable) -> Iterator[tuple[str, Callable]]:
    """Named functions of (x, kernel): the same derivatives batched, mapped, and in loops."""
    total = lambda x, kernel: 0.5 * jnp.sum(conv(x, kernel) ** 2)
    one = lambda x, kernel: total(x[None], kernel)
    mapped = lambda x, kernel: jnp.sum(jax.vmap(one, in_axes=(0, None))(x, kernel))
    # The CROWN bound of a layer: coefficients go backwards, and its kernel is trained.
    backward = lambda y, kernel: jnp.sum(
        jnp.abs(jax.vjp(lambda x: conv(x, kernel), y)[1](conv(y, kernel))[0])
    )
    backward_one = lambda y, kernel: backward(y[None], kernel)
    backward_mapped = lambda y, kernel: jnp.sum(jax.vmap(backward_one, in_axes=(0, None))(y, kernel))

    yield "forward: batched", conv
    yield "forward: vmap", jax.vmap(lambda x, kernel: conv(x[None], kernel)[0], in_axes=(0, None))
    yield "d input: batched", jax.grad(total, argnums=0)
    yield "d input: vmap(grad)", jax.vmap(jax.grad(one, argnums=0), in_axes=(0, None))
    yield "d kernel: batched", jax.grad(total, argnums=1)
    yield "d kernel: grad(vmap)", jax.grad(mapped, argnums=1)
    yield "d kernel per example: vmap(grad)", jax.vmap(jax.grad(one, argnums=1), in_axes=(0, None))
    yield "d kernel of backward bound: batched", jax.grad(backward, argnums=1)
    yield "d kernel of backward bound: grad(vmap)", jax.grad(backward_mapped, argnums=1)

    def ascend(x, kernel):
        def step(_, x):
            return x + 0.01 * jnp.sign(jax.grad(total, argnums=0)(x, kernel))

        return lax.fori_loop(0, ITERATIONS, step, x)

    def descend(x, kernel):
        def step(_, kernel):
            return kernel - 1e-6 * jax.grad(total, argnums=1)(x, kernel)

        return lax.fori_loop(0, ITERATIONS, step, kernel)

    yield f"loop of d input ({ITERATIONS})", ascend
    yield f"loop of d kernel ({ITERATIONS})", descend


def measure(function: Callable, operands, repeats: int) -> tuple[float, float, float, float]:
    """Compile time, and median, spread and CPU median of warm runs, in ms."""
    start = time.perf_counter()
    compiled = jax.jit(function).lower(*operands).compile()
    compile_ms = 1e3 * (time.perf_counter() - start)
    call = lambda: jax.block_until_ready(compiled(*operands))
    call()
    timing = timer.measure(call, repeats)
    return compile_ms, timing.wall_ms, timing.wall_spread_ms, timing.cpu_ms


def compare(shape: Shape, repeats: int) -> Iterator[tuple[Measurement, Measurement]]:
    """(native, ours) for every computation, measured one right after the other."""
    operands = arguments(shape)
    native = computations(convolution(shape, lax.conv_general_dilated))
    ours = computations(convolution(shape, kernels.conv_general_dilated))
    for (name, by_native), (_, by_ours) in zip(native, ours, strict=True):
        pair = []
        for kind, function in (("native", by_native), ("ours", by_ours)):
            compile_ms, *times = measure(function, operands, repeats)
            per = ITERATIONS if name.startswith("loop") else 1
            pair.append(Measurement(shape.name, name, kind, compile_ms, *(t / per for t in times)))
        yield pair[0], pair[1]


HEADER = (
    f"{'shape':10s} {'computation':38s} {'native: run ± spread, CPU':>28s} "
    f"{'ours: run ± spread, CPU':>28s} {'gain':>6s} {'compile':>11s}"
)


def row(native: Measurement, ours: Measurement) -> str:
    """One line of the table; gain is how many times less CPU time ours takes."""
    text = lambda m: f"{m.run_ms:8.2f} ± {m.spread_ms:6.2f}, {m.cpu_ms:8.2f}".rjust(28)
    gain = native.cpu_ms / max(ours.cpu_ms, 1e-6)
    compiles = f"{native.compile_ms:5.0f} {ours.compile_ms:5.0f}"
    return f"{ours.shape:10s} {ours.computation:38s} {text(native)} {text(ours)} {gain:5.1f}x {compiles}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the convolution kernels against XLA's own.")
    parser.add_argument("--out", type=Path, help="write the measurements to this JSON file")
    parser.add_argument("--repeats", type=int, default=9, help="warm runs per line, at least 2")
    parser.add_argument("--only", default="", help="only the shapes whose name contains this")
    options = parser.parse_args()
    if options.repeats < 2:
        parser.error("--repeats must be at least 2")
    measurements = []
    print(HEADER)
    for shape in SHAPES:
        if options.only in shape.name:
            for pair in compare(shape, options.repeats):
                print(row(*pair), flush=True)
                measurements.extend(pair)
    if options.out:
        machine = {
            "jax": jax.__version__,
            "devices": [str(d) for d in jax.devices()],
            "cpu": platform.processor(),
        }
        results = {"machine": machine, "measurements": [asdict(m) for m in measurements]}
        options.out.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
