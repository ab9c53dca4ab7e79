"""Objectives: the loss of ONE example at given levels of eps, kappa and beta.

An objective is called as `objective(apply, variables, x, label, levels, key=key)`, where
`apply(variables, x)` gives the logits of one example, and returns an `ExampleLoss`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from jaxcert.bounds import crown_ibp, ibp, is_certified, margins
from jaxcert.losses import (
    adversarial_cross_entropy,
    cross_entropy,
    crown_ibp_loss,
    ibp_loss,
    mixed_margins,
    worst_case_cross_entropy,
)
from jaxcert.regions import LpBall, lp_ball

Apply = Callable[[Any, jax.Array], Any]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Levels:
    """The scheduled quantities of one step, scalars.

    Attributes:
      eps: radius of the region, in the network's input units.
      kappa: share of the clean loss.
      beta: share of CROWN-IBP margins against IBP margins.
    """

    eps: jax.Array
    kappa: jax.Array
    beta: jax.Array


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ExampleLoss:
    """What a step reports about one example, all scalars.

    Attributes:
      loss: what is minimised.
      clean_loss, clean_error: cross-entropy, and 1 where the clean input is misclassified.
      robust_loss, robust_error: the same at the attack's point (adversarial training: lower
        estimates), or for the worst case by the bounds (certified training: upper bounds).
    """

    loss: jax.Array
    clean_loss: jax.Array
    clean_error: jax.Array
    robust_loss: jax.Array
    robust_error: jax.Array


class Objective(Protocol):
    """What every objective here is; see the module's docstring."""

    def __call__(
        self, apply: Apply, variables: Any, x: jax.Array, label: jax.Array, levels: Levels, *, key: jax.Array
    ) -> ExampleLoss: ...


@dataclass(frozen=True)
class Threat:
    """Norm of the ball around every example and the range in which inputs exist."""

    norm: float = math.inf
    clip: tuple[float, float] = (0.0, 1.0)

    def region(self, x: jax.Array, eps: jax.Array) -> LpBall:
        return lp_ball(x, eps, self.norm, clip=self.clip)


@dataclass(frozen=True)
class Standard:
    """Cross-entropy of the clean input (theses/1 §1.1 M1): the robust values are those at eps = 0."""

    def __call__(self, apply, variables, x, label, levels, *, key):
        logits = apply(variables, x)
        loss, error = cross_entropy(logits, label), _wrong(logits, label)
        return ExampleLoss(loss, loss, error, loss, error)


@dataclass(frozen=True)
class Adversarial:
    """Cross-entropy at the point that `attack` finds in the region (theses/1 (2.4), theses/4b D1).

    The attack sees the same network as the loss; no gradient flows through it.
    """

    attack: Callable[..., Any]
    threat: Threat

    def __call__(self, apply, variables, x, label, levels, *, key):
        fixed = jax.lax.stop_gradient(variables)
        region = self.threat.region(x, levels.eps)
        attacked = self.attack(lambda z: apply(fixed, z), region, label, key=key).x
        loss = adversarial_cross_entropy(lambda z: apply(variables, z), attacked, label)
        clean, robust = apply(fixed, x), apply(fixed, jax.lax.stop_gradient(attacked))
        return ExampleLoss(
            loss, cross_entropy(clean, label), _wrong(clean, label), loss, _wrong(robust, label)
        )


@dataclass(frozen=True)
class Ibp:
    """kappa * clean + (1 - kappa) * worst case by IBP, specification fused (theses/2 (C.1.1))."""

    threat: Threat

    def __call__(self, apply, variables, x, label, levels, *, key):
        logits = apply(variables, x)
        bound = margins(ibp(), lambda z: apply(variables, z), self.threat.region(x, levels.eps), label)
        return _certified(ibp_loss(logits, label, bound, levels.kappa), logits, label, bound)


@dataclass(frozen=True)
class CrownIbp:
    """As `Ibp`, on `beta * CROWN-IBP + (1 - beta) * IBP` margins (theses/2 (3.3.16), theses/1 §1.4)."""

    threat: Threat

    def __call__(self, apply, variables, x, label, levels, *, key):
        fn = lambda z: apply(variables, z)
        region = self.threat.region(x, levels.eps)
        logits = fn(x)
        tight, loose = margins(crown_ibp(), fn, region, label), margins(ibp(), fn, region, label)
        loss = crown_ibp_loss(logits, label, tight, loose, levels.beta, levels.kappa)
        return _certified(loss, logits, label, mixed_margins(tight, loose, levels.beta))


def cheapest(objective: Objective, *, eps: float, beta: float) -> Objective:
    """The cheapest objective with the value of `objective` at concrete `eps` and `beta`.

    At eps = 0 every region is one point, so the loss is the clean one; at beta = 0 CROWN-IBP is
    IBP. A driver compiles one step per distinct result instead of paying for bounds that the
    schedules weigh with zero: a `cond` inside the step would not do, because XLA's CPU backend
    runs convolutions in branches with its slow kernels.

    >>> cheapest(CrownIbp(Threat()), eps=0.1, beta=0.0) == Ibp(Threat())
    True
    """
    if eps == 0.0:
        return Standard()
    if isinstance(objective, CrownIbp) and beta == 0.0:
        return Ibp(objective.threat)
    return objective


def _certified(loss: jax.Array, logits: jax.Array, label: jax.Array, bound: jax.Array) -> ExampleLoss:
    uncertified = 1.0 - is_certified(bound).astype(logits.dtype)
    return ExampleLoss(
        loss,
        cross_entropy(logits, label),
        _wrong(logits, label),
        worst_case_cross_entropy(bound),
        uncertified,
    )


def _wrong(logits: jax.Array, label: jax.Array) -> jax.Array:
    return (jnp.argmax(logits) != label).astype(logits.dtype)
