"""Bounds that hold under floating point: every rounding error of the evaluation is paid for."""

from jaxcert.certify.rigorous.method import Rigorous, evaluate, rigorous, rigorous_margins

__all__ = ["Rigorous", "evaluate", "rigorous", "rigorous_margins"]
