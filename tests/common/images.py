"""Test images of the data folder, read straight from the files: `jaxcert.data` is not trusted here."""

import gzip
from pathlib import Path

import numpy as np


def first_images(data_dir: Path, dataset: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The first `count` test images, float64 NHWC in [0, 1], and their labels."""
    if dataset == "cifar10":
        stored = np.load(data_dir / "cifar10" / "cifar10_test_first1000.npz")
        images, labels = stored["images"], stored["labels"]
    else:
        images = _idx(data_dir / dataset / "t10k-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28, 1)
        labels = _idx(data_dir / dataset / "t10k-labels-idx1-ubyte.gz", 8)
    if len(images) < count:
        raise ValueError(f"{dataset} has {len(images)} test images here, {count} were asked for")
    return images[:count] / 255.0, labels[:count].astype(np.int32)


def _idx(path: Path, header: int) -> np.ndarray:
    return np.frombuffer(gzip.decompress(path.read_bytes())[header:], np.uint8)
