"""Batches of a split: shuffled for training, in order for evaluation."""

from collections.abc import Iterator

import numpy as np

from jaxcert.data.shuffle import permutation
from jaxcert.data.types import Split
from jaxcert.errors import InvalidInputError


def steps_per_epoch(split: Split, batch_size: int) -> int:
    """Return how many whole batches one pass over `split` has: the remainder is dropped in training.

    Raises `InvalidInputError` unless 1 <= batch_size <= len(split).
    """
    if not 1 <= batch_size <= len(split):
        raise InvalidInputError(
            f"The batch size must be from 1 to the {len(split)} examples of the split, got {batch_size}."
        )
    return len(split) // batch_size


def training_batches(
    split: Split,
    batch_size: int,
    *,
    seed: int,
    epoch: int,
    start: int = 0,
    rows: np.ndarray | None = None,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Return an iterator over the batches of one epoch: (pixels float32 [B, H, W, C], labels int32 [B]).

    The order depends on (seed, epoch) only, differs from epoch to epoch, and the incomplete last batch
    is dropped, so that every batch has `batch_size` examples. `start` skips that many batches without
    decoding them: a run resumed at step s continues with epoch s // steps_per_epoch and
    start s % steps_per_epoch exactly as if it had not stopped. With `rows` (positions in a batch), only these
    rows of every batch are decoded and given: what one of several processes holds.

    Raises `InvalidInputError` at once (not at the first batch) for a batch size larger than the split
    or a `start` outside 0 .. steps_per_epoch.

    >>> from jaxcert.data import load
    >>> train = load("digits").train
    >>> x, y = next(training_batches(train, 32, seed=0, epoch=0))
    >>> x.shape, x.dtype, y.dtype
    ((32, 8, 8, 1), dtype('float32'), dtype('int32'))
    """
    steps = steps_per_epoch(split, batch_size)
    if not 0 <= start <= steps:
        raise InvalidInputError(
            f"The first batch must be from 0 to {steps} (the steps of an epoch), got {start}."
        )
    order = permutation(len(split), seed=seed, epoch=epoch)[: steps * batch_size]
    return _gather(split, order[start * batch_size :], batch_size, rows)


def _gather(
    split: Split, order: np.ndarray, batch_size: int, rows: np.ndarray | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for first in range(0, len(order), batch_size):
        chosen = order[first : first + batch_size]
        chosen = chosen if rows is None else chosen[rows]
        yield split.pixels(chosen), split.labels[chosen]


def evaluation_batches(
    split: Split, batch_size: int, limit: int | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Return an iterator over the first `limit` examples (all if None) in order, remainder included.

    Yields (pixels float32 [b, H, W, C], labels int32 [b]) with b = batch_size except for a shorter last
    batch: every example appears exactly once. `pad_batch` brings the last one to full size where a
    jitted function must not be compiled twice.

    Raises `InvalidInputError` at once for a batch size below 1 or a limit outside 1 .. len(split).

    >>> from jaxcert.data import load
    >>> [len(y) for _, y in evaluation_batches(load("digits").test, 150)]
    [150, 150, 60]
    """
    if batch_size < 1:
        raise InvalidInputError(f"The batch size must be at least 1, got {batch_size}.")
    count = len(split) if limit is None else limit
    if not 1 <= count <= len(split):
        raise InvalidInputError(
            f"The number of examples must be from 1 to the {len(split)} of the split, got {count}."
        )
    return _gather(split, np.arange(count), batch_size)


def pad_batch(x: np.ndarray, y: np.ndarray, batch_size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (x, y, mask) with exactly `batch_size` rows; mask bool [batch_size] is False on added rows.

    Added rows are black images of class 0, valid inputs whose results the caller drops with the mask.
    Raises `InvalidInputError` if the batch is longer than `batch_size`.

    >>> import numpy as np
    >>> x, y, mask = pad_batch(np.ones((2, 8, 8, 1), np.float32), np.array([4, 2], np.int32), 3)
    >>> x.shape, y.tolist(), mask.tolist()
    ((3, 8, 8, 1), [4, 2, 0], [True, True, False])
    """
    missing = batch_size - len(y)
    if missing < 0:
        raise InvalidInputError(
            f"A batch of {len(y)} examples cannot be padded to {batch_size}; pass a larger size."
        )
    mask = np.arange(batch_size) < len(y)
    x = np.concatenate([x, np.zeros((missing, *x.shape[1:]), x.dtype)])
    y = np.concatenate([y, np.zeros(missing, y.dtype)])
    return x, y, mask
