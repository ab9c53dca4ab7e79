"""The benchmarks' framework: what they compare is the same network, and what they write can be read back."""

import json
from dataclasses import replace

import jax
import numpy as np
import pytest

from benchmarks import figures, flops, images, isolation, networks, results, timer
from benchmarks.catalog import QUESTIONS, question
from benchmarks.compare import change, compare
from benchmarks.contenders import JAXCERT
from benchmarks.goals import GOALS
from benchmarks.jaxcert_weights import flat, model, places, shapes_agree, variables
from benchmarks.logits import logits
from benchmarks.question import GOAL, Row, Task
from benchmarks.report import report
from benchmarks.run import Plan, planned
from benchmarks.sketch import difference, sketch
from benchmarks.table import works_table
from benchmarks.work import OPERATIONS, Work, parse

NAMES = (*networks.NETWORKS, "mlp-3x8-5", "conv-3x4-7")


@pytest.mark.parametrize("name", NAMES)
def test_the_linen_network_computes_what_the_neutral_layers_say(name):
    weights, xs = networks.weights(name), images.images(name, 2)
    assert shapes_agree(name, weights)
    assert xs.min() >= 0
    assert xs.max() <= 1
    expected = logits(networks.network(name), weights, xs)
    found = jax.jit(model(name).apply)(variables(name, weights), xs)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3 * np.abs(expected).max())


def test_a_gradient_is_flat_in_the_neutral_order():
    name = "resnet-2b"
    numbered = [np.full(array.shape, index) for index, array in enumerate(networks.weights(name))]
    params = variables(name, numbered)["params"]
    kept = [array for array, trained in zip(numbered, networks.trainable(name), strict=True) if trained]
    np.testing.assert_array_equal(flat(name, params), np.concatenate([array.ravel() for array in kept]))
    statistics = [place[0] == "batch_stats" for place in places("cnn7-bn")]
    assert statistics == [not trained for trained in networks.trainable("cnn7-bn")]
    assert sum(statistics) == 12


@pytest.mark.parametrize("operation", OPERATIONS)
def test_ids_of_works_can_be_read_back(operation):
    for work in (Work(operation, "wk-small", 64), Work(operation, "mlp-4x256-10", 1, 0.003)):
        assert parse(work.id) == work
        assert flops.needed(work) > 0
    assert Work("ibp-grad", "mlp", 64).id == "ibp-grad/mlp/64"


@pytest.mark.parametrize("text", ["ibp/mlp", "crown-obp/mlp/64", "ibp/mlp/0", "ibp/mlp/64/0.1/2"])
def test_other_texts_are_no_works(text):
    with pytest.raises(ValueError, match=r"is no (work|operation)|at least one image"):
        parse(text)


def test_operations_needed_by_hand():
    # conv-2x4-10: 3x3 convolution of 1 to 4 channels on 14x14 places, then 784 -> 10.
    forward = 2 * (14 * 14 * 4 * 9 + 784 * 10)
    assert flops.needed(Work("forward", "conv-2x4-10", 3)) == 3 * forward
    assert flops.needed(Work("crown-ibp", "conv-2x4-10", 1)) == (2 + 9) * forward
    # Its one activation follows its first layer, whose interval takes |W| once.
    assert flops.needed(Work("crown", "conv-2x4-10", 1)) == 9 * forward + 2 * 14 * 14 * 4 * 9
    # mlp-3x8-5: the second layer's 8 units have two rows each through 784 -> 8.
    assert flops.crown(networks.network("mlp-3x8-5")) == (
        4 * flops.forward(networks.network("mlp-3x8-5")) + 2 * 784 * 8 + 2 * 2 * 8 * 784 * 8
    )


def test_the_timer_counts_runs_and_stops_early_for_long_ones(monkeypatch):
    calls = []
    timing = timer.measure(lambda: calls.append(sum(range(1000))), repeats=9)
    assert timing.runs == len(calls) >= 9
    assert 0 < timing.cpu_ms < 100
    assert timing.wall_spread_ms >= 0
    monkeypatch.setattr(timer, "LONG_SECONDS", 0.0)
    monkeypatch.setattr(timer, "SHORT_SECONDS", 0.0)
    assert timer.measure(lambda: None, repeats=9).runs == timer.FEWEST
    monkeypatch.setattr(timer, "BUDGET_SECONDS", 0.0)
    assert timer.measure(lambda: None, repeats=9).runs == 1


def test_sketches_tell_equal_results_from_others():
    values = np.random.default_rng(0).normal(size=5000)
    assert difference(sketch(values), sketch(values)) == 0
    assert difference(sketch(values), sketch(values * (1 + 1e-3))) == pytest.approx(1e-3, rel=0.2)
    assert difference(sketch(values), sketch(values[1:])) is None
    assert np.isnan(difference(sketch(values), sketch(values * np.nan)))


FACTS = {
    "date": "2026-01-01",
    "commit": "abc",
    "dirty": False,
    "machine": {"processor": "p", "cores": 2, "memory_gb": 1, "system": "s"},
    "versions": {"jax": "0"},
    "contenders": {
        JAXCERT: {"version": "jaxcert 0"},
        "auto_LiRPA": {"missing": "No module named 'auto_LiRPA'"},
    },
    "flags": {"threads": 1, "platform": "cpu"},
    "command": "python -m benchmarks run",
}


def timed(ms: float, contender: str = JAXCERT, work: str = "ibp/mlp/64") -> Row:
    data = {"cpu_ms": ms, "cpu_spread_ms": 0.01 * ms, "wall_ms": ms, "wall_spread_ms": 0.0, "runs": 9}
    data |= {"peak_bytes": 2**24, "sketch": sketch(np.ones(3)), "trace_s": 0.1, "compile_s": 0.2}
    return Row("bounds", contender, work, "ok", "", data)


def test_a_killed_run_resumes_where_it_was(tmp_path):
    path = tmp_path / "results.jsonl"
    assert results.start(path, FACTS).rows == ()
    results.append(path, timed(1.0))
    whole = path.read_text()
    path.write_text(whole + '{"question": "bou')
    assert [row.key for row in results.start(path, FACTS).rows] == [timed(1.0).key]
    results.append(path, timed(2.0, "auto_LiRPA"))
    found = results.read(path)
    assert [row.contender for row in found.rows] == [JAXCERT, "auto_LiRPA"]
    assert json.loads(json.dumps(found.provenance)) == FACTS
    with pytest.raises(ValueError, match="another commit"):
        results.start(path, FACTS | {"commit": "def"})
    (tmp_path / "other").write_text("{}\n")
    with pytest.raises(ValueError, match="no provenance"):
        results.read(tmp_path / "other")


def test_the_table_says_what_was_met_missed_and_left_out():
    both = works_table((timed(1.0), timed(5.0, "auto_LiRPA")), {})
    assert "| 0.20 | ≤ 0.25: met |" in both
    assert "1.00: **missed**" in both  # memory
    assert "**missed** |" in works_table((timed(1.0), timed(2.0, "auto_LiRPA")), {})
    alone = report(results.Results(FACTS, (timed(1.0),)))
    assert "Left out, not importable: auto_LiRPA (No module named 'auto_LiRPA')" in alone
    assert "| ibp/mlp/64 | 1.00 ± 0.01 | auto_LiRPA | absent |" in alone
    assert alone.count("not measured") >= len(GOALS)
    stopped = replace(timed(1.0, "auto_LiRPA"), status="time", message="stopped after 9 s", data={})
    table = works_table((timed(1.0), stopped), {})
    assert "auto_LiRPA: stopped after 9 s" in table
    assert "≤ 0.25: the peer has no result" in table


def test_changes_beyond_the_spread_are_flagged():
    old, new = timed(10.0), timed(12.0)
    assert change(old, new).beyond
    assert not change(old, timed(10.1)).beyond
    assert change(old, replace(new, status="failed")) is None
    text = compare(
        results.Results(FACTS, (old,)), results.Results(FACTS, (new, timed(1.0, work="ibp/mlp/256")))
    )
    assert "**slower**" in text
    assert "| ibp/mlp/256 | absent | ok |" in text


def test_a_run_begins_with_the_goals_and_restricts_itself():
    contenders = (JAXCERT, "auto_LiRPA", "torch")
    tasks = planned(Plan(), contenders)
    first = {task.id for task in tasks if task.tier == GOAL}
    assert set(GOALS) <= first
    assert all(task.tier == GOAL for task in tasks[: len([t for t in tasks if t.tier == GOAL])])
    assert len(tasks) == len({task.key for task in tasks}) < len(planned(Plan(thorough=True), contenders))
    few = planned(
        Plan(questions=("bounds",), networks=("mlp",), batches=(64,), operations=("ibp",)), (JAXCERT,)
    )
    assert [task.id for task in few] == ["ibp/mlp/64"]
    assert all(question(name).minutes > 0 for name in QUESTIONS)


def test_whatever_a_measurement_does_becomes_a_row():
    task = Task("bounds", JAXCERT, "ibp/mlp-2x4-3/1")
    row = isolation.measure(task, isolation.Limits(120.0), repeats=2)
    assert row.status == "ok", row.message
    assert row.data["runs"] >= 2
    assert row.data["compiled_later"] == 0
    assert isolation.measure(replace(task, id="nonsense"), isolation.Limits(120.0)).status == "failed"
    assert isolation.measure(task, isolation.Limits(0.01)).status == "time"


def test_the_figure_of_the_goals_takes_times_from_questions_about_time(tmp_path):
    """Other questions have rows of the same works, without times; unmeasured goals are said, not left out."""
    work = "train-pgd/mlp/64"
    rows = [
        Row("training", JAXCERT, work, "ok", "", {"cpu_ms": 1.0, "wall_ms": 1.0}),
        Row("training", "torch", work, "ok", "", {"cpu_ms": 3.0, "wall_ms": 3.0}),
        Row("compile-time", JAXCERT, work, "ok", "", {"compile_s": 2.0}),
    ]
    figures.goals(rows, tmp_path / "goals.png")
    assert (tmp_path / "goals.png").stat().st_size > 10_000
