"""The attack of Carlini and Wagner: the distance plus a penalty, by Adam, and a search for its weight."""

from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from jaxcert.attacks.nearest import Find, Judge, Seeker, SomeNetwork, nearer
from jaxcert.attacks.settings import require_count, require_number
from jaxcert.errors import InvalidInputError
from jaxcert.regions import LpBall, Region
from jaxcert.regions.halfspace import gauge_weight
from jaxcert.regions.nearest import clipped

_FAR = 1e10
_OPEN = 0.999999


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class CarliniWagner(Seeker):
    """The l_2 attack of Carlini and Wagner; see `carlini_wagner`."""

    learning_rate: ArrayLike
    initial_const: ArrayLike
    confidence: ArrayLike
    steps: int = field(metadata={"static": True})
    searches: int = field(metadata={"static": True})
    early_stop: bool = field(metadata={"static": True})

    def _judge(self, fn: SomeNetwork, region: Region, label: ArrayLike) -> Judge:
        if not isinstance(region, LpBall) or region.norm != 2:
            raise InvalidInputError("carlini_wagner is an l_2 attack: give it an l2_ball, or use fab.")
        return super()._judge(fn, region, label)

    def _seek(self, fn: SomeNetwork, judge: Judge, center: Find, key: jax.Array, fixed: bool) -> Find:
        enough = lambda find: (find.distance <= 0) | (judge.reaches(find) & (fixed and self.early_stop))
        zero = jnp.zeros((), judge.ball.dtype)

        def search(state):
            index, low, const, high, best = state
            now = jax.random.fold_in(key, index)
            best, fell = self._descend(judge, const, best, enough, now)
            low, high = jnp.where(fell, low, const), jnp.where(fell, const, high)
            const = jnp.where(high < _FAR, 0.5 * (low + high), 10 * low)
            return index + 1, low, const, high, best

        first = jnp.asarray(self.initial_const, judge.ball.dtype)
        start = jnp.zeros((), jnp.int32), zero, first, zero + _FAR, center
        more = lambda state: (state[0] < self.searches) & ~enough(state[-1])
        return jax.lax.while_loop(more, search, start)[-1]

    def _descend(self, judge: Judge, const: jax.Array, best: Find, enough, key: jax.Array):
        """Adam on `distance^2 + const * penalty`: the nearest find, and whether there was one."""
        confidence = jnp.asarray(self.confidence, judge.ball.dtype)
        adam = optax.adam(jnp.asarray(self.learning_rate, judge.ball.dtype))
        weight = gauge_weight(judge.ball)
        unit = jnp.where(weight > 0, weight, 1.0)

        def cost(w, now):
            x = _to_input(judge.ball, w)
            loss, logits = judge.answer(x, now)
            square = jnp.sum(((x - judge.ball.center) / unit) ** 2)
            return square + const * jnp.maximum(confidence - loss, 0.0).astype(square.dtype), (
                x,
                loss,
                logits,
            )

        slope = jax.value_and_grad(cost, has_aux=True)

        def step(state):
            index, w, moments, best, fell = state
            (_, answer), gradient = slope(w, jax.random.fold_in(key, index))
            find = judge.of(*answer)
            # Too small a margin is no find; NaN is one.
            sure = find.result.success & ~(answer[1] < confidence)
            best = jax.tree.map(lambda a, b: jnp.where(sure, a, b), nearer(find, best), best)
            gradient = jnp.where(jnp.isfinite(gradient), gradient, 0.0)
            # optax counts steps in integers, which strict promotion would refuse.
            with jax.numpy_dtype_promotion("standard"):
                change, moments = adam.update(gradient, moments)
            return index + 1, w + change, moments, best, fell | sure

        w = _to_free(judge.ball)
        more = lambda state: (state[0] < self.steps) & ~enough(state[3])
        start: Any = jnp.zeros((), jnp.int32), w, adam.init(w), best, jnp.asarray(False)
        _, _, _, best, fell = jax.lax.while_loop(more, step, start)
        return best, fell


def carlini_wagner(
    steps: int = 1000,
    searches: int = 9,
    learning_rate: ArrayLike = 0.01,
    initial_const: ArrayLike = 1e-3,
    confidence: ArrayLike = 0.0,
    early_stop: bool = True,
) -> CarliniWagner:
    """The l_2 attack of Carlini and Wagner: Adam on `distance^2 + c * penalty`, and a search for `c`.

    The penalty is `max(logits[label] - max of the others + confidence, 0)`. Where the clip range is
    finite, `x = middle + half width * tanh(w)` and w is free; elsewhere `x = centre + w`, in units of
    one radius per coordinate. Where a point was found c is halved towards
    what failed, else it grows tenfold. Called as `attack(fn, region, label, key=key)` it succeeds if a
    point of the region is adversarial, or the nearest one found, moved in, is.
    `attack.nearest(fn, region, label, key=key)` returns a `Nearest`, an upper bound of the minimal
    distance: an estimate that never certifies. One radius per coordinate makes distances multiples of it.

    Args:
      steps: of Adam for every c, static, at least 1.
      searches: how many c, static, at least 1.
      learning_rate: of Adam, in the space of w, may be traced.
      initial_const: the first c, may be traced.
      confidence: by how much the wrong logit must be larger, may be traced.
      early_stop: a fixed-eps attack ends with the first adversarial point of the region, static.

    Raises:
      InvalidInputError: a region that is no l_2 ball, options out of range, and what `pgd` refuses.

    Cost: `searches * steps` gradients. The key serves randomised networks only.

    Source: Carlini and Wagner 2017 (Towards evaluating the robustness of neural networks), section V.A and
    VI.A, without its early abort; theses/4a 1.2 (5) names it.

    >>> import jax, jax.numpy as jnp
    >>> from jaxcert.attacks import carlini_wagner
    >>> from jaxcert.regions import l2_ball
    >>> fn = lambda x: jnp.stack([3 * x[0] + 4 * x[1], jnp.array(0.0)])
    >>> ball = l2_ball(jnp.array([1.0, 0.5]), 1.2)
    >>> attack = carlini_wagner(steps=300, searches=3, initial_const=1.0)
    >>> round(float(attack.nearest(fn, ball, 0, key=jax.random.key(0)).distance), 1)
    1.0
    """
    require_count(steps, "steps")
    require_count(searches, "searches")
    positive = lambda value: 0 < value < float("inf")
    require_number(learning_rate, "learning_rate", "above 0", positive)
    require_number(initial_const, "initial_const", "above 0", positive)
    require_number(confidence, "confidence", "at least 0", lambda value: 0 <= value < float("inf"))
    return CarliniWagner(
        learning_rate, initial_const, confidence, int(steps), int(searches), bool(early_stop)
    )


def _range(ball: LpBall) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Middle and half width of the clip range, and where it is finite."""
    if ball.clip is None:
        return jnp.zeros_like(ball.center), jnp.ones_like(ball.center), jnp.zeros(ball.shape, bool)
    low, high = (jnp.broadcast_to(end, ball.shape) for end in ball.clip)
    finite = jnp.isfinite(low) & jnp.isfinite(high)
    low, high = jnp.where(finite, low, -1.0), jnp.where(finite, high, 1.0)
    return 0.5 * low + 0.5 * high, 0.5 * high - 0.5 * low, finite


def _to_free(ball: LpBall) -> jax.Array:
    middle, half, finite = _range(ball)
    share = (ball.center - middle) / jnp.where(half > 0, half, 1.0)
    return jnp.where(finite, jnp.arctanh(jnp.clip(_OPEN * share, -_OPEN, _OPEN)), 0.0)


def _to_input(ball: LpBall, w: jax.Array) -> jax.Array:
    middle, half, finite = _range(ball)
    weight = gauge_weight(ball)
    x = jnp.where(finite, middle + half * jnp.tanh(w), ball.center + weight * w)
    return jnp.where(weight > 0, clipped(ball, x), ball.center)
