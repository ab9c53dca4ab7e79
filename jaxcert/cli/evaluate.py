"""`jaxcert evaluate RUN`: clean, attacked and certified error of a trained network."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import tyro

from jaxcert.cli.choices import AttackName, BoundName, NormName, attack_named, bounding_methods
from jaxcert.cli.machines import Machines, assembled
from jaxcert.cli.parse import parse
from jaxcert.cli.runs import first_images, open_run
from jaxcert.devices import is_first
from jaxcert.evaluate import Protocol, evaluate, text_table, write_reports
from jaxcert.evaluate.figures import errors_against_eps
from jaxcert.train import NORMS


@dataclass(frozen=True)
class Evaluate:
    """Clean error, error under attack and certified error on the test images of a run.

    Writes one JSON line per image as it goes, then report.json and figure.png. The same command goes on
    where an interrupted one stopped.
    """

    run: tyro.conf.Positional[Path]
    """Folder of the run (what `jaxcert train` wrote)."""
    eps: tuple[float, ...] = ()
    """Radii, in input units (pixels in [0, 1]); none given: the eps of the run."""
    norm: NormName | None = None
    """Norm of the ball; None: the norm of the run."""
    methods: tuple[BoundName, ...] = ("crown",)
    """Bounding methods that certify."""
    cascade: bool = False
    """Run the methods in their order, each only on the images that those before left uncertified."""
    attack: AttackName = "pgd"
    """The attack: gradient ascent, one step of it, AutoAttack, its larger form, or one stage of it."""
    steps: int = 40
    """Steps of the attack (pgd)."""
    restarts: int = 5
    """Random starts of the attack (pgd)."""
    step_size: float | None = None
    """Step of the attack (pgd), as a multiple of eps; None: 2.5 / steps (l_2: at least 0.25)."""
    queries: int | None = None
    """Forward passes of Square (autoattack, autoattack-plus, square); None: 5000."""
    limit: int | None = None
    """Use only this many test images, the first ones; None: all."""
    batch_size: int = 256
    """Images per batch of clean passes and attacks."""
    certify_batch_size: int = 8
    """Images per batch of bounds, which need much memory: small batches stay in a CPU's cache."""
    seed: int = 0
    """Seed of the attack."""
    data_dir: Path | None = None
    """Folder of the data set's files; None: that of the run, else JAXCERT_DATA."""
    out: Path | None = None
    """Folder of the results; None: RUN/evaluation."""
    machines: Machines = field(default_factory=Machines)


def main(argv: Sequence[str]) -> None:
    """Evaluates, prints the table and writes the results."""
    options = parse(Evaluate, argv, command="evaluate")
    devices = assembled(options.machines)
    run = open_run(options.run, options.data_dir)
    out = options.out or options.run / "evaluation"
    subject = run.subject()
    indices = first_images(len(run.dataset.test), options.limit)
    protocol = _protocol(options, run.config.eps, run.config.norm)
    reports = evaluate(subject, protocol, out, indices=indices, devices=devices)
    if not is_first():
        return
    write_reports(out / "report.json", reports)
    trained_at = {} if run.config.method == "standard" else {subject.name: run.config.eps}
    title = f"{subject.name}: error on {run.dataset.name}"
    errors_against_eps(reports, out / "figure.png", title=title, trained_at=trained_at)
    print(text_table(reports))
    print(f"written: {out / 'report.json'}, {out / 'figure.png'}")


def _protocol(options: Evaluate, eps: float, norm: NormName) -> Protocol:
    norm = options.norm or norm
    numbers = (options.steps, options.restarts, options.step_size)
    attack, name = attack_named(options.attack, *numbers, norm=norm, queries=options.queries)
    return Protocol(
        eps=tuple(dict.fromkeys(options.eps)) or (eps,),
        norm=NORMS[norm],
        attack=attack,
        attack_name=name,
        methods=bounding_methods(options.methods),
        cascaded=options.cascade,
        seed=options.seed,
        batch_size=options.batch_size,
        certify_batch_size=options.certify_batch_size,
    )
