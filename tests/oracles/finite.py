"""Central differences, the reference for every derivative."""

from collections.abc import Callable

import numpy as np


def directional(f: Callable, x: np.ndarray, direction: np.ndarray, step: float = 1e-6) -> np.ndarray:
    """`d/dt f(x + t direction)` at t = 0 with error O(step^2); `f` may return an array."""
    x, direction = np.asarray(x, float), np.asarray(direction, float)
    ahead, behind = f(x + step * direction), f(x - step * direction)
    return (np.asarray(ahead, float) - np.asarray(behind, float)) / (2 * step)


def gradient(f: Callable, x: np.ndarray, step: float = 1e-6) -> np.ndarray:
    """Gradient of a scalar function, coordinate by coordinate."""
    x = np.asarray(x, float)
    basis = np.eye(x.size).reshape(x.size, *x.shape)
    return np.array([directional(f, x, e, step) for e in basis]).reshape(x.shape)


def hessian_vector(
    gradient_of: Callable, x: np.ndarray, vector: np.ndarray, step: float = 1e-5
) -> np.ndarray:
    """`H v` from a gradient function."""
    return directional(gradient_of, x, vector, step)


def is_smooth(f: Callable, x: np.ndarray, direction: np.ndarray, step: float = 1e-6) -> bool:
    """Whether one-sided slopes agree, that is no kink lies within `step` of `x` along `direction`."""
    here = np.asarray(f(x), float)
    ahead = (np.asarray(f(x + step * direction), float) - here) / step
    behind = (here - np.asarray(f(x - step * direction), float)) / step
    return bool(np.allclose(ahead, behind, rtol=1e-3, atol=1e-4))
