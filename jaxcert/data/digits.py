"""The 1,797 real 8x8 images of handwritten digits that scikit-learn carries: no download needed."""

import numpy as np

from jaxcert.data.reasons import reason
from jaxcert.data.shuffle import permutation
from jaxcert.data.types import Dataset, Split
from jaxcert.errors import DataError

_TEST_SIZE = 360
_SPLIT_SEED = 0


def load_digits() -> Dataset:
    """Return the `digits` set: 1,437 training and 360 test images [8, 8, 1], float32 in [0, 1].

    Pixels are scikit-learn's counts 0 to 16 divided by 16. The split is fixed and stratified: within
    each class the images are put in a fixed pseudo-random order, and the 360 that come first relative
    to the size of their class are the test set (34 to 37 of each class). scikit-learn has no published
    split; figures on it compare only with figures on this one. Raises `DataError` without scikit-learn.

    >>> digits = load_digits()
    >>> len(digits.train), len(digits.test), digits.shape
    (1437, 360, (8, 8, 1))
    """
    counts, labels = _embedded()
    images = (counts.reshape(-1, 8, 8, 1) / 16.0).astype(np.float32)
    labels = labels.astype(np.int32)
    order = _stratified_order(labels)
    test, train = np.sort(order[:_TEST_SIZE]), np.sort(order[_TEST_SIZE:])
    return Dataset(
        name="digits",
        train=Split(images[train], labels[train]),
        test=Split(images[test], labels[test]),
        num_classes=10,
        shape=(8, 8, 1),
        source="scikit-learn's embedded digits",
    )


def _embedded() -> tuple[np.ndarray, np.ndarray]:
    try:
        from sklearn.datasets import load_digits as embedded_digits
    except ImportError as error:
        raise DataError(
            f"The digits images come with scikit-learn, which cannot be imported ({reason(error)}); "
            "install it with: pip install 'jaxcert[train]'."
        ) from error
    counts, labels = embedded_digits(return_X_y=True)
    return np.asarray(counts), np.asarray(labels)


def _stratified_order(labels: np.ndarray) -> np.ndarray:
    """Return an order of the examples in which every beginning has about the same share of each class."""
    place = np.empty(len(labels))
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        ranks = permutation(len(members), seed=_SPLIT_SEED, epoch=int(label))
        place[members] = (ranks + 0.5) / len(members)
    return np.argsort(place, kind="stable")
