"""Exact ranges of values that are still affine in the input, before the first activation.

For a value `sum_j w_j x_j + b` the range over a ball is `w . center + b -+ ||w * radius||_q`.
Where every input entry is used at most once per value (`Graph.box_exact`), the q-norm needs
no explicit w: it is the q-th root of the same network evaluated at radius^q with every
weight replaced by |w|^q. That costs two forward passes. Otherwise w is formed by a backward
pass; it does not depend on the example, so under vmap it is formed once per batch.
"""

import math

import jax
import jax.numpy as jnp

from jaxcert.bounds.types import Bounds
from jaxcert.graph import Graph
from jaxcert.graph.ir import BILINEAR
from jaxcert.regions import Box, LpBall, Region, interval


def has_short_form(region: Region, exact: bool) -> bool:
    """Whether `spread_forward` applies: any box; plain balls of norm 1 < p; never clipped l_p."""
    if not exact:
        return False
    return isinstance(region, Box) or region.norm == math.inf or (region.clip is None and region.norm > 1)


def spread_forward(graph: Graph, region: Region, index: int) -> Bounds:
    """Return the exact range of a `box_exact` node, by passing centre and spread forward."""
    center, spread, power = _start(region)
    chain = []
    while index:
        chain.append(index)
        (index,) = graph.nodes[index].inputs
    for step in reversed(chain):
        node = graph.nodes[step]
        center = node.apply(node.consts, center)
        if node.kind == "shift":
            continue
        consts = tuple(jnp.abs(c) ** power if power != 1 else jnp.abs(c) for c in node.consts)
        spread = node.apply(consts if node.kind in BILINEAR else node.consts, spread)
    reach = spread if power == 1 else _root(spread, power)
    return Bounds(center - reach, center + reach)


def _start(region: Region) -> tuple[jax.Array, jax.Array, float]:
    if isinstance(region, LpBall) and region.clip is None:
        power = 1.0 if region.norm == math.inf else region.norm / (region.norm - 1)
        radius = jnp.broadcast_to(region.radius, region.shape)
        return region.center, radius**power if power != 1 else radius, power
    lower, upper = interval(region)
    return 0.5 * lower + 0.5 * upper, 0.5 * upper - 0.5 * lower, 1.0


def _root(value: jax.Array, power: float) -> jax.Array:
    positive = value > 0
    safe = jnp.where(positive, value, 1)
    return jnp.where(positive, jnp.sqrt(safe) if power == 2 else safe ** (1 / power), value)
