"""Padding and the splitting of positions into phases: what the forms for CPU have in common."""

from collections.abc import Sequence
from math import prod

import jax
import jax.numpy as jnp
from jax import lax

from jaxcert.kernels.geometry import Pads


def pad_spatial(x, padding: Sequence[tuple[int, int]]):
    """Zero padding of the spatial axes of [N, *S, C]; negative entries crop."""
    if not any(low or high for low, high in padding):
        return x
    zero = jnp.zeros((), x.dtype)
    return lax.pad(x, zero, [(0, 0, 0), *((low, high, 0) for low, high in padding), (0, 0, 0)])


def cropped(x, padding: Sequence[tuple[int, int]]) -> tuple[jax.Array, Pads]:
    """x with what negative entries crop cut off, and the padding that is left, none of it negative."""
    crops = []
    for size, (low, high) in zip(x.shape[1:-1], padding, strict=True):
        crop = min(low, 0), min(high, 0)
        crops.append(crop if size + sum(crop) >= 0 else (low, high))  # else no pixel is left, zeros alone
    left = tuple((low - a, high - b) for (low, high), (a, b) in zip(padding, crops, strict=True))
    return pad_spatial(x, crops), left


def phase_split(x, strides, groups: int):
    """[N, *(B * s), G * c] -> [N, *B, G, prod(s) * c]."""
    dims = x.ndim - 2
    batch, *sizes, channels = x.shape
    split = [n for size, s in zip(sizes, strides, strict=True) for n in (size // s, s)]
    x = x.reshape((batch, *split, groups, channels // groups))
    x = x.transpose((0, *range(1, 2 * dims, 2), 2 * dims + 1, *range(2, 2 * dims + 1, 2), 2 * dims + 2))
    blocks = [size // s for size, s in zip(sizes, strides, strict=True)]
    return x.reshape((batch, *blocks, groups, prod(strides) * channels // groups))
