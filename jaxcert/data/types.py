"""What a data set is: images and labels in memory, checked when they are put together."""

from dataclasses import dataclass

import numpy as np

from jaxcert.errors import InvalidInputError


@dataclass(frozen=True, eq=False)
class Split:
    """One part (training or test) of a labelled image set, held in memory.

    Fields: `images` [N, H, W, C], either uint8 (0 to 255, as stored) or float32 in [0, 1];
    `labels` int32 [N], not negative. Construction checks both and raises `InvalidInputError`
    for anything else; `make_split` converts the other usual types first.

    >>> import numpy as np
    >>> part = Split(np.full((2, 8, 8, 1), 255, np.uint8), np.array([3, 5], np.int32))
    >>> len(part), part.pixels(np.array([1])).max()
    (2, np.float32(1.0))
    """

    images: np.ndarray
    labels: np.ndarray

    def __post_init__(self) -> None:
        _check_images(self.images)
        _check_labels(self.labels)
        if len(self.images) != len(self.labels):
            raise InvalidInputError(
                f"There must be one label per image, got {len(self.images)} images and "
                f"{len(self.labels)} labels; pass arrays of equal length."
            )

    def __len__(self) -> int:
        return len(self.labels)

    def pixels(self, indices: np.ndarray | slice) -> np.ndarray:
        """Return the chosen images as float32 [len(indices), H, W, C] with pixels in [0, 1]."""
        chosen = self.images[indices]
        if chosen.dtype == np.uint8:
            return chosen.astype(np.float32) / np.float32(255)
        return chosen


def _check_images(images: np.ndarray) -> None:
    if not isinstance(images, np.ndarray) or images.ndim != 4 or 0 in images.shape:
        raise InvalidInputError(
            f"Images must be a non-empty numpy array [N, H, W, C], got {_describe(images)}; add the channel "
            "axis to grey images (images[..., None])."
        )
    if images.dtype == np.uint8:
        return
    if images.dtype != np.float32:
        raise InvalidInputError(
            f"Images must be uint8 or float32, got {images.dtype}; convert them, or use make_split."
        )
    low, high = float(images.min()), float(images.max())
    if not (low >= 0.0 and high <= 1.0):  # written so that NaN fails
        raise InvalidInputError(
            f"Float pixels must be numbers in [0, 1], got values from {low:g} to {high:g}; "
            "remove NaN and scale the images."
        )


def _check_labels(labels: np.ndarray) -> None:
    if not isinstance(labels, np.ndarray) or labels.ndim != 1 or labels.dtype != np.int32:
        raise InvalidInputError(
            f"Labels must be an int32 numpy array [N], got {_describe(labels)}; "
            "convert them, or use make_split."
        )
    if labels.size and int(labels.min()) < 0:
        raise InvalidInputError(
            f"Labels must not be negative, got {int(labels.min())}; number the classes from 0."
        )


def _describe(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} of shape {value.shape}"
    return type(value).__name__


@dataclass(frozen=True, eq=False)
class Dataset:
    """A named image classification set: `train` and `test` splits of one shape.

    Fields: `name`; `train`, `test`; `num_classes`; `shape` (H, W, C) of one image; `source`, where the
    images came from, for reports (it may say that only a part of the set is there).
    Raises `InvalidInputError` if a label is not below `num_classes` or an image is not of `shape`.
    """

    name: str
    train: Split
    test: Split
    num_classes: int
    shape: tuple[int, int, int]
    source: str = ""

    def __post_init__(self) -> None:
        for part, split in (("training", self.train), ("test", self.test)):
            check_split(split, self.num_classes, self.shape, part)


def check_split(split: Split, num_classes: int, shape: tuple[int, int, int], part: str) -> None:
    """Raise `InvalidInputError` unless every image has `shape` and every label is below `num_classes`."""
    found = split.images.shape[1:]
    if found != tuple(shape):
        raise InvalidInputError(
            f"Each {part} image must have shape {tuple(shape)}, got {found}; "
            "pass the images of this data set."
        )
    highest = int(split.labels.max())
    if highest >= num_classes:
        raise InvalidInputError(
            f"Each {part} label must be one of 0 to {num_classes - 1}, got {highest}; "
            "correct the labels or the number of classes."
        )


def make_split(images: np.ndarray, labels: np.ndarray) -> Split:
    """Return a checked `Split` from the array types that files usually hold.

    Grey images [N, H, W] get their channel axis, float images become float32, labels of any integer
    type and of shape [N] or [N, 1] become int32 [N]. Raises `InvalidInputError` as `Split` does, and
    for labels that are not integers.

    >>> import numpy as np
    >>> make_split(np.zeros((2, 8, 8), np.uint8), np.array([[1], [7]])).labels
    array([1, 7], dtype=int32)
    """
    images, labels = np.asarray(images), np.asarray(labels)
    if images.ndim == 3:
        images = images[..., None]
    if images.dtype.kind == "f":
        images = images.astype(np.float32, copy=False)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.dtype.kind not in "iu":
        raise InvalidInputError(
            f"Labels must be integers, got {labels.dtype}; convert them to class numbers."
        )
    if labels.size and not 0 <= int(labels.min()) <= int(labels.max()) < 2**31:
        raise InvalidInputError(
            f"Labels must be class numbers from 0, got {int(labels.min())} to {int(labels.max())}; "
            "correct them."
        )
    return Split(images, labels.astype(np.int32))
