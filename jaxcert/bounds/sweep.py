"""One backward pass over a graph: a specification of one node, rewritten in terms of earlier ones.

Going from the target towards the input, every node that carries coefficients hands them to
its operands by its rule, until only nodes in `stop` carry any. Coefficients are dense rows
`[S, *node]`, or `Patches` as long as each row reads a small window of the node; where
branches of a residual network meet, windows of one stride are added, and other forms densely.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp

from jaxcert.bounds.backward import CROWN_RULES, Step
from jaxcert.bounds.patch_steps import patch_step
from jaxcert.bounds.patches import Patches, added, dense, patch_range, rows_of, small
from jaxcert.bounds.rules import Rules
from jaxcert.graph import Graph
from jaxcert.regions import Region, linear_range
from jaxcert.relax import Planes

Form = jax.Array | Patches
Lift = Callable[[jax.Array], jax.Array]
# planes(index, lift, shape): planes of a node, lifted to broadcast against coefficients of `shape`.
PlanesOf = Callable[[int, Lift, tuple[int, ...]], Planes]


@dataclass(frozen=True)
class Frontier:
    """A specification in terms of the nodes where the pass stopped.

    `sum_i coeffs[i] . node_i + lower <= specification <= sum_i coeffs[i] . node_i + upper`;
    the upper half is meaningful after a two-sided pass only.
    """

    coeffs: Mapping[int, Form]
    lower: jax.Array
    upper: jax.Array

    def rows(self, index: int = 0) -> jax.Array:
        """The coefficients on a node, of a pass that started with dense rows."""
        form = self.coeffs[index]
        assert not isinstance(form, Patches)
        return form


def propagate(
    graph: Graph,
    target: int,
    coeffs: Form,
    *,
    planes: PlanesOf,
    stop: Callable[[int], bool],
    rules: Rules,
    engine: str,
    two_sided: bool = False,
    passed: Callable[[int], bool] = lambda _: False,
) -> Frontier:
    """Rewrite `coeffs . node_target` in terms of the nodes where `stop` holds (the input always).

    Args:
      coeffs: `[S, *shape of the target]`, or patches on the target.
      planes: the enclosures of activations and joins.
      two_sided: whether every enclosure met has the same slopes on both sides.
      passed: which shifts the planes hold already; the others' rules apply.
    """
    pending: dict[int, Form] = {target: coeffs}
    done: dict[int, Form] = {}
    rows, dtype = rows_of(coeffs), graph.nodes[target].dtype
    lower = upper = jnp.zeros(rows, dtype)
    for index in range(target, -1, -1):
        if index not in pending:
            continue
        form, node = pending.pop(index), graph.nodes[index]
        if index == 0 or stop(index):
            done[index] = form
            continue
        if passed(index):
            step = Step((form,))
        else:
            step = _step(graph, index, form, planes, rules.rule(node, engine), two_sided)
        # A cast in the network makes terms of two widths; the target's is the one returned.
        lower, upper = lower + _offset(step.lower, lower), upper + _offset(step.upper, upper)
        for source, part in zip(node.inputs, step.coeffs, strict=True):
            pending[source] = _sum(graph, source, pending[source], part) if source in pending else part
    return Frontier(done, lower, upper)


def _step(
    graph: Graph, index: int, form: Form, planes: PlanesOf, rule: Callable[..., Step], two_sided: bool
) -> Step:
    """One node's step, by windows where that serves: they know the usual rules only."""
    node = graph.nodes[index]
    if isinstance(form, Patches):
        if small(graph, index, form) and rule is CROWN_RULES.get(node.kind):
            step = patch_step(graph, index, form, planes, two_sided)
            if step is not None:
                return step
        form = dense(graph, index, form)
    return rule(node, form, partial(planes, index, _row, form.shape), two_sided)


def identity_rows(graph: Graph, target: int, entries: jax.Array | None = None) -> jax.Array:
    """One dense row per entry of a node (or per chosen entry): `[rows, *node]`."""
    node = graph.nodes[target]
    every = jnp.arange(node.size)
    chosen = every if entries is None else entries
    rows = (chosen[:, None] == every[None, :]).astype(node.dtype)
    return rows.reshape(chosen.shape[0], *node.shape)


def range_of(region: Region, form: Form) -> tuple[jax.Array, jax.Array]:
    """Return the range `[S]` of coefficients on the input over a region, offsets not included."""
    return patch_range(region, form) if isinstance(form, Patches) else linear_range(region, form)


def _sum(graph: Graph, index: int, first: Form, second: Form) -> Form:
    if isinstance(first, Patches) and isinstance(second, Patches):
        together = added(first, second)
        if together is not None:
            return together
    one, other = (
        dense(graph, index, form) if isinstance(form, Patches) else form for form in (first, second)
    )
    return one + other


def _row(value: jax.Array) -> jax.Array:
    return value[None]


def _offset(value: jax.Array | float, like: jax.Array) -> jax.Array:
    return jnp.asarray(value).astype(like.dtype)
