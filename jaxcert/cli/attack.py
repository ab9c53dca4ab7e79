"""`jaxcert attack RUN`: attack a trained network and save the adversarial examples."""

from collections.abc import Sequence
from dataclasses import dataclass, field
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
from jaxcert.cli.runs import OpenedRun, first_images, open_run
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
    """Attack the test images of a run: success rate, adversarial examples, and a figure of some of them.

    Writes examples.npz (originals, adversarial, labels, before, after, index) and examples.png. AutoAttack
    and its stages also write JSON lines per image as they go, in a folder of their own, and the same command
    goes on where an interrupted one stopped; images that they do not break stay as they are in examples.npz.
    """

    run: tyro.conf.Positional[Path]
    """Folder of the run (what `jaxcert train` wrote)."""
    attack: AttackName = "pgd"
    """The attack: gradient ascent, one step of it, AutoAttack, its larger form, or one stage of it."""
    eps: float | None = None
    """Radius, in input units (pixels in [0, 1]); None: the eps of the run."""
    eps_sweep: tuple[float, ...] = ()
    """Radii, instead of --eps: writes robust accuracy against eps, robust_accuracy.png and .json."""
    norm: NormName | None = None
    """Norm of the ball; None: the norm of the run."""
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
    """Folder of the results; None: RUN/attack."""
    machines: Machines = field(default_factory=Machines)


@dataclass(frozen=True)
class Target:
    """What is attacked, how, and where the results go."""

    run: OpenedRun
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
            "batch_size": self.options.batch_size,
            "devices": self.devices,
        }

    @property
    def subject(self) -> tuple[Any, Any, Any]:
        """Network, parameters and images."""
        return self.run.apply, self.run.variables, self.run.dataset.test

    def threat(self, eps: float) -> ThreatModel:
        return ThreatModel(eps, NORMS[self.norm])


def main(argv: Sequence[str]) -> None:
    """Attacks, prints the success rate and writes the examples."""
    options = parse(Attack, argv, command="attack")
    if options.eps is not None and options.eps_sweep:
        raise ConfigError("Give --eps or --eps-sweep, not both.")
    devices = assembled(options.machines)
    run = open_run(options.run, options.data_dir)
    norm = options.norm or run.config.norm
    numbers = (options.steps, options.restarts, options.step_size)
    attack, name = attack_named(options.attack, *numbers, norm=norm, queries=options.queries)
    indices = first_images(len(run.dataset.test), options.limit)
    out = options.out or options.run / "attack"
    target = Target(run, attack, name, norm, indices, out, options, devices)
    if options.eps_sweep:
        _sweep(target)
    else:
        _attack(target, run.config.eps if options.eps is None else options.eps)


def _attack(target: Target, eps: float) -> None:
    if isinstance(target.attack, AutoAttack):
        result = _staged(target, eps, target.indices)
        records, found = result.records, None
        if is_first():
            print(stage_table(result))
            found = examples_of(result, target.run.dataset.test)
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
        found = Examples(target.run.dataset.test.pixels(np.asarray(target.indices)), points, records, seen)
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
            return _staged(target, eps, left).records
        threat = target.threat(eps)
        return attacked(
            *target.subject, threat, target.attack, indices=left, progress=name, shrink=True, **target.common
        )

    before = clean(
        *target.subject,
        indices=target.indices,
        batch_size=target.options.batch_size,
        devices=target.devices,
    )
    found = robust_accuracies(target.options.eps_sweep, before, measure)
    if not is_first():
        return
    table, figure = target.out / "robust_accuracy.json", target.out / "robust_accuracy.png"
    settings = {"attack": target.name, "norm": target.norm, "seed": target.options.seed}
    write_robust_accuracies(table, found, **settings)
    config = target.run.config
    robust_accuracy_against_eps(
        {target.name: found},
        figure,
        title=f"{target.run.folder.name}: robust accuracy on {target.run.dataset.name}",
        norm=NORMS[target.norm],
        trained_at=None if config.method == "standard" or config.norm != target.norm else config.eps,
    )
    print(radius_table(found))
    print(f"written: {table}, {figure}")


def _staged(target: Target, eps: float, indices: Sequence[int]) -> AutoAttackResult:
    return autoattack(
        *target.subject,
        target.threat(eps),
        target.attack,
        indices=indices,
        folder=target.out / f"{target.options.attack}-{target.norm}-eps{eps:g}",
        settings=target.run.subject().identity,
        progress=f"{target.name} at {eps:g}",
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
