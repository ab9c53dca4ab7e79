"""Robust accuracy against eps: never rises, counts each image once, attacks only what is left."""

import json

import jax
import pytest

from jaxcert.errors import ConfigError, InvalidInputError
from jaxcert.evaluate import (
    Record,
    ThreatModel,
    attacked,
    clean,
    robust_accuracies,
    write_robust_accuracies,
)
from tests.evaluate import linear

RADII = (0.06, 0.02, 0.0, 0.04, 0.02)


def test_equal_to_the_closed_form(tmp_path):
    split = linear.images(40, flip=3)
    threats = []

    def measure(eps, left):
        threats.append((eps, len(left)))
        network = (linear.apply, linear.weights(), split, ThreatModel(eps), linear.ExactAttack())
        return attacked(*network, key=jax.random.key(0), indices=left, batch_size=40, shrink=True)

    before = clean(linear.apply, linear.weights(), split, batch_size=40)
    found = robust_accuracies(RADII, before, measure)
    exact = [int((linear.exact_margins(split, eps) > 0).sum()) for eps in (0.0, 0.02, 0.04, 0.06)]
    assert [one.eps for one in found] == [0.0, 0.02, 0.04, 0.06]
    assert [one.robust for one in found] == exact
    assert threats == list(zip((0.02, 0.04, 0.06), exact[:3], strict=True))
    assert [one.attacked for one in found] == [0, *exact[:3]]
    assert {one.n for one in found} == {40}
    write_robust_accuracies(tmp_path / "found.json", found, attack="exact")
    told = json.loads((tmp_path / "found.json").read_text())
    assert (told["attack"], [one["robust"] for one in told["radii"]]) == ("exact", exact)


def test_an_attack_that_is_weaker_at_a_larger_radius_takes_nothing_back():
    before = [Record(index, 0, 0, True, 1.0) for index in range(4)]

    def measure(eps, left):
        fallen = {0.1: {2}, 0.2: set(), 0.3: {0}}[eps]
        return [Record(index, 0, 0, True, 1.0, attacked_correct=index not in fallen) for index in left]

    found = robust_accuracies((0.1, 0.2, 0.3), before, measure)
    assert [one.robust for one in found] == [4, 3, 3, 2]
    assert [one.percent for one in found] == [100.0, 75.0, 75.0, 50.0]


def test_bad_radii_are_refused():
    with pytest.raises(ConfigError, match="at least one eps"):
        robust_accuracies((), [], lambda eps, left: [])
    with pytest.raises(InvalidInputError, match="eps must be a finite number >= 0"):
        robust_accuracies((0.1, -0.1), [], lambda eps, left: [])
