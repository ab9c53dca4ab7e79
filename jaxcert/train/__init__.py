"""Training: schedules, step functions, the catalogue of recipes, and the driver with checkpoints.

`fit(config, run_dir)` trains and resumes; `load_run(run_dir)` reads a run back. Underneath,
`make_step(model, recipe, optimizer)` is one update as a pure function.
"""

from jaxcert.train import schedules
from jaxcert.train.config import NORMS, TrainConfig
from jaxcert.train.loop import DivergedError, EpochEnd, fit
from jaxcert.train.objectives import (
    Adversarial,
    CrownIbp,
    ExampleLoss,
    Ibp,
    Levels,
    Objective,
    Standard,
    Threat,
)
from jaxcert.train.presets import PRESETS
from jaxcert.train.recipes import RECIPES, build_recipe
from jaxcert.train.runs import load_run
from jaxcert.train.state import TrainState, initial_state
from jaxcert.train.step import METRICS, Recipe, make_step

__all__ = [
    "METRICS",
    "NORMS",
    "PRESETS",
    "RECIPES",
    "Adversarial",
    "CrownIbp",
    "DivergedError",
    "EpochEnd",
    "ExampleLoss",
    "Ibp",
    "Levels",
    "Objective",
    "Recipe",
    "Standard",
    "Threat",
    "TrainConfig",
    "TrainState",
    "build_recipe",
    "fit",
    "initial_state",
    "load_run",
    "make_step",
    "schedules",
]
