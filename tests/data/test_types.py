import numpy as np
import pytest

from jaxcert.data import Dataset, Split, make_split
from jaxcert.errors import InvalidInputError
from tests.data.files import is_one_sentence

IMAGES = np.zeros((3, 4, 5, 1), np.uint8)
LABELS = np.array([0, 1, 2], np.int32)
FLOATS = IMAGES.astype(np.float32)


def with_pixel(value: float) -> np.ndarray:
    images = FLOATS.copy()
    images[1, 2, 3, 0] = value
    return images


@pytest.mark.parametrize(
    ("images", "labels", "word"),
    [
        (IMAGES[..., 0], LABELS, "channel"),
        (IMAGES[:0], LABELS[:0], "non-empty"),
        (FLOATS.astype(np.float64), LABELS, "float64"),
        (with_pixel(np.nan), LABELS, "NaN"),
        (with_pixel(1.5), LABELS, "1.5"),
        (with_pixel(-0.5), LABELS, "-0.5"),
        (with_pixel(np.inf), LABELS, "inf"),
        (IMAGES, LABELS[:2], "3 images and 2 labels"),
        (IMAGES, LABELS.astype(np.int64), "int64"),
        (IMAGES, LABELS - 1, "-1"),
        (IMAGES, LABELS[:, None], "(3, 1)"),
        (IMAGES, [0, 1, 2], "list"),
    ],
)
def test_split_refuses_bad_input(images, labels, word):
    with pytest.raises(InvalidInputError) as caught:
        Split(images, labels)
    assert word in str(caught.value)
    assert is_one_sentence(caught.value)


def test_split_is_frozen():
    with pytest.raises(AttributeError):
        Split(IMAGES, LABELS).labels = LABELS


def test_pixels_scale_bytes_exactly_and_keep_floats():
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    pixels = Split(levels, LABELS[:1]).pixels(slice(None))
    assert pixels.dtype == np.float32
    np.testing.assert_array_equal(pixels.ravel(), (np.arange(256) / 255.0).astype(np.float32))
    kept = Split(with_pixel(0.25), LABELS).pixels(np.array([1]))
    assert kept[0, 2, 3, 0] == np.float32(0.25)


@pytest.mark.parametrize("part", ["training", "test"])
def test_dataset_checks_shape_and_classes_of_each_part(part):
    good = Split(IMAGES, LABELS)
    for wrong, word in ((Split(IMAGES[:, :3], LABELS), "(3, 5, 1)"), (Split(IMAGES, LABELS + 1), "got 3")):
        splits = (wrong, good) if part == "training" else (good, wrong)
        with pytest.raises(InvalidInputError) as caught:
            Dataset("tiny", *splits, num_classes=3, shape=(4, 5, 1))
        assert word in str(caught.value)
        assert part in str(caught.value)
        assert is_one_sentence(caught.value)


def test_make_split_converts_what_files_hold():
    split = make_split(IMAGES[..., 0] / 255.0, LABELS.astype(np.uint8)[:, None])
    assert (split.images.shape, split.images.dtype) == (IMAGES.shape, np.float32)
    assert (split.labels.shape, split.labels.dtype) == ((3,), np.int32)


@pytest.mark.parametrize("labels", [LABELS.astype(np.float32), np.array([0, 1, 2**40]), np.array([0, 1, -1])])
def test_make_split_refuses_labels_that_are_not_classes(labels):
    with pytest.raises(InvalidInputError) as caught:
        make_split(IMAGES, labels)
    assert is_one_sentence(caught.value)
