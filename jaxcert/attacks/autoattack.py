"""AutoAttack: an ensemble of attacks without parameters to tune; robust is what survives all of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax
from jax.typing import ArrayLike

from jaxcert.attacks.answer import Network, as_label, logits_of
from jaxcert.attacks.apgd import apgd
from jaxcert.attacks.attempts import best_of
from jaxcert.attacks.dlr import dlr, targeted_dlr
from jaxcert.attacks.expectation import Expectation, RandomNetwork, expectation
from jaxcert.attacks.fab import fab
from jaxcert.attacks.objectives import margin_loss, targeted_margin
from jaxcert.attacks.result import AttackResult, judged
from jaxcert.attacks.square import square
from jaxcert.attacks.targets import multi_targeted
from jaxcert.errors import InvalidInputError
from jaxcert.regions import LpBall, Region, project


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Stage:
    """One attack of an ensemble, and its name in results."""

    name: str = field(metadata={"static": True})
    attack: Any


Stages = tuple[Stage, ...]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class AutoAttack:
    """An ensemble; made by `autoattack`, `autoattack_plus` and `autoattack_rand`."""

    stages: Stages | None
    plan: Callable[[bool], Stages] = field(metadata={"static": True})
    """The stages where none are given; the argument says whether the region is an l_1 ball."""
    samples: int | None = field(metadata={"static": True})
    """Draws per step of a randomised network `fn(x, key)`; `None` where `fn(x)` is not random."""

    def stages_for(self, region: Region) -> Stages:
        """The stages in a region: those that were given, or the usual ones of its norm."""
        is_l1 = isinstance(region, LpBall) and region.norm == 1
        return self.plan(is_l1) if self.stages is None else self.stages

    def network(self, fn: Network | RandomNetwork | Expectation) -> Network | Expectation:
        """What the stages attack: `fn`, or the expectation over its draws."""
        if self.samples is None or isinstance(fn, Expectation):
            return fn
        return expectation(fn, self.samples)

    def __call__(
        self, fn: Network | RandomNetwork | Expectation, region: Region, label: ArrayLike, *, key: jax.Array
    ) -> AttackResult:
        """Attack one example; see `autoattack`."""
        region = jax.lax.stop_gradient(region)
        network = self.network(fn)
        center = project(region, region.center)  # NaN where the region is none
        logits = jax.lax.stop_gradient(logits_of(network, region, label)(center, key))
        worst = judged(center, logits, margin_loss(logits, as_label(label)), as_label(label))
        for index, stage in enumerate(self.stages_for(region)):

            def attempt(_, stage=stage, index=index):
                found = stage.attack(network, region, label, key=jax.random.fold_in(key, index))
                return replace(found, loss=-found.margin)

            worst = best_of(attempt, 1, worst, early_stop=True)
        return worst


def autoattack(stages: Sequence[Stage] | None = None) -> AutoAttack:
    """The standard ensemble: APGD on the cross-entropy, targeted APGD on the DLR, targeted FAB, Square.

    `attack(fn, region, label, key=key)` on one example, `fn`, `region` and `label` as for `pgd`. An
    example that is misclassified, clean or at some stage, is left alone by the later ones; a batch under
    `vmap` ends a stage as soon as all its examples have fallen. Whole test sets:
    `jaxcert.evaluate.autoattack`, which forms new batches of the survivors, shows progress and resumes.

    In l_inf, l_2 and boxes: 100 steps each; APGD from one random start; the nine likeliest wrong classes;
    Square with 5000 queries. In l_1: APGD with 5 starts, 5 targets, first in wider balls. With
    fewer than ten classes all wrong ones are targets, with three or two the DLR becomes what `dlr` and
    `targeted_dlr` say (`notes` tells).

    Args:
      stages: other stages, run in their order: `autoattack(stages=(Stage("pgd", pgd(40)), ...))`.

    Returns:
      Of the attack: an `AttackResult` whose `loss` is minus the margin; the smallest margin found where
      the example survives. An estimate from below of the worst case; it never certifies.

    Raises:
      InvalidInputError: no stage.  Of the attack: see `pgd`.

    Cost: up to `100 + 900` gradients, 900 gradients and forward passes, 5000 forward passes.

    Source: Croce and Hein 2020 (AutoAttack), as theses/4b A8 uses it; theses/1 M7.

    >>> import jax, jax.numpy as jnp
    >>> from jaxcert.attacks import Stage, apgd, autoattack, fgsm
    >>> from jaxcert.regions import linf_ball
    >>> fn = lambda x: jnp.stack([x[0] - x[1], x[1]])
    >>> attack = autoattack(stages=(Stage("fgsm", fgsm()), Stage("apgd-ce", apgd(10))))
    >>> bool(attack(fn, linf_ball(jnp.array([1.0, 0.0]), 0.5), 0, key=jax.random.key(0)).success)
    True
    """
    if stages is None:
        return AutoAttack(None, standard_stages, None)
    if not stages:
        raise InvalidInputError("An ensemble needs at least one stage, got none.")
    return AutoAttack(tuple(stages), standard_stages, None)


def autoattack_plus() -> AutoAttack:
    """The larger ensemble: APGD-CE, APGD-DLR and FAB with 5 starts each, Square, APGD-T and FAB-T.

    Everything else as `autoattack`.

    Source: theses/1 M7, C.1.3, where the second of two equal lines must be FAB; Croce and Hein's "plus".

    >>> from jaxcert.attacks import autoattack_plus
    >>> from jaxcert.regions import linf_ball
    >>> import jax.numpy as jnp
    >>> [stage.name for stage in autoattack_plus().stages_for(linf_ball(jnp.zeros(2), 0.1))]
    ['apgd-ce', 'apgd-dlr', 'fab', 'square', 'apgd-t', 'fab-t']
    """
    return AutoAttack(None, plus_stages, None)


def autoattack_rand(samples: int = 20) -> AutoAttack:
    """For randomised networks: APGD on cross-entropy and DLR over the expectation of `samples` draws.

    Called with `fn(x, key) -> logits`, one draw of the network (or with an `expectation` of your own).
    Success is judged on the mean prediction of the draws at that step, so it is a random event:
    replay the points with fresh draws. Everything else as `autoattack`.

    Source: Croce and Hein's "rand"; theses/2 A6.

    >>> import jax, jax.numpy as jnp
    >>> from jaxcert.attacks import autoattack_rand
    >>> from jaxcert.regions import linf_ball
    >>> noisy = lambda x, key: x + 0.01 * jax.random.normal(key, x.shape)
    >>> found = autoattack_rand(4)(noisy, linf_ball(jnp.array([0.2, 0.0]), 0.2), 0, key=jax.random.key(0))
    >>> bool(found.success)
    True
    """
    if isinstance(samples, bool) or samples < 1:
        raise InvalidInputError(f"samples must be an integer of at least 1, got {samples!r}.")
    return AutoAttack(None, rand_stages, int(samples))


def standard_stages(is_l1: bool) -> Stages:
    """APGD-CE, APGD-T, FAB-T, Square."""
    restarts, targets = (5, 5) if is_l1 else (1, 9)
    return (
        Stage("apgd-ce", apgd(restarts=restarts, widened=is_l1)),
        Stage("apgd-t", multi_targeted(apgd(widened=is_l1), targeted_dlr, targets)),
        Stage("fab-t", multi_targeted(fab(), targeted_margin, 9)),
        Stage("square", square()),
    )


def plus_stages(is_l1: bool) -> Stages:
    """APGD-CE, APGD-DLR, FAB, Square, APGD-T, FAB-T."""
    return (
        Stage("apgd-ce", apgd(restarts=5)),
        Stage("apgd-dlr", apgd(restarts=5, loss=dlr)),
        Stage("fab", fab(restarts=5)),
        Stage("square", square()),
        Stage("apgd-t", multi_targeted(apgd(), targeted_dlr, 9)),
        Stage("fab-t", multi_targeted(fab(), targeted_margin, 9)),
    )


def rand_stages(is_l1: bool) -> Stages:
    """APGD-CE, APGD-DLR."""
    return Stage("apgd-ce", apgd()), Stage("apgd-dlr", apgd(loss=dlr))


def notes(stages: Stages, classes: int) -> list[str]:
    """What the number of classes changes in these stages, a sentence each.

    >>> from jaxcert.attacks import autoattack
    >>> from jaxcert.attacks.autoattack import notes, standard_stages
    >>> len(notes(standard_stages(False), 10)), len(notes(standard_stages(False), 3))
    (0, 2)
    """
    told = []
    uses = {getattr(stage.attack, "objective", getattr(stage.attack, "loss", None)) for stage in stages}
    if classes == 2 and uses & {dlr, targeted_dlr}:
        told.append("With 2 classes the DLR is undefined: those attacks climb the margin itself.")
    if classes == 3 and targeted_dlr in uses:
        told.append("With 3 classes the targeted DLR is undefined: it is divided by z(1) - z(3) instead.")
    counts = [getattr(stage.attack, "targets", None) or 0 for stage in stages]
    if max(counts, default=0) > classes - 1:
        left = "is 1 target" if classes == 2 else f"are {classes - 1} targets"
        told.append(f"With {classes} classes there {left} instead of {max(counts)}.")
    return told
