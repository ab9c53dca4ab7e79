"""Square: random search with windows, which asks a network for nothing but its logits."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxcert.attacks.answer import Answer, Network, as_label, logits_of
from jaxcert.attacks.attempts import best_of, better
from jaxcert.attacks.expectation import Expectation
from jaxcert.attacks.objectives import Anchored, Objective, margin_loss
from jaxcert.attacks.result import AttackResult, judged, nothing_yet
from jaxcert.attacks.settings import require_count
from jaxcert.attacks.square_bumps import Bumps
from jaxcert.attacks.square_corners import Corners
from jaxcert.attacks.square_image import Layout, as_image
from jaxcert.attacks.square_schedule import schedule
from jaxcert.errors import InvalidInputError
from jaxcert.regions import LpBall, Product, Region
from jaxcert.regions.contain import is_valid
from jaxcert.regions.interval import interval

Moves = Corners | Bumps


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Square:
    """The Square attack; see `square`."""

    queries: int = field(metadata={"static": True})
    restarts: int = field(metadata={"static": True})
    p_init: float = field(metadata={"static": True})
    horizon: int = field(metadata={"static": True})
    loss: Objective | Anchored = field(metadata={"static": True})
    channel_axis: int = field(metadata={"static": True})
    early_stop: bool = field(metadata={"static": True})

    def __call__(
        self, fn: Network | Expectation, region: Region, label: ArrayLike, *, key: jax.Array
    ) -> AttackResult:
        """Attack one example; see `square`."""
        region = jax.lax.stop_gradient(region)
        layout = Layout(region.shape, self.channel_axis)
        moves = self._moves(region, layout)
        answer = _answer(fn, self.loss, region, label)
        label = as_label(label)
        nothing = nothing_yet(answer, region, key)

        def ask(image, key):
            loss, logits = answer(layout.from_image(image), key)
            return judged(image, logits, loss, label)

        def restart(index):
            now = jax.random.fold_in(key, index)
            return self._search(ask, moves, replace(nothing, x=moves.start(now)), now)

        first = replace(nothing, x=layout.to_image(nothing.x))
        found = best_of(restart, self.restarts, first, early_stop=self.early_stop, replace_first=True)
        return jax.lax.stop_gradient(_told(replace(found, x=layout.from_image(found.x)), region))

    def _search(
        self,
        ask: Callable[[jax.Array, jax.Array], AttackResult],
        moves: Moves,
        best: AttackResult,
        key: jax.Array,
    ) -> AttackResult:
        # The start is the first call inside the loop, so that the network is compiled once.
        def query(state):
            count, best = state
            now = jax.random.fold_in(key, count)
            x = jnp.where(count > 0, moves.move(best.x, count - 1, now), best.x)
            return count + 1, better(ask(x, jax.random.fold_in(now, 1)), best, count == 0)

        def more(state):
            count, best = state
            return (count < self.queries) & ~best.success if self.early_stop else count < self.queries

        return jax.lax.while_loop(more, query, (jnp.zeros((), jnp.int32), best))[1]

    def _moves(self, region: Region, layout: Layout) -> Moves:
        norm, valid, image = _norm_of(region), is_valid(region), as_image(region, layout)
        size, odd = (image.shape[0], image.shape[1]), norm != float("inf")
        stages = schedule(size, self.p_init, self.horizon, self.queries, 3 if odd else 1, odd)
        if isinstance(image, LpBall) and odd:
            return Bumps(replace(image, center=jnp.where(valid, image.center, jnp.nan)), stages)
        lower, upper = (jnp.where(valid, end, jnp.nan) for end in interval(image))
        return Corners(lower, upper, stages)


def square(
    queries: int = 5000,
    restarts: int = 1,
    p_init: float = 0.8,
    horizon: int = 10_000,
    loss: Objective | Anchored = margin_loss,
    channel_axis: int = -1,
    early_stop: bool = True,
) -> Square:
    """Square attack: random search with windows; called as `attack(fn, region, label, key=key)`.

    It asks for logits only, never for a gradient: networks that hide their gradients, have none, or answer
    in steps are attacked like any other. A query changes the best point so far inside one window at a random
    place and keeps the change if the network is wrong there or the loss is higher.
      l_inf, boxes: every channel goes to one end of its range inside the window, so all points are
        corners; the start is vertical stripes.
      l_2, l_1: one window's part of the displacement moves into another window, where a bump (two halves
        of opposite sign) is added to it; the start is a grid of bumps. All in units of the radius.
    The window's share of the image falls from `p_init` by halves as published; at 10,000 queries it is one
    entry (3 x 3 for l_2 and l_1).

    What differs from the source: every example draws its own windows, every place has the same chance (the
    published program never touches the last row and column), a window of l_inf that would change nothing
    goes to the other end, a window that does not fit a narrow image becomes a rectangle of the same share,
    and in l_1 the channels share what is left of the budget as in l_2. Inputs of rank 3 are images with
    channels on `channel_axis`, of rank 2 images of one channel; all others, and products, are vectors
    whose windows are runs of entries.

    The result is inside the region: exactly for boxes and l_inf, to rounding otherwise. Estimate from
    below of the worst case; it never certifies.

    Args:
      queries: calls of the network in each restart, the start included, static.
      restarts: static; one after the other, with key `fold_in(key, i)`.
      p_init: share of the image inside the first windows, in (0, 1], static.
      horizon: the number of queries the schedule is made for, static: 10,000 is the published schedule
        whatever `queries` is (AutoAttack's 5000 queries go through its first half); `horizon=queries`
        squeezes all of it into few queries.
      loss: `(logits, label) -> scalar` to be increased, static; `margin_loss` or `cross_entropy`.
      channel_axis: where inputs of rank 3 have their channels, static.
      early_stop: stop at the first misclassified point, static. A batch ends when all its examples have
        fallen or used their queries.

    Returns:
      An `AttackResult`; of an `Expectation`, loss and success come from its prediction.

    Raises:
      InvalidInputError: options out of range, other norms (and products with l_2 or l_1 parts), bad logits,
        loss or label as in `pgd`, where also stands what happens to traced bad input: it counts as an
        error. So does an answer that is not finite.

    Cost: `restarts * queries` forward passes; besides, on 256 MNIST images, a query costs 0.2 ms of one core
    in l_inf and 1 ms in l_2.

    Source: Andriushchenko et al. 2020, named in theses/1 M5 and theses/4b A7.

    >>> import jax, jax.numpy as jnp
    >>> from jaxcert.attacks import square
    >>> from jaxcert.regions import linf_ball
    >>> fn = lambda x: jnp.stack([x[0, 0], x[1, 1]])
    >>> ball = linf_ball(jnp.array([[1.0, 0.0], [0.0, 0.0]]), 0.25)
    >>> result = square(queries=50)(fn, ball, 0, key=jax.random.key(0))
    >>> bool(result.success), float(result.margin)
    (False, 0.5)
    """
    require_count(queries, "queries")
    require_count(restarts, "restarts")
    require_count(horizon, "horizon")
    if not 0 < p_init <= 1:
        raise InvalidInputError(f"p_init must lie in (0, 1], got {p_init}: it is a share of the image.")
    if isinstance(channel_axis, bool) or channel_axis not in range(-3, 3):
        raise InvalidInputError(
            f"channel_axis must be -1 (channels last), 0 (channels first) or another axis of an array of "
            f"rank 3, got {channel_axis!r}."
        )
    return Square(int(queries), int(restarts), float(p_init), int(horizon), loss, channel_axis, early_stop)


def _norm_of(region: Region) -> float:
    """The norm of a ball, infinity of boxes."""
    members = region.members if isinstance(region, Product) else (region,)
    norms = {part.norm if isinstance(part, LpBall) else float("inf") for part in members}
    if norms - ({float("inf")} if isinstance(region, Product) else {1.0, 2.0, float("inf")}):
        raise InvalidInputError(
            f"square searches boxes, l_inf, l_2 and l_1 balls, and products of boxes and l_inf balls, but "
            f"got {'parts' if isinstance(region, Product) else 'a ball'} of norm {sorted(norms)}; use pgd."
        )
    return float("inf") if isinstance(region, Product) else norms.pop()


def _answer(
    fn: Network | Expectation, loss: Objective | Anchored, region: Region, label: ArrayLike
) -> Answer:
    """`(x, key) -> (loss, logits)`, of a randomised network both from its prediction."""
    logits_at = logits_of(fn, region, label)
    label = as_label(label)
    if isinstance(loss, Anchored):
        loss = loss.anchored(jax.lax.stop_gradient(logits_at(region.center, jax.random.key(0))))

    def answer(x: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        logits = logits_at(x, key)
        value = loss(logits, label)
        if value.shape != ():
            raise InvalidInputError(
                f"An attack's loss must be a scalar per example, but got shape {value.shape}."
            )
        return value, logits

    return answer


def _told(found: AttackResult, region: Region) -> AttackResult:
    """The result; over an invalid region an error, whatever the network says to NaN."""
    valid = is_valid(region)
    known = lambda value: jnp.where(valid, value, jnp.nan)
    return replace(found, success=found.success | ~valid, loss=known(found.loss), margin=known(found.margin))
