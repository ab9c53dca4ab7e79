"""Attacks see every input as one vector.

Only the network needs the input's shape. XLA's CPU reductions over arrays whose last axis is short (images
with one channel) take up to 18 times as long as over vectors.
"""

from collections.abc import Callable
from dataclasses import replace

import jax

from jaxcert.attacks.expectation import Expectation
from jaxcert.regions import Box, LpBall, Region
from jaxcert.relax.interval import materialised

Network = Callable[..., jax.Array]


def flat_region(region: Region) -> Region:
    """The region as a set of vectors; a product is one already."""
    if isinstance(region, LpBall):
        clip = None if region.clip is None else (_flat(region.clip[0]), _flat(region.clip[1]))
        return replace(region, center=_flat(region.center), radius=_flat(region.radius), clip=clip)
    if isinstance(region, Box):
        return Box(_flat(region.lower), _flat(region.upper))
    return region


def flat_network(fn: Network | Expectation, region: Region) -> Network | Expectation:
    """`fn` as a function of the vectors of `flat_region(region)`."""
    if not isinstance(region, LpBall | Box):
        return fn
    shape = region.shape
    if isinstance(fn, Expectation):
        draw = fn.fn
        return replace(fn, fn=lambda x, key: draw(x.reshape(shape), key))
    # Else XLA's CPU loops compute the whole step that led to x again for every window of a convolution.
    return lambda x: fn(materialised(x).reshape(shape))


def _flat(values: jax.Array) -> jax.Array:
    """A vector; what holds for every coordinate stays a scalar."""
    return values.reshape(-1) if values.ndim else values
