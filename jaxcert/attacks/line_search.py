"""The exact search along a segment: regions in which one coordinate moves."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.typing import ArrayLike

from jaxcert.attacks.answer import Network, as_label, logits_of
from jaxcert.attacks.expectation import Expectation
from jaxcert.attacks.objectives import margin_loss
from jaxcert.attacks.result import AttackResult, judged
from jaxcert.errors import InvalidInputError
from jaxcert.regions import Box, LpBall, Product, Region, flattened, interval
from jaxcert.regions.project import project, project_scaled

Preactivations = Callable[..., jax.Array]
"""`x -> [h]`: the values at whose zeros the logits bend."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class LineSearch:
    """The exact search for signal-directed sets; see `line_search`."""

    preactivations: Preactivations = field(metadata={"static": True})

    def __call__(
        self, fn: Network | Expectation, region: Region, label: ArrayLike, *, key: jax.Array
    ) -> AttackResult:
        """Attack one example; see `line_search`."""
        _require_a_segment(region)
        region = jax.lax.stop_gradient(region)
        logits = logits_of(fn, region, label)
        label = as_label(label)
        ends = _ends(region)
        x = jax.lax.stop_gradient(_between(region, ends, self._shares(region, ends)))

        def judge(x: jax.Array) -> AttackResult:
            found = logits(x, key)
            return judged(x, found, margin_loss(found, label), label)

        return jax.lax.stop_gradient(_worst(jax.vmap(judge)(x)))

    def _shares(self, region: Region, ends: tuple[jax.Array, jax.Array]) -> jax.Array:
        """Where the candidates lie, as shares of the way: the ends, and every zero in between."""
        low, high = jax.vmap(flattened(self.preactivations, region))(jnp.stack(ends))
        if low.ndim != 1:
            raise InvalidInputError(
                f"preactivations must map one example to a vector [h], but returned shape {low.shape}: "
                "flatten it inside, or join the layers with jnp.concatenate."
            )
        low, high = low.astype(region.dtype), high.astype(region.dtype)
        crosses = (low < 0) != (high < 0)
        share = jnp.where(crosses, low / jnp.where(crosses, low - high, 1.0), 0.0)
        return jnp.concatenate([jnp.array([0.0, 1.0], region.dtype), share])


def line_search(preactivations: Preactivations) -> LineSearch:
    """The exact worst case of a one-hidden-layer ReLU network on a segment.

    Called as `attack(fn, region, label, key=key)`. For signal-directed sets: a region in which at most
    one coordinate moves (radius 0, or a box of width 0, elsewhere). `preactivations` maps one input
    to the values `[h]` in front of the ReLUs, static. On the segment `center + beta radius`, beta in
    [-1, 1], cut by the clip range, each of them is affine, and its zero is found from its values at
    the two ends. `fn` is evaluated at the ends, at every zero and at the centre, and the worst answer
    wins: success first, then the highest `margin_loss`.

    Exact, up to rounding, where the preactivations are affine on the segment and the logits are
    affine wherever none of them changes sign: on each such piece every `logits[j] - logits[label]`
    is affine, so their maximum over j is convex and largest at an end of the piece, which is a
    candidate; if it is constantly 0 there, the tie that decides `success` holds at both ends. For
    other networks an estimate from below of the worst case.

    Returns:
      An `AttackResult`, with `margin_loss` as its loss; no gradient flows into it. An `Expectation`
      is searched with one draw of networks for all candidates.

    Raises:
      InvalidInputError: a region in which more than one coordinate moves, preactivations that are not
        a vector, and as `pgd`. A traced region in which more than one moves cannot raise: like
        other invalid ones it gives `success=True` and NaN.

    Cost: `h + 3` forward passes at once (memory too), and two passes through `preactivations`.
    Source: theses/1 M8, C.3 (which leave the discretisation open), (A.20) for one neuron.

    >>> import jax, jax.numpy as jnp
    >>> from jaxcert.attacks import line_search
    >>> from jaxcert.regions import linf_ball
    >>> hidden = lambda x: jnp.stack([x[0] + x[1] - 1, x[0] - 0.5])
    >>> last = jnp.array([[1.0, -2.0], [0.0, 0.0]])
    >>> network = lambda x: last @ jax.nn.relu(hidden(x)) + jnp.array([1.0, 0.0])
    >>> signal = linf_ball(jnp.array([0.0, 0.5]), jnp.array([1.0, 0.0]))
    >>> result = line_search(hidden)(network, signal, 0, key=jax.random.key(0))
    >>> result.x.tolist(), float(result.margin)
    ([1.0, 0.5], 0.5)
    """
    return LineSearch(preactivations)


def _ends(region: Region) -> tuple[jax.Array, jax.Array]:
    """Both ends of the segment, inside the region also after rounding; NaN where it is no segment."""
    lower, upper = interval(region)
    single = _moving(region, jnp) <= 1
    low, high = project_scaled(region, lower), project_scaled(region, upper)
    return jnp.where(single, low, jnp.nan), jnp.where(single, high, jnp.nan)


def _between(region: Region, ends: tuple[jax.Array, jax.Array], shares: jax.Array) -> jax.Array:
    """The points at these shares of the way, and the centre: `[n] -> [n + 1, *shape]`."""
    low, high = ends
    share = shares.reshape(-1, *(1,) * low.ndim)
    points = jnp.clip((1 - share) * low[None] + share * high[None], low[None], high[None])
    center = jnp.where(jnp.isnan(low), jnp.nan, project(region, region.center))
    return jnp.concatenate([points, center[None]])


def _worst(results: AttackResult) -> AttackResult:
    """The first of the worst: success, then the higher loss, NaN being the lowest."""
    least = jnp.finfo(results.loss.dtype).min
    loss = jnp.maximum(jnp.where(jnp.isnan(results.loss), least, results.loss), least)
    eligible = results.success == jnp.any(results.success)
    worst = jnp.argmax(jnp.where(eligible, loss, -jnp.inf))
    return jax.tree.map(lambda leaf: leaf[worst], results)


def _require_a_segment(region: Region) -> None:
    sizes = [
        leaf
        for part in _members(region)
        for leaf in ((part.lower, part.upper) if isinstance(part, Box) else (part.radius,))
    ]
    if any(isinstance(leaf, Tracer) for leaf in sizes):
        return
    count = int(_moving(region, np))
    if count > 1:
        raise InvalidInputError(
            f"A line search needs a region in which one coordinate moves, but {count} do: give eps as an "
            "array that is 0 elsewhere, or use pgd."
        )


def _moving(region: Region, xp: Any) -> Any:
    """How many coordinates move, by numpy or jax.numpy: under jit JAX would trace even constants."""
    count = 0
    for part in _members(region):
        if isinstance(part, Box):
            moves = xp.asarray(part.lower) < xp.asarray(part.upper)
        else:
            moves = xp.broadcast_to(xp.asarray(part.radius) > 0, part.shape)
        count = count + xp.sum(moves)
    return count


def _members(region: Region) -> tuple[LpBall | Box, ...]:
    return region.members if isinstance(region, Product) else (region,)
