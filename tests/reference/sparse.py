"""The intermediate bounds that auto_LiRPA takes by itself: interval arithmetic where it shows stability.

Each layer's intervals are propagated from the bounds that the layer before it ended with. Where they show a
neuron stable for every image of the batch they stay; the other neurons get backward passes, and so does the
whole layer where more than 90 % are unstable. It is no method of jaxcert (`tightest(ibp(), crown())`
intersects instead), and written here to compare number by number.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

import jaxcert as jc
from jaxcert import regions
from jaxcert.bounds import IBP_RULES, Bounds

BATCH = "images"  # the axis name of the `jax.vmap` over the images


@jax.tree_util.register_static
@dataclass(frozen=True)
class IbpWhereStable:
    """Intermediate bounds for `crown(intermediate=...)` under a `jax.vmap(..., axis_name=BATCH)`."""

    slope: jc.slopes.Slope = jc.slopes.adaptive

    def ranges(self, graph, region, targets):
        enclosures = jc.crown(self.slope).enclosures(graph, region)

        def interval(index):
            known = {0: Bounds(*regions.interval(region))}
            for i in graph.ancestors((index,)):
                node = graph.nodes[i]
                if i != index and i in enclosures.ranges:
                    known[i] = enclosures.ranges[i]
                elif i:
                    known[i] = IBP_RULES[node.kind](node, *(known[j] for j in node.inputs))
            return known[index]

        def mixed(index, found):
            if index not in targets:
                return found
            simple = interval(index)
            unstable = (simple.lower < 0) & (simple.upper > 0)
            somewhere = jax.lax.psum(unstable.astype(jnp.int32), BATCH) > 0
            kept = ~somewhere & (somewhere.mean() <= 0.9)
            return Bounds(
                jnp.where(kept, simple.lower, found.lower), jnp.where(kept, simple.upper, found.upper)
            )

        enclosures.cut = mixed
        for target in sorted(targets):
            enclosures.known(target)
        return enclosures.ranges
