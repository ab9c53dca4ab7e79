"""Certificates whose radius differs by coordinate: the largest volume that a bound certifies.

Maximise `sum_i log eps_i` subject to `margin_j(eps) >= slack` for all j != label, by the
augmented Lagrangian with `eps_i = zeta_i^2`. With d_j the margins less the slack, the slack
variables c >= 0 of `d = c` have the closed form `c = max(0, d + lam / rho)`, so that
`d - c = min(d, -lam / rho)` and a dual step gives `lam <- min(lam + rho d, 0)`, never positive.

All quantities are made free of units, so that the settings carry over between networks: radii
in units of the start, margins in units of the centre's margins, the volume as a mean.
Source: theses/4a §3.2.1, (3.9)-(3.11), Algorithm 3.3. Errata: "j != c" is j != y, and rho is
indexed by iterations. Differences: margins are elided, which is never looser; the best certified
iterate is kept; the start is the given one doubled or halved to the edge of what is certified; the
final loop, which shrinks the radii until they are certified, also stretches them while they are.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jax.core import Tracer
from jax.typing import ArrayLike, DTypeLike

from jaxcert.bounds import Method, is_certified, margins
from jaxcert.bounds.margins import margin_specification
from jaxcert.bounds.specification import Function
from jaxcert.errors import InvalidInputError
from jaxcert.graph import trace
from jaxcert.regions import LpBall, lp_ball, scaled
from jaxcert.regions.construct import Clip

_MOST_DOUBLINGS = 40
_LEARNING_RATE = 0.1


@jax.tree_util.register_static
@dataclass(frozen=True)
class AugmentedLagrangian:
    """Settings of the optimisation. All are free of units.

    Attributes:
      steps: gradient steps.
      dual_every: gradient steps per step of the multipliers.
      penalty: rho at the start.
      growth: factor of rho at the start of each further stage.
      stages: number of equal parts of the steps, each with its rho.
      slack: margins aimed at, as a share of the centre's margins.
      decay: factor of the radii in the final loop, in (0, 1).
      most_shrinks: of that loop.
    """

    steps: int = 200
    dual_every: int = 5
    penalty: float = 3.0
    growth: float = 3.0
    stages: int = 5
    slack: float = 1e-3
    decay: float = 0.99
    most_shrinks: int = 300

    def __post_init__(self):
        counts = (self.steps, self.dual_every, self.stages, self.most_shrinks)
        if min(counts) < 1 or self.penalty <= 0 or self.growth < 1 or not 0 < self.decay < 1:
            raise InvalidInputError(
                "AugmentedLagrangian needs counts of at least 1, penalty > 0, growth >= 1 and decay "
                f"in (0, 1), got {self}."
            )
        if not 0 < self.slack < 1:
            raise InvalidInputError(f"slack must be a share in (0, 1), got {self.slack}.")


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class CertifiedRadii:
    """A certified ball with one eps per coordinate.

    Attributes:
      radius: eps, shaped like the input, in its units; 0 everywhere if nothing could be certified.
      margins: `[K-1]`, of the ball of that radius; all positive unless the radius is 0.
      log_volume: `sum log radius`, -inf for radius 0.
      average: the geometric mean of `radius`.
      multipliers: `[K-1]`, at most 0, of the margins in the end: which of them hold the radius back.
    """

    radius: jax.Array
    margins: jax.Array
    log_volume: jax.Array
    average: jax.Array
    multipliers: jax.Array


def nonuniform_radii(
    method: Method,
    fn: Function,
    x: ArrayLike,
    label: ArrayLike,
    *,
    norm: float = math.inf,
    clip: Clip | None = None,
    start: ArrayLike = 0.01,
    solver: AugmentedLagrangian = AugmentedLagrangian(),
    optimizer: optax.GradientTransformation | None = None,
) -> CertifiedRadii:
    """Return one eps per coordinate, of large volume, so that `method` certifies the ball.

    Args:
      method: any bound that is differentiable in eps; `fast_lin()` is that of the source.
      fn: one example -> logits `[K]`.
      x: the centre, in input units.
      label: the class to certify.
      norm: p >= 1; the ball is `{x + eps * v : ||v||_p <= 1}`.
      clip: `None` (as the source) or the range of valid inputs.
      start: the first eps, positive: a scalar, or an array shaped like `x`, such as the radii of
        another input (their directions are alike). Only its direction matters much.
      solver: settings of the optimisation.
      optimizer: an optax optimiser of zeta; `None` is Adam with a falling learning rate.

    Returns:
      `CertifiedRadii`. Sound: `margins` of the method over the returned ball are positive, else the
      radius is 0 (a misclassified centre, bad traced input). A local optimum, no better than the
      optimiser; never of smaller volume than the start scaled down until certified.

    Raises:
      InvalidInputError: start not positive or of another shape, and what `margins` raises.

    Cost: `solver.steps` evaluations of the method with a gradient, and some tens without. Not
    differentiable.
    Source: theses/4a Algorithm 3.3, Table 3.2.

    Example:
      >>> import jax.numpy as jnp, jaxcert as jc
      >>> fn = lambda x: jnp.stack([x @ jnp.array([1.0, 4.0]), jnp.zeros(())])  # optimal: m / (2 |w_i|)
      >>> found = jc.nonuniform_radii(jc.crown(), fn, jnp.array([0.6, 0.35]), 0)
      >>> bool(jnp.allclose(found.radius, jnp.array([1.0, 0.25]), rtol=0.02))
      True
    """
    center = jnp.asarray(x)
    return _certify(method, fn, center, label, norm, clip, start, solver, optimizer, center.shape)


def uniform_radii(
    method: Method,
    fn: Function,
    x: ArrayLike,
    label: ArrayLike,
    *,
    norm: float = math.inf,
    clip: Clip | None = None,
    start: ArrayLike = 0.01,
    solver: AugmentedLagrangian = AugmentedLagrangian(),
    optimizer: optax.GradientTransformation | None = None,
) -> CertifiedRadii:
    """Return the radii of `nonuniform_radii` with one number free: `start` times a factor.

    The baseline of the comparison, found by the same algorithm; with a scalar `start` its `average`
    is the certified eps. `certified_radius` finds the same by bisection.
    Arguments, guarantees and errors: see `nonuniform_radii`.

    Source: theses/4a §3.2.1 (the uniform variant), Table 3.2.

    Example:
      >>> import jax.numpy as jnp, jaxcert as jc
      >>> fn = lambda x: jnp.stack([x @ jnp.array([1.0, 4.0]), jnp.zeros(())])
      >>> round(float(jc.uniform_radii(jc.crown(), fn, jnp.array([0.6, 0.35]), 0).average), 2)
      0.4
    """
    return _certify(method, fn, jnp.asarray(x), label, norm, clip, start, solver, optimizer, ())


def _certify(
    method: Method,
    fn: Function,
    center: jax.Array,
    label: ArrayLike,
    norm: float,
    clip: Clip | None,
    start: ArrayLike,
    solver: AugmentedLagrangian,
    optimizer: optax.GradientTransformation | None,
    free: tuple[int, ...],
) -> CertifiedRadii:
    """The algorithm with zeta of shape `free`: the input's, or () for the uniform variant."""
    given = lax.stop_gradient(lp_ball(center, _positive(start), norm, clip))
    graph = trace(fn, given)
    spec = margin_specification(graph, label)
    clean = spec.coeffs @ graph(given.center) + spec.offset
    possible = is_certified(clean)

    def bound(region: LpBall) -> jax.Array:
        return margins(method, graph, region, label)

    certified = lambda factor: is_certified(bound(scaled(given, factor)))
    edge = _edge(certified, possible, given.dtype, 2.0, _MOST_DOUBLINGS)
    found_edge = edge > 0
    base = scaled(given, jnp.where(found_edge, edge, 1))
    scale = jnp.where(clean > 0, clean, 1)
    problem = _Problem(lambda zeta: bound(scaled(base, zeta * zeta)) / scale, solver)
    first = jnp.ones(free, given.dtype), jnp.where(found_edge, 0.0, -jnp.inf).astype(given.dtype)
    ascent = problem.optimise(*first, clean, _adam(solver) if optimizer is None else optimizer)
    ends = jax.vmap(lambda zeta: problem.at_edge(zeta, found_edge))(jnp.stack([ascent.zeta, ascent.best]))
    zeta = jnp.where(_volume(ends[0]) > _volume(ends[1]), ends[0], ends[1])

    final = scaled(base, zeta * zeta)
    found = bound(final)
    sound = is_certified(found) & possible & found_edge
    radius = jnp.where(sound, jnp.broadcast_to(final.radius, center.shape), 0)
    log_volume = jnp.log(radius).sum()
    average = jnp.exp(log_volume / max(radius.size, 1))
    return CertifiedRadii(radius, found, log_volume, average, ascent.multipliers)


def _positive(start: ArrayLike) -> ArrayLike:
    if not isinstance(start, Tracer) and not np.all(np.asarray(start) > 0):
        raise InvalidInputError("start must be positive in every coordinate: its logarithm is the volume.")
    return start


def _adam(solver: AugmentedLagrangian) -> optax.GradientTransformation:
    return optax.adam(optax.cosine_decay_schedule(_LEARNING_RATE, solver.steps))


def _volume(zeta: jax.Array) -> jax.Array:
    """The mean of log eps, in units of the start."""
    return jnp.log(zeta * zeta).mean()


def _edge(
    certified: Callable[[jax.Array], jax.Array],
    possible: jax.Array,
    dtype: DTypeLike,
    ratio: float,
    most: int,
) -> jax.Array:
    """The certified factor `ratio^k` next to one that is not, from 1 upwards or downwards; 0 if none."""

    def searching(state):
        _, _, done, count = state
        return ~done & (count < most)

    def try_(state):
        factor, best, _, count = state
        good = certified(factor)
        done = jnp.where(good, factor < 1, best > 0)
        factor, best = jnp.where(good, factor * ratio, factor / ratio), jnp.where(good, factor, best)
        return factor, best, done, count + 1

    one = jnp.ones((), dtype)
    start = one, jnp.zeros((), dtype), ~possible, jnp.zeros((), jnp.int32)
    return lax.while_loop(searching, try_, start)[1]


class _Ascent(NamedTuple):
    """Where the optimisation is, and the certified point of largest volume so far with its score."""

    zeta: jax.Array
    multipliers: jax.Array
    memory: Any
    best: jax.Array
    score: jax.Array


@dataclass(frozen=True)
class _Problem:
    """The margins as a function of zeta, in units of the centre's, and how to solve for zeta."""

    margins: Callable[[jax.Array], jax.Array]
    solver: AugmentedLagrangian

    def accepted(self, margins: jax.Array) -> jax.Array:
        # Half of the slack is left for rounding when the final radius is bounded again.
        return is_certified(margins - 0.5 * self.solver.slack)

    def optimise(
        self, zeta: jax.Array, score: jax.Array, clean: jax.Array, optimizer: optax.GradientTransformation
    ) -> _Ascent:
        solver = self.solver
        index = np.arange(solver.steps)
        stage = np.minimum(index * solver.stages // solver.steps, solver.stages - 1)
        penalties = jnp.asarray(solver.penalty * solver.growth**stage, zeta.dtype)
        dual = jnp.asarray(index % solver.dual_every == solver.dual_every - 1)
        start = _Ascent(zeta, jnp.zeros_like(clean), optimizer.init(zeta), zeta, score)
        step = partial(self._step, optimizer)
        return lax.scan(lambda ascent, now: (step(ascent, *now), None), start, (penalties, dual))[0]

    def _step(
        self, optimizer: optax.GradientTransformation, now: _Ascent, rho: jax.Array, dual: jax.Array
    ) -> _Ascent:
        def lagrangian(zeta):
            found = self.margins(zeta)
            gap = found - self.solver.slack
            reach = jnp.minimum(gap, -now.multipliers / rho)  # d - c at the optimal c
            value = now.multipliers @ reach + 0.5 * rho * (reach @ reach) - _volume(zeta)
            return value, (found, gap)

        slope, (found, gap) = jax.grad(lagrangian, has_aux=True)(now.zeta)
        slope = jnp.where(jnp.isfinite(slope), slope, 0)
        with jax.numpy_dtype_promotion("standard"):  # optax mixes its step counter with floats
            updates, memory = optimizer.update(slope, now.memory, now.zeta)
            zeta = jnp.asarray(optax.apply_updates(now.zeta, updates))
        moved = jnp.minimum(now.multipliers + rho * gap, 0)
        better = self.accepted(found) & (_volume(now.zeta) > now.score)
        return _Ascent(
            zeta,
            jnp.where(dual & jnp.isfinite(moved), moved, now.multipliers),
            memory,
            jnp.where(better, now.zeta, now.best),
            jnp.where(better, _volume(now.zeta), now.score),
        )

    def at_edge(self, zeta: jax.Array, possible: jax.Array) -> jax.Array:
        """Zeta with its radii times the power of `decay` at the edge of what is certified; 0 if none is."""
        factor = _edge(
            lambda factor: self.accepted(self.margins(zeta * jnp.sqrt(factor))),
            possible,
            zeta.dtype,
            1 / self.solver.decay,
            self.solver.most_shrinks,
        )
        return jnp.where(factor > 0, zeta * jnp.sqrt(factor), 0)
