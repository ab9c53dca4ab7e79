"""Figures are whole PNG files of a sensible size, and say what they show."""

import numpy as np
import pytest
from PIL import Image

from jaxcert.errors import InvalidInputError
from jaxcert.evaluate import Report, RobustAccuracy
from jaxcert.evaluate.figures import (
    adversarial_examples,
    errors_against_eps,
    robust_accuracy_against_eps,
)


def curve(network):
    return [
        Report(
            network,
            eps,
            n=200,
            clean=4,
            attacked=round(4 + 500 * eps),
            certified={"crown": round(6 + 900 * eps)},
        )
        for eps in (0.0, 0.05, 0.1, 0.2)
    ]


def test_errors_against_eps(tmp_path):
    path = tmp_path / "figure.png"
    errors_against_eps([*curve("standard"), *curve("ibp")], path, title="digits", trained_at={"ibp": 0.1})
    with Image.open(path) as image:
        image.load()
        assert image.width > image.height > 400
        assert len(image.convert("RGB").getcolors(1 << 20) or ()) > 10
    assert [file.name for file in tmp_path.iterdir()] == ["figure.png"]


def test_errors_against_eps_with_one_measure_and_one_eps(tmp_path):
    errors_against_eps([Report("net", 0.1, n=5, clean=1)], tmp_path / "figure.png", title="clean only")
    with pytest.raises(InvalidInputError, match="at least one report"):
        errors_against_eps([], tmp_path / "none.png", title="")
    assert [file.name for file in tmp_path.iterdir()] == ["figure.png"]


def test_robust_accuracy_against_eps(tmp_path):
    left = (97, 95, 80, 41, 0)
    curve = [RobustAccuracy(0.05 * step, 100, robust, 0) for step, robust in enumerate(left)]
    path = tmp_path / "figure.png"
    robust_accuracy_against_eps({"AutoAttack": curve}, path, title="digits", trained_at=0.1)
    with Image.open(path) as image:
        assert image.width > image.height > 400
    two = {"standard": curve[:2], "ibp": curve}
    robust_accuracy_against_eps(two, path, title="two networks", norm=2.0)
    for nothing in ({}, {"empty": []}):
        with pytest.raises(InvalidInputError, match="at least one point"):
            robust_accuracy_against_eps(nothing, path, title="")


@pytest.mark.parametrize("channels", [1, 3])
def test_adversarial_examples(tmp_path, channels):
    originals = np.random.default_rng(0).uniform(size=(3, 8, 8, channels)).astype(np.float32)
    adversarial = np.clip(originals + 0.1, 0, 1)
    path = tmp_path / "examples.png"
    adversarial_examples(
        originals, adversarial, path, labels=[1, 2, 3], before=[1, 2, 3], after=[1, 0, 0], title="t"
    )
    with Image.open(path) as image:
        assert image.width > 400
    with pytest.raises(InvalidInputError, match="at least one image"):
        adversarial_examples(originals[:0], adversarial[:0], path, labels=[], before=[], after=[], title="t")
