"""Labelled image sets as arrays: loading, checking, batching and augmentation.

>>> from jaxcert.data import load, training_batches
>>> digits = load("digits")
>>> x, y = next(training_batches(digits.train, 64, seed=0, epoch=0))
>>> x.shape, y.shape
((64, 8, 8, 1), (64,))
"""

from jaxcert.data.augment import random_crop, random_flip
from jaxcert.data.batches import evaluation_batches, pad_batch, steps_per_epoch, training_batches
from jaxcert.data.catalog import CATALOG
from jaxcert.data.loading import DATASETS, load
from jaxcert.data.prepared import prepare_tfds
from jaxcert.data.spec import DatasetSpec, Source
from jaxcert.data.types import Dataset, Split, make_split

__all__ = [
    "CATALOG",
    "DATASETS",
    "Dataset",
    "DatasetSpec",
    "Source",
    "Split",
    "evaluation_batches",
    "load",
    "make_split",
    "pad_batch",
    "prepare_tfds",
    "random_crop",
    "random_flip",
    "steps_per_epoch",
    "training_batches",
]
