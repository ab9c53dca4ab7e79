"""Scalar relaxations: one record per activation, shared by every engine."""

from jaxcert.relax.convex import EXP, EXPM1, LOG, LOG1P, RECIPROCAL, RSQRT, SOFTPLUS, SQRT
from jaxcert.relax.gated import GELU, GELU_TANH, MISH, SILU
from jaxcert.relax.joins import JOINS, MAXIMUM, MULTIPLY
from jaxcert.relax.kinked import ELU, HARD_TANH
from jaxcert.relax.piecewise import LEAKY_RELU, RELU
from jaxcert.relax.powers import INTEGER_POW
from jaxcert.relax.s_shaped import ARCTAN, ERF, SIGMOID, TANH
from jaxcert.relax.types import Activation, Ends, Join, Lines, Planes, Record
from jaxcert.relax.waves import COS, SIN

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
    SILU,
    GELU,
    GELU_TANH,
    MISH,
    INTEGER_POW,
    HARD_TANH,
    ELU,
    SIN,
    COS,
)

__all__ = [
    "ACTIVATIONS",
    "ARCTAN",
    "COS",
    "ELU",
    "ERF",
    "EXP",
    "EXPM1",
    "GELU",
    "GELU_TANH",
    "HARD_TANH",
    "INTEGER_POW",
    "JOINS",
    "LEAKY_RELU",
    "LOG",
    "LOG1P",
    "MAXIMUM",
    "MISH",
    "MULTIPLY",
    "RECIPROCAL",
    "RELU",
    "RSQRT",
    "SIGMOID",
    "SILU",
    "SIN",
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
