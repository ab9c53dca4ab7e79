"""`jaxcert train`: train one network and keep everything in a run folder."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jaxcert.cli.machines import Machines, assembled
from jaxcert.cli.parse import parse
from jaxcert.devices import is_first
from jaxcert.errors import ConfigError
from jaxcert.train import PRESETS, TrainConfig, fit


@dataclass(frozen=True)
class Train:
    """Train one network: standard, adversarial (fgsm-rs, pgd) or certified (ibp, crown-ibp).

    The run folder gets the configuration, metrics as JSON lines, and checkpoints. The same command goes on
    where an interrupted one stopped. Options after --preset or --config change single values of it.
    """

    training: TrainConfig = field(default_factory=TrainConfig)
    preset: str | None = None
    """Start from a named configuration."""
    config: Path | None = None
    """Start from a JSON file of a configuration, such as the config.json of a run."""
    out: Path | None = None
    """Run folder; None: runs/DATASET-MODEL-METHOD-NORM-EPS-seedSEED."""
    machines: Machines = field(default_factory=Machines)


def main(argv: Sequence[str]) -> None:
    """Trains, or resumes training, and prints where the run is."""
    start = Train(training=_starting_point(argv))
    options = parse(Train, argv, command="train", default=start)
    out = options.out or default_folder(options.training)
    fit(options.training, out, devices=assembled(options.machines))
    if is_first():
        print(_last_epoch(out / "metrics.jsonl"))
        print(f"run: {out}    next: jaxcert evaluate {out}")


def default_folder(config: TrainConfig) -> Path:
    """The run folder that the options name when --out does not."""
    choice = f"{config.method}-{config.norm}-{config.eps:g}"
    return Path("runs") / f"{config.dataset}-{config.model}-{choice}-seed{config.seed}"


def _last_epoch(metrics: Path) -> str:
    """The training errors of the last epoch, in words."""
    epochs = [line for line in map(json.loads, metrics.read_text().splitlines()) if line["kind"] == "epoch"]
    last = epochs[-1]
    clean, robust = 100 * last["clean_error"], 100 * last["robust_error"]
    return f"epoch {last['epoch']}, training images: clean error {clean:.2f} %, robust error {robust:.2f} %"


def _starting_point(argv: Sequence[str]) -> TrainConfig:
    """The configuration that --preset or --config names: its values are the defaults of the other options."""
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    first.add_argument("--preset", nargs="?")
    first.add_argument("--config", nargs="?", type=Path)
    chosen, _ = first.parse_known_args(list(argv))
    if chosen.preset and chosen.config:
        raise ConfigError("Give either --preset or --config, not both.")
    if chosen.preset and chosen.preset not in PRESETS:
        raise ConfigError(f"There is no preset {chosen.preset!r}: choose one of {', '.join(PRESETS)}.")
    if chosen.config:
        return TrainConfig.from_json(chosen.config.read_text())
    return PRESETS[chosen.preset] if chosen.preset else TrainConfig()
