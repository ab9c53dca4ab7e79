"""Checks of the options that attacks share."""

import numpy as np

from jaxcert.errors import InvalidInputError


def require_count(value: int, name: str) -> None:
    """Raises InvalidInputError unless `value` is an integer of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise InvalidInputError(f"{name} must be an integer of at least 1, got {value!r}.")
