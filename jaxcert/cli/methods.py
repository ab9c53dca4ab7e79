"""`jaxcert methods`: which operations each bounding engine supports, and which tests say so."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from jaxcert.cli.parse import parse
from jaxcert.errors import ConfigError

ENGINES = ("ibp", "forward", "crown")
LEGEND = """\
tested    random networks with it, in random regions, stay within their bounds in every test run
untested  there is a rule, but no network of the common soundness tests has the operation
-         no sound rule: a network with it is refused by name and source line
The rules of crown serve fast-lin, crown-ibp and alpha-crown too. Other functions of JAX are supported
where they are built from these operations: jaxcert.explain(fn, x) shows what a network is made of.
jaxcert methods --operation NAME lists the networks and regions of its tests."""


@dataclass(frozen=True)
class Methods:
    """Print which operations the bounding engines support, as the tests found it."""

    operation: str | None = None
    """One operation of the table: print the test networks and regions it was met in."""


def main(argv: Sequence[str]) -> None:
    """Prints the table, or the tests of one operation."""
    options, support = parse(Methods, argv, command="methods"), tested_support()
    if options.operation is None:
        print(f"{support_table(support)}\n\n{LEGEND}")
    elif options.operation in support:
        print(tests_of(options.operation, support[options.operation]))
    else:
        raise ConfigError(
            f"There is no operation {options.operation!r}: jaxcert methods lists those there are."
        )


def tested_support() -> dict[str, Any]:
    """Return the table that the tests wrote: operation -> `primitives`, `relaxation`, `engines`."""
    return json.loads(files("jaxcert.bounds").joinpath("support.json").read_text(encoding="utf-8"))


def support_table(support: Mapping[str, Mapping[str, Any]]) -> str:
    """One line per operation, one column per engine."""
    rows: list[tuple[str, ...]] = [("operation", *ENGINES, "bounds of it", "met as JAX's")]
    for operation, row in support.items():
        marks = [_mark(row["engines"].get(engine)) for engine in ENGINES]
        rows.append((operation, *marks, row["relaxation"], ", ".join(row["primitives"])))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def tests_of(operation: str, row: Mapping[str, Any]) -> str:
    """Where the common soundness tests met one operation, engine by engine."""
    lines = [f"{operation}: {row['relaxation']}"]
    for engine in ENGINES:
        tests = row["engines"].get(engine)
        lines.append(f"{engine}: {_mark(tests)}")
        if tests and tests["architectures"]:
            lines.append(f"  networks: {', '.join(tests['architectures'])}")
            lines.append(f"  regions: {', '.join(tests['regions'])}")
    return "\n".join(lines)


def _mark(tests: Mapping[str, Any] | None) -> str:
    if tests is None:
        return "-"
    return "tested" if tests["architectures"] else "untested"
