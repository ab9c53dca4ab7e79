"""`jaxcert methods`: which operations each bounding engine supports."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jaxcert.bounds import ENGINES
from jaxcert.cli.parse import parse


@dataclass(frozen=True)
class Methods:
    """Print which operations the bounding engines support."""


def main(argv: Sequence[str]) -> None:
    """Prints the table."""
    parse(Methods, argv, command="methods")
    print(support_table(ENGINES))


def support_table(engines: Mapping[str, Mapping[Any, Any]]) -> str:
    """One line per kind of operation, one column per engine."""
    tables = {name: {_kind(kind) for kind in rules} for name, rules in engines.items()}
    kinds = sorted(set().union(*tables.values()))
    width = max(map(len, ["operation", *kinds]))
    header = "  ".join(["operation".ljust(width), *tables])
    rows = [
        "  ".join(
            [
                kind.ljust(width),
                *[("yes" if kind in table else "-").ljust(len(name)) for name, table in tables.items()],
            ]
        )
        for kind in kinds
    ]
    return "\n".join([header, "-" * len(header), *(row.rstrip() for row in rows)])


def _kind(kind: Any) -> str:
    return kind if isinstance(kind, str) else getattr(kind, "__name__", str(kind))
