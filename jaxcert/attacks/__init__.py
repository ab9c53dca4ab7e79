"""Attacks: inputs inside a region that a network gets wrong, each a lower bound of the worst case."""

from jaxcert.attacks.direction import steepest_ascent
from jaxcert.attacks.fgsm import fgsm, fgsm_rs
from jaxcert.attacks.objectives import cross_entropy, margin_loss, targeted_margin
from jaxcert.attacks.pgd import Pgd, pgd
from jaxcert.attacks.result import AttackResult
from jaxcert.attacks.start import center_start, random_start, start_at

__all__ = [
    "AttackResult",
    "Pgd",
    "center_start",
    "cross_entropy",
    "fgsm",
    "fgsm_rs",
    "margin_loss",
    "pgd",
    "random_start",
    "start_at",
    "steepest_ascent",
    "targeted_margin",
]
