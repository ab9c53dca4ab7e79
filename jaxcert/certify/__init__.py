"""Questions answered with bounds: how far a certificate reaches."""

from jaxcert.certify.radius import RadiusBracket, certified_radius

__all__ = ["RadiusBracket", "certified_radius"]
