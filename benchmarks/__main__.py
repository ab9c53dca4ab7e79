"""`python -m benchmarks run | compare OLD NEW | table FILE | profile WORK`."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from benchmarks import results
from benchmarks.catalog import QUESTIONS, question
from benchmarks.compare import compare
from benchmarks.profile import profile
from benchmarks.report import report
from benchmarks.run import Plan, run

Positional = tyro.conf.Positional


@dataclass(frozen=True)
class Run:
    """Measure, one task per fresh process pinned to one core, and write each result as it is done.

    The works of the goals come first. A run that was killed goes on with the same --out.
    Keep the machine idle, and start it under taskset to choose the core.
    """

    questions: tuple[str, ...] = tuple(QUESTIONS)
    """Which questions; see the end of this help for what each takes."""
    networks: tuple[str, ...] | None = None
    """Only these networks (of bounds, training, attacks, compile-time); None: all."""
    batches: tuple[int, ...] | None = None
    """Only these batch sizes; None: all."""
    operations: tuple[str, ...] | None = None
    """Only these operations, such as ibp-grad; None: all."""
    out: Path = Path("runs/benchmarks.jsonl")
    """Results: JSON lines."""
    peers: bool = True
    """Measure the peers that can be imported, too."""
    thorough: bool = False
    """Also what takes long: the largest works, all networks at batch 256 (an hour or two in all)."""
    seconds: float = 300.0
    """Limit of one measurement, its start and compilation included; beyond it, it is recorded as such."""
    repeats: int = 9
    """Warm runs at least (3 where one takes more than 3 s)."""
    platform: str = "cpu"
    """cpu, or another platform of jax such as cuda: then nothing is pinned and times are wall times."""


@dataclass(frozen=True)
class Compare:
    """Print how two results differ: ratios of CPU times, flagged where they are beyond the spreads."""

    old: Positional[Path]
    new: Positional[Path]


@dataclass(frozen=True)
class Table:
    """Print the results as markdown, and draw figures."""

    file: Positional[Path]
    figures: Path | None = None
    """Folder for goals.png and scaling.png; None: no figures."""


@dataclass(frozen=True)
class Profile:
    """Print where the time of jaxcert goes on some works: XLA's operations, slowest first."""

    works: Positional[tuple[str, ...]]
    """Such as crown-ibp-grad/wk-small/64."""
    top: int = 25
    """How many operations."""


Command = (
    Annotated[Run, tyro.conf.subcommand("run")]
    | Annotated[Compare, tyro.conf.subcommand("compare")]
    | Annotated[Table, tyro.conf.subcommand("table")]
    | Annotated[Profile, tyro.conf.subcommand("profile")]
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status: 2 after a mistake, which one sentence explains."""
    command = tyro.cli(Command, prog="python -m benchmarks", args=arguments, description=_description())
    try:
        _do(command)
    except (ValueError, OSError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    return 0


def _do(command: Run | Compare | Table | Profile) -> None:
    match command:
        case Run():
            _run(command)
        case Compare(old, new):
            print(compare(results.read(old), results.read(new)))
        case Profile(works, top):
            for work in works:
                print(profile(work, top), end="\n\n")
        case Table(file, folder):
            found = results.read(file)
            print(report(found))
            if folder is not None:
                _figures(found, folder)


def _run(command: Run) -> None:
    unknown = [name for name in command.questions if name not in QUESTIONS]
    if unknown:
        raise ValueError(f"there is no question {', '.join(unknown)}: choose among {', '.join(QUESTIONS)}.")
    plan = Plan(
        command.questions, command.networks, command.batches, command.operations,
        command.peers, command.thorough, command.seconds, command.repeats, command.platform,
    )  # fmt: skip
    run(plan, command.out)
    print(f"written: {command.out}; python -m benchmarks table {command.out} shows it")


def _figures(found: results.Results, folder: Path) -> None:
    from benchmarks import figures

    clock = "cpu" if found.provenance["flags"].get("platform", "cpu") == "cpu" else "wall"
    figures.goals(found.rows, folder / "goals.png", clock)
    figures.scaling(found.rows, folder / "scaling.png", clock)
    print(f"written: {folder / 'goals.png'}, {folder / 'scaling.png'}", file=sys.stderr)


def _description() -> str:
    lines = [f"{name}: {(asked := question(name)).title}, about {asked.minutes:g} min" for name in QUESTIONS]
    return "\n\n".join(["Benchmarks of jaxcert beside its peers. Questions:", *lines])


if __name__ == "__main__":
    sys.exit(main())
