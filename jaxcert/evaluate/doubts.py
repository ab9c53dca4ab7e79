"""Signs that attacks overstate the robustness of a network, or that the question was put wrongly."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcert.attacks import Expectation, cross_entropy, dlr
from jaxcert.attacks.answer import answer_of
from jaxcert.attacks.autoattack import Stage, notes
from jaxcert.attacks.fab import Fab
from jaxcert.attacks.square import Square
from jaxcert.attacks.targets import MultiTargeted
from jaxcert.evaluate.network import Apply, attackable, logits_at
from jaxcert.evaluate.sweep import Images
from jaxcert.evaluate.threat import ThreatModel

EVALUATIONS = 5
SAME_OUTPUT = 1e-4
SAME_PROBABILITY = 1e-5
# By how much of all images a stage may lower the robust accuracy below what attacks on losses left.
UNSUSPICIOUS = {Square: 0.002, Fab: 0.01}


def first_doubts(
    apply: Apply,
    variables: Any,
    images: Images,
    threat: ThreatModel,
    stages: Sequence[Stage],
    indices: Sequence[int],
) -> list[str]:
    """What a look at a few images tells before any attack, a sentence for each doubt.

    Cost: the logits of these images a few times, and two gradients.
    """
    if not indices:
        return []
    pixels = jnp.asarray(images.pixels(np.asarray(indices, np.int32)))
    labels = jnp.asarray(np.asarray(images.labels)[np.asarray(indices)].astype(np.int32))
    keys = jax.random.split(jax.random.key(0), EVALUATIONS)
    outputs = [np.asarray(_outputs(apply, variables, pixels, key)) for key in keys]
    told = [] if isinstance(apply, Expectation) else _randomised(outputs, np.asarray(labels))
    told += _not_finite(outputs[0]) + _probabilities(outputs[0]) + _constant(outputs[0])
    for name, loss in (("cross-entropy", cross_entropy), ("DLR loss", dlr)):
        steepness = np.asarray(_steepness(apply, variables, threat, loss, pixels, labels))
        told += _flat(name, steepness[outputs[0].argmax(axis=-1) == np.asarray(labels)])
    return told + notes(tuple(stages), outputs[0].shape[-1])


def masking_doubts(stages: Sequence[Stage], robust: Sequence[tuple[int, int]], n: int) -> list[str]:
    """Stages that broke many images which attacks on losses had left, as where their gradients are masked.

    `robust` holds, for each stage, the number of robust images before and after it; `n` is that of all.
    """
    told, climbed = [], False
    for stage, (before, after) in zip(stages, robust, strict=True):
        kind = type(stage.attack.attack if isinstance(stage.attack, MultiTargeted) else stage.attack)
        climbs = kind not in UNSUSPICIOUS
        climbed = climbed or climbs
        if climbed and not climbs and before - after > UNSUSPICIOUS[kind] * n:
            told.append(
                f"The stage {stage.name} lowered the robust accuracy from {100 * before / n:.2f} % to "
                f"{100 * after / n:.2f} %: attacks along the gradients of losses alone overstate robustness "
                f"here, as with masked gradients, and the result may too."
            )
    return told


def _randomised(outputs: Sequence[np.ndarray], labels: np.ndarray) -> list[str]:
    outputs = [np.nan_to_num(found) for found in outputs]
    lengths = [np.linalg.norm(found, axis=-1, keepdims=True) for found in outputs]
    units = np.stack([found / (length + 1e-10) for found, length in zip(outputs, lengths, strict=True)])
    gap = np.linalg.norm(units[:, None] - units[None], axis=-1).max()
    right = {int((found.argmax(axis=-1) == labels).sum()) for found in outputs}
    if gap <= SAME_OUTPUT and len(right) == 1:
        return []
    return [
        "The network answers the same images differently from one evaluation to the next: it is randomised, "
        "so use autoattack_rand and a function of (variables, x, key)."
    ]


def _not_finite(output: np.ndarray) -> list[str]:
    bad = int((~np.isfinite(output)).any(axis=-1).sum())
    if not bad:
        return []
    return [f"The logits of {bad} of the first {len(output)} images are not finite: these count as errors."]


def _probabilities(output: np.ndarray) -> list[str]:
    low, high = output.min() > -SAME_PROBABILITY, output.max() < 1 + SAME_PROBABILITY
    if not (low and high and np.all(np.abs(output.sum(axis=-1) - 1) < SAME_PROBABILITY)):
        return []
    return [
        "The network's outputs are between 0 and 1 and sum to 1, as probabilities do: attack its logits, "
        "because a softmax hides gradients."
    ]


def _constant(output: np.ndarray) -> list[str]:
    if len(output) < 2 or np.any(output != output[:1]):
        return []
    return [f"The network gives the same logits to all of the first {len(output)} images: it is constant."]


def _flat(name: str, steepness: np.ndarray) -> list[str]:
    flat = int((steepness == 0).sum())
    if not flat:
        return []
    return [
        f"The gradient of the {name} is zero at {flat} of {len(steepness)} correctly classified images that "
        f"were looked at: attacks along it are blind there, so the robust accuracy may be overstated."
    ]


@partial(jax.jit, static_argnames="apply")
def _outputs(apply, variables, xs, key):
    with jax.default_matmul_precision("highest"):
        return jax.vmap(lambda x: logits_at(apply, variables, x, key))(xs)


@partial(jax.jit, static_argnames=("apply", "loss"))
def _steepness(apply, variables, threat, loss: Callable[..., jax.Array], xs, labels):
    """The l_1 length of the loss's gradient at each image."""

    def of_one(x, label):
        answer = answer_of(attackable(apply, variables), loss, threat.region(x), label)
        slope = jax.grad(lambda z: answer(z, jax.random.key(0))[0])(x)
        return jnp.abs(slope).sum()

    with jax.default_matmul_precision("highest"):
        return jax.vmap(of_one)(xs, labels)
