"""Making certificates, and checking them without trusting how they were found."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxcert.bounds import Crown, Ibp
from jaxcert.bounds.margins import margin_specification
from jaxcert.bounds.specification import Function, graph_of
from jaxcert.certify.rigorous import evaluate
from jaxcert.errors import CertificateError, InvalidInputError
from jaxcert.formats.certificate import Certificate
from jaxcert.graph import Graph
from jaxcert.regions import LpBall, lp_ball

# How much below the proven bound the claim is made, so that other machines confirm it too.
_ALLOWANCE = 1e-6


@dataclass(frozen=True, eq=False)
class Verdict:
    """What became of a certificate.

    Attributes:
      status: `confirmed`: the bound was proven again, and is positive where a label is claimed;
        `not confirmed`: the rigorous evaluation reached `bound` only, which disproves nothing;
        `other model`: the certificate is about another network, and nothing was computed.
      bound: the rigorous bound `[S]`, None for another model.
    """

    status: Literal["confirmed", "not confirmed", "other model"]
    bound: np.ndarray | None


def make_certificate(
    fn: Function,
    *,
    model: str,
    center: np.ndarray,
    eps: float | np.ndarray,
    norm: float,
    clip: tuple[Any, Any] | None,
    label: int,
    method: Crown | Ibp,
    notes: Mapping[str, Any] = MappingProxyType({}),
) -> Certificate | None:
    """Return a certificate that a label holds on a ball, None where the method does not prove it.

    Args:
      fn: one example -> logits; accepts float64, see `rigorous_margins`.
      model: its hash, see `model_hash`.
      others: see `Certificate`.

    Returns:
      A certificate that claims a millionth less than what the rigorous evaluation proved, so that
      other machines can confirm it.

    Raises:
      CertificateError: values that contradict each other, or a label that is no class of fn.
      InvalidInputError, UnsupportedPrimitiveError: see `rigorous`.

    Example:
      >>> import jax.numpy as jnp, numpy as np, jaxcert as jc
      >>> from jaxcert.formats import check_certificate, make_certificate, model_hash
      >>> fn = lambda x: jnp.stack([x[0], x[1]])
      >>> ball = {"center": np.array([1.0, 0.0], np.float32), "eps": 0.25, "norm": 2.0, "clip": None}
      >>> made = make_certificate(fn, model=model_hash((), {}), label=0, method=jc.crown(), **ball)
      >>> bool(0.64 < made.bound[0] < 0.65), check_certificate(fn, made.model, made).status
      (True, 'confirmed')
    """
    draft = Certificate(model, center, eps, norm, clip, label, np.zeros(1), method, notes=notes)
    proven = prove(fn, draft)
    lowered = proven - _ALLOWANCE * np.abs(proven)
    if not np.all(np.isfinite(proven) & (lowered > 0)):
        return None
    return replace(draft, bound=lowered)


def check_certificate(fn: Function, model: str, claim: Certificate) -> Verdict:
    """Return whether the claim is proven again, in float64 with every rounding error accounted for.

    Args:
      fn: one example -> logits; accepts float64, see `rigorous_margins`.
      model: its hash.
      claim: what `read_certificate` returned.

    Soundness: as `rigorous`; method and slopes of the certificate are used and not trusted.

    Raises:
      CertificateError: the certificate does not fit the network's input or output.
      InvalidInputError, UnsupportedPrimitiveError: see `rigorous`.
    """
    if claim.model != model:
        return Verdict("other model", None)
    proven = prove(fn, claim)
    if proven.shape != claim.bound.shape:
        raise CertificateError(
            f"the certificate claims {len(claim.bound)} bounds, its network has {len(proven)}."
        )
    good = np.all(np.isfinite(proven)) and np.all(proven >= claim.bound)
    positive = claim.label is None or bool(np.all(proven > 0))
    return Verdict("confirmed" if good and positive else "not confirmed", proven)


def prove(fn: Function, claim: Certificate) -> np.ndarray:
    """Return rigorous lower bounds `[S]` of what a certificate is about, whatever bound it claims."""
    with jax.enable_x64(True), jax.default_device(jax.devices("cpu")[0]):
        region = _region(claim)
        try:
            graph = graph_of(fn, region)
            coeffs, offset = _specification(graph, claim)
            return evaluate(claim.method, graph, region, coeffs, offset)
        except (InvalidInputError, TypeError) as error:
            raise CertificateError(f"the certificate does not fit the network: {error}") from error


def _region(claim: Certificate) -> LpBall:
    center = jnp.asarray(np.asarray(claim.center, np.float64))
    clip = None
    if claim.clip is not None:
        clip = tuple(jnp.asarray(np.asarray(end, np.float64)) for end in claim.clip)
    return lp_ball(center, jnp.asarray(np.asarray(claim.eps, np.float64)), claim.norm, clip)  # pyright: ignore[reportArgumentType]


def _specification(graph: Graph, claim: Certificate) -> tuple[Any, Any]:
    if claim.label is not None:
        spec = margin_specification(graph, claim.label)
        return spec.coeffs, spec.offset
    coeffs = np.asarray(claim.coeffs, np.float64)
    if coeffs.shape[1:] != graph.out_shape:
        raise InvalidInputError(f"coefficients are {coeffs.shape[1:]} but the outputs {graph.out_shape}.")
    return coeffs, np.asarray(claim.offset, np.float64)
