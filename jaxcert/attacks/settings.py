"""Checks of the options that attacks share."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.core import Tracer
from jax.typing import ArrayLike

from jaxcert.errors import InvalidInputError


def require_count(value: int, name: str) -> None:
    """Raises InvalidInputError unless `value` is an integer of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise InvalidInputError(f"{name} must be an integer of at least 1, got {value!r}.")


def require_number(value: ArrayLike, name: str, what: str, holds: Callable[[float], bool]) -> None:
    """Raises InvalidInputError unless `value` is one number that `holds`; traced ones may be anything."""
    if isinstance(value, Tracer):
        return
    number = np.asarray(value)
    if number.ndim != 0 or not holds(float(number)):
        raise InvalidInputError(f"{name} must be one number {what}, got {value}.")


def held(value: Any) -> Any:
    """`value` with its arrays held constant under differentiation; leaves that are none stay as they are."""
    stop = lambda leaf: jax.lax.stop_gradient(leaf) if isinstance(leaf, jax.Array) else leaf
    return jax.tree.map(stop, value)
