"""Padding and the splitting of positions into phases: what the forms for CPU have in common."""

from collections.abc import Sequence
from math import prod

import jax.numpy as jnp
from jax import lax


def pad_spatial(x, padding: Sequence[tuple[int, int]]):
    """Zero padding of the spatial axes of [N, *S, C]; negative entries crop."""
    if not any(low or high for low, high in padding):
        return x
    zero = jnp.zeros((), x.dtype)
    return lax.pad(x, zero, [(0, 0, 0), *((low, high, 0) for low, high in padding), (0, 0, 0)])


def phase_split(x, strides, groups: int):
    """[N, *(B * s), G * c] -> [N, *B, G, prod(s) * c]."""
    dims = x.ndim - 2
    batch, *sizes, channels = x.shape
    split = [n for size, s in zip(sizes, strides, strict=True) for n in (size // s, s)]
    x = x.reshape((batch, *split, groups, channels // groups))
    x = x.transpose((0, *range(1, 2 * dims, 2), 2 * dims + 1, *range(2, 2 * dims + 1, 2), 2 * dims + 2))
    blocks = [size // s for size, s in zip(sizes, strides, strict=True)]
    return x.reshape((batch, *blocks, groups, prod(strides) * channels // groups))
