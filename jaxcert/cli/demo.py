"""`jaxcert demo`: one small network trained four ways on real images, and what each way is worth."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from jaxcert.cli.choices import attack_named, bounding_methods
from jaxcert.cli.parse import parse
from jaxcert.cli.runs import first_images, open_run
from jaxcert.cli.text import duration
from jaxcert.errors import ConfigError
from jaxcert.evaluate import Protocol, Report, evaluate, markdown_table, text_table, write_reports
from jaxcert.evaluate.figures import errors_against_eps
from jaxcert.evaluate.report import write_whole
from jaxcert.train import TrainConfig, fit

EPS = 0.1
RADII = (0.25 * EPS, 0.5 * EPS, 0.75 * EPS, EPS, 1.25 * EPS, 1.5 * EPS)

_SHARED = TrainConfig(
    dataset="digits",
    model="cnn-digits",
    method="standard",
    eps=EPS,
    epochs=60,
    batch_size=64,
    learning_rate=2e-3,
    decay_epochs=(45,),
)
_RAMPED = replace(_SHARED, warmup_epochs=5, rampup_epochs=30)
WAYS: dict[str, TrainConfig] = {
    "standard": _SHARED,
    "PGD-AT": replace(_RAMPED, method="pgd", attack_steps=7),
    "IBP": replace(_RAMPED, method="ibp", kappa_start=1.0, kappa_end=0.5),
    "CROWN-IBP": replace(_RAMPED, method="crown-ibp", kappa_start=0.0, kappa_end=0.0),
}
"""Name in tables -> configuration."""


@dataclass(frozen=True)
class Demo:
    """Train one small CNN on scikit-learn's 8x8 digits in four ways, then attack and certify each.

    Standard training, PGD adversarial training, IBP and CROWN-IBP, all at eps 0.1 (pixels in [0, 1]);
    evaluated clean, under PGD and certified by CROWN. Takes a few minutes on two cores. Writes the report
    (Markdown and JSON), JSON lines per image, checkpoints and a figure. The same command goes on where an
    interrupted one stopped.
    """

    out: Path = Path("runs/demo")
    """Folder of the results."""
    epochs: int | None = None
    """Passes over the training images; None: 60. Ramps shrink along. For a quick look only."""
    limit: int | None = None
    """Use only this many training and test images, the first ones; None: all."""
    steps: int = 40
    """Steps of the PGD attack of the evaluation."""
    restarts: int = 5
    """Random starts of that attack."""
    seed: int = 0
    """Seed of training and of the attack."""


def main(argv: Sequence[str]) -> None:
    """Trains, evaluates, prints the table and writes the report."""
    options, began = parse(Demo, argv, command="demo"), time.monotonic()
    reports = []
    for name, config in WAYS.items():
        folder = options.out / name.lower()
        fit(_budgeted(config, options), folder)
        found = _evaluated(name, folder, options)
        print(_summary(_at_training_eps(found)[0]))
        reports += found
    attack = attack_named("pgd", options.steps, options.restarts, None)[1]
    trained_at = {name: config.eps for name, config in WAYS.items() if config.method != "standard"}
    title = "One CNN trained four ways: error on the digits test images"
    errors_against_eps(reports, options.out / "figure.png", title=title, trained_at=trained_at)
    write_reports(options.out / "report.json", reports)
    write_whole(options.out / "report.md", _markdown(reports, attack, options))
    print(
        f"Errors on {reports[0].n} test images at eps {EPS:g} (l_inf, pixels in [0, 1]); attacked: {attack}\n"
    )
    print(text_table(_at_training_eps(reports)))
    print(f"\nwritten to {options.out}: report.md, report.json, figure.png (every eps)")
    print(f"time: {duration(time.monotonic() - began)}")


def _budgeted(config: TrainConfig, options: Demo) -> TrainConfig:
    """The configuration within the epochs and images that the options allow."""
    config = replace(config, seed=options.seed)
    if options.limit is not None:
        if options.limit < 1:
            raise ConfigError(f"--limit must be at least 1 image, got {options.limit}.")
        config = replace(
            config, train_examples=options.limit, batch_size=min(options.limit, config.batch_size)
        )
    if options.epochs is None:
        return config
    share = options.epochs / config.epochs
    return replace(
        config,
        epochs=options.epochs,
        warmup_epochs=int(config.warmup * share),
        rampup_epochs=int(config.rampup * share),
        decay_epochs=tuple(sorted({int(e * share) for e in config.decay_epochs} - {0})),
    )


def _evaluated(name: str, folder: Path, options: Demo) -> list[Report]:
    run = open_run(folder, None)
    attack, described = attack_named("pgd", options.steps, options.restarts, None)
    protocol = Protocol(
        eps=RADII,
        attack=attack,
        attack_name=described,
        methods=bounding_methods(["crown"]),
        seed=options.seed,
        batch_size=180,
        certify_batch_size=4,
    )
    indices = first_images(len(run.dataset.test), options.limit)
    return evaluate(run.subject(name), protocol, folder / "evaluation", indices=indices)


def _summary(report: Report) -> str:
    errors = {"clean": report.clean, "attacked": report.attacked, "not certified": report.best_certified}
    shown = [f"{name} {report.percent(count):.1f} %" for name, count in errors.items() if count is not None]
    return f"{report.network}: {', '.join(shown)} at eps {report.eps:g}"


def _at_training_eps(reports: Sequence[Report]) -> list[Report]:
    return [report for report in reports if report.eps == EPS]


def _markdown(reports: Sequence[Report], attack: str, options: Demo) -> str:
    n = reports[0].n
    return f"""# One small CNN, trained four ways

Network cnn-digits on scikit-learn's digits (8x8, pixels in [0, 1]), {n} test images, seed {options.seed}.
The attacked error is that under {attack}: a lower bound of the true robust error.
The certified error is the share of images that CROWN cannot certify: an upper bound of it.

## At the eps of training

{markdown_table(_at_training_eps(reports))}

![errors against eps](figure.png)

## At every eps

{markdown_table(reports)}

Per-image results: `*/evaluation/*.jsonl`. Training metrics: `*/metrics.jsonl`.
Configurations: `*/config.json`.
"""
