"""Scalar relaxations: one record per activation, shared by every engine."""

from jaxcert.relax.piecewise import LEAKY_RELU, RELU
from jaxcert.relax.s_shaped import ARCTAN, SIGMOID, TANH
from jaxcert.relax.types import Activation, Lines

ACTIVATIONS: tuple[Activation, ...] = (RELU, LEAKY_RELU, SIGMOID, TANH, ARCTAN)

__all__ = ["ACTIVATIONS", "ARCTAN", "LEAKY_RELU", "RELU", "SIGMOID", "TANH", "Activation", "Lines"]
