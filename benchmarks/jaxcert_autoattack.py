"""jaxcert's AutoAttack on many images: `evaluate.autoattack`, without a folder for results."""

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.compilations import counted
from benchmarks.contender import Prepared
from benchmarks.jaxcert_weights import model
from benchmarks.survivors import Stage, Survivors
from benchmarks.work import Work
from jaxcert.attacks import autoattack as ensemble
from jaxcert.attacks.autoattack import AutoAttack
from jaxcert.attacks.autoattack import Stage as Step
from jaxcert.data import make_split
from jaxcert.evaluate import AutoAttackResult, Record, ThreatModel, autoattack

CHUNK = 64
"""Images per compiled program: what a step of all of them touches stays in a core's cache."""


def prepared(
    work: Work,
    variables: Mapping[str, Any],
    images: np.ndarray,
    labels: np.ndarray,
    attack: AutoAttack | None = None,
) -> Prepared:
    """`attack`: the standard ensemble unless a test asks for a smaller one."""
    net = model(work.network)
    # One function object: programs are compiled once for each.
    apply: Any = lambda variables, x: net.apply(variables, x)
    chosen = ensemble() if attack is None else attack
    threat = ThreatModel(work.eps)

    def run(labels: np.ndarray, attack: AutoAttack, before: list[Record] | None = None) -> AutoAttackResult:
        split, key = make_split(images, labels), jax.random.key(0)
        return autoattack(apply, variables, split, threat, attack, key=key, batch_size=CHUNK, before=before)

    unlikely = np.argmin(jax.jit(apply)(variables, images), axis=-1)
    compile_s = _compile(run, chosen.stages_for(threat.region(jnp.asarray(images[0]))), unlikely)
    told = ""

    def call() -> Survivors:
        nonlocal told
        found = _survivors(run(labels, chosen))
        told = found.text
        return found

    return Prepared(
        call,
        lambda survivors: survivors.counts,
        trace_s=0.0,
        compile_s=compile_s,
        compilations=counted,
        note=f"{min(CHUNK, work.batch)} images at a time",
        told=lambda: told,
    )


def _compile(run: Callable[..., AutoAttackResult], stages: Sequence[Step], wrong: np.ndarray) -> float:
    """Wall seconds to trace and compile what `run` needs for whole chunks of images.

    It runs with labels that the network gives to no image, so that stages end before their first step,
    but with a clean pass that is said to have gone well, so that they begin. One stage at a time, because
    nothing is left for a second one.
    """
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # such labels are reason enough to doubt the result
        run(wrong, ensemble(stages))
        before = [Record(index, int(label), -1, True, 1.0) for index, label in enumerate(wrong)]
        for stage in stages:
            run(wrong, ensemble((stage,)), before)
    return time.perf_counter() - start


def _survivors(found: AutoAttackResult) -> Survivors:
    right = sum(record.correct for record in found.clean)
    stages = [Stage(stage.name, stage.robust, stage.seconds) for stage in found.stages]
    return Survivors(len(found.records), right, stages)
