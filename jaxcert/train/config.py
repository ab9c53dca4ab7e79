"""The configuration of a training run: every choice that its result depends on."""

import json
import math
import types
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from jaxcert.data import DATASETS
from jaxcert.errors import ConfigError
from jaxcert.models import MODELS

Norm = Literal["linf", "l2", "l1"]
Method = Literal["standard", "fgsm-rs", "pgd", "ibp", "crown-ibp"]
Optimizer = Literal["adam", "sgd"]
Ramp = Literal["linear", "smoothed", "cosine", "geometric"]
Augmentation = Literal["none", "crop", "crop-flip"]

NORMS: Mapping[str, float] = types.MappingProxyType({"linf": math.inf, "l2": 2.0, "l1": 1.0})
"""Name of a norm -> its p."""


@dataclass(frozen=True)
class TrainConfig:
    """All choices of a training run; with the same seed and software it gives the same result.

    Raises:
      ConfigError: a field has the wrong type, an impossible value, or contradicts another.
    """

    dataset: str = "mnist"
    """Name of the data set, as in tensorflow-datasets, or "digits"."""

    model: str = "cnn-small"
    """Name of the network (jaxcert.models.MODELS)."""

    method: Method = "crown-ibp"
    """What is minimised: clean loss, loss under attack, or certified loss."""

    eps: float = 0.1
    """Radius of the region at the end of the ramp, in input units (pixels in [0, 1])."""

    norm: Norm = "linf"
    """Norm of the region."""

    epochs: int = 60
    """Passes over the training images."""

    batch_size: int = 256
    """Images per update; the incomplete last batch of a pass is dropped."""

    optimizer: Optimizer = "adam"
    """Update rule: adam (momenta 0.9, 0.999) or sgd (with `momentum`)."""

    learning_rate: float = 5e-4
    """Learning rate before the first decay."""

    decay_epochs: tuple[int, ...] = ()
    """Epochs at whose start the learning rate is multiplied by `decay_factor`."""

    decay_factor: float = 0.1
    """Factor of every decay of the learning rate."""

    momentum: float = 0.9
    """Momentum of sgd, in [0, 1)."""

    weight_decay: float = 0.0
    """Weight decay, added to the gradient as `weight_decay * parameter`."""

    gradient_clip: float = 0.0
    """Largest norm of the gradient; 0 means no limit."""

    warmup_epochs: int | None = None
    """Epochs at the start of the ramp (eps_start, kappa_start, beta_start); None: a twentieth of all epochs
    for ibp and crown-ibp, 0 for the others."""

    rampup_epochs: int | None = None
    """Epochs, after the warm-up, over which eps, kappa and beta move to their ends, 0 jumps to them; None:
    half of all epochs for ibp and crown-ibp (from the full eps they do not learn), 0 for the others."""

    ramp: Ramp = "linear"
    """Shape of the ramp; geometric needs eps_start > 0 and moves kappa and beta linearly."""

    smoothed_mid: float = 0.25
    """Share of the ramp at which a smoothed ramp becomes a straight line, in (0, 1]."""

    eps_start: float = 0.0
    """Radius during the warm-up, in input units; not above eps."""

    kappa_start: float = 1.0
    """Share of the clean loss during the warm-up, in [0, 1] (certified methods)."""

    kappa_end: float = 0.5
    """Share of the clean loss after the ramp, in [0, 1] (certified methods)."""

    beta_start: float = 1.0
    """Share of CROWN-IBP against IBP bounds during the warm-up, in [0, 1] (crown-ibp)."""

    beta_end: float = 0.0
    """Share of CROWN-IBP against IBP bounds after the ramp, in [0, 1]; 0 ends with pure IBP (crown-ibp)."""

    attack_steps: int = 10
    """Steps of the training attack (pgd)."""

    attack_restarts: int = 1
    """Random starts of the training attack, of which the worst counts (pgd)."""

    attack_step_size: float | None = None
    """Step of the training attack as a multiple of eps; None: 2.5 / steps, for l2 at least 0.25 (pgd), or
    1.25 (fgsm-rs)."""

    normalize: bool = False
    """Whether the network's first layer standardises channels by the training images' statistics."""

    augmentation: Augmentation = "none"
    """Random change of training images: shifts by up to crop_padding pixels, and mirroring."""

    crop_padding: int = 4
    """Largest shift of the augmentation, in pixels."""

    train_examples: int | None = None
    """Use only this many training images, the first ones; None: all."""

    seed: int = 0
    """Seed of parameters, order of the images, attacks and augmentation."""

    data_dir: Path | None = None
    """Folder of the data set's files; None: JAXCERT_DATA. It is no part of a run's identity."""

    def __post_init__(self) -> None:
        _check_types(self)
        _check_values(self)

    @property
    def warmup(self) -> int:
        """Epochs of the warm-up, the default of the method where none are given."""
        return self._or_default(self.warmup_epochs, self.epochs // 20)

    @property
    def rampup(self) -> int:
        """Epochs of the ramp-up, the default of the method where none are given."""
        return self._or_default(self.rampup_epochs, self.epochs // 2)

    def _or_default(self, chosen: int | None, certified: int) -> int:
        if chosen is not None:
            return chosen
        return certified if self.method in ("ibp", "crown-ibp") else 0

    def to_json(self) -> str:
        """The configuration as a JSON object, which `from_json` reads back exactly.

        >>> TrainConfig.from_json(TrainConfig(eps=0.3).to_json()).eps
        0.3
        """
        plain = {**asdict(self), "data_dir": None if self.data_dir is None else str(self.data_dir)}
        return json.dumps(plain, indent=2, allow_nan=False) + "\n"

    @staticmethod
    def from_json(text: str) -> "TrainConfig":
        """The configuration in a JSON object; fields that are missing have their defaults.

        Raises:
          ConfigError: no JSON object, an unknown field, a wrong type or an impossible value.
        """
        try:
            values = json.loads(text)
        except ValueError as error:
            raise ConfigError(
                f"The configuration is not valid JSON ({error}): restore or rewrite it."
            ) from error
        if not isinstance(values, dict):
            raise ConfigError(f"A configuration is a JSON object of fields, got {type(values).__name__}.")
        known = {field.name for field in fields(TrainConfig)}
        if unknown := sorted(set(values) - known):
            raise ConfigError(
                f"The configuration has unknown fields {', '.join(unknown)}: known are "
                f"{', '.join(sorted(known))}."
            )
        if isinstance(values.get("decay_epochs"), list):
            values["decay_epochs"] = tuple(values["decay_epochs"])
        if isinstance(values.get("data_dir"), str):
            values["data_dir"] = Path(values["data_dir"])
        return TrainConfig(**values)

    def differences(self, other: "TrainConfig") -> tuple[str, ...]:
        """Names of the fields, `data_dir` apart, in which two configurations differ."""
        names = (field.name for field in fields(self) if field.name != "data_dir")
        return tuple(name for name in names if getattr(self, name) != getattr(other, name))


def _check_types(config: TrainConfig) -> None:
    hints = get_type_hints(TrainConfig)
    for field in fields(config):
        value, hint = getattr(config, field.name), hints[field.name]
        if hint is float and type(value) is int:
            object.__setattr__(config, field.name, float(value))
        elif not _has_type(value, hint):
            raise ConfigError(f"{field.name} must be {_describe(hint)}, got {value!r}: change it.")


def _has_type(value: Any, hint: Any) -> bool:
    origin = get_origin(hint)
    if origin is Literal:
        return isinstance(value, str) and value in get_args(hint)
    if origin in (Union, types.UnionType):
        return any(_has_type(value, part) for part in get_args(hint))
    if origin is tuple:
        return isinstance(value, tuple) and all(_has_type(item, get_args(hint)[0]) for item in value)
    if hint is Path:
        return isinstance(value, Path)
    return type(value) is hint


def _describe(hint: Any) -> str:
    origin = get_origin(hint)
    if origin is Literal:
        return f"one of {', '.join(get_args(hint))}"
    if origin in (Union, types.UnionType):
        return " or ".join("nothing" if part is type(None) else _describe(part) for part in get_args(hint))
    if origin is tuple:
        return "a list of whole numbers"
    return {int: "a whole number", float: "a number", bool: "true or false", Path: "a path", str: "a name"}[
        hint
    ]


def _check_values(config: TrainConfig) -> None:
    _require(config, "dataset", lambda value: value in DATASETS, f"one of {', '.join(DATASETS)}")
    _require(config, "model", lambda value: value in MODELS, f"one of {', '.join(MODELS)}")
    for name in ("eps", "eps_start", "weight_decay", "gradient_clip"):
        _require(config, name, lambda value: 0.0 <= value < math.inf, "a finite number >= 0")
    for name in ("learning_rate", "decay_factor"):
        _require(config, name, lambda value: 0.0 < value < math.inf, "a finite number > 0")
    for name in ("epochs", "batch_size", "attack_steps", "attack_restarts"):
        _require(config, name, lambda value: value >= 1, "at least 1")
    for name in ("warmup_epochs", "rampup_epochs"):
        _require(config, name, lambda value: value is None or value >= 0, "at least 0, or nothing")
    _require(config, "crop_padding", lambda value: value >= 0, "at least 0")
    for name in ("kappa_start", "kappa_end", "beta_start", "beta_end"):
        _require(config, name, lambda value: 0.0 <= value <= 1.0, "a share in [0, 1]")
    _require(config, "smoothed_mid", lambda value: 0.0 < value <= 1.0, "a share in (0, 1]")
    _require(config, "momentum", lambda value: 0.0 <= value < 1.0, "a number in [0, 1)")
    _require(config, "seed", lambda value: 0 <= value < 2**32, "a whole number in [0, 2**32)")
    _require(
        config,
        "attack_step_size",
        lambda value: value is None or 0.0 < value < math.inf,
        "a finite number > 0, or nothing",
    )
    _require(config, "train_examples", lambda value: value is None or value >= 1, "at least 1, or nothing")
    _require(
        config,
        "decay_epochs",
        lambda value: all(e >= 1 for e in value) and list(value) == sorted(set(value)),
        "increasing whole numbers >= 1",
    )
    _check_combinations(config)


def _check_combinations(config: TrainConfig) -> None:
    if config.method == "standard":
        return
    if config.eps_start > config.eps:
        raise ConfigError(f"eps_start is {config.eps_start}, above eps, {config.eps}: lower it.")
    if config.ramp == "geometric" and config.rampup and config.eps_start == 0.0:
        raise ConfigError("A geometric ramp cannot start at eps 0: give eps_start > 0 or another ramp.")
    if config.warmup + config.rampup >= config.epochs and config.eps_start < config.eps:
        raise ConfigError(
            f"Warm-up and ramp-up take {config.warmup} + {config.rampup} epochs, so eps is not "
            f"reached before the last of {config.epochs} epochs ends: shorten them or train longer."
        )


def _require(config: TrainConfig, name: str, holds: Any, expected: str) -> None:
    value = getattr(config, name)
    if not holds(value):
        raise ConfigError(f"{name} must be {expected}, got {value}: change it.")
