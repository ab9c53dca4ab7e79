"""What eight devices compute beside one, in a process of its own: `python -m tests.devices.eight FOLDER`.

One process for all checks, because eight CPU devices must be asked for before JAX starts. It prints one
JSON object of facts, which `test_mesh` judges.
"""

import json
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxcert import kernels
from jaxcert.attacks import fgsm, pgd
from jaxcert.attacks.autoattack import Stage, autoattack
from jaxcert.bounds import crown
from jaxcert.data import load, random_flip
from jaxcert.devices import ONE_DEVICE, Devices, MeshSpec, open_mesh
from jaxcert.errors import ConfigError
from jaxcert.evaluate import Protocol, Report, Subject, ThreatModel, evaluate
from jaxcert.evaluate import autoattack as evaluate_autoattack
from jaxcert.train import CrownIbp, Recipe, Threat, TrainConfig, fit, initial_state, load_run, schedules
from jaxcert.train.step import make_step

CONFIG = TrainConfig(
    dataset="digits", model="mlp-10-10", method="ibp", eps=0.02, epochs=12, batch_size=32, train_examples=160,
    learning_rate=0.02, augmentation="crop", crop_padding=1,
)  # fmt: skip
EPS = 0.04
COLLECTIVES = ("all-gather", "all-to-all", "collective-permute", "all-reduce")


class Normalized(nn.Module):
    """A convolution by the library's kernels between two batch norms, the first of the image itself."""

    use_running_average: bool = True
    momentum: float = 0.9

    @nn.compact
    def __call__(self, x):
        norm = {"use_running_average": self.use_running_average, "momentum": self.momentum}
        x = nn.BatchNorm(**norm, name="image")(x)
        x = nn.Conv(4, (3, 3), strides=2, conv_general_dilated=kernels.conv_general_dilated)(x)
        x = nn.relu(nn.BatchNorm(**norm)(x))
        return nn.Dense(10)(x.reshape(*x.shape[:-3], -1))


class Stop(Exception):
    """Ends a training run in its middle."""


def farthest(tree: Any, other: Any) -> float:
    """The largest difference of two pytrees of arrays."""
    gaps = jax.tree.map(lambda a, b: float(np.abs(np.asarray(a) - np.asarray(b)).max()), tree, other)
    return max(jax.tree.leaves(gaps))


def training_step(devices: Devices) -> dict[str, Any]:
    """Three CROWN-IBP steps with rising eps, random flips and batch norm, and how they were computed."""
    traces = []

    def augment(image, *, key):
        traces.append(1)
        return random_flip(image, key=key)

    model, optimizer, fixed = Normalized(), optax.sgd(0.1), schedules.constant
    ramp = schedules.linear(0.0, 0.1, rampup=4)
    recipe = Recipe(CrownIbp(Threat()), ramp, fixed(0.5), fixed(0.5), fixed(0.1))
    step = devices.compile_step(make_step(model, recipe, optimizer, augment=augment))
    digits = load("digits").train
    batch = devices.spread(digits.pixels(np.arange(16))), devices.spread(digits.labels[:16].astype(np.int32))
    state = devices.copies(initial_state(model, optimizer, jnp.zeros((8, 8, 1)), key=jax.random.key(1)))
    program = step.lower(state, *batch).compile()
    for _ in range(3):
        state, metrics = step(state, *batch)
    return {
        "numbers": jax.device_get(
            {"params": state.params, "statistics": state.model_state, "metrics": metrics}
        ),
        "flops": program.cost_analysis()["flops"],
        "collectives": [name for name in COLLECTIVES if re.search(rf" {name}(-start)?\(", program.as_text())],
        "traces": len(traces),
    }


def steps() -> dict[str, Any]:
    one, eight = training_step(ONE_DEVICE), training_step(open_mesh(MeshSpec(8)))
    mean = eight["numbers"]["statistics"]["batch_stats"]["image"]["mean"]
    return {
        "difference": farthest(one["numbers"], eight["numbers"]),
        "share of flops": eight["flops"] / one["flops"],
        "collectives": eight["collectives"],
        "traces": [one["traces"], eight["traces"]],
        "image mean": float(mean[0]),
    }


def train(folder: Path, first: Devices, second: Devices) -> Any:
    """A run that stops after its first epoch with some devices and goes on with others."""

    def stop(end):
        raise Stop

    with suppress(Stop):
        fit(CONFIG, folder, evaluate=stop, checkpoint_seconds=0.0, progress=False, devices=first)
    return jax.device_get(fit(CONFIG, folder, progress=False, devices=second).params)


def resumed(folder: Path) -> dict[str, float]:
    eight = open_mesh(MeshSpec(8))
    whole = jax.device_get(fit(CONFIG, folder / "one", progress=False).params)
    return {
        "eight, then one": farthest(whole, train(folder / "shrunk", eight, ONE_DEVICE)),
        "one, then four": farthest(whole, train(folder / "grown", ONE_DEVICE, open_mesh(MeshSpec(4)))),
        "moved": farthest(whole, jax.tree.map(jnp.zeros_like, whole)),
    }


def errors_of(folder: Path, devices: Devices, run: Path, count: int) -> list[Report]:
    """Reports of the first images of the test set; per-image results are in `folder`."""
    _, model, variables = load_run(run)
    subject = Subject("net", model.apply, variables, load("digits").test, {"run": "the same"})
    protocol = Protocol(
        (EPS,),
        attack=pgd(steps=4, restarts=2),
        methods={"crown": crown()},
        batch_size=20,
        certify_batch_size=12,
    )
    return evaluate(subject, protocol, folder, indices=range(count), devices=devices)


def stages_of(folder: Path, devices: Devices, run: Path, count: int) -> list[list[int]]:
    """The images that each stage of a small AutoAttack leaves."""
    _, model, variables = load_run(run)
    attack = autoattack(stages=(Stage("fgsm", fgsm()), Stage("pgd", pgd(steps=4))))
    found = evaluate_autoattack(
        model.apply,
        variables,
        load("digits").test,
        ThreatModel(EPS),
        attack,
        key=jax.random.key(0),
        indices=range(count),
        batch_size=20,
        folder=folder,
        devices=devices,
    )
    return [[r.index for r in stage.records if r.attacked_correct] for stage in found.stages]


def staged(folder: Path) -> dict[str, list[list[int]]]:
    eight, run = open_mesh(MeshSpec(8)), folder / "one"
    stages_of(folder / "stages by both", eight, run, 30)
    return {
        "one": stages_of(folder / "stages by one", ONE_DEVICE, run, 50),
        "eight": stages_of(folder / "stages by eight", eight, run, 50),
        "both": stages_of(folder / "stages by both", ONE_DEVICE, run, 50),
    }


def evaluated(folder: Path) -> None:
    """Three times the same images: on one device, on eight, and begun on eight and finished on one."""
    eight, run = open_mesh(MeshSpec(8)), folder / "one"
    errors_of(folder / "by one", ONE_DEVICE, run, 50)
    errors_of(folder / "by eight", eight, run, 50)
    errors_of(folder / "by both", eight, run, 30)
    errors_of(folder / "by both", ONE_DEVICE, run, 50)


def refused() -> dict[str, str]:
    def words(call: Callable[[], Any]) -> str:
        try:
            return f"no error: {call()}"
        except ConfigError as error:
            return str(error)

    return {
        "too many": words(lambda: open_mesh(MeshSpec(9))),
        "uneven": words(lambda: fit(CONFIG, "nowhere", devices=open_mesh(MeshSpec(5)))),
    }


def kernels_on_typed_meshes() -> dict[str, float]:
    """Gradients of a convolution under `shard_map` with its checks and on Explicit axes, beside JAX's."""
    rng = np.random.default_rng(0)
    x, k = rng.normal(size=(8, 5, 5, 2)).astype(np.float32), rng.normal(size=(3, 3, 2, 3)).astype(np.float32)
    window = ((2, 2), ((1, 1), (1, 1)))
    own = lambda x, k: kernels.conv(x, k, strides=window[0], padding=window[1])
    native = lambda x, k: lax.conv_general_dilated(x, k, *window, dimension_numbers=("NHWC", "HWIO", "NHWC"))
    loss = lambda conv, x, k: jnp.sum(jnp.sin(conv(x, k)) ** 2)
    examples = lambda x, k: jnp.sum(jax.vmap(lambda x: loss(own, x[None], k))(x))
    want = jax.jit(jax.grad(lambda x, k: loss(native, x, k), argnums=(0, 1)))(x, k)

    split, whole = PartitionSpec("data"), PartitionSpec()
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:4])
    shared = jax.shard_map(
        lambda x, k: lax.psum(examples(x, k), "data"), mesh=mesh, in_specs=(split, whole), out_specs=whole
    )
    found = {"shard_map": farthest(want, jax.jit(jax.grad(shared, argnums=(0, 1)))(x, k))}
    explicit = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Explicit,), devices=jax.devices()[:4])
    with jax.set_mesh(explicit):
        placed = jax.device_put((x, k), (NamedSharding(explicit, split), NamedSharding(explicit, whole)))
        found["explicit"] = farthest(want, jax.jit(jax.grad(examples, argnums=(0, 1)))(*placed))
    return found


def main(folder: Path) -> None:
    facts = {"steps": steps(), "resumed": resumed(folder), "refused": refused()}
    evaluated(folder)
    facts |= {"stages": staged(folder)}
    facts |= {"kernels": kernels_on_typed_meshes(), "devices": jax.device_count()}
    sys.stdout.write(json.dumps(facts) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
