"""`jaxcert attack RUN`: attack a trained network and save the adversarial examples."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jax
import numpy as np
import tyro

from jaxcert.cli.choices import AttackName, NormName, attack_named
from jaxcert.cli.machines import Machines, assembled
from jaxcert.cli.parse import parse
from jaxcert.cli.runs import first_images, open_run
from jaxcert.devices import is_first
from jaxcert.evaluate import Record, ThreatModel, adversarial_images
from jaxcert.evaluate.figures import adversarial_examples
from jaxcert.train import NORMS

SHOWN = 8


@dataclass(frozen=True)
class Attack:
    """Attack the test images of a run: success rate, adversarial examples, and a figure of some of them.

    Writes examples.npz (originals, adversarial, labels, before, after, index) and examples.png.
    """

    run: tyro.conf.Positional[Path]
    """Folder of the run (what `jaxcert train` wrote)."""
    attack: AttackName = "pgd"
    """The attack: projected gradient ascent, or one step of it from the image itself."""
    eps: float | None = None
    """Radius, in input units (pixels in [0, 1]); None: the eps of the run."""
    norm: NormName | None = None
    """Norm of the ball; None: the norm of the run."""
    steps: int = 40
    """Steps (pgd)."""
    restarts: int = 1
    """Random starts, of which the worst counts (pgd)."""
    step_size: float | None = None
    """Step as a multiple of eps (pgd); None: 2.5 / steps (l_2: at least 0.25)."""
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


def main(argv: Sequence[str]) -> None:
    """Attacks, prints the success rate and writes the examples."""
    options = parse(Attack, argv, command="attack")
    devices = assembled(options.machines)
    run = open_run(options.run, options.data_dir)
    test, out = run.dataset.test, options.out or options.run / "attack"
    eps = run.config.eps if options.eps is None else options.eps
    norm = options.norm or run.config.norm
    attack, name = attack_named(options.attack, options.steps, options.restarts, options.step_size)
    records, points, seen = adversarial_images(
        run.apply,
        run.variables,
        test,
        ThreatModel(eps, NORMS[norm]),
        attack,
        key=jax.random.key(options.seed),
        indices=first_images(len(test), options.limit),
        batch_size=options.batch_size,
        progress=name,
        devices=devices,
    )
    if not is_first():
        return
    originals = test.pixels(np.array([record.index for record in records]))
    _save(out / "examples.npz", originals, points, records, seen)
    _draw(out / "examples.png", originals, points, records, seen, f"{name} at eps {eps:g} ({norm})")
    correct = [record for record in records if record.correct]
    fallen = sum(not record.attacked_correct for record in correct)
    rate = f", {100 * fallen / len(correct):.2f} %" if correct else ""
    print(
        f"{name} at eps {eps:g} ({norm}): {fallen} of {len(correct)} correctly classified images fall{rate}"
    )
    wrong = len(records) - len(correct)
    print(f"errors of {len(records)} images: clean {wrong}, attacked {wrong + fallen}")
    print(f"written: {out / 'examples.npz'}, {out / 'examples.png'}")


def _save(
    path: Path, originals: np.ndarray, points: np.ndarray, records: Sequence[Record], seen: np.ndarray
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        np.savez_compressed(
            file,
            originals=originals,
            adversarial=points,
            labels=np.array([record.label for record in records]),
            before=np.array([record.prediction for record in records]),
            after=seen,
            index=np.array([record.index for record in records]),
        )
    os.replace(partial, path)


def _draw(
    path: Path,
    originals: np.ndarray,
    points: np.ndarray,
    records: Sequence[Record],
    seen: np.ndarray,
    title: str,
) -> None:
    """The first images that fell, filled up with others when too few did."""
    order = sorted(
        range(len(records)), key=lambda i: not (records[i].correct and not records[i].attacked_correct)
    )
    shown = order[:SHOWN]
    adversarial_examples(
        originals[shown],
        points[shown],
        path,
        labels=[records[i].label for i in shown],
        before=[records[i].prediction for i in shown],
        after=seen[shown].tolist(),
        title=title,
    )
