"""Plain values that tell networks, images and attacks from others: only their own results are taken up."""

import hashlib
import math
from dataclasses import fields, is_dataclass
from typing import Any

import jax
import numpy as np

_SHORT = 16
"""Entries of an array that are written out; longer ones are told by their fingerprint."""


def fingerprint(*trees: Any) -> str:
    """A short hash of all arrays in these pytrees, to recognise the same network or images again."""
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(trees):
        array = np.ascontiguousarray(leaf)
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()[:16]


def described(value: Any) -> Any:
    """An attack and its options as plain JSON values, the same in every process.

    Dataclasses become their name and fields, functions their name, long arrays a fingerprint.

    >>> from jaxcert.attacks import random_start
    >>> described((random_start(0.5), described))
    [{'RandomStart': {'scale': 0.5}}, 'described']
    """
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if is_dataclass(value) and not isinstance(value, type):
        return {type(value).__name__: {f.name: described(getattr(value, f.name)) for f in fields(value)}}
    if isinstance(value, tuple | list):
        return [described(entry) for entry in value]
    if isinstance(value, dict):
        return {str(name): described(entry) for name, entry in value.items()}
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        return np.asarray(value).tolist() if np.size(value) <= _SHORT else fingerprint(value)
    return getattr(value, "__qualname__", type(value).__name__)
