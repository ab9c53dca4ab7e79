"""The whole table of some results: where they come from, the goals, and every question."""

from collections.abc import Sequence

from benchmarks.catalog import QUESTIONS, question
from benchmarks.contenders import JAXCERT
from benchmarks.goals import GOALS, PEAK_SHARE
from benchmarks.question import Row
from benchmarks.questions.roofline import shares
from benchmarks.results import Results
from benchmarks.table import SMALL_PEAK, alone, markdown, ratio, timed, verdict, works_table


def report(results: Results) -> str:
    """Markdown of everything in the results."""
    rows, facts = results.rows, results.provenance
    clock = "cpu" if facts["flags"].get("platform", "cpu") == "cpu" else "wall"
    missing = {name: why["missing"] for name, why in facts["contenders"].items() if "missing" in why}
    parts = [source(facts), "### Goals", goals(rows, clock), memory(rows)]
    for name in QUESTIONS:
        here = [row for row in rows if row.question == name]
        asked = question(name)
        parts.append(f"### {asked.title}")
        if not here:
            parts.append("Not in these results.")
        elif name in ("bounds", "training", "attacks", "scaling"):
            parts.append(works_table(here, missing, clock))
        else:
            parts.append(asked.table(here, missing))
        if name == "roofline":
            parts.append(shares(rows, f"{clock}_ms"))
    return "\n\n".join(parts)


def source(facts: dict) -> str:
    """One paragraph: machine, date, versions, threads, what was left out."""
    machine, flags = facts["machine"], facts["flags"]
    present = [entry["version"] for entry in facts["contenders"].values() if "version" in entry]
    absent = [
        f"{name} ({entry['missing']})" for name, entry in facts["contenders"].items() if "missing" in entry
    ]
    dirty = ", with uncommitted changes" if facts["dirty"] else ""
    versions = ", ".join(f"{name} {number}" for name, number in facts["versions"].items())
    lines = [
        f"Measured {facts['date']} at commit {facts['commit'][:10]}{dirty}, on {machine['processor']}, "
        f"{machine['cores']} cores, {machine['memory_gb']} GB, {machine['system']}; "
        f"{flags['threads']} thread, platform {flags['platform']}.",
        f"Contenders: {'; '.join(present)}. Packages: {versions}.",
        f"Left out, not importable: {', '.join(absent)}." if absent else "No contender was left out.",
        f"Command: `{facts['command']}`.",
    ]
    return "\n".join(lines)


def goals(rows: Sequence[Row], clock: str = "cpu") -> str:
    """Every goal beside the ratio that was reached."""
    unit = "CPU" if clock == "cpu" else "wall"
    head = ["work", f"jaxcert: {unit} ms", "peer", f"peer: {unit} ms", "ratio", "goal", ""]
    lines = []
    for work, goal in GOALS.items():
        here = {
            row.contender: row
            for row in rows
            if row.id == work and row.question in ("bounds", "training", "attacks")
        }
        mine, peer = here.get(JAXCERT), here.get(goal.peer)
        share = None if mine is None else ratio(mine, peer, clock)
        lines.append([
            work, "not measured" if mine is None else timed(mine, clock),
            goal.peer, "not measured" if peer is None else timed(peer, clock),
            "" if share is None else f"{share:.2f}", f"≤ {goal.share:g}",
            _reached(mine, peer, share, goal.share),
        ])  # fmt: skip
    return markdown(head, lines)


def _reached(mine: Row | None, peer: Row | None, share: float | None, wanted: float) -> str:
    if share is not None:
        return verdict(share <= wanted)
    return "the peer has no result" if mine and peer and alone(mine, peer) else "not measured"


def memory(rows: Sequence[Row]) -> str:
    """In how many comparisons the peak memory is at most the wanted share of the peer's."""
    mine = {(row.question, row.id): row for row in rows if row.contender == JAXCERT and row.status == "ok"}
    met, missed = 0, []
    for row in rows:
        own = mine.get((row.question, row.id))
        if row.contender == JAXCERT or row.status != "ok" or own is None:
            continue
        one, other = own.data.get("peak_bytes"), row.data.get("peak_bytes")
        if one is None or other is None or max(one, other) < SMALL_PEAK:
            continue
        if one <= PEAK_SHARE * other:
            met += 1
        else:
            missed.append(f"{row.id} against {row.contender} ({one / max(other, 1):.2f})")
    text = f"Peak memory is at most {PEAK_SHARE:g} of the peer's in {met} of {met + len(missed)} comparisons"
    return f"{text}; not in: {', '.join(missed)}." if missed else f"{text}."
