"""The training driver: runs, saves, resumes and reports; all numerics are in `step`."""

import math
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from jaxcert.data import Dataset, training_batches
from jaxcert.devices import ONE_DEVICE, Devices, is_first, on_all, require_same
from jaxcert.errors import JaxcertError
from jaxcert.train.checkpoints import Position
from jaxcert.train.config import TrainConfig
from jaxcert.train.objectives import cheapest
from jaxcert.train.run_files import DataRecord
from jaxcert.train.run_folder import RunFolder, opened
from jaxcert.train.runs import Plan, plan, training_data
from jaxcert.train.state import TrainState
from jaxcert.train.step import AVERAGED, LEVELS, Metrics, Step, make_step

_SUMMED = (*AVERAGED, "gradient_norm")
_AHEAD = 1  # steps that may be computing while the next batch is prepared
_WORTH_COMPILING = 100  # steps


class DivergedError(JaxcertError):
    """The loss or its gradient is no longer a finite number."""


@dataclass(frozen=True)
class EpochEnd:
    """What an evaluation callback sees at the end of an epoch.

    Attributes:
      config: the run's configuration.
      model, variables: the network; `model.apply(variables, x)` is evaluation mode. The next
        update reuses the memory of the variables: copy what outlives the call.
      dataset: with the training images that are used, and the test images.
      epoch: number of finished epochs.
    """

    config: TrainConfig
    model: nn.Module
    variables: dict[str, Any]
    dataset: Dataset
    epoch: int


Evaluate = Callable[[EpochEnd], Mapping[str, float]]


def fit(
    config: TrainConfig,
    run_dir: Path | str,
    *,
    evaluate: Evaluate | None = None,
    evaluate_epochs: int = 1,
    log_steps: int = 0,
    checkpoint_seconds: float = 60.0,
    progress: bool = True,
    devices: Devices = ONE_DEVICE,
) -> TrainState:
    """Train the network of `config` and return its final state.

    `run_dir` gets `config.json`, `dataset.json`, `metrics.jsonl` (one line per epoch) and
    `checkpoints/` (the last two). The same call goes on where a killed one stopped, and a
    finished run returns at once; its metrics are those of an uninterrupted run, except `seconds`.

    Args:
      config: everything the result depends on.
      run_dir: folder of this run, created if needed.
      evaluate: called with an `EpochEnd`; what it returns (numbers by name) is the entry "evaluation"
        of the epoch's line. It must be deterministic.
      evaluate_epochs: call it every so many epochs, and after the last.
      log_steps: also write one line every so many steps; 0 for none.
      checkpoint_seconds: save after a step when so long has passed since the last save; 0 saves after
        every step. The last step is always saved.
      progress: show a progress bar on standard error.
      devices: those that share every batch (`devices.open_mesh`); parameters are copied to each. They are
        no part of the run: it may go on with others, up to the order of floating-point sums. With several
        processes all call `fit`; each decodes its part of every batch, the first alone touches `run_dir`.

    Raises:
      ConfigError, DataError: bad configuration, missing or damaged data, a batch size that the devices
        cannot share evenly.
      CheckpointError: `run_dir` belongs to another configuration, other data, or another process, or
        all its checkpoints are damaged.
      DivergedError: loss or gradient is NaN or infinite; the last good checkpoint stays.
    """
    run_dir = Path(run_dir)
    devices.require_divides(config.batch_size)
    dataset = on_all(lambda: training_data(config))
    record = DataRecord.of(dataset)
    require_same("options or training images", lambda: (replace(config, data_dir=None), record))
    planned = plan(config, record)
    with opened(run_dir, config, record, planned.start()) as (folder, position):
        driver = _Driver(
            config,
            dataset,
            planned,
            folder,
            devices,
            evaluate,
            evaluate_epochs,
            log_steps,
            checkpoint_seconds,
        )
        return driver.run(position, progress and is_first())


class _Tally:
    """Sums of an epoch's metrics in float64, in the order of the steps, read a little behind them."""

    def __init__(self, totals: np.ndarray, last: dict[str, float] | None = None) -> None:
        self.totals = totals
        self.last = last or {"loss": math.nan, "eps": math.nan}
        self.pending: deque[tuple[int, Metrics]] = deque()

    def add(self, step: int, metrics: Metrics) -> None:
        self.pending.append((step, metrics))

    def take(self) -> tuple[int, dict[str, float]]:
        """The oldest step that is pending and its values, waiting for them if need be."""
        step, metrics = self.pending.popleft()
        self.last = {name: float(value) for name, value in jax.device_get(metrics).items()}
        self.totals = self.totals + np.array([self.last[name] for name in _SUMMED])
        return step, self.last


@dataclass(frozen=True)
class _Driver:
    config: TrainConfig
    dataset: Dataset
    plan: Plan
    folder: RunFolder
    devices: Devices
    evaluate: Evaluate | None
    evaluate_epochs: int
    log_steps: int
    checkpoint_seconds: float

    def run(self, position: Position, progress: bool) -> TrainState:
        state, step, total = self.devices.copies(position.state), int(position.state.step), self._total()
        tally, began = _Tally(position.totals), time.monotonic()
        compiled, saved = _compiled_steps(self.plan, _levels(self.plan, total), self.devices), began
        with tqdm(
            total=total, initial=step, desc=self.config.method, unit="step", disable=not progress
        ) as bar:
            for images, labels in self._batches(step):
                state, metrics = compiled(step)(state, images, labels)
                step += 1
                tally.add(step, metrics)
                ends = step % self.plan.steps_per_epoch == 0
                logs = self.log_steps > 0 and step % self.log_steps == 0
                saves = step == total or time.monotonic() - saved >= self.checkpoint_seconds
                self._read(tally, ahead=0 if ends or logs or saves else _AHEAD)
                bar.set_postfix(
                    loss=f"{tally.last['loss']:.3f}", eps=f"{tally.last['eps']:.4g}", refresh=False
                )
                bar.update()
                if logs:
                    self.folder.append({"kind": "step", "step": step, **tally.last})
                if ends:
                    self._finish_epoch(state, tally, step, time.monotonic() - began)
                    tally, began = _Tally(np.zeros_like(tally.totals), tally.last), time.monotonic()
                if saves:
                    self.folder.save(Position(state, tally.totals))
                    saved = time.monotonic()
        return state

    def _total(self) -> int:
        return self.plan.steps_per_epoch * self.config.epochs

    def _read(self, tally: "_Tally", ahead: int) -> None:
        """Fetch the metrics of all but the newest `ahead` steps, which may still be computing."""
        while len(tally.pending) > ahead:
            step, values = tally.take()
            self._require_finite(values, step)

    def _batches(self, step: int) -> Iterator[tuple[Any, Any]]:
        """The batches of the run from `step` on, on the devices; this process decodes its part of each."""
        epoch, start = divmod(step, self.plan.steps_per_epoch)
        size, seed = self.config.batch_size, self.config.seed
        rows = None if self.devices.mesh is None else self.devices.rows(size)
        for current in range(epoch, self.config.epochs):
            for images, labels in training_batches(
                self.dataset.train, size, seed=seed, epoch=current, start=start, rows=rows
            ):
                yield self.devices.batch(images, size), self.devices.batch(labels, size)
            start = 0

    def _finish_epoch(self, state: TrainState, tally: "_Tally", step: int, seconds: float) -> None:
        epoch = step // self.plan.steps_per_epoch
        means = dict(zip(_SUMMED, map(float, tally.totals / self.plan.steps_per_epoch), strict=True))
        line: dict[str, Any] = {"kind": "epoch", "epoch": epoch, "step": step, **means}
        line |= {name: tally.last[name] for name in LEVELS}
        line["seconds"] = round(seconds, 3)
        due = epoch % self.evaluate_epochs == 0 or epoch == self.config.epochs
        if self.evaluate is not None and due:
            end = EpochEnd(self.config, self.plan.model, state.variables, self.dataset, epoch)
            results = {name: float(value) for name, value in self.evaluate(end).items()}
            # JSON has no NaN; null says that there is no number.
            line["evaluation"] = {n: value if math.isfinite(value) else None for n, value in results.items()}
        self.folder.append(line)

    def _require_finite(self, values: dict[str, float], step: int) -> None:
        for name in ("loss", "gradient_norm"):
            if not math.isfinite(values[name]):
                raise DivergedError(
                    f"Training diverged: the {name.replace('_', ' ')} is {values[name]} at step {step} in "
                    f"{self.folder.path}: lower the learning rate, clip gradients, or ramp eps up more "
                    "slowly."
                )


def _levels(planned: Plan, total: int) -> np.ndarray:
    """The values of eps and beta at every step, `[total, 2]`."""
    levels = jax.jit(jax.vmap(planned.recipe.levels))(jnp.arange(total))
    return np.stack([np.asarray(levels.eps), np.asarray(levels.beta)], axis=1)


def _compiled_steps(
    planned: Plan, levels: np.ndarray, devices: Devices = ONE_DEVICE
) -> Callable[[int], Step]:
    """`step number -> compiled step`: one program per cheapest objective, at most three in a run.

    Where an objective would serve only a few steps, the recipe's own, of equal value, is cheaper
    than compiling another program.
    """
    own = planned.recipe.objective
    found = [cheapest(own, eps=float(eps), beta=float(beta)) for eps, beta in levels]
    counts = Counter(map(type, found))
    compiled: dict[type, Step] = {}

    def at(step: int) -> Step:
        objective = found[step] if counts[type(found[step])] >= _WORTH_COMPILING else own
        kind = type(objective)
        if kind not in compiled:
            recipe = replace(planned.recipe, objective=objective)
            step_function = make_step(planned.model, recipe, planned.optimizer, augment=planned.augment)
            compiled[kind] = devices.compile_step(step_function)
        return compiled[kind]

    return at
