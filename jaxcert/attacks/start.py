"""Where an attack begins: frozen pytrees, called as `start(region, key=key) -> x`."""

from dataclasses import dataclass, field
from typing import Protocol

import jax

from jaxcert.errors import InvalidInputError
from jaxcert.regions import Region
from jaxcert.regions.project import project
from jaxcert.regions.sample import sample


class Start(Protocol):
    """Anything that gives a first point; `key` differs from restart to restart."""

    def __call__(self, region: Region, *, key: jax.Array) -> jax.Array: ...


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class CenterStart:
    """Begins at the clean input; see `center_start`."""

    def __call__(self, region: Region, *, key: jax.Array) -> jax.Array:
        return project(region, region.center)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class RandomStart:
    """Begins at a random point; see `random_start`."""

    scale: float = field(default=1.0, metadata={"static": True})

    def __call__(self, region: Region, *, key: jax.Array) -> jax.Array:
        x = sample(region, key=key)
        return x if self.scale == 1 else project(region, region.center + self.scale * (x - region.center))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class StartAt:
    """Begins at a given point; see `start_at`."""

    x: jax.Array

    def __call__(self, region: Region, *, key: jax.Array) -> jax.Array:
        return project(region, self.x)


def center_start() -> CenterStart:
    """Begin at the centre of the region, the clean input (theses/2 A5, theses/4b A2).

    >>> from jaxcert.attacks import center_start
    >>> center_start()
    CenterStart()
    """
    return CenterStart()


def random_start(scale: float = 1.0) -> RandomStart:
    """Begin at `regions.sample(region)`: uniform in the ball, then clipped (theses/4b A3, A4).

    `scale`, static, in (0, 1], draws from the ball shrunk by that factor: the noise of one step's
    size that the code of theses/4b section 4.2 starts from. Another scale raises InvalidInputError.

    >>> from jaxcert.attacks import random_start
    >>> random_start()
    RandomStart(scale=1.0)
    """
    if not 0 < scale <= 1:
        raise InvalidInputError(f"scale must lie in (0, 1], got {scale}: it is a fraction of the radius.")
    return RandomStart(float(scale))


def start_at(x: jax.Array) -> StartAt:
    """Begin at the point of the region nearest to `x`, e.g. what an earlier attack found (4b A5).

    >>> import jax.numpy as jnp
    >>> from jaxcert.attacks import start_at
    >>> start_at(jnp.zeros(2)).x.shape
    (2,)
    """
    return StartAt(x)
