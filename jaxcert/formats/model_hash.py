"""Recognising a network again."""

import hashlib
import json
from collections.abc import Mapping
from operator import itemgetter
from typing import Any

import jax
import numpy as np


def model_hash(params: Any, structure: Mapping[str, Any]) -> str:
    """Return the sha256 (64 hexadecimal digits) of a network's parameters and description.

    Equal for equal numbers on any machine: leaves are taken in the order of their paths, each with
    its path, type, shape and little-endian bytes. Two networks that differ in nothing but code
    that `structure` does not mention have one hash.

    Args:
      params: a pytree of arrays.
      structure: plain JSON values that fix what the parameters do, such as the model's name.

    Example:
      >>> import numpy as np
      >>> model_hash({"w": np.ones(2)}, {"model": "linear"})[:8]
      '02a50fce'
    """
    digest = hashlib.sha256(json.dumps(dict(structure), sort_keys=True, allow_nan=False).encode())
    leaves, _ = jax.tree_util.tree_flatten_with_path(params)
    for path, leaf in sorted(((jax.tree_util.keystr(p), v) for p, v in leaves), key=itemgetter(0)):
        array = np.asarray(leaf)
        array = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        digest.update(f"\n{path} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
