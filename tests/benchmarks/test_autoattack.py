"""AutoAttack's benchmark: what it runs on, and how its survivors are counted on both sides."""

import json
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import flops, images, jaxcert_autoattack, networks, published
from benchmarks.contenders import JAXCERT
from benchmarks.goals import GOALS, Goal
from benchmarks.jaxcert_weights import variables
from benchmarks.logits import logits
from benchmarks.peers.autoattack_log import Log
from benchmarks.question import Selection, Task
from benchmarks.questions.attacks import QUESTION
from benchmarks.survivors import Stage, Survivors
from benchmarks.table import works_table
from benchmarks.work import Work, parse
from jaxcert.attacks import Stage as Step
from jaxcert.attacks import autoattack, fgsm
from jaxcert.attacks.square import square

WORK = "autoattack/wk-small/256"
SMALL = autoattack(stages=(Step("fgsm", fgsm()), Step("square", square(3))))


@pytest.mark.parametrize(("eps", "counts"), [(1e-5, [8, 8, 8]), (0.5, [8, 0, 0])])
def test_everything_is_compiled_before_the_first_run(monkeypatch, eps, counts):
    monkeypatch.setattr(jaxcert_autoattack, "CHUNK", 4)
    work = Work("autoattack", "mlp-2x8-10", 8, eps)
    net, batch = work.network, work.batch
    prepared: Any = jaxcert_autoattack.prepared(
        work,
        variables(net, networks.weights(net)),
        images.images(net, batch),
        images.labels(net, batch),
        SMALL,
    )
    compiled = prepared.compilations()
    found = prepared.call()
    assert prepared.compilations() == compiled
    assert prepared.compile_s > 0
    assert prepared.note == "4 images at a time"
    np.testing.assert_array_equal(prepared.values(found), counts)
    assert prepared.told().startswith(f"{counts[-1]} of 8 robust; fgsm {counts[1]} in ")


def test_the_log_of_the_peer_tells_survivors_and_times():
    log = Log(256)
    for text in (
        "using standard version including apgd-ce, apgd-t, fab-t, square.",
        "initial accuracy: 98.83%",
        "apgd-ce - 1/1 - 7 out of 253 successfully perturbed",
        "robust accuracy after APGD-CE: 96.09% (total time 3.2 s)",
        "Warning: something",
        "robust accuracy after APGD-T: 0.39% (total time 26.1 s)",
    ):
        log.log(text)
    found = log.survivors()
    np.testing.assert_array_equal(found.counts, [253, 246, 1, 0, 0])
    assert [stage.name for stage in found.stages] == ["apgd-ce", "apgd-t", "fab-t", "square"]
    assert all(stage.seconds >= 0 for stage in found.stages)
    told = Survivors(9, 8, (Stage("apgd-ce", 7, 1.26), Stage("square", 5, 2.0)))
    assert told.text == "5 of 9 robust; apgd-ce 7 in 1.3 s, square 5 in 2.0 s"
    np.testing.assert_array_equal(told.counts, [8, 7, 5])


def test_without_a_data_folder_there_is_a_row_that_says_so(monkeypatch, tmp_path):
    monkeypatch.setenv("JAXCERT_DATA", str(tmp_path))
    row = QUESTION.measure(Task("attacks", JAXCERT, WORK), 1)
    assert row.status == "refused"
    assert row.message.startswith("no data folder")
    assert "jaxcert: no data folder" in works_table((row,), {"autoattack": "not importable"})
    other = QUESTION.measure(Task("attacks", JAXCERT, "autoattack/mlp/256"), 1)
    assert "no trained network for mlp" in other.message


def test_it_has_a_goal_and_comes_with_the_attacks():
    assert GOALS[WORK] == Goal("autoattack", 0.5)
    assert parse(WORK) == Work("autoattack", "wk-small", 256, 0.1)
    assert parse(WORK).clip
    tasks = QUESTION.tasks(Selection((JAXCERT, "autoattack"), operations=("autoattack",)))
    assert [(task.contender, task.id) for task in tasks] == [(JAXCERT, WORK), ("autoattack", WORK)]
    # Ten runs of Auto-PGD of 101 gradients, nine of FAB of 100 gradients and steps, 5000 queries.
    forward = flops.needed(Work("forward", "wk-small", 1))
    assert flops.needed(Work("autoattack", "wk-small", 1)) == (2 * 1010 + 3 * 900 + 5000) * forward


def test_the_trained_network_is_right_about_the_images_that_the_reference_has_right(monkeypatch, data_dir):
    monkeypatch.setenv("JAXCERT_DATA", str(data_dir))
    weights, (xs, ys) = published.weights("wk-small"), published.images(256)
    path = data_dir / "reference" / "autoattack_kw_mnist_small_eps01_linf_0.1.json"
    reference = json.loads(path.read_text(encoding="utf-8"))
    assert ys.tolist() == reference["labels"]
    right = logits(networks.network("wk-small"), weights, xs).argmax(axis=-1) == ys
    np.testing.assert_array_equal(right, np.array(reference["clean_correct"], bool))
    shapes = [array.shape for array in networks.weights("wk-small")]
    assert [array.shape for array in weights] == shapes
    assert all(jnp.asarray(array).dtype == jnp.float32 for array in (*weights, xs))
