"""Attacks: inputs inside a region that a network gets wrong, each a lower bound of the worst case."""

from jaxcert.attacks.adaptive_step import AtasState, atas, root_of_sum, root_then_sum
from jaxcert.attacks.apgd import Apgd, apgd
from jaxcert.attacks.autoattack import AutoAttack, Stage, autoattack, autoattack_plus, autoattack_rand
from jaxcert.attacks.cached import Cached, atta
from jaxcert.attacks.canvas import crop_cached, enlarge_cached, paste_cached, shrink_cached
from jaxcert.attacks.carlini_wagner import carlini_wagner
from jaxcert.attacks.deepfool import deepfool
from jaxcert.attacks.direction import steepest_ascent
from jaxcert.attacks.dlr import dlr, targeted_dlr
from jaxcert.attacks.ensemble import ensemble
from jaxcert.attacks.expectation import Expectation, expectation, mean_logits, mean_probability
from jaxcert.attacks.fab import fab
from jaxcert.attacks.fgsm import fgsm, fgsm_rs, ifgsm
from jaxcert.attacks.line_search import line_search
from jaxcert.attacks.linear import linear_attack
from jaxcert.attacks.minimal_norm import minimal_norm
from jaxcert.attacks.nearest import Nearest
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
from jaxcert.attacks.square import square
from jaxcert.attacks.start import center_start, random_start, start_at
from jaxcert.attacks.targets import MultiTargeted, multi_targeted
from jaxcert.attacks.transfer import Transfer, transfer_matrix

__all__ = [
    "Apgd",
    "AtasState",
    "AttackResult",
    "AutoAttack",
    "Cached",
    "Expectation",
    "MultiTargeted",
    "Nearest",
    "Pgd",
    "Stage",
    "Transfer",
    "apgd",
    "atas",
    "atta",
    "autoattack",
    "autoattack_plus",
    "autoattack_rand",
    "carlini_wagner",
    "center_start",
    "crop_cached",
    "cross_entropy",
    "deepfool",
    "dlr",
    "enlarge_cached",
    "ensemble",
    "expectation",
    "fab",
    "fgsm",
    "fgsm_rs",
    "ifgsm",
    "kl_divergence",
    "line_search",
    "linear_attack",
    "margin_loss",
    "mean_logits",
    "mean_probability",
    "minimal_norm",
    "multi_targeted",
    "paste_cached",
    "pgd",
    "random_start",
    "root_of_sum",
    "root_then_sum",
    "rotated_gradient",
    "shrink_cached",
    "square",
    "start_at",
    "steepest_ascent",
    "targeted_cross_entropy",
    "targeted_dlr",
    "targeted_margin",
    "transfer_matrix",
]
