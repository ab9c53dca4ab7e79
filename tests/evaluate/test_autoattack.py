"""The driver of AutoAttack: stages on survivors only, resumable, and the same as the attack on each image."""

import json
import re
import warnings
from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcert.attacks import cross_entropy, fgsm, pgd
from jaxcert.attacks.apgd import apgd
from jaxcert.attacks.autoattack import Stage, autoattack_rand
from jaxcert.attacks.autoattack import autoattack as ensemble
from jaxcert.attacks.fab import fab
from jaxcert.attacks.square import square
from jaxcert.attacks.targets import multi_targeted
from jaxcert.errors import CheckpointError, DataError, InvalidInputError
from jaxcert.evaluate import ThreatModel, attacked, autoattack
from jaxcert.evaluate.doubts import first_doubts, masking_doubts
from jaxcert.evaluate.identity import described
from jaxcert.evaluate.sweep import padded_batches
from tests.evaluate import linear

EPS = 0.05
KEY = jax.random.key(3)
WEAK, STRONG = Stage("fgsm", fgsm()), Stage("exact", linear.ExactAttack())
TWO = ensemble(stages=(WEAK, STRONG))
CLIMBS = ensemble(stages=(Stage("pgd", pgd(1)), Stage("again", pgd(2))))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Interrupted(linear.Images):
    """The machine stops when the images have been looked at `after` times."""

    after: list

    def pixels(self, indices):
        if self.after[0] == 0:
            raise KeyboardInterrupt
        self.after[0] -= 1
        return super().pixels(indices)


def run(split, attack=TWO, eps=EPS, apply=linear.apply, **options):
    options = {"key": KEY, "batch_size": 8, **options}
    return autoattack(apply, linear.weights(), split, ThreatModel(eps), attack, **options)


def verdicts(records):
    return [(r.index, r.prediction, r.correct, r.attacked_correct) for r in records]


def assert_same(records, others):
    """Up to the rounding of programs for other batch sizes."""
    assert verdicts(records) == verdicts(others)
    np.testing.assert_allclose([r.margin for r in records], [r.margin for r in others], atol=1e-5)


def test_stages_see_survivors_only_and_the_last_verdict_is_the_closed_form():
    split = linear.images(50, flip=4)
    exact = linear.exact_margins(split, EPS)
    found = run(split)
    first, second = found.stages
    alone = attacked(linear.apply, linear.weights(), split, ThreatModel(EPS), fgsm(), key=KEY)
    survivors = [r.index for r in alone if r.attacked_correct]
    assert (first.name, first.before, first.robust) == ("fgsm", 46, len(survivors))
    assert [r.index for r in second.records] == survivors
    assert [r.attacked_correct for r in found.records] == (exact > 0).tolist()
    assert found.robust == second.robust == (exact > 0).sum() < first.robust
    left = [r for r in found.records if r.attacked_correct]
    np.testing.assert_allclose([r.margin for r in left], exact[exact > 0], atol=1e-5)
    assert [r.index for r in found.clean if not r.correct] == [0, 1, 2, 3]


def test_batch_size_changes_nothing():
    split = linear.images(20, flip=2)
    found, expected = (run(split, CLIMBS, batch_size=size) for size in (4, 8))
    assert_same(found.records, expected.records)


def test_equal_to_the_pure_attack_on_every_image():
    split = linear.images(30, flip=3)
    found = run(split, CLIMBS, eps=0.06)

    @jax.jit
    @jax.vmap
    def pure(x, label, index):
        fn = lambda z: linear.apply(linear.weights(), z)
        return CLIMBS(fn, ThreatModel(0.06).region(x), label, key=jax.random.fold_in(KEY, index))

    of_each = pure(split.images, split.labels, np.arange(30))
    assert [r.attacked_correct for r in found.records] == (~np.asarray(of_each.success)).tolist()
    assert 0 < found.robust < 27
    fallen = found.fallen
    points, seen = found.points.of(fallen)
    np.testing.assert_allclose(points, np.asarray(of_each.x)[fallen], atol=1e-6)
    assert np.all(seen != split.labels[fallen])
    assert np.abs(points - split.images[fallen]).max() <= 0.06 + 1e-6
    left = [r.index for r in found.records if r.attacked_correct]
    np.testing.assert_allclose(
        [found.records[i].margin for i in left], np.asarray(of_each.margin)[left], atol=1e-5
    )


@pytest.mark.parametrize("looks", [3, 6, 8, 10, 12])
def test_killed_and_called_again_gives_the_same(tmp_path, looks):
    split = linear.images(24, flip=2)
    options = {"batch_size": 4, "eps": 0.08}
    whole = run(split, folder=tmp_path / "whole", **options)
    with pytest.raises(KeyboardInterrupt):
        run(Interrupted(split.images, split.labels, [looks]), folder=tmp_path / "killed", **options)
    before = {path: path.read_text() for path in (tmp_path / "killed").glob("*.jsonl")}
    again = run(split, folder=tmp_path / "killed", **options)
    assert_same(again.records, whole.records)
    for path, lines in before.items():
        assert path.read_text().startswith(lines)
    for one, other in zip(again.points.of(again.fallen), whole.points.of(whole.fallen), strict=True):
        np.testing.assert_array_equal(one, other)
    names = lambda name: sorted(path.name for path in (tmp_path / name).iterdir())
    assert names("killed") == names("whole")
    assert names("whole") == [
        "clean.jsonl",
        "points",
        "stage-1-fgsm.jsonl",
        "stage-2-exact.jsonl",
        "summary.json",
    ]


def test_a_half_written_line_is_measured_again(tmp_path):
    split = linear.images(12)
    whole = run(split, folder=tmp_path)
    path = tmp_path / "stage-2-exact.jsonl"
    path.write_text(path.read_text()[:-20])
    assert_same(run(split, folder=tmp_path).records, whole.records)


def test_finished_results_are_read_and_more_images_go_on(tmp_path):
    split = linear.images(24, flip=2)
    few = run(split, folder=tmp_path, indices=range(10))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert run(split, folder=tmp_path, indices=range(10)) == few
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    more = run(split, folder=tmp_path)
    assert verdicts(more.records)[:10] == verdicts(few.records)
    assert_same(more.records, run(split).records)


def test_results_of_other_settings_are_not_taken_up(tmp_path):
    split = linear.images(6)
    run(split, folder=tmp_path)
    stages = (Stage("fgsm", pgd(3)), STRONG)
    for changes, said in (
        ({"eps": 0.06}, "eps was 0.05, now 0.06"),
        ({"key": jax.random.key(4)}, "key was"),
        ({"attack": ensemble(stages=stages)}, "attack was"),
        ({"settings": {"network": "other"}}, "other settings"),
    ):
        with pytest.raises(CheckpointError, match=said):
            run(split, folder=tmp_path, **changes)


def test_images_that_fell_before_are_left_alone():
    split = linear.images(20, flip=2)
    clean_records = run(split).clean
    before = [replace(r, attacked_correct=False) if r.index in (5, 7) else r for r in clean_records]
    found, whole = run(split, before=before), run(split)
    assert found.clean == before
    assert {5, 7}.isdisjoint(r.index for stage in found.stages for r in stage.records)
    assert {5, 7}.isdisjoint(found.fallen)
    assert [r.attacked_correct for r in found.records] == [
        bool(r.attacked_correct and r.index not in (5, 7)) for r in whole.records
    ]
    assert found.summary()["n"] == 20


def test_a_lost_point_is_told(tmp_path):
    found = run(linear.images(24), eps=0.1, folder=tmp_path)
    assert found.fallen
    for path in (tmp_path / "points").rglob("*.npz"):
        path.unlink()
    with pytest.raises(CheckpointError, match="adversarial point of image"):
        found.points.of(found.fallen)


def test_points_of_deleted_results_are_forgotten(tmp_path):
    split = linear.images(24)
    run(split, eps=0.3, folder=tmp_path)
    for path in tmp_path.glob("*.jsonl"):
        path.unlink()
    stages = (STRONG,)
    found = run(split, ensemble(stages=stages), eps=0.06, folder=tmp_path)
    points, _ = found.points.of(found.fallen)
    assert np.abs(points - split.images[found.fallen]).max() <= 0.06 + 1e-6


def test_summary(tmp_path):
    found = run(linear.images(20, flip=1), folder=tmp_path)
    told = json.loads((tmp_path / "summary.json").read_text())
    assert told == found.summary()
    assert (told["n"], told["robust"]) == (20, found.robust)
    assert [(s["name"], s["images"]) for s in told["stages"]] == [
        ("clean", 20),
        ("fgsm", 19),
        ("exact", found.stages[0].robust),
    ]
    assert told["stages"][-1]["robust_accuracy"] == told["robust_accuracy"] == found.robust / 20
    assert told["stages"][1]["attack"]["Pgd"]["loss"] == "cross_entropy"
    assert told["settings"]["eps"] == EPS


def test_nan_logits_are_never_robust():
    split = linear.images(5)
    broken = jnp.full((linear.CLASSES, 4), jnp.nan)
    with pytest.warns(UserWarning, match="logits of 5 of the first 5 images are not finite"):
        found = autoattack(linear.apply, broken, split, ThreatModel(EPS), TWO, key=KEY)
    assert (found.robust, [stage.before for stage in found.stages]) == (0, [0, 0])


def test_no_images_and_bad_input():
    split = linear.images(3)
    assert run(split, indices=[]).records == []
    for eps in (-0.1, float("nan")):
        with pytest.raises(InvalidInputError, match="eps must be a finite number >= 0"):
            run(split, eps=eps)
    with pytest.raises(InvalidInputError, match="left the region of image 0"):
        run(split, ensemble(stages=(Stage("cheat", linear.Cheat()),)))
    with pytest.raises(InvalidInputError, match="batch size"):
        run(split, batch_size=0)
    for indices, what in (([0, 3], "0 to 2, got 3"), ([-1], "got -1"), ([1, 1], "twice")):
        with pytest.raises(InvalidInputError, match=what):
            run(split, indices=indices)


@pytest.mark.parametrize("pixel", [1.5, np.nan])
def test_broken_images_are_named(pixel):
    """Also for a network that passes NaN over."""
    split = linear.images(4)
    split.images[2, 0, 0, 0] = pixel
    deaf = lambda weights, x: weights @ jnp.where(x.reshape(-1) > 0, x.reshape(-1), 0.0)
    with pytest.raises(DataError, match="Image 2 has pixels"):
        attacked(deaf, linear.weights(), split, ThreatModel(EPS), pgd(1), key=KEY)


def test_attacks_are_told_apart_by_what_they_do():
    """Functions without a name of their own count by their code and what they hold."""
    of = lambda scale: pgd(2, loss=lambda logits, label: scale * cross_entropy(logits, label))
    same, other, plain = described(of(1.0)), described(of(-1.0)), described(pgd(2))
    assert described(of(1.0)) == same != other
    assert "cross_entropy" in str(plain)
    assert described(partial(pgd, 2)) != described(partial(pgd, 3))
    assert described(lambda x: x + 1) != described(lambda x: x + 2)


def test_small_batches_shrink():
    split = linear.images(23)
    sizes = lambda count: [
        len(batch.labels) for batch in padded_batches(split, range(count), 16, shrink=True)
    ]
    assert [sizes(count) for count in (16, 23, 20, 9, 1)] == [[16], [16, 8], [16, 4], [16], [1]]
    batches = list(padded_batches(split, range(23), 16, shrink=True))
    assert [int(i) for batch in batches for i in batch.indices[: batch.count]] == list(range(23))


def noisy(variables, x, key):
    return linear.apply(variables, x) + 0.01 * jax.random.normal(key, (linear.CLASSES,))


def test_a_randomised_network():
    split = linear.images(20)
    exact = linear.exact_margins(split, EPS)
    found = autoattack(noisy, linear.weights(), split, ThreatModel(EPS), rand(), key=KEY, batch_size=8)
    clear = np.flatnonzero(np.abs(exact) > 0.05)
    assert len(clear) > 10
    assert [found.records[i].attacked_correct for i in clear] == (exact[clear] > 0).tolist()


def rand():
    few = autoattack_rand(4)
    return type(few)((WEAK,), few.plan, few.samples)


def warned(apply):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = run(linear.images(8), ensemble(stages=(WEAK,)), apply=apply)
    assert [str(w.message) for w in caught] == list(found.warnings)
    return " ".join(found.warnings)


def test_no_doubts_about_a_plain_network():
    assert warned(linear.apply) == ""


def test_doubts_about_probabilities():
    told = warned(lambda weights, x: jax.nn.softmax(linear.apply(weights, x)))
    assert "a softmax hides gradients" in told


def test_doubts_about_steps():
    told = warned(lambda weights, x: jnp.round(64 * linear.apply(weights, x)))
    assert re.search("gradient of the cross-entropy is zero at (8 of 8|7 of 7)", told)
    assert "gradient of the DLR loss is zero" in told


def test_doubts_about_a_constant_network():
    told = warned(lambda weights, x: weights[:, 0])
    assert "the same logits to all of the first 8 images" in told


def test_doubts_about_what_gradients_left():
    stages = (Stage("apgd", apgd()), Stage("t", multi_targeted(fab())), Stage("square", square()), WEAK)
    tell = lambda *robust, stages=stages: " ".join(masking_doubts(stages, robust, 1000))
    assert tell((900, 800), (800, 791), (791, 790), (790, 500)) == ""
    told = tell((900, 800), (800, 789), (789, 786), (786, 786))
    assert "stage t lowered the robust accuracy from 80.00 % to 78.90 %" in told
    assert "stage square lowered the robust accuracy from 78.90 % to 78.60 %" in told
    assert tell((900, 100), stages=stages[2:3]) == ""


def test_doubts_about_a_randomised_network():
    calls = iter(range(1000))
    shaken = lambda logits: np.float32(logits * (1 + next(calls) * np.arange(3, dtype=np.float32)))
    shape = jax.ShapeDtypeStruct((3,), np.float32)

    def random(weights, x):
        logits = jax.lax.stop_gradient(linear.apply(weights, x))
        return jax.pure_callback(shaken, shape, logits, vmap_method="sequential")

    told = first_doubts(random, linear.weights(), linear.images(3), ThreatModel(EPS), (WEAK,), [0, 1, 2])
    assert "randomised, so use autoattack_rand" in told[0]
