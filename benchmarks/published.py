"""A trained network of the data folder and MNIST's test images: for attacks that have to do all their work.

The folder is that of JAXCERT_DATA, else `../shared/data` beside the repository.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np

FILES: Mapping[str, str] = MappingProxyType({"wk-small": "kw_mnist_small_eps01"})
"""Network -> the file of its trained weights: Wong and Kolter's own, certified at eps 0.1."""

_BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data"


class Missing(LookupError):
    """There is no such network, or no images; the message says where it was looked for."""


def weights(network: str) -> list[np.ndarray]:
    """The trained weights of a network, as `networks.weights` has untrained ones; may raise `Missing`."""
    if network not in FILES:
        raise Missing(f"no trained network for {network}: only for {', '.join(FILES)}")
    path = _folder() / "nets" / f"{FILES[network]}.npz"
    if not path.is_file():
        raise Missing(f"no data folder: {path} is not there")
    with np.load(path) as stored:
        return _neutral(dict(stored))


def images(count: int) -> tuple[np.ndarray, np.ndarray]:
    """The first test images of MNIST, float32 `[count, 28, 28, 1]`, and their labels; may raise `Missing`."""
    # Imported here only: other works' processes of the peers hold nothing of jaxcert.
    from jaxcert.data import load
    from jaxcert.errors import DataError

    try:
        test = load("mnist", _folder(), download=False).test
    except DataError as error:
        raise Missing(f"no MNIST in the data folder: {error}") from error
    if len(test.labels) < count:
        raise Missing(f"{len(test.labels)} test images in the data folder, {count} are needed")
    chosen = slice(0, count)
    return np.asarray(test.pixels(chosen), np.float32), np.asarray(test.labels[chosen], np.int32)


def _folder() -> Path:
    return Path(os.environ.get("JAXCERT_DATA") or _BESIDE)


def _neutral(stored: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """From OIHW kernels and a first dense layer that takes channel, row, column."""
    kernels = [stored[f"{index:02}_weight"] for index in range(4)]
    biases = [stored[f"{index:02}_bias"] for index in range(4)]
    channels = len(kernels[1])
    side = round((kernels[2].shape[1] / channels) ** 0.5)
    first = kernels[2].reshape(-1, channels, side, side).transpose(0, 2, 3, 1).reshape(len(kernels[2]), -1)
    layouts = [kernels[0].transpose(2, 3, 1, 0), kernels[1].transpose(2, 3, 1, 0), first.T, kernels[3].T]
    return [array.astype(np.float32) for pair in zip(layouts, biases, strict=True) for array in pair]
