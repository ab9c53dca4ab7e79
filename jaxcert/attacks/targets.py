"""One attack per wrong class, the likeliest first."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxcert.attacks.answer import Network, as_label, classes_of, logits_of
from jaxcert.attacks.attempts import best_of
from jaxcert.attacks.expectation import Expectation
from jaxcert.attacks.objectives import Objective, is_class, margin_loss, targeted_margin
from jaxcert.attacks.result import AttackResult, judged
from jaxcert.attacks.settings import require_count
from jaxcert.regions import Region, project


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class MultiTargeted:
    """An attack towards several classes; made by `multi_targeted`, which explains the fields."""

    attack: Any
    objective: Callable[[jax.Array], Objective] = field(metadata={"static": True})
    targets: int | None = field(metadata={"static": True})
    early_stop: bool = field(metadata={"static": True})

    def __call__(
        self, fn: Network | Expectation, region: Region, label: ArrayLike, *, key: jax.Array
    ) -> AttackResult:
        """Attack one example; see `multi_targeted`."""
        region = jax.lax.stop_gradient(region)
        given, logits = label, logits_of(fn, region, label)
        label = as_label(label)
        center = project(region, region.center)  # NaN where the region is none
        clean = jax.lax.stop_gradient(logits(center, key))
        ranked = _wrong_classes(clean, label)
        others = classes_of(logits, region) - 1
        count = others if self.targets is None else min(self.targets, others)

        def toward(index):
            target = jnp.sum(jnp.where(is_class(ranked, index), ranked, 0), dtype=ranked.dtype)
            attack = replace(self.attack, loss=self.objective(target))
            found = attack(fn, region, given, key=jax.random.fold_in(key, index))
            return replace(found, loss=-found.margin)

        first = judged(center, clean, margin_loss(clean, label), label)
        return best_of(toward, count, first, early_stop=self.early_stop)


def multi_targeted(
    attack: Any,
    objective: Callable[[jax.Array], Objective] = targeted_margin,
    targets: int | None = None,
    early_stop: bool = True,
) -> MultiTargeted:
    """`attack` once towards each wrong class, in the order of the clean logits, until one succeeds.

    Called as `attack` is; the result is the best of all by success and then by the smallest margin, and
    its `loss` is minus the margin. The clean input is the first candidate. Examples of a batch that
    have fallen are left alone.

    Args:
      attack: one with a field `loss`: `pgd()`, `apgd()`, `fab()`, ...
      objective: target -> objective, static: `targeted_margin`, `targeted_dlr`, `targeted_cross_entropy`.
      targets: how many classes, those of the largest clean logits first, static; `None` is all, and
        more than there are is all too.
      early_stop: stop at the first success, static; `False` looks for the smallest margin.

    Raises:
      InvalidInputError: `targets` below 1; what `attack` raises.

    Cost: at most `targets` times that of the attack, one after the other.
    Source: theses/4b A9; theses/4a 1.2 (4); AutoAttack's targeted attacks (theses/1 M7).

    >>> import jax, jax.numpy as jnp
    >>> from jaxcert.attacks import multi_targeted, pgd, targeted_margin
    >>> from jaxcert.regions import linf_ball
    >>> fn = lambda x: jnp.stack([x[0], x[1], -x[0]])
    >>> attack = multi_targeted(pgd(5), targeted_margin)
    >>> bool(attack(fn, linf_ball(jnp.array([0.3, 0.0]), 0.2), 0, key=jax.random.key(0)).success)
    True
    """
    if targets is not None:
        require_count(targets, "targets")
    return MultiTargeted(attack, objective, targets, early_stop)


def _wrong_classes(logits: jax.Array, label: jax.Array) -> jax.Array:
    """All classes but the label, the largest logit first: `[K - 1]`."""
    return jnp.argsort(jnp.where(is_class(logits, label), -jnp.inf, logits), descending=True)[:-1]
