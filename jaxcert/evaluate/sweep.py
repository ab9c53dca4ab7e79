"""The one loop over a whole set: batches of one size, progress, results as they come.

Every batch has the same shape: the remainder batch is filled up with black images, whose results
are thrown away, so that a measure compiles once. On a mesh the batch is shared out among its devices,
and each process decodes the images of its own devices only.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from tqdm import tqdm

from jaxcert.data import pad_batch
from jaxcert.devices import ONE_DEVICE, Devices, is_first, on_first
from jaxcert.errors import DataError, InvalidInputError
from jaxcert.evaluate.results import Record, Results


class Images(Protocol):
    """What a sweep needs of a split of a data set (`jaxcert.data.Split` is one)."""

    @property
    def labels(self) -> Any:
        """Integer labels `[N]`."""
        ...

    def pixels(self, indices: Any) -> Any:
        """The images at these positions, float32 `[len(indices), H, W, C]` in [0, 1]."""
        ...


@dataclass(frozen=True)
class Batch:
    """Images of one compiled shape, of which the first `count` are real.

    `pixels` are placed on the devices (numpy without a mesh); `indices` and `labels` are of the whole batch.
    """

    indices: np.ndarray
    pixels: Any
    labels: np.ndarray
    count: int


BatchMeasure = Callable[[Batch], Sequence[Record]]


def padded_batches(
    images: Images,
    indices: Sequence[int],
    batch_size: int,
    devices: Devices = ONE_DEVICE,
    *,
    shrink: bool = False,
) -> Iterator[Batch]:
    """Splits `indices` into batches of exactly `batch_size` images, rounded up to a multiple of the devices.

    With `shrink` the remainder has the smallest size that comes of halving `batch_size` and holds it, so
    that a batch of few images costs little and only few shapes are compiled.

    Raises:
      InvalidInputError: `batch_size` is not positive.
    """
    if batch_size < 1:
        raise InvalidInputError(f"The batch size must be at least 1, got {batch_size}.")
    labels, whole = np.asarray(images.labels), devices.rounded_up(batch_size)
    for start in range(0, len(indices), whole):
        real = np.asarray(indices[start : start + whole], dtype=np.int32)
        size = _shrunk(whole, len(real), devices) if shrink else whole
        held = devices.rows(size)
        mine = real[held[held < len(real)]]  # the added rows are the last ones of any process's part too
        x, _, _ = pad_batch(np.asarray(images.pixels(mine)), labels[mine], len(held))
        missing = (0, size - len(real))
        y = np.pad(labels[real].astype(np.int32), missing)
        yield Batch(np.pad(real, missing), devices.batch(x, size), y, len(real))


def sweep(
    measure: BatchMeasure,
    images: Images,
    *,
    indices: Sequence[int] | None = None,
    batch_size: int = 256,
    results: Results | None = None,
    progress: str = "images",
    status: Callable[[Sequence[Record]], str] | None = None,
    shrink: bool = False,
    devices: Devices = ONE_DEVICE,
) -> list[Record]:
    """Records of the images at `indices` (all by default), in that order.

    With `results`, images that the file already holds are not measured again, and each batch is
    written as soon as it is done. Progress goes to stderr under the name `progress`, with what `status`
    says of the records so far. `devices` share every batch; with several processes the first one alone
    reads and writes the file. `shrink`: see `padded_batches`.
    """
    wanted = list(range(len(np.asarray(images.labels)))) if indices is None else [int(i) for i in indices]
    known = {record.index: record for record in (on_first(results.resume) if results else [])}
    done = {index: known[index] for index in wanted if index in known}
    todo = [index for index in wanted if index not in done]
    size, first = batch_size if shrink else min(batch_size, max(len(wanted), 1)), is_first()
    with tqdm(
        total=len(wanted),
        initial=len(wanted) - len(todo),
        desc=progress,
        unit="image",
        leave=False,
        disable=not first,
    ) as bar:
        for batch in padded_batches(images, todo, size, devices, shrink=shrink):
            start = time.perf_counter()
            measured = measure(batch)[: batch.count]
            share = (time.perf_counter() - start) / batch.count
            records = [replace(record, seconds=round(share, 9)) for record in measured]
            if results and first:
                results.append(records)
            done.update({record.index: record for record in records})
            bar.update(batch.count)
            if status:
                bar.set_postfix_str(status(list(done.values())))
    return [done[index] for index in wanted]


def _shrunk(size: int, count: int, devices: Devices) -> int:
    """`size`, halved as often as it still holds `count` images."""
    while (half := devices.rounded_up(-(-size // 2))) < size and half >= count:
        size = half
    return size


def check_labels(images: Images, num_classes: int) -> None:
    """Raises DataError where a label has no logit."""
    labels = np.asarray(images.labels)
    wrong = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if wrong.size:
        raise DataError(
            f"Image {wrong[0]} has label {labels[wrong[0]]}, but the network tells {num_classes} classes "
            f"apart (0 to {num_classes - 1}): correct the labels or choose a network with more classes."
        )
