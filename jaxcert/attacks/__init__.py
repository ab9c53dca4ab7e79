"""Attacks: inputs inside a region that a network gets wrong, each a lower bound of the worst case."""

from jaxcert.attacks.direction import steepest_ascent
from jaxcert.attacks.dlr import dlr, targeted_dlr
from jaxcert.attacks.expectation import Expectation, expectation, mean_logits, mean_probability
from jaxcert.attacks.fgsm import fgsm, fgsm_rs, ifgsm
from jaxcert.attacks.objectives import (
    cross_entropy,
    kl_divergence,
    margin_loss,
    targeted_cross_entropy,
    targeted_margin,
)
from jaxcert.attacks.pgd import Pgd, pgd
from jaxcert.attacks.proxy import rotated_gradient
from jaxcert.attacks.result import AttackResult
from jaxcert.attacks.start import center_start, random_start, start_at

__all__ = [
    "AttackResult",
    "Expectation",
    "Pgd",
    "center_start",
    "cross_entropy",
    "dlr",
    "expectation",
    "fgsm",
    "fgsm_rs",
    "ifgsm",
    "kl_divergence",
    "margin_loss",
    "mean_logits",
    "mean_probability",
    "pgd",
    "random_start",
    "rotated_gradient",
    "start_at",
    "steepest_ascent",
    "targeted_cross_entropy",
    "targeted_dlr",
    "targeted_margin",
]
