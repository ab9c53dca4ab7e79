"""Plain values that tell networks, images and attacks from others: only their own results are taken up."""

import hashlib
import math
from dataclasses import fields, is_dataclass
from functools import partial
from types import FunctionType
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

    Dataclasses become their name and fields, functions their name, those without a name of their own
    and with captured values also a hash of code and values, long arrays a fingerprint.

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
    return _named(value)


def _named(value: Any) -> str:
    """The name of a function or object; with a hash of what it does where the name does not say it."""
    name = getattr(value, "__qualname__", type(value).__name__)
    if isinstance(value, partial):
        return f"partial {described((value.func, value.args, value.keywords))}"
    if not isinstance(value, FunctionType):
        known = isinstance(value, type) or (callable(value) and not hasattr(value, "__dict__"))
        return name if known else f"{name} {described(vars(value))}"
    if "<" not in name and value.__closure__ is None:
        return name
    held = [described(cell.cell_contents) for cell in value.__closure__ or ()]
    code = value.__code__
    told = (code.co_code, [c for c in code.co_consts if not hasattr(c, "co_code")], code.co_names)
    defaults = described([value.__defaults__, value.__kwdefaults__])
    digest = hashlib.sha256(repr((told, held, defaults)).encode()).hexdigest()[:16]
    return f"{name} {digest}"
