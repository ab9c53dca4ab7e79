"""Names on the command line and what they stand for."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal

from jaxcert.attacks import fgsm, pgd
from jaxcert.bounds import crown, crown_ibp, fast_lin, ibp
from jaxcert.cli.text import amount

BoundName = Literal["ibp", "fast-lin", "crown-ibp", "crown"]
AttackName = Literal["pgd", "fgsm"]
NormName = Literal["linf", "l2", "l1"]

BOUNDS: Mapping[str, Any] = MappingProxyType(
    {"ibp": ibp, "fast-lin": fast_lin, "crown-ibp": crown_ibp, "crown": crown}
)
"""Name -> constructor of a bounding method."""


def bounding_methods(names: Sequence[str]) -> dict[str, Any]:
    """The bounding methods of these names, in this order."""
    return {name: BOUNDS[name]() for name in names}


def attack_named(name: AttackName, steps: int, restarts: int, step_size: float | None) -> tuple[Any, str]:
    """An attack and its description for tables and results files."""
    if name == "fgsm":
        return fgsm(), "FGSM"
    size = "" if step_size is None else f", step {step_size:g} eps"
    return pgd(steps=steps, restarts=restarts, step_size=step_size), (
        f"PGD-{steps}, {amount(restarts, 'restart')}{size}"
    )
