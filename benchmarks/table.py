"""Results as markdown: works against peers, goals beside what was reached. Nothing is left out."""

from collections.abc import Sequence

from benchmarks.contenders import JAXCERT
from benchmarks.goals import GOALS, PEAK_SHARE
from benchmarks.question import Row
from benchmarks.sketch import difference

SMALL_PEAK = 8 * 2**20
"""Below this, growth of the process is pages and pools rather than the work: no ratio is given."""
HEAD = [
    "work", "jaxcert: CPU ms", "peer", "peer: CPU ms", "ratio", "goal", "peak MB (XLA temp)", "peer: peak MB",
    "memory ratio", "compile s", "difference", "notes",
]  # fmt: skip


def works_table(rows: Sequence[Row], missing: dict[str, str], clock: str = "cpu") -> str:
    """One line per work and peer that has something to say about it, jaxcert's own first."""
    lines = []
    for work in dict.fromkeys(row.id for row in rows):
        here = {row.contender: row for row in rows if row.id == work}
        mine = here.pop(JAXCERT, Row("", JAXCERT, work, "absent", "not in these results"))
        peers = [row for row in here.values() if row.status != "refused"]
        lines += [_line(work, mine, peer, clock) for peer in peers]
        goal = GOALS.get(work)
        if goal is not None and goal.peer not in here and goal.peer in missing:
            peers = [*peers, Row("", goal.peer, work, "absent", "not importable")]
            lines.append(_line(work, mine, peers[-1], clock))
        if not peers:
            lines.append(_line(work, mine, None, clock))
    head = HEAD if clock == "cpu" else [name.replace("CPU", "wall") for name in HEAD]
    notes = [f"Left out: {name} ({why})." for name, why in missing.items()]
    return "\n\n".join([markdown(head, lines), *notes])


def _line(work: str, mine: Row, peer: Row | None, clock: str) -> list[str]:
    notes = [f"{row.contender}: {note}" for row in (mine, peer) if row is not None and (note := _note(row))]
    compiled = mine.data.get("compile_s")
    return [
        work,
        timed(mine, clock),
        "" if peer is None else peer.contender,
        "" if peer is None else timed(peer, clock),
        _share(ratio(mine, peer, clock)),
        reached(work, mine, peer, clock),
        _megabytes(mine.data.get("peak_bytes"), mine.data.get("temp_bytes")),
        "" if peer is None else _megabytes(peer.data.get("peak_bytes")),
        _memory(mine, peer),
        "" if compiled is None else cell(mine.data["trace_s"] + compiled),
        "" if peer is None else _difference(mine, peer),
        "; ".join(notes),
    ]


def ratio(mine: Row, peer: Row | None, clock: str = "cpu") -> float | None:
    """jaxcert's time as a share of the peer's, None unless both were timed."""
    if peer is None or mine.status != "ok" or peer.status != "ok":
        return None
    return mine.data[f"{clock}_ms"] / max(peer.data[f"{clock}_ms"], 1e-9)


def reached(work: str, mine: Row, peer: Row | None, clock: str = "cpu") -> str:
    """The goal of a work and whether it was met; empty where there is none against this peer."""
    goal = GOALS.get(work)
    if goal is None or peer is None or peer.contender != goal.peer:
        return ""
    share = ratio(mine, peer, clock)
    if share is None:
        return f"≤ {goal.share:g}: " + ("the peer has no result" if alone(mine, peer) else "not measured")
    return f"≤ {goal.share:g}: {verdict(share <= goal.share)}"


def alone(mine: Row, peer: Row) -> bool:
    """Whether jaxcert has a result where the peer ran out of time or memory."""
    return mine.status == "ok" and peer.status in ("time", "memory")


def timed(row: Row, clock: str = "cpu") -> str:
    """ "median ± interquartile range", or what happened instead."""
    if row.status != "ok":
        return row.status
    spread = row.data.get(f"{clock}_spread_ms", 0.0)
    return f"{cell(row.data[f'{clock}_ms'])} ± {cell(spread)}"


def _note(row: Row) -> str:
    parts = [row.message] if row.message else []
    if row.status == "ok" and row.data.get("runs", 9) < 9:
        parts.append(f"{row.data['runs']} runs")
    if row.data.get("compiled_later"):
        parts.append(f"compiled {row.data['compiled_later']} more programs")
    return ", ".join(parts)


def _megabytes(peak: float | None, temp: float | None = None) -> str:
    told = "" if peak is None else cell(peak / 1e6)
    return told if temp is None else f"{told} ({cell(temp / 1e6)})"


def _memory(mine: Row, peer: Row | None) -> str:
    if peer is None:
        return ""
    one, other = mine.data.get("peak_bytes"), peer.data.get("peak_bytes")
    if one is None or other is None:
        return ""
    if max(one, other) < SMALL_PEAK:
        return "both small"
    share = one / max(other, 1)
    return f"{share:.2f}: {verdict(share <= PEAK_SHARE)}"


def _difference(mine: Row, peer: Row) -> str:
    if "sketch" not in mine.data or "sketch" not in peer.data:
        return ""
    found = difference(mine.data["sketch"], peer.data["sketch"])
    return "other shape" if found is None else f"{found:.1e}"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def verdict(met: bool) -> str:
    return "met" if met else "**missed**"


def cell(value: float) -> str:
    """Three significant digits without exponents."""
    if value != value:
        return "nan"
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    safe = lambda text: str(text).replace("|", "\\|").replace("\n", " ")
    rows = [head, ["---"] * len(head), *[[safe(part) for part in line] for line in lines]]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
