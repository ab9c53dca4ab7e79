"""Two results of the same works: how the times have changed, and which changes are larger than the spread."""

from dataclasses import dataclass

from benchmarks.question import Row
from benchmarks.results import Results
from benchmarks.sketch import difference
from benchmarks.table import cell, markdown, timed

NOISE = 0.05
"""A change of less than this share is never flagged, however small the spreads."""


@dataclass(frozen=True)
class Change:
    """new / old of the CPU time; `beyond`: whether the two differ by more than their spreads and `NOISE`."""

    ratio: float
    spread: float
    beyond: bool


def change(old: Row, new: Row, clock: str = "cpu") -> Change | None:
    """None unless both were timed. The spread of the ratio is that of both medians, added in squares."""
    if old.status != "ok" or new.status != "ok" or f"{clock}_ms" not in old.data:
        return None
    before, after = old.data[f"{clock}_ms"], new.data[f"{clock}_ms"]
    spreads = [row.data[f"{clock}_spread_ms"] / max(row.data[f"{clock}_ms"], 1e-9) for row in (old, new)]
    ratio = after / max(before, 1e-9)
    spread = ratio * (spreads[0] ** 2 + spreads[1] ** 2) ** 0.5
    return Change(ratio, spread, abs(ratio - 1) > max(spread, NOISE))


def compare(old: Results, new: Results) -> str:
    """Markdown: every row that either has, changes flagged, and what else differs between the runs."""
    clock = "cpu" if new.provenance["flags"].get("platform", "cpu") == "cpu" else "wall"
    before = {row.key: row for row in old.rows}
    after = {row.key: row for row in new.rows}
    lines = [_line(key, before.get(key), after.get(key), clock) for key in dict.fromkeys([*before, *after])]
    head = ["question", "contender", "work", "old", "new", "new / old", "", "peak new / old", "difference"]
    notes = [
        f"Different {name}: {old.provenance.get(name)} and {new.provenance.get(name)}."
        for name in ("commit", "machine", "versions")
        if old.provenance.get(name) != new.provenance.get(name)
    ]
    return "\n\n".join([markdown(head, lines), *notes])


def _line(key: tuple[str, str, str], old: Row | None, new: Row | None, clock: str) -> list[str]:
    question, contender, work = key
    if old is None or new is None:
        missing = ["absent" if row is None else row.status for row in (old, new)]
        return [question, contender, work, *missing, "", "", "", ""]
    found = change(old, new, clock)
    if found is None:
        flag = "" if old.status == new.status else "**other outcome**"
        return [question, contender, work, old.status, new.status, "", flag, "", ""]
    flag = "" if not found.beyond else "**slower**" if found.ratio > 1 else "faster"
    return [
        question, contender, work, timed(old, clock), timed(new, clock),
        f"{found.ratio:.2f} ± {found.spread:.2f}", flag, _peaks(old, new), _difference(old, new),
    ]  # fmt: skip


def _peaks(old: Row, new: Row) -> str:
    before, after = old.data.get("peak_bytes"), new.data.get("peak_bytes")
    return "" if not before or after is None else cell(after / before)


def _difference(old: Row, new: Row) -> str:
    if "sketch" not in old.data or "sketch" not in new.data:
        return ""
    found = difference(old.data["sketch"], new.data["sketch"])
    return "other shape" if found is None else f"{found:.1e}"
