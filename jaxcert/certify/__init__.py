"""Questions answered with bounds: how far a certificate reaches, in every direction."""

from jaxcert.certify.envelope import Envelope, polyhedral_envelope
from jaxcert.certify.neurons import LayerNeurons, NeuronStatistics, neuron_statistics
from jaxcert.certify.nonuniform import AugmentedLagrangian, CertifiedRadii, nonuniform_radii, uniform_radii
from jaxcert.certify.radius import RadiusBracket, certified_radius
from jaxcert.certify.rigorous import Rigorous, rigorous, rigorous_margins
from jaxcert.certify.search import Bisection, Pec, Search, bisection, pec

__all__ = [
    "AugmentedLagrangian",
    "Bisection",
    "CertifiedRadii",
    "Envelope",
    "LayerNeurons",
    "NeuronStatistics",
    "Pec",
    "RadiusBracket",
    "Rigorous",
    "Search",
    "bisection",
    "certified_radius",
    "neuron_statistics",
    "nonuniform_radii",
    "pec",
    "polyhedral_envelope",
    "rigorous",
    "rigorous_margins",
    "uniform_radii",
]
