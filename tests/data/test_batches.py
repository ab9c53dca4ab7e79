import numpy as np
import pytest

from jaxcert.data import Split, evaluation_batches, pad_batch, steps_per_epoch, training_batches
from jaxcert.data.shuffle import permutation
from jaxcert.errors import InvalidInputError
from tests.data.files import is_one_sentence


@pytest.fixture
def split() -> Split:
    """23 examples whose label and pixels are their number."""
    numbers = np.arange(23)
    images = np.broadcast_to(numbers.astype(np.uint8)[:, None, None, None], (23, 2, 2, 1)).copy()
    return Split(images, numbers.astype(np.int32))


def labels_of(batches) -> np.ndarray:
    return np.concatenate([y for _, y in batches])


def test_training_epoch_draws_each_example_at_most_once_and_drops_the_remainder(split):
    batches = list(training_batches(split, 5, seed=1, epoch=0))
    assert [len(y) for _, y in batches] == [5] * steps_per_epoch(split, 5) == [5, 5, 5, 5]
    assert len(set(labels_of(batches).tolist())) == 20
    for x, y in batches:
        assert (x.dtype, y.dtype, x.shape) == (np.float32, np.int32, (5, 2, 2, 1))
        np.testing.assert_array_equal(x[:, 0, 0, 0], y.astype(np.float32) / np.float32(255))


def test_training_order_depends_on_seed_and_epoch_only(split):
    order = lambda seed, epoch: labels_of(training_batches(split, 5, seed=seed, epoch=epoch)).tolist()
    assert order(3, 4) == order(3, 4)
    assert len({tuple(order(s, e)) for s, e in ((3, 4), (3, 5), (4, 4), (4, 3), (0, 0))}) == 5
    assert order(0, 0) != sorted(order(0, 0))


@pytest.mark.parametrize("start", [0, 1, 3, 4])
def test_training_resumes_at_any_batch(split, start):
    whole = list(training_batches(split, 5, seed=1, epoch=2))
    rest = list(training_batches(split, 5, seed=1, epoch=2, start=start))
    assert len(rest) == 4 - start
    for (x, y), (x_resumed, y_resumed) in zip(whole[start:], rest, strict=True):
        np.testing.assert_array_equal(x, x_resumed)
        np.testing.assert_array_equal(y, y_resumed)


def test_order_is_the_published_philox_stream():
    """Frozen numbers: another numpy must give the same order, or saved runs do not reproduce."""
    assert permutation(10, seed=0, epoch=0).tolist() == [0, 2, 9, 1, 8, 5, 4, 3, 6, 7]
    assert permutation(10, seed=7, epoch=3).tolist() == [2, 5, 9, 7, 3, 0, 6, 8, 4, 1]


def test_permutation_is_a_uniform_looking_permutation():
    first = [permutation(6, seed=seed, epoch=1)[0] for seed in range(600)]
    assert sorted(permutation(50, seed=0, epoch=0)) == list(range(50))
    assert np.bincount(first, minlength=6).min() > 60  # 100 expected, standard deviation 9


def test_evaluation_yields_every_example_once_in_order(split):
    batches = list(evaluation_batches(split, 5))
    assert [len(y) for _, y in batches] == [5, 5, 5, 5, 3]
    assert labels_of(batches).tolist() == list(range(23))
    assert labels_of(evaluation_batches(split, 5, limit=12)).tolist() == list(range(12))
    assert labels_of(evaluation_batches(split, 100)).tolist() == list(range(23))


def test_padding_masks_exactly_the_added_rows(split):
    x, y = list(evaluation_batches(split, 5))[-1]
    padded_x, padded_y, mask = pad_batch(x, y, 5)
    assert (padded_x.shape, padded_x.dtype, padded_y.dtype) == ((5, 2, 2, 1), np.float32, np.int32)
    assert mask.tolist() == [True] * 3 + [False] * 2
    np.testing.assert_array_equal(padded_x[mask], x)
    np.testing.assert_array_equal(padded_y[mask], y)
    full = pad_batch(padded_x, padded_y, 5)
    assert full[2].all()


@pytest.mark.parametrize(
    "call",
    [
        lambda split: training_batches(split, 24, seed=0, epoch=0),
        lambda split: training_batches(split, 0, seed=0, epoch=0),
        lambda split: training_batches(split, 5, seed=0, epoch=0, start=5),
        lambda split: training_batches(split, 5, seed=0, epoch=0, start=-1),
        lambda split: training_batches(split, 5, seed=-1, epoch=0),
        lambda split: training_batches(split, 5, seed=0, epoch=2**64),
        lambda split: evaluation_batches(split, 0),
        lambda split: evaluation_batches(split, 5, limit=24),
        lambda split: evaluation_batches(split, 5, limit=0),
        lambda split: pad_batch(split.pixels(slice(0, 4)), split.labels[:4], 3),
    ],
)
def test_bad_numbers_are_refused_at_the_call(split, call):
    with pytest.raises(InvalidInputError) as caught:
        call(split)
    assert is_one_sentence(caught.value)
