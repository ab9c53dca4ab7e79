"""Exact ranges of values that are still affine in the input, before the first activation.

For a value `sum_j w_j x_j + b` the range over a ball is `w . center + b -+ ||w * radius||_q`.
Where every input entry is used at most once per value (`Graph.box_exact`), the norm needs no
explicit w for q = 1 and q = 2: it is the same network evaluated at the radius with every
weight replaced by |w|, or the root of the network of w^2 at radius^2. That costs two forward
passes. Otherwise (other norms, whose powers would underflow, and repeated entries) w is
formed by a backward pass; it does not depend on the example, so under vmap it is formed once
per batch.
"""

import jax
import jax.numpy as jnp
from jax import lax

from jaxcert.bounds.backward import CROWN_RULES
from jaxcert.bounds.patches import patch_start
from jaxcert.bounds.sweep import identity_rows, propagate, range_of
from jaxcert.bounds.types import Bounds
from jaxcert.errors import InvalidInputError
from jaxcert.graph import Graph
from jaxcert.graph.ir import BILINEAR
from jaxcert.regions import LpBall, Region, interval, is_box


def affine_range(graph: Graph, region: Region, index: int) -> Bounds:
    """Return the exact range of a node that is affine in the input."""
    if _has_short_form(region, graph.box_exact()[index]):
        return _spread_forward(graph, region, index)
    node = graph.nodes[index]
    start = patch_start(graph, index)
    rows = propagate(
        graph,
        index,
        identity_rows(graph, index) if start is None else start,
        planes=no_planes,
        stop=lambda _: False,
        rules=CROWN_RULES,
        engine="affine range",
    )
    low, high = range_of(region, rows.coeffs[0])
    low, high = low.astype(node.dtype) + rows.lower, high.astype(node.dtype) + rows.lower
    return Bounds(low.reshape(node.shape), high.reshape(node.shape))


def no_planes(index: int, lift, shape):
    """The planes of passes that meet affine nodes only."""
    raise InvalidInputError(f"node {index} is not affine; this is a bug in jaxcert, please report it.")


def _has_short_form(region: Region, exact: bool) -> bool:
    """Whether `_spread_forward` applies: boxes, and plain balls of norm 2."""
    if not exact:
        return False
    return is_box(region) or (isinstance(region, LpBall) and region.clip is None and region.norm == 2)


def _spread_forward(graph: Graph, region: Region, index: int) -> Bounds:
    """Return the exact range of a `box_exact` node, by passing centre and spread forward."""
    center, spread, unit = _start(region)
    chain = []
    while index:
        chain.append(index)
        (index,) = graph.nodes[index].inputs
    for step in reversed(chain):
        node = graph.nodes[step]
        center = node.apply(node.consts, center)
        if node.kind == "shift":
            continue
        weights = tuple(jnp.abs(c) if unit is None else c * c for c in node.consts)
        spread = node.apply(weights if node.kind in BILINEAR else node.consts, spread)
    reach = spread if unit is None else unit.astype(spread.dtype) * _root(spread)
    return Bounds(center - reach, center + reach)


def _start(region: Region) -> tuple[jax.Array, jax.Array, jax.Array | None]:
    """Centre, spread and, for l_2, the unit in which the radius is squared (its largest entry)."""
    if isinstance(region, LpBall) and region.norm == 2:
        largest = lax.stop_gradient(jnp.max(region.radius))
        unit = jnp.where(largest > 0, largest, 1)
        share = jnp.broadcast_to(region.radius / unit, region.shape)
        return region.center, share * share, unit
    if isinstance(region, LpBall) and region.clip is None:
        return region.center, jnp.broadcast_to(region.radius, region.shape), None
    lower, upper = interval(region)
    return 0.5 * lower + 0.5 * upper, 0.5 * upper - 0.5 * lower, None


def _root(value: jax.Array) -> jax.Array:
    positive = value > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, value, 1)), value)
