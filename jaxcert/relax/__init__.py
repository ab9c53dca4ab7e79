"""Scalar relaxations: one record per activation, shared by every engine."""

from jaxcert.relax.convex import EXP, EXPM1, LOG, LOG1P, RECIPROCAL, RSQRT, SOFTPLUS, SQRT
from jaxcert.relax.joins import JOINS, MAXIMUM, MULTIPLY
from jaxcert.relax.piecewise import LEAKY_RELU, RELU
from jaxcert.relax.s_shaped import ARCTAN, ERF, SIGMOID, TANH
from jaxcert.relax.types import Activation, Ends, Join, Lines, Planes, Record

ACTIVATIONS: tuple[Activation, ...] = (
    RELU,
    LEAKY_RELU,
    SIGMOID,
    TANH,
    ARCTAN,
    ERF,
    SOFTPLUS,
    EXP,
    EXPM1,
    LOG,
    LOG1P,
    SQRT,
    RSQRT,
    RECIPROCAL,
)

__all__ = [
    "ACTIVATIONS",
    "ARCTAN",
    "ERF",
    "EXP",
    "EXPM1",
    "JOINS",
    "LEAKY_RELU",
    "LOG",
    "LOG1P",
    "MAXIMUM",
    "MULTIPLY",
    "RECIPROCAL",
    "RELU",
    "RSQRT",
    "SIGMOID",
    "SOFTPLUS",
    "SQRT",
    "TANH",
    "Activation",
    "Ends",
    "Join",
    "Lines",
    "Planes",
    "Record",
]
