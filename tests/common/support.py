"""Which operations the common soundness tests exercise, by engine: the table of `jaxcert methods`.

The table is derived, not recorded: every architecture of the common table is traced, and each kind of
node counts as tested with the engines and the regions that `tests/soundness/test_sampled.py` runs on it.
`python -m tests.common.support --write` writes it into the package; a test fails while it is stale.
"""

import json
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from jaxcert.bounds import ENGINES, Crown, Forward, Ibp
from jaxcert.graph import Graph, trace
from jaxcert.graph.ir import AFFINE
from jaxcert.relax import ACTIVATIONS, JOINS
from tests.common.architectures import ARCHITECTURES, Architecture
from tests.common.regions import KINDS
from tests.soundness.test_sampled import TABLE, methods_of

FILE = Path(__file__).resolve().parents[2] / "jaxcert" / "bounds" / "support.json"
METHODS_OF = {"ibp": Ibp, "forward": Forward, "crown": Crown}
REGIONS = [str(kind) for kind in KINDS]


def graph(architecture: Architecture) -> Graph:
    """The graph as the soundness tests meet it: parameters are tracers."""
    found = []

    def run(params):
        x = jax.ShapeDtypeStruct(architecture.in_shape, jnp.float32)
        found.append(trace(lambda x: architecture.apply(params, x), x))
        return 0

    shapes = {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in architecture.shapes.items()}
    jax.eval_shape(run, shapes)
    return found[0]


def engines_of(name: str) -> set[str]:
    """The engines that the soundness table runs on an architecture."""
    methods = methods_of(name).values()
    return {engine for engine, kind in METHODS_OF.items() if any(isinstance(m, kind) for m in methods)}


def table() -> dict[str, Any]:
    """Operation -> JAX primitives it stands for, how it is bounded, and the tests of each engine."""
    regions = {a.name: {REGIONS[kind] for name, kind, _ in TABLE if name == a.name} for a in ARCHITECTURES}
    used: dict[str, set[str]] = {}
    primitives: dict[str, set[str]] = {}
    for architecture in ARCHITECTURES:
        for node in graph(architecture).nodes[1:]:
            used.setdefault(node.kind, set()).add(architecture.name)
            primitives.setdefault(node.kind, set()).add(node.primitive or node.kind)
    kinds = sorted(set(used).union(*ENGINES.values()))
    return {
        kind: {
            "primitives": sorted(primitives.get(kind, ())),
            "relaxation": relaxation(kind),
            "engines": {
                engine: _tests(engine, used.get(kind, set()), regions)
                for engine, rules in ENGINES.items()
                if kind in rules
            },
        }
        for kind in kinds
    }


def relaxation(kind: str) -> str:
    if kind in AFFINE:
        return "exact"
    if kind in {record.name for record in JOINS}:
        return "two planes"
    return "two lines" if kind in {record.name for record in ACTIVATIONS} else "none"


def _tests(engine: str, architectures: set[str], regions: dict[str, set[str]]) -> dict[str, list[str]]:
    run = sorted(name for name in architectures if engine in engines_of(name))
    met = set().union(*(regions[name] for name in run))
    return {"architectures": run, "regions": [region for region in REGIONS if region in met]}


def text() -> str:
    """The file: one line per operation."""
    lines = [f"  {json.dumps(kind)}: {json.dumps(row)}" for kind, row in table().items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        FILE.write_text(text())
    elif FILE.read_text() != text():
        sys.exit(f"{FILE.name} is stale: run python -m tests.common.support --write")
