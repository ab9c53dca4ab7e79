"""The option that makes a certificate hold under floating point: `rigorous(method)`."""

from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.typing import ArrayLike

from jaxcert.bounds.alpha import AlphaCrown
from jaxcert.bounds.backward import CROWN_RULES, record_of
from jaxcert.bounds.crown import Crown
from jaxcert.bounds.enclosures import SPECIFICATION
from jaxcert.bounds.ibp import IBP_RULES, Ibp
from jaxcert.bounds.margins import margin_specification
from jaxcert.bounds.specification import Function, graph_of, specification
from jaxcert.bounds.types import Bounds
from jaxcert.certify.rigorous.least import exact_region
from jaxcert.certify.rigorous.nodes import Bent, Range
from jaxcert.certify.rigorous.passes import Choose, Passes, Slopes
from jaxcert.certify.rigorous.rounding import require_ieee
from jaxcert.errors import InvalidInputError
from jaxcert.graph import Graph
from jaxcert.regions import Region
from jaxcert.relax import Record
from jaxcert.relax.slopes import Given, PerRow, Slope, adaptive, given

_MEMORY = 2**28

Plain = Crown | Ibp | AlphaCrown


@dataclass(frozen=True)
class Rigorous:
    """A method whose bounds include every rounding error of their evaluation. Make one with `rigorous()`."""

    method: Plain

    def __call__(self, fn: Function, region: Region) -> Bounds:
        """Return proven lower and upper bounds of every output, shaped like fn(x)."""
        _require_wide()
        graph = graph_of(fn, region)
        rows = np.eye(graph.nodes[-1].size).reshape(-1, *graph.out_shape)
        low, high = (
            evaluate(self.method, graph, region, sign * rows).reshape(graph.out_shape) for sign in (1, -1)
        )
        return Bounds(jnp.asarray(low), -jnp.asarray(high))

    def lower(
        self, fn: Function, region: Region, coeffs: jax.Array, offset: jax.Array | None = None
    ) -> jax.Array:
        """Return proven lower bounds `[S]` of `coeffs @ fn(x) + offset`; coeffs `[S, *out]`."""
        _require_wide()
        graph = graph_of(fn, region)
        _require_double(graph)
        spec = specification(graph, coeffs, offset)
        return jnp.asarray(evaluate(self.method, graph, region, spec.coeffs, spec.offset))


def rigorous(method: Plain) -> Rigorous:
    """Return the method with every rounding error of its evaluation paid for.

    Use it as any method: `margins(rigorous(crown()), fn, region, label)`, with 64-bit types
    switched on (`jax.enable_x64(True)`), float64 parameters and region, and outside jit. From
    float32, `rigorous_margins` does all that.

    Soundness: with the constants of fn's graph and the numbers of the region read as exact reals, the
    result is a lower bound of the specification in real arithmetic over the real region. Proven
    from IEEE 754 double arithmetic with rounding to nearest (checked when it runs), and from XLA
    for CPU computing entries of linear maps as sums of products in any order. For networks of
    linear maps, piecewise-linear activations, sigmoid, tanh, exp, elu, 1/x, roots, powers, products
    and maxima nothing else is assumed; arctan, erf, log, log1p and softplus take numpy's functions to
    err by at most 16 units in the last place.
    The graph is what jaxcert reads (`explain` shows it): smooth activations are recognised with constants
    within 4 units in the last place of theirs, and normalisers are rewritten with a rounded 1/n.
    Constants that the function computes from its parameters (a batch norm's factor) enter as rounded
    then; dividing by a constant counts as exact division. What rounding does to the network's own
    logits when it runs is not part of the claim: a margin near 0 may come out with the other sign.

    Cost: the method's by dense rows in float64, outside jit, and one product with |weights| per layer.
    On a small convolutional network about 20 times that of compiled CROWN, on a dense one 4 to 8 times.
    One example at a time.

    Args:
      method: `crown()` with any slope, `alpha_crown()`, `fast_lin()`, `crown_ibp()` or `ibp()`. Slopes
        that alpha-CROWN found for the windows of convolutions are replaced by adaptive ones.

    Raises:
      InvalidInputError: another method, one with rules of its own, or with other intermediate
        bounds. On use: 32-bit types, traced values, norms other than 1, 2 and inf.
      UnsupportedPrimitiveError (on use): an activation without a rigorous rule.

    Source: running error bounds as in Higham, Accuracy and Stability of Numerical Algorithms,
    chapter 3; the derivation is in `certify/rigorous/passes.py`.

    Example:
      >>> import jax, jax.numpy as jnp, jaxcert as jc
      >>> with jax.enable_x64(True):
      ...     fn = lambda x: jnp.stack([x * 1e17 + 1.0 - x * 1e17, 0.0 * x])
      ...     region = jc.linf_ball(jnp.array(3.0), 0.5)
      ...     bool(jc.is_certified(jc.margins(jc.rigorous(jc.crown()), fn, region, 0)))
      False
    """
    _check(method)
    return Rigorous(method)


def rigorous_margins(method: Plain, fn: Function, region: Region, label: ArrayLike) -> np.ndarray:
    """Return proven lower bounds `[K - 1]` of the margins, float64, whatever types are in use outside.

    As `margins(rigorous(method), fn, region, label)` with 64-bit types switched on for the time of
    the call, the region's numbers converted (exactly) to float64, and everything on the CPU.

    Args:
      method, label: as for `rigorous` and `margins`.
      fn: one example -> logits, a function that accepts float64: JAX converts float32 weights that it
        closes over, exactly, unless strict promotion forbids it; then convert them yourself.
      region: of concrete numbers.

    Raises:
      InvalidInputError: as `rigorous` and `margins`, and a function that insists on float32.

    Example:
      >>> import jax.numpy as jnp, jaxcert as jc
      >>> fn = lambda x: jnp.array([[2.0, 0.0], [0.0, 1.0]]) @ jnp.maximum(x, 0.0)
      >>> region = jc.linf_ball(jnp.array([1.0, 0.5]), 0.25, clip=(0.0, 1.0))
      >>> bool(0.749999 < jc.rigorous_margins(jc.crown(), fn, region, 0)[0] <= 0.75)
      True
    """
    _check(method)
    _require_concrete(jax.tree.leaves(region))
    with jax.enable_x64(True), jax.default_device(jax.devices("cpu")[0]):
        wide = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf, np.float64)), region)
        try:
            graph = graph_of(fn, wide)
        except jax.dtypes.TypePromotionError as error:
            raise InvalidInputError(
                "the function does not accept float64 input: convert its parameters to float64."
            ) from error
        spec = margin_specification(graph, label)
        return evaluate(method, graph, wide, spec.coeffs, spec.offset)


def evaluate(
    method: Plain,
    graph: Graph,
    region: Region,
    coeffs: ArrayLike,
    offset: ArrayLike | None = None,
) -> np.ndarray:
    """Return proven lower bounds `[S]` of `coeffs @ output + offset`; numpy float64.

    Everything inside runs with 64-bit types and on the CPU. Raises as `rigorous`.
    """
    _require_double(graph)
    _require_concrete([*jax.tree.leaves(region), coeffs, offset, *(c for n in graph.nodes for c in n.consts)])
    require_ieee()
    rows = np.asarray(coeffs, np.float64).reshape(np.shape(coeffs)[0], -1)
    added = np.zeros(len(rows)) if offset is None else np.asarray(offset, np.float64)
    widest = max(node.size for node in graph.nodes)
    block = max(1, _MEMORY // (64 * widest))
    with np.errstate(all="ignore"), jax.enable_x64(True), jax.default_device(jax.devices("cpu")[0]):
        graph = _on_cpu(graph)
        if isinstance(method, AlphaCrown):
            found = method.slopes(graph, region, jnp.asarray(coeffs), jnp.asarray(added))
            method = Crown(found, method.intermediate)
        by_intervals = isinstance(method, Ibp) or isinstance(method.intermediate, Ibp)
        stops = isinstance(method, Ibp)
        passes = Passes(graph, exact_region(region), _chooser(method), by_intervals, stops, block)
        passes.solve()
        return passes.lower(rows, added)


def _chooser(method: Crown | Ibp) -> Choose:
    """The slopes of an activation in a pass, computed by the method's own rule."""
    last = adaptive if isinstance(method, Ibp) else method.slope
    inner = method.intermediate if isinstance(method, Crown) else None
    before = inner.slope if isinstance(inner, Crown) else last
    shared: dict[tuple[bool, int], Slopes] = {}

    def choose(key: tuple[int, int, int], function: Bent, ranges: list[Range]) -> Slopes:
        rule, order = (last if key[0] == SPECIFICATION else before), key[-1]
        if isinstance(rule, PerRow):
            alpha = np.clip(np.asarray(rule.alphas.get(key, 0.5), np.float64), 0, 1)
            if alpha.ndim == len(function.node.shape) + 1 and alpha.shape[1:] == function.node.shape:
                return _slopes(function, ranges, given([alpha]), 0, len(alpha))
            # Slopes for the windows of a convolution are no rows of this pass.
            rule = adaptive
        if isinstance(rule, Given) and order >= len(rule.alphas):
            raise InvalidInputError(
                f"slopes hold {len(rule.alphas)} arrays, the network has more activations."
            )
        if (rule is last, order) not in shared:
            shared[rule is last, order] = _slopes(function, ranges, rule, order)
        return shared[rule is last, order]

    return choose


def _slopes(function: Bent, ranges: list[Range], rule: Slope, order: int, rows: int | None = None) -> Slopes:
    record, consts = record_of(function.node), function.node.consts
    assert record is not None
    shape = ranges[0].lower.shape if rows is None else (rows, *ranges[0].lower.shape)
    ends = [
        tuple(jnp.asarray(np.broadcast_to(end, shape)) for end in side) for side in zip(*ranges, strict=True)
    ]
    whole = tuple(c if isinstance(c, int) else None for c in consts)
    arrays = tuple(None if isinstance(c, int) else jnp.asarray(c) for c in consts)
    below, above = _planes(record, order, whole, rule, *ends, arrays)
    return _numpy(below), _numpy(above)


@partial(jax.jit, static_argnums=(0, 1, 2))
def _planes(record: Record, order: int, whole: tuple, rule: Slope, lowers, uppers, arrays):
    """The slopes of both planes; parameters that are not arrays (an exponent) are in `whole`."""
    params = tuple(a if w is None else w for w, a in zip(whole, arrays, strict=True))
    planes = rule.planes(record, order, lowers, uppers, params)  # pyright: ignore[reportCallIssue]
    return planes.lower_slopes, planes.upper_slopes


def _numpy(parts: tuple[jax.Array, ...]) -> tuple[np.ndarray, ...]:
    return tuple(np.asarray(part, np.float64) for part in parts)


def _check(method: Plain) -> None:
    inner = None if isinstance(method, Ibp) else getattr(method, "intermediate", None)
    plain = _has_own_rules(method) and (inner is None or _has_own_rules(inner))
    if not plain or getattr(inner, "intermediate", None) is not None or isinstance(inner, AlphaCrown):
        raise InvalidInputError(
            "rigorous bounds exist for crown() with any slope, alpha_crown(), fast_lin(), crown_ibp() and "
            "ibp(), with their own rules, and intermediate bounds from themselves, ibp() or crown()."
        )


def _has_own_rules(method: object) -> bool:
    if isinstance(method, Ibp):
        return method.rules == IBP_RULES
    return isinstance(method, Crown | AlphaCrown) and method.rules == CROWN_RULES


def _require_wide() -> None:
    if jnp.result_type(float) != np.float64:
        raise InvalidInputError(
            "rigorous bounds are float64 numbers, which JAX would round to float32 here: use "
            "rigorous_margins, or jax.enable_x64(True)."
        )


def _require_double(graph: Graph) -> None:
    narrow = [node for node in graph.nodes if node.dtype != np.float64]
    if narrow:
        raise InvalidInputError(
            f"rigorous bounds are computed in float64, but '{narrow[0].primitive or narrow[0].kind}' at "
            f"{narrow[0].where or 'the input'} is {np.dtype(narrow[0].dtype)}: use rigorous_margins, or "
            "jax.enable_x64(True) with a float64 region and parameters."
        )


def _require_concrete(values) -> None:
    if any(isinstance(value, Tracer) for value in values):
        raise InvalidInputError("rigorous bounds run outside jit, vmap and grad: call them on one example.")


def _on_cpu(graph: Graph) -> Graph:
    """The same graph with its constants on the CPU, where sums are sums."""
    move = partial(jax.device_put, device=jax.devices("cpu")[0])
    return Graph(
        tuple(
            replace(n, consts=tuple(move(c) if isinstance(c, jax.Array) else c for c in n.consts))
            for n in graph.nodes
        )
    )
