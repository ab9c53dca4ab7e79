"""Random input regions: drawn as oracle sets in numpy, handed to jaxcert as plain arrays.

A `Kind` is what is static for the compiler; centres, radii and ranges are data. Radii include 0,
per-coordinate zeros, tiny and huge values.
"""

import math
from dataclasses import dataclass

import hypothesis.strategies as st
import jax.numpy as jnp
import numpy as np

from jaxcert import regions
from tests.oracles import sets


@dataclass(frozen=True)
class Kind:
    """`norm` None is a box given by its ends."""

    norm: float | None
    clipped: bool = False

    def __str__(self) -> str:
        name = "box" if self.norm is None else f"l_{self.norm:g}"
        return name + "-clipped" * self.clipped

    def build(self, arrays: dict):
        """The jaxcert region of one example, from (traced) arrays."""
        if self.norm is None:
            return regions.box(arrays["lower"], arrays["upper"])
        clip = (arrays["lower"], arrays["upper"]) if self.clipped else None
        return regions.lp_ball(arrays["center"], arrays["radius"], self.norm, clip)


KINDS = (
    Kind(math.inf),
    Kind(math.inf, clipped=True),
    Kind(2.0),
    Kind(2.0, clipped=True),
    Kind(1.0),
    Kind(1.0, clipped=True),
    Kind(None),
)
# Other norms, for the tests of regions themselves: near 1, between, large.
OTHER = tuple(Kind(norm, clipped=True) for norm in (1.05, 1.5, 3.0, 50.0))
MAGNITUDES = (0.0, 1e-6, 1e-3, 0.03, 0.3, 1.0, 30.0)


def seeds() -> st.SearchStrategy[int]:
    return st.integers(0, 2**32 - 1)


def draw(kind: Kind, size: int, rng: np.random.Generator, magnitudes=MAGNITUDES) -> sets.Set:
    """One random set of `size` coordinates; clipped sets live in [0, 1]."""
    eps = rng.choice(magnitudes)
    center = rng.random(size) if kind.clipped else rng.normal(size=size)
    if kind.clipped and rng.random() < 0.3:
        center = np.round(center)  # on the edge of the range, like a black or white pixel
    radius = np.full(size, eps)
    if rng.random() < 0.5:
        radius = eps * rng.random(size) * (rng.random(size) < 0.8)
    if kind.norm is None:
        return sets.box(center - radius, center + radius)
    low, high = (0.0, 1.0) if kind.clipped else (-np.inf, np.inf)
    return sets.Set(center, radius, kind.norm, np.full(size, low), np.full(size, high))


def rounded(region: sets.Set, dtype) -> sets.Set:
    """The set with its defining numbers representable in `dtype`, so that both sides mean the same."""

    def cast(a):
        return np.asarray(a, dtype).astype(np.float64)

    if np.isinf(region.norm) and np.isfinite(region.lower).all() and (region.upper != 1).any():
        return sets.box(cast(region.lower), cast(region.upper))
    return sets.Set(cast(region.center), cast(region.radius), region.norm, region.lower, region.upper)


def arrays(drawn: list[sets.Set], shape: tuple[int, ...], dtype) -> dict:
    """Stacked `center`, `radius`, `lower`, `upper` with a leading example axis."""
    return {
        name: jnp.asarray(np.stack([getattr(r, name).reshape(shape) for r in drawn]), dtype)
        for name in ("center", "radius", "lower", "upper")
    }
