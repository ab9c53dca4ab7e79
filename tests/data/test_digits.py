import hashlib
import sys

import numpy as np
import pytest
from sklearn.datasets import load_digits as embedded_digits

from jaxcert.data import load
from jaxcert.errors import DataError
from tests.data.files import is_one_sentence


def test_digits_hold_every_embedded_image_once_with_its_label():
    digits = load("digits")
    counts, labels = embedded_digits(return_X_y=True)
    expected = sorted(
        (bytes(row.astype(np.uint8)), int(label)) for row, label in zip(counts, labels, strict=True)
    )
    images = np.concatenate([digits.train.images, digits.test.images])
    found_labels = np.concatenate([digits.train.labels, digits.test.labels])
    pixels = (images.reshape(-1, 64) * 16).astype(np.uint8)
    assert (
        sorted((bytes(row), int(label)) for row, label in zip(pixels, found_labels, strict=True)) == expected
    )


def test_digits_split_is_stratified_and_fixed():
    digits = load("digits")
    assert (len(digits.train), len(digits.test)) == (1437, 360)
    counts = np.bincount(np.concatenate([digits.train.labels, digits.test.labels]))
    share = np.bincount(digits.test.labels) / counts
    assert np.abs(share - 360 / 1797).max() < 0.005
    # Frozen: published figures on the demo depend on which images are the test set.
    digest = hashlib.sha256((digits.test.images * 16).astype(np.uint8).tobytes()).hexdigest()
    assert digest[:16] == "fa51ea52190b9f72"


def test_digits_without_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(DataError) as caught:
        load("digits")
    assert is_one_sentence(caught.value)
