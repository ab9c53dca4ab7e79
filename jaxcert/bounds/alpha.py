"""alpha-CROWN: the slopes of every backward pass optimised by gradient ascent.

Any position of a free line gives a sound bound, so the positions are variables: one per
activation for every row of the last pass and, where intermediate bounds are optimised too,
for every row of every earlier pass. The sum of the lower bounds is climbed from the adaptive
start. Every iterate is sound, so the best value of each row is kept, and the intersection of
all intermediate intervals serves the last evaluation.
Source: Xu et al. 2021 ("Fast and Complete"); the reference figures of auto_LiRPA.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax

from jaxcert.bounds.backward import CROWN_RULES
from jaxcert.bounds.crown import Crown, Intermediate
from jaxcert.bounds.enclosures import SPECIFICATION, Enclosures
from jaxcert.bounds.rules import Rules
from jaxcert.bounds.specification import Function, graph_of, specification
from jaxcert.bounds.tightest import intersection
from jaxcert.bounds.types import Bounds, LinearForm, Specification
from jaxcert.errors import InvalidInputError
from jaxcert.graph import Graph
from jaxcert.regions import Region, minimize_linear
from jaxcert.relax import Ends, Planes, Record
from jaxcert.relax.slopes import PerRow

Alphas = dict[tuple[int, int, int], jax.Array]
Ranges = dict[int, Bounds]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class AlphaCrown:
    """CROWN with optimised slopes. Make one with `alpha_crown()`."""

    steps: int = field(default=20, metadata={"static": True})
    optimizer: optax.GradientTransformation | None = field(default=None, metadata={"static": True})
    intermediate: Intermediate | None = None
    rules: Rules = field(default=CROWN_RULES, metadata={"static": True})

    def __call__(self, fn: Function, region: Region) -> Bounds:
        """Return lower and upper bounds of every output of fn over the region, shaped like fn(x)."""
        graph = graph_of(fn, region)
        size = graph.nodes[graph.output].size
        rows = jnp.eye(size, dtype=graph.nodes[graph.output].dtype).reshape(size, *graph.out_shape)
        found = self.lower(graph, region, jnp.concatenate([rows, -rows]))
        return Bounds(found[:size].reshape(graph.out_shape), -found[size:].reshape(graph.out_shape))

    def lower(
        self, fn: Function, region: Region, coeffs: jax.Array, offset: jax.Array | None = None
    ) -> jax.Array:
        """Return lower bounds `[S]` of `coeffs @ fn(x) + offset`; coeffs `[S, *out]`."""
        graph = graph_of(fn, region)
        spec = specification(graph, coeffs, offset)
        found = self._climb(graph, region, spec)
        final = _value(region, self._form(graph, region, spec, found))
        # The best value of each row, with the derivatives of the last evaluation.
        best = lax.stop_gradient(jnp.maximum(found.best, final))
        return best + (final - lax.stop_gradient(final))

    def linear_lower(
        self, fn: Function, region: Region, coeffs: jax.Array, offset: jax.Array | None = None
    ) -> LinearForm:
        """Return linear functions of the input below `coeffs @ fn(x) + offset` over the region."""
        graph = graph_of(fn, region)
        spec = specification(graph, coeffs, offset)
        return self._form(graph, region, spec, self._climb(graph, region, spec))

    def slopes(
        self, fn: Function, region: Region, coeffs: jax.Array, offset: jax.Array | None = None
    ) -> PerRow:
        """Return the optimised slopes of a specification, for `crown(slope=...)` on the same one."""
        graph = graph_of(fn, region)
        return PerRow(self._climb(graph, region, specification(graph, coeffs, offset)).alphas)

    def _climb(self, graph: Graph, region: Region, spec: Specification) -> "_Climb":
        # Nothing of the search is differentiated: its constants enter as numbers.
        graph, (region, spec) = _stopped(graph), lax.stop_gradient((region, spec))
        optimizer = _default() if self.optimizer is None else self.optimizer
        recorder = _Recorder({})
        start, ranges = self._evaluate(graph, region, spec, recorder)
        climb = _Climb(recorder.alphas, start, ranges)

        def total(alphas):
            value, ranges = self._evaluate(graph, region, spec, PerRow(alphas))
            return -value.sum(), (value, ranges)

        def step(_, state):
            alphas, moments, climb = state
            (_, (value, ranges)), gradients = jax.value_and_grad(total, has_aux=True)(alphas)
            climb = climb.improved(alphas, value, ranges)
            # A row that is not finite anywhere must not spoil the others' moments.
            gradients = jax.tree_util.tree_map(lambda g: jnp.where(jnp.isfinite(g), g, 0), gradients)
            # optax counts steps in integers, which strict promotion would refuse.
            with jax.numpy_dtype_promotion("standard"):
                moves, moments = optimizer.update(gradients, moments, alphas)
                moved = optax.apply_updates(alphas, moves)
            return jax.tree_util.tree_map(lambda a: jnp.clip(a, 0, 1), moved), moments, climb

        state = climb.alphas, optimizer.init(climb.alphas), climb
        return lax.stop_gradient(lax.fori_loop(0, self.steps, step, state)[2])

    def _evaluate(
        self, graph: Graph, region: Region, spec: Specification, slope: PerRow
    ) -> tuple[jax.Array, Ranges]:
        enclosures = self._enclosures(graph, region, slope)
        form = _last_pass(enclosures, spec)
        optimised = {} if self.intermediate is not None else dict(enclosures.ranges)
        return _value(region, form), optimised

    def _form(self, graph: Graph, region: Region, spec: Specification, climb: "_Climb") -> LinearForm:
        enclosures = self._enclosures(graph, region, PerRow(climb.alphas))
        enclosures.cut = lambda index, bounds: intersection(bounds, climb.ranges.get(index, bounds))
        return _last_pass(enclosures, spec)

    def _enclosures(self, graph: Graph, region: Region, slope: PerRow) -> Enclosures:
        return Crown(slope, self.intermediate, self.rules).enclosures(graph, region)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class _Climb:
    """The best so far: slopes per row, value per row, and intersected intermediate intervals."""

    alphas: Alphas
    best: jax.Array
    ranges: Ranges

    def improved(self, alphas: Alphas, value: jax.Array, ranges: Ranges) -> "_Climb":
        rows, whole = value > self.best, value.sum() > self.best.sum()

        def pick(key: tuple[int, int, int]) -> jax.Array:
            new, old = alphas[key], self.alphas[key]
            better = rows.reshape(-1, *(1,) * (new.ndim - 1)) if key[0] == SPECIFICATION else whole
            return jnp.where(better, new, old)

        tighter = {index: intersection(ranges[index], self.ranges[index]) for index in self.ranges}
        return _Climb({key: pick(key) for key in self.alphas}, jnp.where(rows, value, self.best), tighter)


class _Recorder(PerRow):
    """Adaptive slopes, kept under the key of every place that asks for them: the start."""

    def planes(
        self,
        record: Record,
        key: tuple[int, int, int],
        lowers: Ends,
        uppers: Ends,
        params: tuple,
        shape: tuple[int, ...],
    ) -> Planes:
        alpha = record.choose(lowers, uppers, *params)
        self.alphas[key] = jnp.broadcast_to(alpha, shape)
        return record.enclose(lowers, uppers, alpha, *params)


def alpha_crown(
    steps: int = 20,
    optimizer: optax.GradientTransformation | None = None,
    intermediate: Intermediate | None = None,
) -> AlphaCrown:
    """Return alpha-CROWN as a method: CROWN with slopes optimised for each specification.

    Sound for every region and any number of steps; never looser than `crown()` with the same
    intermediate bounds, where it starts. Cost: about `3 * steps` times CROWN. Memory: one slope
    per row of every pass and activation it meets, times the optimizer's moments; with
    `intermediate` fixed, only the rows of the last pass.
    Derivatives are those of the last evaluation, the slopes held fixed.

    Args:
      steps: gradient steps, at least 1.
      optimizer: an optax optimizer; by default Adam with step 0.1, times 0.98 after each.
      intermediate: the method of fixed intermediate bounds; `None` optimises theirs too.

    Raises:
      InvalidInputError: steps < 1, or an `intermediate` that is no bounding method.

    Example:
      >>> import jax.numpy as jnp, jaxcert as jc
      >>> fn = lambda x: jnp.maximum(x, 0.0) - 0.5 * x
      >>> bounds = jc.alpha_crown(steps=10)(fn, jc.linf_ball(jnp.zeros(()), 1.0))
      >>> bool(-0.05 < bounds.lower), float(bounds.upper)
      (True, 0.5)
    """
    if steps < 1:
        raise InvalidInputError(f"steps must be at least 1, got {steps}.")
    if not (intermediate is None or hasattr(intermediate, "ranges")):
        raise InvalidInputError(
            "intermediate must be None (optimised too) or a bounding method such as crown(), got "
            f"{type(intermediate).__name__}."
        )
    return AlphaCrown(steps, optimizer, intermediate)


def _default() -> optax.GradientTransformation:
    return optax.adam(optax.exponential_decay(0.1, 1, 0.98))


def _last_pass(enclosures: Enclosures, spec: Specification) -> LinearForm:
    found = enclosures.rows(enclosures.graph.output, spec.coeffs, (SPECIFICATION, 1), False)
    return LinearForm(found.rows(), found.lower + spec.offset)


def _value(region: Region, form: LinearForm) -> jax.Array:
    return minimize_linear(region, form.coeffs).astype(form.offset.dtype) + form.offset


def _stopped(graph: Graph) -> Graph:
    """The same graph without derivatives with respect to its constants."""

    def stop(value: Any) -> Any:
        return lax.stop_gradient(value) if isinstance(value, jax.Array) else value

    return Graph(tuple(replace(node, consts=tuple(map(stop, node.consts))) for node in graph.nodes))
