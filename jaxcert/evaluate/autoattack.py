"""AutoAttack on whole sets: stage after stage, each on new batches of the images that are left."""

import json
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcert.attacks import AttackResult, Expectation, expectation
from jaxcert.attacks.autoattack import AutoAttack, Stage
from jaxcert.attacks.autoattack import autoattack as standard
from jaxcert.devices import ONE_DEVICE, Devices, is_first
from jaxcert.errors import InvalidInputError
from jaxcert.evaluate.doubts import first_doubts, masking_doubts
from jaxcert.evaluate.identity import described, fingerprint
from jaxcert.evaluate.measures import attacked, check_eps, clean
from jaxcert.evaluate.network import Apply
from jaxcert.evaluate.points import AdversarialPoints
from jaxcert.evaluate.report import write_whole
from jaxcert.evaluate.results import Record, Results
from jaxcert.evaluate.sweep import Images
from jaxcert.evaluate.threat import ThreatModel

_LOOKED_AT = 16  # images, to tell one set from another


@dataclass(frozen=True)
class StageResult:
    """What one stage did.

    Attributes:
      name: of the stage.
      attack: the attack and its options as plain values.
      before: images that it attacked, the robust ones so far; `robust`: those that it left.
      records: one for each image that it attacked.
    """

    name: str
    attack: Any
    before: int
    robust: int
    records: Sequence[Record]

    @property
    def seconds(self) -> float:
        """Time spent, compilation included, also before an interruption."""
        return sum(record.seconds for record in self.records)


@dataclass(frozen=True)
class AutoAttackResult:
    """What an ensemble found.

    Attributes:
      clean: records of the clean pass.
      stages: what each stage did.
      records: the verdicts, one for each image: `attacked_correct` says that it survived all stages; the
        margin is the smallest one found.
      points: the adversarial points, by `points.of(indices)`.
      warnings: reasons to trust the result less, a sentence each.
      settings: everything needed to make the result again (plain JSON values).
    """

    clean: Sequence[Record]
    stages: tuple[StageResult, ...]
    records: Sequence[Record]
    points: AdversarialPoints
    warnings: tuple[str, ...]
    settings: Mapping[str, Any]

    @property
    def robust(self) -> int:
        """Images that survived."""
        return sum(bool(record.attacked_correct) for record in self.records)

    @property
    def fallen(self) -> list[int]:
        """Images that fell at some stage, in the order of the records: those with an adversarial point."""
        fell = {r.index for stage in self.stages for r in stage.records if not r.attacked_correct}
        return [record.index for record in self.records if record.index in fell]

    def summary(self) -> dict[str, Any]:
        """Robust accuracy after each stage and everything else but the records, as plain JSON values."""
        n, right = len(self.records), sum(record.correct for record in self.clean)
        steps = [("clean", None, n, right, sum(record.seconds for record in self.clean))]
        steps += [(s.name, s.attack, s.before, s.robust, s.seconds) for s in self.stages]
        return {
            "settings": dict(self.settings),
            "n": n,
            "robust": self.robust,
            "robust_accuracy": _share(self.robust, n),
            "stages": [
                {
                    "name": name,
                    "attack": attack,
                    "images": before,
                    "robust": robust,
                    "robust_accuracy": _share(robust, n),
                    "seconds": round(seconds, 3),
                }
                for name, attack, before, robust, seconds in steps
            ],
            "warnings": list(self.warnings),
        }


def autoattack(
    apply: Apply,
    variables: Any,
    images: Images,
    threat: ThreatModel,
    attack: AutoAttack | None = None,
    *,
    key: jax.Array,
    indices: Sequence[int] | None = None,
    batch_size: int = 256,
    folder: Path | None = None,
    settings: Mapping[str, Any] | None = None,
    before: Sequence[Record] | None = None,
    progress: str = "autoattack",
    devices: Devices = ONE_DEVICE,
) -> AutoAttackResult:
    """The images that survive every stage: robust accuracy, an upper bound of the true one.

    Each stage runs on new batches of the images that are left, a last small batch in a small shape. Every
    image has its own key (`key` folded with its index, then with the number of the stage), so results
    depend neither on batch size, devices nor interruptions, and are those of `attack` itself called on one
    image with `key` folded with its index (but an infinite logit counts as an error here). Points are
    replayed through the network at highest precision, as in `measures.attacked`, and attacks compute at
    that precision too.

    Args:
      apply: `apply(variables, x) -> logits [K]` for ONE image. For `autoattack_rand` one draw of the
        network, `apply(variables, x, key)`.
      variables: what `apply` takes first.
      images: a split (`labels`, `pixels(indices)`).
      threat: the region around every image.
      attack: `jaxcert.attacks.autoattack()` by default, `autoattack_plus()`, `autoattack(stages=...)`, ...
      key: of all random draws.
      indices: which images, all by default.
      batch_size: images per compiled batch.
      folder: where per-image results of each stage (JSON lines), adversarial points (`points/`) and
        `summary.json` are written; killed and called again, it goes on from the last batch there.
      settings: plain JSON values that tell this network and these images from others; fingerprints of
        `variables`, the labels and the first images by default.
      before: the records of a clean pass, if there was one; they then say which images, not `indices`.
        Images that they call attacked with success count as fallen and are left alone.
      progress: put before the name of each stage on its progress bar, which shows robust accuracy.
      devices: those that share every batch.

    Warns:
      UserWarning: for every one of the result's `warnings`: signs of a randomised network, of masked
        gradients, of probabilities in the place of logits; settings that few classes change.

    Raises:
      InvalidInputError, DataError, CheckpointError: see `measures.attacked`.

    >>> import jax, jax.numpy as jnp, numpy as np
    >>> from jaxcert.attacks import Stage, autoattack as ensemble, fgsm
    >>> from jaxcert.data import make_split
    >>> images = np.array([[0.5, 0.5], [0.6, 0.4]], np.float32).reshape(2, 1, 2, 1)
    >>> split = make_split(images, np.array([0, 0]))
    >>> apply = lambda weights, x: weights @ x.reshape(-1)
    >>> weights = jnp.array([[2.0, 0.0], [0.0, 1.0]])
    >>> attack = ensemble(stages=(Stage("fgsm", fgsm()),))
    >>> found = autoattack(apply, weights, split, ThreatModel(0.1), attack, key=jax.random.key(0))
    >>> found.robust, [(stage.name, stage.before) for stage in found.stages]
    (2, [('fgsm', 2)])
    """
    check_eps(threat.eps)
    attack = standard() if attack is None else attack
    if attack.samples is not None and not isinstance(apply, Expectation):
        apply = expectation(apply, attack.samples)
    wanted = _wanted(images, indices, before)
    where = {
        **(_identity(variables, images) if settings is None else settings),
        **_threat(threat),
        "key": described(_bits(key)),
    }
    size = min(batch_size, max(len(wanted), 1))
    points = AdversarialPoints(folder / "points" if folder else None)
    task = _Task(
        apply, variables, images, threat, key, wanted, size, folder, where, points, progress, devices
    )
    before = task.clean() if before is None else before
    plan = attack.stages_for(threat.region(jnp.asarray(images.pixels(np.zeros(1, np.int32))[0])))
    told = first_doubts(apply, variables, images, threat, plan, wanted[:size])
    stages, left = [], _robust(before)
    for number, stage in enumerate(plan):
        stages.append(task.attacked(number, stage, left))
        left = _robust(stages[-1].records)
    told += masking_doubts(plan, [(stage.before, stage.robust) for stage in stages], len(wanted))
    verdicts = _verdicts(before, [stage.records for stage in stages])
    result = AutoAttackResult(before, tuple(stages), verdicts, points, tuple(told), where)
    if is_first():
        _tell(result, folder)
    return result


@dataclass(frozen=True)
class _Task:
    """What all stages have in common."""

    apply: Apply
    variables: Any
    images: Images
    threat: ThreatModel
    key: jax.Array
    indices: Sequence[int]
    batch_size: int
    folder: Path | None
    settings: Mapping[str, Any]
    points: AdversarialPoints
    progress: str
    devices: Devices

    def clean(self) -> list[Record]:
        return clean(
            self.apply,
            self.variables,
            self.images,
            indices=self.indices,
            batch_size=self.batch_size,
            results=self._file("clean", self.settings),
            progress=f"{self.progress}: clean",
            devices=self.devices,
        )

    def attacked(self, number: int, stage: Stage, left: Sequence[int]) -> StageResult:
        name = f"stage-{number + 1}-{re.sub('[^A-Za-z0-9_.-]+', '-', stage.name)}"
        chosen = described(stage.attack)
        settings = {**self.settings, "stage": stage.name, "number": number, "attack": chosen}
        results = self._file(name, settings)
        self.points.begin(name, anew=results is not None and not results.path.exists())
        records = attacked(
            self.apply,
            self.variables,
            self.images,
            self.threat,
            OfStage(stage.attack, number),
            key=self.key,
            indices=left,
            batch_size=self.batch_size,
            results=results,
            progress=f"{self.progress}: {stage.name}",
            status=_status(len(left), len(self.indices)),
            shrink=True,
            keep=partial(self.points.keep, name),
            devices=self.devices,
        )
        return StageResult(stage.name, chosen, len(left), len(_robust(records)), records)

    def _file(self, name: str, settings: Mapping[str, Any]) -> Results | None:
        return Results(self.folder / f"{name}.jsonl", settings) if self.folder else None


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class OfStage:
    """The attack of a stage with that stage's key, at highest precision."""

    attack: Any
    number: jax.Array | int

    def __call__(self, fn: Any, region: Any, label: Any, *, key: jax.Array) -> AttackResult:
        """Attacks one image, as `AutoAttack` does at this stage."""
        with jax.default_matmul_precision("highest"):
            return self.attack(fn, region, label, key=jax.random.fold_in(key, self.number))


def _tell(result: AutoAttackResult, folder: Path | None) -> None:
    if folder:
        write_whole(folder / "summary.json", json.dumps(result.summary(), indent=2, allow_nan=False) + "\n")
    for sentence in result.warnings:
        warnings.warn(sentence, stacklevel=3)


def _wanted(images: Images, indices: Sequence[int] | None, before: Sequence[Record] | None) -> list[int]:
    if before is not None:
        return [record.index for record in before]
    count = len(np.asarray(images.labels))
    wanted = list(range(count)) if indices is None else [int(index) for index in indices]
    wrong = [index for index in wanted if not 0 <= index < count]
    if wrong or len(set(wanted)) < len(wanted):
        raise InvalidInputError(
            f"indices must be different positions from 0 to {count - 1}, got "
            f"{wrong[0] if wrong else 'one of them twice'}."
        )
    return wanted


def _robust(records: Sequence[Record]) -> list[int]:
    """Images that are left."""
    return [record.index for record in records if _is_robust(record)]


def _is_robust(record: Record) -> bool:
    """Correct before an attack, and at what it found."""
    return record.correct and record.attacked_correct is not False


def _verdicts(before: Sequence[Record], stages: Sequence[Sequence[Record]]) -> list[Record]:
    """One record for each image: its last verdict, the smallest margin, all its time."""
    found = {record.index: replace(record, attacked_correct=_is_robust(record)) for record in before}
    for records in stages:
        for new in records:
            old = found[new.index]
            found[new.index] = replace(
                new,
                attacked_correct=bool(old.attacked_correct and new.attacked_correct),
                margin=_smaller(old.margin, new.margin),
                seconds=old.seconds + new.seconds,
            )
    return [found[record.index] for record in before]


def _smaller(old: float | None, new: float | None) -> float | None:
    """The smaller margin; one that is not finite is the worst."""
    return None if old is None or new is None else min(old, new)


def _status(attacked: int, n: int) -> Callable[[Sequence[Record]], str]:
    """Robust accuracy so far, for a progress bar."""

    def status(records: Sequence[Record]) -> str:
        fallen = sum(not record.attacked_correct for record in records)
        return f"robust {100 * _share(attacked - fallen, n):.2f} %"

    return status


def _share(count: int, n: int) -> float:
    return count / n if n else 0.0


def _identity(variables: Any, images: Images) -> dict[str, str]:
    labels = np.asarray(images.labels)
    first = images.pixels(np.arange(min(_LOOKED_AT, len(labels)), dtype=np.int32))
    return {
        "network": fingerprint(variables),
        "labels": fingerprint(labels),
        "images": fingerprint(np.asarray(first)),
    }


def _threat(threat: ThreatModel) -> dict[str, Any]:
    return {"eps": described(np.asarray(threat.eps)), "norm": f"{threat.norm:g}", "clip": list(threat.clip)}


def _bits(key: jax.Array) -> jax.Array:
    typed = jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    return jax.random.key_data(key) if typed else key
