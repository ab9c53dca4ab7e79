"""Batches of random networks and regions for one architecture: the arrays of a whole hypothesis draw."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from tests.common.architectures import Architecture
from tests.common.regions import MAGNITUDES, Kind, arrays, draw, rounded
from tests.oracles.sets import Set


@dataclass(frozen=True)
class Batch:
    """`params` and `parts` have a leading example axis; `weights` are the same numbers in float64."""

    weights: list[dict[str, np.ndarray]]
    regions: list[Set]
    params: dict[str, jax.Array]
    parts: dict[str, jax.Array]


def batch(
    architecture: Architecture, kind: Kind, rng, count: int, dtype: str, magnitudes=MAGNITUDES
) -> Batch:
    size = int(np.prod(architecture.in_shape))
    weights = [_rounded(architecture.init(rng), dtype) for _ in range(count)]
    regions = [rounded(draw(kind, size, rng, magnitudes), dtype) for _ in range(count)]
    params = {name: jnp.asarray(np.stack([w[name] for w in weights]), dtype) for name in architecture.shapes}
    return Batch(weights, regions, params, arrays(regions, architecture.in_shape, dtype))


def _rounded(weights, dtype):
    return {name: value.astype(dtype).astype(np.float64) for name, value in weights.items()}
