"""Reproducible orders of examples."""

import numpy as np

from jaxcert.errors import InvalidInputError


def permutation(n: int, *, seed: int, epoch: int) -> np.ndarray:
    """Return a pseudo-random order of 0 .. n-1 (int64 [n]) that depends on (n, seed, epoch) only.

    It sorts n raw 64-bit outputs of the counter-based generator Philox keyed by (seed, epoch). Raw
    outputs are fixed by the algorithm, whereas numpy does not promise that `Generator.permutation`
    stays the same from version to version. Raises `InvalidInputError` for a seed or epoch outside
    0 .. 2**64 - 1.

    >>> permutation(5, seed=0, epoch=0).tolist() == permutation(5, seed=0, epoch=0).tolist()
    True
    """
    for name, value in (("seed", seed), ("epoch", epoch)):
        if not 0 <= value < 2**64:
            raise InvalidInputError(f"The {name} must be an integer from 0 to 2**64 - 1, got {value}.")
    draws = np.random.Philox(key=np.array([seed, epoch], np.uint64)).random_raw(n)
    return np.argsort(draws, kind="stable")
