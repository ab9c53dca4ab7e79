"""`jaxcert attack RUN` or `MODEL.npz`: attack a network and save the adversarial examples."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tyro

from jaxcert.attacks.autoattack import AutoAttack
from jaxcert.cli.choices import AttackName, NormName, attack_named
from jaxcert.cli.examples import Examples, examples_of
from jaxcert.cli.machines import Machines, assembled
from jaxcert.cli.parse import parse
from jaxcert.cli.runs import first_images, require_writable
from jaxcert.cli.victims import Victim, open_victim
from jaxcert.devices import Devices, is_first
from jaxcert.errors import ConfigError
from jaxcert.evaluate import (
    AutoAttackResult,
    Record,
    ThreatModel,
    adversarial_images,
    attacked,
    autoattack,
    clean,
    radius_table,
    robust_accuracies,
    stage_table,
    write_robust_accuracies,
)
from jaxcert.evaluate.figures import robust_accuracy_against_eps
from jaxcert.train import NORMS


@dataclass(frozen=True)
class Attack:
    """Attack the test images of a run or of a network in a file: success rate, examples and a figure of some.

    Writes examples.npz (originals, adversarial, labels, before, after, index) and examples.png. AutoAttack
    and its stages also write JSON lines per image as they go, in a folder of their own, and the same command
    goes on where an interrupted one stopped; images that they do not break stay as they are in examples.npz.
    """

    run: tyro.conf.Positional[Path]
    """Folder of the run (what `jaxcert train` wrote), or MODEL.npz with MODEL.json beside it."""
    attack: AttackName = "pgd"
    """The attack: gradient ascent, one step of it, AutoAttack, its larger form, or one stage of it."""
    eps: float | None = None
    """Radius, in input units (pixels in [0, 1]); None: that of the run or file."""
    eps_sweep: tuple[float, ...] = ()
    """Radii, instead of --eps: writes robust accuracy against eps, robust_accuracy.png and .json."""
    norm: NormName | None = None
    """Norm of the ball; None: that of the run or file."""
    steps: int = 40
    """Steps (pgd)."""
    restarts: int = 1
    """Random starts, of which the worst counts (pgd)."""
    step_size: float | None = None
    """Step as a multiple of eps (pgd); None: 2.5 / steps (l_2: at least 0.25)."""
    queries: int | None = None
    """Forward passes of Square (autoattack, autoattack-plus, square); None: 5000."""
    limit: int | None = 200
    """Attack only this many test images, the first ones; None: all."""
    batch_size: int = 256
    """Images per batch."""
    seed: int = 0
    """Seed of the random starts."""
    data_dir: Path | None = None
    """Folder of the data set's files; None: that of the run, else JAXCERT_DATA."""
    out: Path | None = None
    """Folder of the results; None: RUN/attack, or runs/MODEL/attack."""
    machines: Machines = field(default_factory=Machines)


@dataclass(frozen=True)
class Target:
    """What is attacked, how, and where the results go."""

    victim: Victim
    attack: Any
    name: str
    norm: NormName
    indices: range
    out: Path
    options: Attack
    devices: Devices

    @property
    def common(self) -> dict[str, Any]:
        """What all measures take."""
        return {
            "key": jax.random.key(self.options.seed),
            "batch_size": min(self.options.batch_size, len(self.indices)),
            "devices": self.devices,
        }

    @property
    def subject(self) -> tuple[Any, Any, Any]:
        """Network, parameters and images."""
        subject = self.victim.subject
        return subject.apply, subject.variables, subject.images

    def threat(self, eps: float) -> ThreatModel:
        return ThreatModel(eps, NORMS[self.norm])


def main(argv: Sequence[str]) -> None:
    """Attacks, prints the success rate and writes the examples."""
    options = parse(Attack, argv, command="attack")
    if options.eps is not None and options.eps_sweep:
        raise ConfigError("Give --eps or --eps-sweep, not both.")
    devices = assembled(options.machines)
    victim = open_victim(options.run, options.data_dir)
    norm = options.norm or victim.norm
    numbers = (options.steps, options.restarts, options.step_size)
    attack, name = attack_named(options.attack, *numbers, norm=norm, queries=options.queries)
    indices = first_images(len(victim.subject.images.labels), options.limit)
    out = options.out or victim.folder / "attack"
    if is_first():
        require_writable(out)
    target = Target(victim, attack, name, norm, indices, out, options, devices)
    if options.eps_sweep:
        _sweep(target)
    else:
        _attack(target, victim.radius(options.eps))


def _attack(target: Target, eps: float) -> None:
    if isinstance(target.attack, AutoAttack):
        result = _staged(target, eps, indices=target.indices)
        records, found = result.records, None
        if is_first():
            print(stage_table(result))
            found = examples_of(result, target.victim.subject.images)
    else:
        threat = target.threat(eps)
        records, points, seen = adversarial_images(
            *target.subject,
            threat,
            target.attack,
            indices=target.indices,
            progress=target.name,
            **target.common,
        )
        found = Examples(
            target.victim.subject.images.pixels(np.asarray(target.indices)), points, records, seen
        )
    if not is_first() or found is None:
        return
    table, figure = target.out / "examples.npz", target.out / "examples.png"
    found.save(table)
    found.draw(figure, f"{target.name} at eps {eps:g} ({target.norm})")
    print(_verdict(target, eps, records))
    print(f"written: {table}, {figure}")


def _sweep(target: Target) -> None:
    """Robust accuracy against eps."""

    def measure(eps: float, left: Sequence[int]) -> Sequence[Record]:
        name = f"{target.name} at {eps:g}"
        if isinstance(target.attack, AutoAttack):
            result = _staged(target, eps, before=_marked(before, left))
            return [record for record in result.records if record.index in set(left)]
        threat = target.threat(eps)
        return attacked(
            *target.subject, threat, target.attack, indices=left, progress=name, shrink=True, **target.common
        )

    before = clean(
        *target.subject,
        indices=target.indices,
        batch_size=target.common["batch_size"],
        devices=target.devices,
    )
    found = robust_accuracies(target.options.eps_sweep, before, measure)
    if not is_first():
        return
    table, figure = target.out / "robust_accuracy.json", target.out / "robust_accuracy.png"
    settings = {"attack": target.name, "norm": target.norm, "seed": target.options.seed}
    write_robust_accuracies(table, found, **settings)
    victim = target.victim
    robust_accuracy_against_eps(
        {target.name: found},
        figure,
        title=f"{victim.subject.name}: robust accuracy on {victim.dataset}",
        norm=NORMS[target.norm],
        trained_at=victim.trained_at if victim.norm == target.norm else None,
    )
    print(radius_table(found))
    print(f"written: {table}, {figure}")


def _marked(before: Sequence[Record], left: Sequence[int]) -> list[Record]:
    """The clean records, in which those that are not left but were correct have fallen."""
    kept = set(left)
    return [replace(r, attacked_correct=False) if r.correct and r.index not in kept else r for r in before]


def _staged(target: Target, eps: float, **images: Any) -> AutoAttackResult:
    return autoattack(
        *target.subject,
        target.threat(eps),
        target.attack,
        folder=target.out / f"{target.options.attack}-{target.norm}-eps{float(eps)!r}",
        settings=target.victim.subject.identity,
        progress=f"{target.name} at {eps:g}",
        **images,
        **target.common,
    )


def _verdict(target: Target, eps: float, records: Sequence[Record]) -> str:
    correct = [record for record in records if record.correct]
    fallen, wrong = sum(not record.attacked_correct for record in correct), len(records) - len(correct)
    rate = f", {100 * fallen / len(correct):.2f} %" if correct else ""
    return (
        f"{target.name} at eps {eps:g} ({target.norm}): {fallen} of {len(correct)} correctly classified "
        f"images fall{rate}\nerrors of {len(records)} images: clean {wrong}, attacked {wrong + fallen}"
    )
