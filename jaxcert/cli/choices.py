"""Names on the command line and what they stand for."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Literal

from jaxcert.attacks import fgsm, pgd
from jaxcert.attacks.autoattack import AutoAttack, autoattack, autoattack_plus, standard_stages
from jaxcert.attacks.square import Square
from jaxcert.bounds import crown, crown_ibp, fast_lin, ibp
from jaxcert.cli.text import amount
from jaxcert.errors import ConfigError

BoundName = Literal["ibp", "fast-lin", "crown-ibp", "crown"]
AttackName = Literal["pgd", "fgsm", "autoattack", "autoattack-plus", "apgd-ce", "apgd-t", "fab-t", "square"]
NormName = Literal["linf", "l2", "l1"]

BOUNDS: Mapping[str, Any] = MappingProxyType(
    {"ibp": ibp, "fast-lin": fast_lin, "crown-ibp": crown_ibp, "crown": crown}
)
"""Name -> constructor of a bounding method."""
ENSEMBLES: Mapping[str, tuple[str, Callable[[], AutoAttack]]] = MappingProxyType(
    {"autoattack": ("AutoAttack", autoattack), "autoattack-plus": ("AutoAttack plus", autoattack_plus)}
)
"""Name -> description and constructor of an ensemble; each stage of the first is a name of its own."""


def bounding_methods(names: Sequence[str]) -> dict[str, Any]:
    """The bounding methods of these names, in this order."""
    return {name: BOUNDS[name]() for name in names}


def attack_named(
    name: AttackName,
    steps: int,
    restarts: int,
    step_size: float | None,
    norm: NormName = "linf",
    queries: int | None = None,
) -> tuple[Any, str]:
    """An attack and its description for tables and results files.

    `pgd` alone takes steps, restarts and step size; `queries` are those of Square, `None` the usual number.

    Raises:
      ConfigError: there are no such queries.
    """
    if name == "fgsm":
        return fgsm(), "FGSM"
    if name == "pgd":
        size = "" if step_size is None else f", step {step_size:g} eps"
        return pgd(steps=steps, restarts=restarts, step_size=step_size), (
            f"PGD-{steps}, {amount(restarts, 'restart')}{size}"
        )
    described, ensemble = ENSEMBLES.get(name, (name.upper(), None))
    is_l1 = norm == "l1"
    made = autoattack() if ensemble is None else ensemble()
    stages = made.plan(is_l1) if ensemble else [s for s in standard_stages(is_l1) if s.name == name]
    if queries is not None:
        if queries < 1:
            raise ConfigError(f"--queries must be at least 1, got {queries}.")
        stages = [
            replace(stage, attack=replace(stage.attack, queries=queries))
            if isinstance(stage.attack, Square)
            else stage
            for stage in stages
        ]
        described += f", {queries} queries"
    return autoattack(stages=stages), described
