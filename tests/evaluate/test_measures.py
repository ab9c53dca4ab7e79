"""Clean, attacked and certified records against the closed form of a linear network."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcert.bounds import ibp
from jaxcert.errors import DataError, InvalidInputError
from jaxcert.evaluate import ThreatModel, attacked, cascade, certified, clean, make_report
from jaxcert.evaluate.measures import _certify
from jaxcert.evaluate.sweep import padded_batches, sweep
from tests.evaluate import linear

EPS = 0.05
KEY = jax.random.key(0)


def evaluate(split, eps=EPS, **options):
    threat = ThreatModel(eps)
    return (
        clean(linear.apply, linear.weights(), split, **options),
        attacked(linear.apply, linear.weights(), split, threat, linear.ExactAttack(), key=KEY, **options),
        certified(linear.apply, linear.weights(), split, threat, ibp(), **options),
    )


def test_errors_equal_the_closed_form():
    split = linear.images(50, flip=4)
    robust = linear.exact_margins(split, EPS) > 0
    assert 4 < np.sum(~robust) < 50
    before, under_attack, proved = evaluate(split, batch_size=16)
    assert [r.correct for r in before] == [False] * 4 + [True] * 46
    assert [r.attacked_correct for r in under_attack] == robust.tolist()
    assert [r.certified for r in proved] == robust.tolist()
    report = make_report("linear", eps=EPS, clean=before, attacked=under_attack, certified={"ibp": proved})
    assert (report.n, report.clean, report.attacked) == (50, 4, np.sum(~robust))
    assert report.certified == {"ibp": np.sum(~robust)}


def test_margins_equal_the_closed_form():
    split = linear.images(10)
    _, under_attack, proved = evaluate(split, batch_size=4)
    exact = linear.exact_margins(split, EPS)
    np.testing.assert_allclose([r.margin for r in proved], exact, atol=1e-5)
    np.testing.assert_allclose([r.margin for r in under_attack], exact, atol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_batch_size_and_remainder_change_nothing(batch_size):
    split = linear.images(20, flip=2)
    verdicts = [
        [(r.index, r.prediction, r.correct, r.attacked_correct, r.certified) for r in records]
        for records in evaluate(split, batch_size=batch_size)
    ]
    expected = [
        [(r.index, r.prediction, r.correct, r.attacked_correct, r.certified) for r in records]
        for records in evaluate(split, batch_size=20)
    ]
    assert verdicts == expected


def test_one_compilation_for_remainder_and_other_eps():
    split = linear.images(11)
    certified(linear.apply, linear.weights(), split, ThreatModel(0.01), ibp(), batch_size=5)
    compiled = _certify._cache_size()
    certified(linear.apply, linear.weights(1), split, ThreatModel(0.07), ibp(), batch_size=5)
    assert _certify._cache_size() == compiled


def test_misclassified_images_are_attacked_and_certified_errors():
    split = linear.images(6, flip=6)
    before, under_attack, proved = evaluate(split, eps=0.0)
    report = make_report("linear", eps=0.0, clean=before, attacked=under_attack, certified={"ibp": proved})
    assert (report.clean, report.attacked, report.certified) == (6, 6, {"ibp": 6})


def test_nan_is_never_certified_nor_correct():
    split = linear.images(4)
    broken = jnp.full((linear.CLASSES, 4), jnp.nan)
    before = clean(linear.apply, broken, split)
    under_attack = attacked(linear.apply, broken, split, ThreatModel(EPS), linear.NoAttack(), key=KEY)
    proved = certified(linear.apply, broken, split, ThreatModel(EPS), ibp())
    assert not any(r.correct for r in before)
    assert not any(r.attacked_correct for r in under_attack)
    assert not any(r.certified for r in proved)
    assert all(r.margin is None for r in proved)


def test_indices_choose_and_order_the_images():
    split = linear.images(9)
    records = clean(linear.apply, linear.weights(), split, indices=[7, 2, 5], batch_size=2)
    assert [r.index for r in records] == [7, 2, 5]
    assert [r.label for r in records] == split.labels[[7, 2, 5]].tolist()


def test_cascade_tries_later_methods_only_on_what_is_left():
    split = linear.images(30, flip=3)
    robust = linear.exact_margins(split, EPS) > 0
    seen = []

    class Recording(linear.Images):
        def pixels(self, indices):
            seen.append(np.asarray(indices).tolist())
            return super().pixels(indices)

    watched = Recording(split.images, split.labels)
    stages = cascade(
        linear.apply,
        linear.weights(),
        watched,
        ThreatModel(EPS),
        {"first": ibp(), "again": ibp()},
        batch_size=30,
    )
    left = [r.index for r in stages["first"] if r.correct and not r.certified]
    assert len(left) == np.sum(~robust) - 3
    assert set(seen[-1]) == set(left)
    assert [r.certified for r in stages["again"]] == [r.certified for r in stages["first"]]


@pytest.mark.parametrize("eps", [-0.1, float("nan"), float("inf")])
def test_bad_eps_is_refused(eps):
    split = linear.images(2)
    with pytest.raises(InvalidInputError, match="eps must be a finite number >= 0"):
        certified(linear.apply, linear.weights(), split, ThreatModel(eps), ibp())
    with pytest.raises(InvalidInputError, match="eps must be a finite number >= 0"):
        attacked(linear.apply, linear.weights(), split, ThreatModel(eps), linear.NoAttack(), key=KEY)


def test_a_point_outside_the_region_is_refused():
    with pytest.raises(InvalidInputError, match="left the region of image 0"):
        attacked(linear.apply, linear.weights(), linear.images(2), ThreatModel(EPS), linear.Cheat(), key=KEY)


def test_label_without_a_logit_is_refused():
    split = linear.images(5)
    split.labels[3] = 12
    with pytest.raises(DataError, match="Image 3 has label 12"):
        clean(linear.apply, linear.weights(), split)


def test_padded_batches_cover_every_image_once():
    split = linear.images(10)
    batches = list(padded_batches(split, range(10), 4))
    assert [batch.count for batch in batches] == [4, 4, 2]
    assert all(batch.pixels.shape == (4, *linear.SHAPE) for batch in batches)
    assert [int(i) for batch in batches for i in batch.indices[: batch.count]] == list(range(10))
    with pytest.raises(InvalidInputError, match="batch size"):
        list(padded_batches(split, range(10), 0))


def test_sweep_of_no_images_is_empty():
    def never(batch):
        raise AssertionError("no batch to measure")

    assert sweep(never, linear.images(3), indices=[]) == []
