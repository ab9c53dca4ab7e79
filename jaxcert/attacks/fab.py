"""FAB: the nearest adversarial point, by projections onto linearised decision boundaries."""

import math
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxcert.attacks.answer import answer_of, as_label
from jaxcert.attacks.boundary import Boundary, boundary_of
from jaxcert.attacks.nearest import Find, Judge, Seeker, SomeNetwork, gauge_ball, nearer
from jaxcert.attacks.objectives import Objective, margin_loss
from jaxcert.attacks.settings import require_count, require_number
from jaxcert.attacks.start import random_start
from jaxcert.regions import LpBall, Region
from jaxcert.regions.nearest import clipped, measure, towards_hyperplane

_HALVINGS = 10


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Fab(Seeker):
    """The fast adaptive boundary attack; see `fab`."""

    alpha_max: ArrayLike
    eta: ArrayLike
    beta: ArrayLike
    steps: int = field(metadata={"static": True})
    restarts: int = field(metadata={"static": True})
    loss: Objective | None = field(metadata={"static": True})
    early_stop: bool = field(metadata={"static": True})

    def _judge(self, fn: SomeNetwork, region: Region, label: ArrayLike) -> Judge:
        answer = answer_of(fn, margin_loss if self.loss is None else self.loss, region, label)
        return Judge(answer, region, gauge_ball(region), as_label(label))

    def _seek(self, fn: SomeNetwork, judge: Judge, center: Find, key: jax.Array, fixed: bool) -> Find:
        boundary = boundary_of(fn, self.loss, judge.region, judge.ball, judge.label)
        enough = lambda find: (find.distance <= 0) | (judge.reaches(find) & (fixed and self.early_stop))
        walk_key, restart_key, last_key = jax.random.split(key, 3)
        best = self._walk(judge, boundary, center.result.x, center, enough, walk_key)
        if self.restarts > 1:
            best = self._restart(judge, boundary, best, enough, restart_key)
        return best if fixed else _backtrack(judge, best, last_key)

    def _restart(self, judge: Judge, boundary: Boundary, best: Find, enough, key: jax.Array) -> Find:
        """The walks from random points."""

        def again(state):
            index, best = state
            now = jax.random.fold_in(key, index)
            start_key, now = jax.random.split(now)
            # Half of the way to the best find, where that is inside the region.
            start = random_start(0.5)(judge.region, key=start_key)
            start = judge.ball.center + judge.share(best) * (start - judge.ball.center)
            return index + 1, self._walk(judge, boundary, start, best, enough, now)

        more = lambda state: (state[0] < self.restarts) & ~enough(state[1])
        return jax.lax.while_loop(more, again, (jnp.ones((), jnp.int32), best))[1]

    def _walk(self, judge: Judge, boundary: Boundary, start, best: Find, enough, key: jax.Array) -> Find:
        """One walk along the boundary, from `start`."""
        beta = jnp.asarray(self.beta, judge.ball.dtype)

        def step(state):
            index, x, best = state
            keys = jax.random.split(jax.random.fold_in(key, index))
            find = judge.at(self._project(judge.ball, x, *boundary(x, keys[0])), keys[1])
            center, moved = judge.ball.center, find.result.x
            x = jnp.where(find.result.success, center + beta * (moved - center), moved)
            return index + 1, x, nearer(find, best)

        more = lambda state: (state[0] < self.steps) & ~enough(state[2])
        return jax.lax.while_loop(more, step, (jnp.zeros((), jnp.int32), start, best))[2]

    def _project(self, ball: LpBall, x: jax.Array, value: jax.Array, gradient: jax.Array) -> jax.Array:
        """Past the linearised boundary from `x`, drawn towards its point nearest to the centre.

        The share of that point is the larger the nearer it is compared with the centre's own distance from
        the boundary, at most `alpha_max`.
        """
        eta, most = (jnp.asarray(option, ball.dtype) for option in (self.eta, self.alpha_max))
        own = towards_hyperplane(ball, x, gradient, value)
        at_center = value + jnp.sum(gradient * (ball.center - x))
        other = towards_hyperplane(ball, ball.center, gradient, at_center)
        from_x, from_center = measure(ball, own), measure(ball, other)
        total = from_x + from_center
        alpha = jnp.minimum(from_x / jnp.where(total > 0, total, 1.0), most)
        # As a displacement of the centre: what must not move is not moved by rounding either.
        moved = (1 - alpha) * (x - ball.center + eta * own) + alpha * eta * other
        moved = clipped(ball, ball.center + moved)
        return jnp.where(jnp.isfinite(jnp.sum(moved)), moved, x)


def _backtrack(judge: Judge, best: Find, key: jax.Array) -> Find:
    """The boundary on the segment from the centre to a find, by halving it; without a find, it stays."""
    center, far = judge.ball.center, best.result.x

    def halve(index, state):
        low, high, best = state
        middle = 0.5 * (low + high)
        x = clipped(judge.ball, center + middle * (far - center))
        find = judge.at(x, jax.random.fold_in(key, index))
        fell = find.result.success
        return jnp.where(fell, low, middle), jnp.where(fell, middle, high), nearer(find, best)

    zero = jnp.zeros((), judge.ball.dtype)
    return jax.lax.fori_loop(0, _HALVINGS, halve, (zero, zero + 1, best))[2]


def fab(
    steps: int = 100,
    restarts: int = 1,
    loss: Objective | None = None,
    alpha_max: ArrayLike = 0.1,
    eta: ArrayLike = 1.05,
    beta: ArrayLike = 0.9,
    early_stop: bool = True,
) -> Fab:
    """The fast adaptive boundary attack: looks for the nearest adversarial point, whatever eps is.

    At every step the boundary is replaced by a hyperplane. The next point goes a little past
    it, and is mixed with the hyperplane's point nearest to the centre; from an adversarial point
    the walk goes back a part of the way to the centre. Called as `attack(fn, region, label, key=key)`
    it succeeds if and only if a point of the region is adversarial; where only farther ones
    were found, the nearest of them is moved into the region and judged there. `attack.nearest(fn,
    region, label, key=key)` returns a `Nearest`, for which the size of the region only places restarts: an
    upper bound of the minimal distance. Estimates: neither certifies. Norm (any p; the source has 1, 2
    and infinity), clip range and one radius per coordinate are the region's; boxes, and products of
    boxes and l_inf balls, are l_inf balls in units of their half-widths.

    Args:
      steps: steps of each start, static, at least 1.
      restarts: the first starts at the centre, the others at random points of the region shrunk to
        half its size, static.
      loss: `None` linearises all logit differences and takes the one that looks nearest; an objective
        whose zero is the boundary, such as `targeted_margin(k)` or `margin_loss`, is linearised alone,
        at a K-th of the cost. Static.
      alpha_max: largest share of the centre's projection, in [0, 1], may be traced.
      eta: how far to go past the hyperplane, at least 1, may be traced.
      beta: what is kept of the way from the centre to an adversarial point, in (0, 1), may be traced.
      early_stop: a fixed-eps attack ends with the first adversarial point of the region, static.

    Raises:
      InvalidInputError: options out of range, a product with a part of another norm, and what
        `pgd` refuses. Traced bad labels, invalid regions and answers that are not finite count as errors
        of the network, as in `pgd`.

    Cost: per step one gradient (`loss=None`: K of them), one forward pass, and two projections without
    any sort.

    Source: Croce and Hein 2020 (Minimally distorted adversarial examples with a fast adaptive boundary
    attack), Algorithm 1; theses/1 M6. As in AutoAttack the fixed-eps attack has no final search;
    that of `nearest` halves the segment to the centre 10 times.

    >>> import jax, jax.numpy as jnp
    >>> from jaxcert.attacks import fab
    >>> from jaxcert.regions import l2_ball
    >>> fn = lambda x: jnp.stack([3 * x[0] + 4 * x[1], jnp.array(0.0)])
    >>> ball = l2_ball(jnp.array([1.0, 0.5]), 1.2)
    >>> bool(fab()(fn, ball, 0, key=jax.random.key(0)).success)
    True
    >>> round(float(fab().nearest(fn, ball, 0, key=jax.random.key(0)).distance), 2)
    1.0
    """
    require_count(steps, "steps")
    require_count(restarts, "restarts")
    require_number(alpha_max, "alpha_max", "in [0, 1]", lambda value: 0 <= value <= 1)
    require_number(eta, "eta", "at least 1", lambda value: 1 <= value < math.inf)
    require_number(beta, "beta", "in (0, 1)", lambda value: 0 < value < 1)
    return Fab(alpha_max, eta, beta, int(steps), int(restarts), loss, bool(early_stop))
