"""The attack that is exact for affine networks: the minimiser of every linearised margin."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxcert.attacks.answer import Network, as_label, classes_of, logits_of
from jaxcert.attacks.attempts import best_of
from jaxcert.attacks.expectation import Expectation
from jaxcert.attacks.objectives import margin_loss
from jaxcert.attacks.result import AttackResult, judged
from jaxcert.regions import Region
from jaxcert.regions.minimizer import linear_minimizer
from jaxcert.regions.project import project


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class LinearAttack:
    """The exact attack on affine networks; see `linear_attack`."""

    def __call__(
        self, fn: Network | Expectation, region: Region, label: ArrayLike, *, key: jax.Array
    ) -> AttackResult:
        """Attack one example; see `linear_attack`."""
        region = jax.lax.stop_gradient(region)
        logits = logits_of(fn, region, label)
        label, count = as_label(label), classes_of(logits, region)
        clean, pull = jax.vjp(lambda x: logits(x, key), region.center)
        row_of = lambda index: jax.nn.one_hot(index, count, dtype=clean.dtype)

        def judge(x: jax.Array, step: jax.Array | int) -> AttackResult:
            found = logits(x, jax.random.fold_in(key, step))
            return judged(x, found, margin_loss(found, label), label)

        def toward(target: jax.Array) -> AttackResult:
            (slope,) = pull(row_of(label) - row_of(target))
            return judge(linear_minimizer(region, jnp.nan_to_num(slope)), target)

        center = judge(project(region, region.center), count)
        return jax.lax.stop_gradient(best_of(toward, count, center, early_stop=False))


def linear_attack() -> LinearAttack:
    """The exact worst case of affine networks: called as `attack(fn, region, label, key=key)`.

    `fn` is linearised at the centre; for every class j the difference `logits[label] - logits[j]` is
    minimised exactly over the region (ball with its clip range, box or product), `fn` is evaluated at
    the K minimisers and at the centre, and the worst answer wins.

    Exact for affine networks, two or more classes, up to rounding: the smallest margin is the
    smallest of those K - 1 minima, and it is attained at the minimiser of its class. For other
    networks an estimate from below of the worst case; it never certifies. Without clip it is
    `center - eps sign(w) |w|^(q/p) / ||w||_q^(q/p)` with `w` the gradient of a difference, which
    falls by `eps ||w||_q`.

    Returns:
      An `AttackResult`, with `margin_loss` as its loss; no gradient flows into it. Of an
      `Expectation` one draw of networks is linearised.

    Raises:
      InvalidInputError: as `pgd`. Traced bad labels and invalid regions count as errors, as there.

    Cost: K vector-Jacobian products, linear minimisations and forward passes, one after the other.
    Source: theses/4b A12, Theorem 4.2; theses/2 A4.

    >>> import jax, jax.numpy as jnp
    >>> from jaxcert.attacks import linear_attack
    >>> from jaxcert.regions import l2_ball
    >>> fn = lambda x: jnp.stack([3 * x[0] + 4 * x[1], 0 * x[0]])  # margin 3 - 0.5 * 5
    >>> result = linear_attack()(fn, l2_ball(jnp.array([1.0, 0.0]), 0.5), 0, key=jax.random.key(0))
    >>> bool(result.success), round(float(result.margin), 4)
    (False, 0.5)
    """
    return LinearAttack()
