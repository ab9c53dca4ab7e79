"""CROWN and its kind: linear bounds by backward propagation.

Every activation is enclosed by two lines that depend on the interval of its input (its
intermediate bounds). `crown()` obtains those intervals from CROWN itself, one backward
pass per layer; `crown_ibp()` takes them from IBP and runs only the last pass;
`fast_lin()` is CROWN with parallel lines, which equals the dual bound of Wong and Kolter.
Source: CROWN (Zhang et al. 2018); theses/4a (3.3)-(3.7), Algorithm 3.1; theses/1 (2.18)-(2.20),
§1.4.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import jax

from jaxcert.bounds.backward import CROWN_RULES
from jaxcert.bounds.enclosures import SPECIFICATION, Enclosures
from jaxcert.bounds.ibp import ibp
from jaxcert.bounds.rules import Rules
from jaxcert.bounds.specification import Function, graph_of, specification
from jaxcert.bounds.sweep import identity_rows
from jaxcert.bounds.types import Bounds, LinearBounds, LinearForm
from jaxcert.chunking import Limit, budget
from jaxcert.errors import InvalidInputError
from jaxcert.graph import Graph
from jaxcert.regions import Region, minimize_linear
from jaxcert.relax.slopes import Adaptive, Fixed, Given, Parallel, PerRow, Slope, adaptive, given, parallel


class Intermediate(Protocol):
    """What supplies intermediate bounds: any method of `bounds`."""

    def ranges(self, graph: Graph, region: Region, targets: tuple[int, ...]) -> dict[int, Bounds]: ...


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Crown:
    """Backward linear bounds. Make one with `crown()`, `fast_lin()` or `crown_ibp()`."""

    slope: Slope = adaptive
    intermediate: Intermediate | None = None
    rules: Rules = field(default=CROWN_RULES, metadata={"static": True})
    memory: str | int | None = field(default=None, metadata={"static": True})

    def __call__(self, fn: Function, region: Region) -> Bounds:
        """Return lower and upper bounds of every output of fn over the region, shaped like fn(x)."""
        graph = graph_of(fn, region)
        return self.enclosures(graph, region).passes(graph.output)

    def lower(
        self, fn: Function, region: Region, coeffs: jax.Array, offset: jax.Array | None = None
    ) -> jax.Array:
        """Return lower bounds `[S]` of `coeffs @ fn(x) + offset`; coeffs `[S, *out]`."""
        form = self.linear_lower(fn, region, coeffs, offset)
        least = minimize_linear(region, form.coeffs)
        return least.astype(form.offset.dtype) + form.offset

    def linear_lower(
        self, fn: Function, region: Region, coeffs: jax.Array, offset: jax.Array | None = None
    ) -> LinearForm:
        """Return linear functions of the input below `coeffs @ fn(x) + offset` over the region.

        coeffs `[S, *out]`, offset `[S]`; the form has coeffs `[S, *in]` and offset `[S]`.
        """
        graph = graph_of(fn, region)
        spec = specification(graph, coeffs, offset)
        found = self.enclosures(graph, region).rows(graph.output, spec.coeffs, (SPECIFICATION, 1), False)
        return LinearForm(found.rows(), found.lower + spec.offset)

    def linear(self, fn: Function, region: Region) -> LinearBounds:
        """Return linear functions of the input that enclose every output of fn over the region."""
        graph = graph_of(fn, region)
        enclosures, identity = self.enclosures(graph, region), identity_rows(graph, graph.output)
        below = enclosures.rows(graph.output, identity, (SPECIFICATION, 1), self.slope.shared)
        if self.slope.shared:
            return LinearBounds(
                _form(graph, below.rows(), below.lower), _form(graph, below.rows(), below.upper)
            )
        # An upper bound of z is minus a lower bound of -z.
        above = enclosures.rows(graph.output, -identity, (SPECIFICATION, -1), False)
        return LinearBounds(
            _form(graph, below.rows(), below.lower), _form(graph, -above.rows(), -above.lower)
        )

    def ranges(self, graph: Graph, region: Region, targets: tuple[int, ...]) -> dict[int, Bounds]:
        """Return the intervals of the target nodes and of every node they needed."""
        enclosures = self.enclosures(graph, region)
        for target in sorted(targets):
            enclosures.known(target)
        return enclosures.ranges

    def enclosures(self, graph: Graph, region: Region) -> Enclosures:
        """Return the intervals and planes of a graph on a region, found as they are asked for."""
        found = Enclosures(graph, region, self.slope, self.rules, Limit.of(self.memory))
        if self.intermediate is not None:
            sources = found.sources(graph.output)
            known = self.intermediate.ranges(graph, region, sources)
            found.ranges.update((index, known[index]) for index in sources)
        return found


def crown(
    slope: Slope | Sequence[jax.Array] = adaptive,
    intermediate: Intermediate | None = None,
    rules: Rules = CROWN_RULES,
    memory: str | int | None = None,
) -> Crown:
    """Return CROWN as a method `(fn, region) -> Bounds`, with `.lower` and `.linear`.

    Sound for every region and every slope. Neither always tighter nor looser than IBP.
    Cost: one backward pass per activation layer with as many rows as the layer has neurons,
    so memory grows as neurons x widest layer; rows beyond `memory` are computed in blocks. For a
    batch use `jaxcert.map_examples`, which counts the whole.

    Args:
      slope: the free line of each relaxation: `slopes.adaptive`, `parallel`, `zero`, `one`,
        or one array in [0, 1] per activation.
      intermediate: the method for intermediate bounds, such as `ibp()`, `forward()` or
        `tightest(ibp(), crown())`; `None` for CROWN itself.
      rules: the rule table; extend it with `CROWN_RULES | {kind: rule}`.
      memory: what the rows of one layer's pass may take for one example: `"2GiB"`, a number of
        bytes, or `None`: what stays in the caches on CPU, half of what is free on other devices.

    Raises (on use):
      UnsupportedPrimitiveError: fn needs an operation without a rule.

    Source: Zhang et al. 2018; theses/4a Algorithm 3.1 (whose printed product limit L-1 must be k).

    Example:
      >>> import jax.numpy as jnp, jaxcert as jc
      >>> fn = lambda x: jnp.maximum(x, 0.0) - 0.5 * x
      >>> bounds = jc.crown()(fn, jc.linf_ball(jnp.zeros(()), 1.0))
      >>> float(bounds.lower), float(bounds.upper)
      (-0.5, 0.5)
    """
    chosen = given(slope) if isinstance(slope, list | tuple) else slope
    if not isinstance(chosen, Adaptive | Parallel | Fixed | Given | PerRow):
        raise InvalidInputError(
            "slope must be slopes.adaptive, parallel, zero, one or a list of arrays, got "
            f"{type(slope).__name__}."
        )
    if not (intermediate is None or hasattr(intermediate, "ranges")):
        raise InvalidInputError(
            "intermediate must be None (crown itself) or a bounding method such as ibp(), got "
            f"{type(intermediate).__name__}."
        )
    if memory is not None:
        budget(memory)
    return Crown(chosen, intermediate, rules, memory)


def crown_ibp(slope: Slope | Sequence[jax.Array] = adaptive) -> Crown:
    """Return CROWN-IBP: IBP for the intermediate bounds, one backward pass for the last layer.

    The same as `crown(intermediate=ibp())`. Cost: IBP plus one backward pass with one row per
    specification. Sound; see `crown`. Source: theses/1 §1.4.

    Example:
      >>> import jax.numpy as jnp, jaxcert as jc
      >>> jc.crown_ibp() == jc.crown(intermediate=jc.ibp())
      True
    """
    return crown(slope, ibp())


def fast_lin() -> Crown:
    """Return Fast-Lin: CROWN with one slope for the two lines of each activation.

    For ReLU networks it equals the dual bound of Wong and Kolter with alpha = u / (u - l).
    One pass serves both bounds, so it costs half of `crown()`. Sound.
    Source: theses/4a (3.4), Algorithm 3.1; theses/1 (2.18)-(2.20).

    Example:
      >>> import jax.numpy as jnp, jaxcert as jc
      >>> bounds = jc.fast_lin()(lambda x: jnp.maximum(x, 0.0), jc.linf_ball(jnp.zeros(()), 1.0))
      >>> float(bounds.lower), float(bounds.upper)
      (-0.5, 1.0)
    """
    return crown(parallel)


def _form(graph: Graph, coeffs: jax.Array, offset: jax.Array) -> LinearForm:
    """Rows as a linear form shaped like the output."""
    full = (*graph.out_shape, *graph.in_shape)
    return LinearForm(coeffs.reshape(full), offset.reshape(graph.out_shape))
