"""Polyhedral envelopes: linear bounds of the margins as planes, and how far the nearest one is.

The linear lower bounds of the margins that a method finds on a region are planes, which hold
on all of it; where all are positive, so are the margins. A region that is not certified as a
whole therefore still certifies the ball up to the nearest plane.
Source: theses/4a §3.3.1, (3.12), Lemma 3.1.
"""

from dataclasses import dataclass, replace
from typing import Protocol

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from jaxcert.bounds import LinearForm, Method, is_certified
from jaxcert.bounds.margins import margin_specification
from jaxcert.bounds.specification import Function, graph_of
from jaxcert.errors import InvalidInputError
from jaxcert.regions import LpBall, minimize_linear
from jaxcert.regions.halfspace import halfspace_distance

_MOST_SHRINKS = 12


class LinearMethod(Method, Protocol):
    """A bound that also gives a linear function of the input below a specification."""

    def linear_lower(
        self, fn: Function, region: LpBall, coeffs: jax.Array, offset: jax.Array | None = None
    ) -> LinearForm: ...


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Envelope:
    """Planes below the margins of one example, and the ball that they certify.

    Attributes:
      form: linear lower bounds of the K - 1 margins, j != label increasing; valid on the region.
      margins: `[K-1]`, their minima over the region.
      distances: `[K-1]`, from the centre to where each plane falls to 0 within the clip range,
        inf where it never does. Differentiable.
      radius: certified, at most the region's eps.

    Distances and radius are in input units; where the region's eps is an array, multipliers of it.
    """

    form: LinearForm
    margins: jax.Array
    distances: jax.Array
    radius: jax.Array


def polyhedral_envelope(method: LinearMethod, fn: Function, region: LpBall, label: ArrayLike) -> Envelope:
    """Return the planes that `method` puts below the margins on a region, and the radius they certify.

    One bound computation gives a certified radius between 0 and the region's eps where `margins`
    gives a yes or no: all of eps where the region is certified, else the distance to the nearest
    plane.

    Args:
      method: a bound with `linear_lower`, such as `crown()`, `fast_lin()`, `crown_ibp()`.
      fn: one example -> logits `[K]`.
      region: an l_p ball, any p >= 1 that the method bounds, with or without clip, eps a scalar
        or an array.
      label: the class to certify.

    Returns:
      `Envelope`. Sound: the planes are positive on the ball of that `radius`, which is checked by
      minimising them over it; where a plane limits it, it is the distance less a share against
      rounding (4e-6 in float32 where that suffices). A misclassified centre has radius 0; bad
      traced input gives NaN.

    Raises:
      InvalidInputError: a region without a radius, a method without linear bounds, and what
        `margins` raises.

    Cost: one evaluation of the method, and some passes over `K - 1` rows of input size.
    Source: theses/4a Lemma 3.1, Algorithm 3.4 (see `regions.halfspace` for its errata).

    Example:
      >>> import jax.numpy as jnp, jaxcert as jc
      >>> fn = lambda x: jnp.array([[1.0, 0.0], [0.0, 1.0]]) @ x
      >>> found = jc.polyhedral_envelope(jc.crown(), fn, jc.linf_ball(jnp.array([1.0, 0.0]), 2.0), 0)
      >>> found.margins.tolist(), found.distances.tolist(), round(float(found.radius), 2)
      ([-3.0], [0.5], 0.5)
    """
    check_ball(region, "polyhedral_envelope")
    check_linear(method, "polyhedral_envelope")
    graph = graph_of(fn, region)
    spec = margin_specification(graph, label)
    form = method.linear_lower(graph, region, spec.coeffs, spec.offset)
    margins = _least(form, region)
    distances = halfspace_distance(region, form.coeffs, form.offset)
    return Envelope(form, margins, distances, _radius(form, margins, distances, region))


def check_ball(region: LpBall, what: str) -> None:
    """Raise unless the region has a radius to vary."""
    if not isinstance(region, LpBall):
        raise InvalidInputError(f"{what} needs an l_p ball: build one with linf_ball, l2_ball or l1_ball.")


def check_linear(method: Method, what: str) -> None:
    """Raise unless the method gives linear bounds."""
    if not hasattr(method, "linear_lower"):
        raise InvalidInputError(
            f"{what} needs a method with linear_lower, such as crown(), got {type(method).__name__}."
        )


def _least(form: LinearForm, region: LpBall) -> jax.Array:
    return minimize_linear(region, form.coeffs).astype(form.offset.dtype) + form.offset


def _radius(form: LinearForm, margins: jax.Array, distances: jax.Array, region: LpBall) -> jax.Array:
    """The distance of the nearest plane, less what rounding and the check by minimisation ask for.

    At the distance itself the plane is 0, and rounding errors of its coefficients decide. So a
    small share of it is left out, larger and larger ones until the minimum over the ball stays
    above the rounding of a sum of such terms.
    """
    limit = region.radius if region.radius.ndim == 0 else jnp.ones((), region.dtype)
    whole = is_certified(margins)
    reach = jnp.minimum(distances.min().astype(region.dtype), limit)
    fixed_form, fixed_region, fixed_reach = lax.stop_gradient((form, region, reach))
    ulp = float(jnp.finfo(region.dtype).eps)
    axes = tuple(range(1, form.coeffs.ndim))
    size = jnp.abs(fixed_form.coeffs * fixed_region.center[None]).sum(axes).astype(form.offset.dtype)
    floor = 32 * ulp * (size + jnp.abs(fixed_form.offset))

    def positive(share):
        radius = fixed_reach * share if region.radius.ndim == 0 else fixed_region.radius * fixed_reach * share
        return is_certified(_least(fixed_form, replace(fixed_region, radius=radius)) - floor)

    def open_(state):
        _, certified, count = state
        return ~whole & (fixed_reach > 0) & ~certified & (count < _MOST_SHRINKS)

    def shrink(state):
        _, _, count = state
        share = jnp.maximum(1 - 32 * ulp * 4.0 ** count.astype(region.dtype), 0)
        return share, positive(share), count + 1

    zero = jnp.zeros((), region.dtype)
    share, certified, _ = lax.while_loop(open_, shrink, (zero, jnp.asarray(False), jnp.zeros((), jnp.int32)))
    found = jnp.where(whole, limit, jnp.where(certified, share * reach, 0))
    return jnp.where(jnp.isnan(margins).any(), jnp.nan, found)
