"""How many neurons a region leaves undecided: active, dead and unstable ones, layer by layer."""

from dataclasses import dataclass, field
from typing import Protocol

import jax
import jax.numpy as jnp

from jaxcert.bounds import Bounds
from jaxcert.bounds.specification import Function, graph_of
from jaxcert.errors import InvalidInputError
from jaxcert.graph import Graph
from jaxcert.regions import Region

RELU_LIKE = ("relu", "leaky_relu")


class RangeMethod(Protocol):
    """A bound that gives the intervals of chosen nodes."""

    def ranges(self, graph: Graph, region: Region, targets: tuple[int, ...]) -> dict[int, Bounds]: ...


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class LayerNeurons:
    """One activation layer. The counts are int32 and sum to `size`.

    Attributes:
      active: neurons whose input is >= 0 on the whole region: the layer is linear in them.
      dead: neurons whose input is <= 0 on the whole region (for a ReLU: they output 0).
      unstable: all others, by what the method can tell.
      size: neurons of the layer.
      kind: "relu" or "leaky_relu" (also PReLU and abs).
      where: source line of the user's code.
    """

    active: jax.Array
    dead: jax.Array
    unstable: jax.Array
    size: int = field(metadata={"static": True})
    kind: str = field(metadata={"static": True})
    where: str = field(metadata={"static": True})


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class NeuronStatistics:
    """The layers of a network, first to last, and their sums."""

    layers: tuple[LayerNeurons, ...]

    @property
    def size(self) -> int:
        return sum(layer.size for layer in self.layers)

    @property
    def active(self) -> jax.Array:
        return self._sum([layer.active for layer in self.layers])

    @property
    def dead(self) -> jax.Array:
        return self._sum([layer.dead for layer in self.layers])

    @property
    def unstable(self) -> jax.Array:
        return self._sum([layer.unstable for layer in self.layers])

    @property
    def unstable_share(self) -> jax.Array:
        """Unstable neurons of all, in [0, 1]."""
        return self.unstable / max(self.size, 1)

    @staticmethod
    def _sum(counts: list[jax.Array]) -> jax.Array:
        return sum(counts, jnp.zeros((), jnp.int32))


def neuron_statistics(method: RangeMethod, fn: Function, region: Region) -> NeuronStatistics:
    """Return, for every ReLU-like layer, how many neurons are active, dead and unstable on a region.

    Args:
      method: a bound with `ranges`, whose intervals decide: tighter ones leave fewer unstable.
      fn: any function that the method bounds.
      region: the inputs allowed.

    Returns:
      `NeuronStatistics`. Sound: an active or dead neuron is so for every input of the region; an
      unstable one may still be stable. NaN intervals count as unstable. Layers of other activations
      are not counted; a network without ReLU-like layers has no layers here.

    Raises:
      InvalidInputError: a method without `ranges`.

    Cost: the intermediate bounds of the method.

    Example:
      >>> import jax, jax.numpy as jnp, jaxcert as jc
      >>> fn = lambda x: jax.nn.relu(x - jnp.array([0.0, 1.0, 3.0])).sum()
      >>> found = jc.neuron_statistics(jc.ibp(), fn, jc.linf_ball(jnp.ones(3), 0.5))
      >>> int(found.active), int(found.unstable), int(found.dead), found.size
      (1, 1, 1, 3)
    """
    if not hasattr(method, "ranges"):
        raise InvalidInputError(
            f"neuron_statistics needs a method with ranges, such as ibp() or crown(), got "
            f"{type(method).__name__}."
        )
    graph = graph_of(fn, region)
    relus = [node for node in graph.nodes if node.kind in RELU_LIKE]
    sources = tuple(dict.fromkeys(node.inputs[0] for node in relus))
    ranges = method.ranges(graph, region, sources) if sources else {}
    return NeuronStatistics(
        tuple(_layer(ranges[node.inputs[0]], node.size, node.kind, node.where) for node in relus)
    )


def _layer(interval: Bounds, size: int, kind: str, where: str) -> LayerNeurons:
    known = (interval.lower == interval.lower) & (interval.upper == interval.upper)
    is_dead = known & (interval.upper <= 0)
    is_active = known & (interval.lower >= 0) & ~is_dead
    active, dead = (jnp.sum(flags, dtype=jnp.int32) for flags in (is_active, is_dead))
    return LayerNeurons(active, dead, size - active - dead, size, kind, where)
