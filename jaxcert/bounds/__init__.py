"""Bounds of networks over regions, as methods: values that map (fn, region) to bounds."""

from jaxcert.bounds.alpha import AlphaCrown, alpha_crown
from jaxcert.bounds.backward import CROWN_RULES
from jaxcert.bounds.crown import Crown, crown, crown_ibp, fast_lin
from jaxcert.bounds.explain import ENGINES, Explanation, Operation, explain
from jaxcert.bounds.forward import FORWARD_RULES, Forward, forward
from jaxcert.bounds.ibp import IBP_RULES, Ibp, ibp
from jaxcert.bounds.ibp import structural as ibp_structural
from jaxcert.bounds.margins import Method, is_certified, margin_coeffs, margins, targeted_margins
from jaxcert.bounds.rules import Rules
from jaxcert.bounds.tightest import Tightest, tightest
from jaxcert.bounds.types import Bounds, LinearBounds, LinearForm

__all__ = [
    "CROWN_RULES",
    "ENGINES",
    "FORWARD_RULES",
    "IBP_RULES",
    "AlphaCrown",
    "Bounds",
    "Crown",
    "Explanation",
    "Forward",
    "Ibp",
    "LinearBounds",
    "LinearForm",
    "Method",
    "Operation",
    "Rules",
    "Tightest",
    "alpha_crown",
    "crown",
    "crown_ibp",
    "explain",
    "fast_lin",
    "forward",
    "ibp",
    "ibp_structural",
    "is_certified",
    "margin_coeffs",
    "margins",
    "targeted_margins",
    "tightest",
]
