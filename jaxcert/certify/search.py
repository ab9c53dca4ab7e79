"""How to look for the largest certified radius. A search is a value.

Both searches halve a bracket of radii by one bound evaluation at its middle. `bisection` learns
a yes or no from it. `pec` also learns how far the planes of the bound certify when the answer
is no, and moves the lower end there, so that it never needs more evaluations.
Source: theses/4a Algorithm 3.5 and its baseline. Errata: the printed inputs "eps, eps" are the
lower and the upper end; d_y need not fall as eps grows, so neither bracket's upper end is
a bound of the certifiable radius.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxcert.bounds import Method, is_certified, margins
from jaxcert.certify.envelope import check_linear, polyhedral_envelope
from jaxcert.errors import InvalidInputError
from jaxcert.graph import Graph
from jaxcert.regions import LpBall, Product, scaled


@jax.tree_util.register_static
@dataclass(frozen=True)
class Bisection:
    """Halving by verdicts. Make one with `bisection()`."""

    steps: int

    def certified(
        self, method: Method, graph: Graph, region: LpBall | Product, label: ArrayLike, factor: jax.Array
    ) -> jax.Array:
        """Return a multiplier of the region's radius that is certified: `factor`, or 0."""
        good = is_certified(margins(method, graph, scaled(region, factor), label))
        return jnp.where(good, factor, 0)


@jax.tree_util.register_static
@dataclass(frozen=True)
class Pec:
    """Halving by polyhedral envelopes. Make one with `pec()`."""

    steps: int

    def certified(
        self, method: Method, graph: Graph, region: LpBall | Product, label: ArrayLike, factor: jax.Array
    ) -> jax.Array:
        """Return a multiplier of the region's radius that is certified, in [0, `factor`]."""
        check_linear(method, "pec")
        assert isinstance(region, LpBall)
        tried = scaled(region, factor)
        envelope = polyhedral_envelope(method, graph, tried, label)  # pyright: ignore[reportArgumentType]
        whole = is_certified(envelope.margins)
        if region.radius.ndim == 0:
            # Rounded down: the quotient times the radius must not exceed what was certified.
            unit = jnp.where(region.radius > 0, region.radius, 1)
            share = envelope.radius / unit * (1 - 2 * float(jnp.finfo(region.dtype).eps))
        else:
            share = factor * envelope.radius
        part = jnp.where(share > 0, jnp.minimum(share, factor), 0)
        return jnp.where(whole, factor, part)


Search = Bisection | Pec


def bisection(steps: int = 20) -> Bisection:
    """Return the search by yes or no, for any method; the bracket ends at most `eps / 2^steps` wide.

    Raises:
      InvalidInputError: steps < 1.

    Example:
      >>> import jaxcert as jc
      >>> jc.bisection(12).steps
      12
    """
    return Bisection(_steps(steps))


def pec(steps: int = 20) -> Pec:
    """Return the search by polyhedral envelopes, for methods with `linear_lower`.

    The bracket ends as narrow as that of `bisection(steps)`, after at most as many evaluations,
    often fewer, and its lower end is at least the distance that any envelope on the way certified.

    Raises:
      InvalidInputError: steps < 1; on use, a method without linear bounds.

    Source: theses/4a Algorithm 3.5.

    Example:
      >>> import jax.numpy as jnp, jaxcert as jc
      >>> fn = lambda x: jnp.stack([x, -x])
      >>> region = jc.linf_ball(jnp.array(0.9), 1.0)
      >>> [
      ...     int(jc.certified_radius(jc.crown(), fn, region, 0, search=search).evaluations)
      ...     for search in (jc.bisection(12), jc.pec(12))
      ... ]
      [13, 10]
    """
    return Pec(_steps(steps))


def _steps(steps: int) -> int:
    if steps < 1:
        raise InvalidInputError(f"steps must be at least 1, got {steps}.")
    return steps
