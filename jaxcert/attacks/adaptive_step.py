"""One step of a length that each example's own gradients choose, from a remembered perturbation."""

from collections.abc import Callable
from dataclasses import dataclass, field
from dataclasses import replace as with_fields

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.typing import ArrayLike

from jaxcert.attacks.answer import Network, answer_of, as_label
from jaxcert.attacks.cached import delta_of, random_delta, require_shape
from jaxcert.attacks.direction import steepest_ascent
from jaxcert.attacks.expectation import Expectation
from jaxcert.attacks.objectives import Anchored, Objective, cross_entropy
from jaxcert.attacks.result import AttackResult, judged
from jaxcert.errors import InvalidInputError
from jaxcert.regions import Box, LpBall, Product, Region
from jaxcert.regions.project import project

StepRule = Callable[[jax.Array], jax.Array]
"""The running mean of `||gradient||_2^2` -> the length of the step, in input units."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class RootThenSum:
    """`ratio constant / (sqrt(v) + constant)`, clipped; see `root_then_sum`."""

    ratio: ArrayLike
    constant: ArrayLike
    low: ArrayLike
    high: ArrayLike

    def __call__(self, v: jax.Array) -> jax.Array:
        ratio, constant, low, high = _typed((self.ratio, self.constant, self.low, self.high), v)
        return jnp.clip(ratio * constant / (jnp.sqrt(v) + constant), low, high)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class RootOfSum:
    """`ratio constant / sqrt(v + constant)`, clipped; see `root_of_sum`."""

    ratio: ArrayLike
    constant: ArrayLike
    low: ArrayLike
    high: ArrayLike

    def __call__(self, v: jax.Array) -> jax.Array:
        ratio, constant, low, high = _typed((self.ratio, self.constant, self.low, self.high), v)
        return jnp.clip(ratio * constant / jnp.sqrt(v + constant), low, high)


def root_then_sum(
    ratio: ArrayLike = 16 / 255,
    constant: ArrayLike = 0.01,
    low: ArrayLike = 4 / 255,
    high: ArrayLike = 14 / 255,
) -> RootThenSum:
    """The step `alpha / (sqrt(v) + C)`, clipped to `[low, high]`: the form of the published code.

    `ratio = alpha / C` is the length, in input units, that small gradients lead to, and `constant = C`,
    in units of the gradient, what counts as small (0.01 for CIFAR, 0.1 for ImageNet). The published
    code clips to [4/255, 14/255] (CIFAR, eps = 8/255) or [4/255, 8/255] (ImageNet). All may be traced.

    The published code differentiates the mean loss of a batch of B, so that its gradients are B times
    smaller than those of one example's loss here: `constant = B * 0.01` is the same step.

    Source: theses/4b D10 (its text says that the step tends to alpha / C, which fits this form).

    >>> import jax.numpy as jnp
    >>> from jaxcert.attacks import root_then_sum
    >>> round(255 * float(root_then_sum()(jnp.array(1e-4))), 4)
    8.0
    """
    return RootThenSum(ratio, constant, low, high)


def root_of_sum(
    ratio: ArrayLike = 16 / 255,
    constant: ArrayLike = 0.01,
    low: ArrayLike = 0.0,
    high: ArrayLike = float("inf"),
) -> RootOfSum:
    """The step `alpha / sqrt(v + C)`, clipped to `[low, high]`: the form that is printed.

    `ratio = alpha / C` as in `root_then_sum`. Small gradients lead to `ratio sqrt(C)`, and C is in
    units of the gradient's square. All may be traced.

    Source: theses/4b (5.16).

    >>> import jax.numpy as jnp
    >>> from jaxcert.attacks import root_of_sum
    >>> round(255 * float(root_of_sum()(jnp.array(0.0))), 4)
    1.6
    """
    return RootOfSum(ratio, constant, low, high)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class AtasState:
    """What is remembered of one example.

    Attributes:
      delta: `x - center`, shaped like the input, in input units.
      v: the running mean of the gradient's squared l_2 norm, scalar.
    """

    delta: jax.Array
    v: jax.Array


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Atas:
    """One step of adaptive length from the remembered perturbation; see `atas`."""

    rule: StepRule
    beta: ArrayLike
    loss: Objective | Anchored = field(metadata={"static": True})

    def init(self, region: Region, *, key: jax.Array) -> AtasState:
        """A random perturbation, and v = 0."""
        return AtasState(random_delta(region, key=key), jnp.zeros((), region.dtype))

    def __call__(
        self,
        fn: Network | Expectation,
        region: Region,
        label: ArrayLike,
        state: AtasState,
        *,
        key: jax.Array,
    ) -> tuple[AttackResult, AtasState]:
        """Attack one example and remember; see `atas`."""
        require_shape(region, state.delta)
        region, state = jax.lax.stop_gradient((region, state))
        answer = answer_of(fn, self.loss, region, label)
        x = project(region, region.center + state.delta)
        gradient, _ = jax.grad(answer, has_aux=True)(x, key)
        v = self._updated(state.v, gradient)
        x = project(region, x + steepest_ascent(_unit(region), x, gradient, self.rule(v)))
        loss, logits = answer(x, jax.random.fold_in(key, 1))
        result = jax.lax.stop_gradient(judged(x, logits, loss, as_label(label)))
        return result, AtasState(delta_of(result, region, state.delta), jax.lax.stop_gradient(v))

    def _updated(self, v: jax.Array, gradient: jax.Array) -> jax.Array:
        (beta,) = _typed((self.beta,), v)
        new = beta * v + (1 - beta) * jnp.sum(gradient**2).astype(v.dtype)
        return jnp.where(jnp.isfinite(new), new, v)


def atas(
    rule: StepRule | None = None, beta: ArrayLike = 0.5, loss: Objective | Anchored = cross_entropy
) -> Atas:
    """One adaptive step per epoch: `result, state = attack(fn, region, label, state, key=key)`.

    `state = attack.init(region, key=key)` is a random perturbation and `v = 0`. Every call takes the
    gradient g at the remembered point, updates `v <- beta v + (1 - beta) ||g||_2^2`, steps by
    `rule(v)` along the steepest ascent (`alpha sign(g)` for l_inf) and projects: long steps for
    examples whose gradients are small. Pure: the caller keeps one state per training example;
    starting afresh (every 10 epochs in the published code) means calling `init` again. Under
    augmentation `delta` is treated as in `atta`. Estimate from below of the worst case; it never certifies.

    Lengths are in **input units**, unlike those of the other attacks: a step of length alpha is measured
    in the region's norm with radius 1 for every coordinate that moves.

    Args:
      rule: `v -> alpha`: `root_then_sum()`, the default and the published code's form, or
        `root_of_sum()`, the printed one (5.16); read there about the factor 1/B of batch means. A
        constant step (the published code warms up 5 epochs with eps) is `root_then_sum(low=a, high=a)`;
        a rule of your own is a frozen pytree like these.
      beta: weight of the past in v, may be traced.
      loss: the objective to climb, static.

    Returns:
      For one example an `AttackResult`, the point after the step, and the new `AtasState`. A gradient
      that is not finite leaves v as it was, an invalid region also the perturbation.

    Raises:
      InvalidInputError: a concrete beta outside [0, 1], a perturbation not shaped like the region, and
        as `pgd`.

    Cost: one gradient and one forward pass; memory of one input per training example.
    Source: theses/4b D10 (5.15), (5.16), Algorithm 5.3.

    >>> import jax, jax.numpy as jnp
    >>> from jaxcert.attacks import atas
    >>> from jaxcert.regions import linf_ball
    >>> attack, key = atas(), jax.random.key(0)
    >>> fn = lambda x: jnp.stack([x[0], x[1]])
    >>> region = linf_ball(jnp.array([1.0, 0.0]), 8 / 255)
    >>> state = attack.init(region, key=key)
    >>> for epoch in range(4):
    ...     result, state = attack(fn, region, 0, state, key=key)
    >>> [round(255 * value, 2) for value in state.delta.tolist()]
    [-8.0, 8.0]
    """
    if not isinstance(beta, Tracer) and not 0 <= float(np.asarray(beta)) <= 1:
        raise InvalidInputError(f"beta is the weight of the past, a number in [0, 1], got {beta}.")
    return Atas(root_then_sum() if rule is None else rule, beta, loss)


def _unit(region: Region) -> Region:
    """The region with radius 1 wherever it moves: distances in input units."""
    if isinstance(region, Product):
        parts = [_unit(part) for part in region.members]
        return Product(jax.tree_util.tree_unflatten(region.structure, parts))
    if isinstance(region, Box):
        return LpBall(region.center, (region.lower < region.upper).astype(region.dtype))
    radius = jnp.broadcast_to(region.radius, region.shape)
    return with_fields(region, radius=(radius > 0).astype(region.dtype))


def _typed(values: tuple[ArrayLike, ...], like: jax.Array) -> list[jax.Array]:
    return [jnp.asarray(value, like.dtype) for value in values]
