"""Bounds of networks over regions, as methods: values that map (fn, region) to bounds."""

from jaxcert.bounds.backward import CROWN_RULES
from jaxcert.bounds.crown import Crown, crown, crown_ibp, fast_lin
from jaxcert.bounds.explain import ENGINES, Explanation, Operation, explain
from jaxcert.bounds.ibp import IBP_RULES, Ibp, ibp
from jaxcert.bounds.ibp import structural as ibp_structural
from jaxcert.bounds.margins import Method, is_certified, margin_coeffs, margins, targeted_margins
from jaxcert.bounds.rules import Rules
from jaxcert.bounds.types import Bounds, LinearBounds, LinearForm

__all__ = [
    "CROWN_RULES",
    "ENGINES",
    "IBP_RULES",
    "Bounds",
    "Crown",
    "Explanation",
    "Ibp",
    "LinearBounds",
    "LinearForm",
    "Method",
    "Operation",
    "Rules",
    "crown",
    "crown_ibp",
    "explain",
    "fast_lin",
    "ibp",
    "ibp_structural",
    "is_certified",
    "margin_coeffs",
    "margins",
    "targeted_margins",
]
