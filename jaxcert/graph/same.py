"""Whether two constants, or two descriptions of operations, are known to be the same.

Traced values are the same where they are one object. A negative answer costs tightness only.
"""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.core import Tracer

# Comparing larger arrays would cost more than the recognition of a repeated operation saves.
_LARGEST = 1 << 16


def same(a: Any, b: Any) -> bool:
    """Return whether a and b are known to be equal, arrays bit for bit and of one dtype."""
    if a is b:
        return True
    if isinstance(a, Tracer) or isinstance(b, Tracer):
        return False
    if isinstance(a, Mapping):
        return isinstance(b, Mapping) and a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, tuple | list):
        return type(a) is type(b) and len(a) == len(b) and all(same(u, v) for u, v in zip(a, b, strict=True))
    if _is_array(a) or _is_array(b):
        return _is_array(a) and _is_array(b) and _same_array(a, b)
    return type(a) is type(b) and bool(a == b)


def uniform(value: Any) -> float | None:
    """Return the number that a known constant has in all entries, or None."""
    if isinstance(value, Tracer):
        return None
    array = np.asarray(value)
    if array.size == 0 or array.dtype.kind not in "fiub":
        return None
    first = array.reshape(-1)[0]
    return float(first) if bool(np.all(array == first)) else None


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray | np.generic | jax.Array)


def _same_array(a: Any, b: Any) -> bool:
    if a.dtype != b.dtype or a.shape != b.shape or np.size(a) > _LARGEST:
        return False
    if not isinstance(a.dtype, np.dtype):  # a PRNG key
        return False
    return np.asarray(a).tobytes() == np.asarray(b).tobytes()
