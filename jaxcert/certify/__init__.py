"""Questions answered with bounds: how far a certificate reaches, in every direction."""

from jaxcert.certify.envelope import Envelope, polyhedral_envelope
from jaxcert.certify.radius import RadiusBracket, certified_radius
from jaxcert.certify.search import Bisection, Pec, Search, bisection, pec

__all__ = [
    "Bisection",
    "Envelope",
    "Pec",
    "RadiusBracket",
    "Search",
    "bisection",
    "certified_radius",
    "pec",
    "polyhedral_envelope",
]
