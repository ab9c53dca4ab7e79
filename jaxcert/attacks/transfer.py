"""Whether the adversarial examples of one network fool another."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxcert.attacks.answer import as_label, logits_of
from jaxcert.attacks.objectives import margin_loss
from jaxcert.attacks.result import AttackResult, judged
from jaxcert.errors import InvalidInputError
from jaxcert.regions import Region


class Attack(Protocol):
    """Any attack of this package."""

    def __call__(self, fn: Any, region: Region, label: ArrayLike, *, key: jax.Array) -> AttackResult: ...


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Transfer:
    """What every target says to the point that was found on every source; see `transfer_matrix`.

    Attributes:
      x: `[S, *shape]`, the points, one per source.
      success: `[S, T]`, the target is wrong there (as `AttackResult.success`).
      margin: `[S, T]`, `logits[label] - max of the others` of the target there.
    """

    x: jax.Array
    success: jax.Array
    margin: jax.Array


def transfer_matrix(
    attack: Attack,
    apply: Callable[..., jax.Array],
    sources: Any,
    targets: Any,
    region: Region,
    label: ArrayLike,
    *,
    key: jax.Array,
) -> Transfer:
    """Attack every source network and judge the points on every target network, for one example.

    The networks share one architecture and differ in their parameters: `apply(parameters, x)` gives
    logits `[K]`, and `sources` and `targets` are parameter pytrees with a leading axis, of S and T
    networks. So there is one program for all of them, and they run one after the other, which leaves
    the batch of examples, `jax.vmap` over this function, to fill the machine. The mean of
    `1 - success` over the examples is the accuracy matrix of the source. Each source attacks with a key
    of its own.

    A white-box attack on i is an estimate from below of the worst case of i, a transferred one a
    weaker estimate of that of j; it never certifies.

    Returns:
      A `Transfer`; no gradient flows into it.

    Raises:
      InvalidInputError: parameters without a common leading axis, and as the attack.

    Cost: S attacks and S T forward passes; memory of one attack.
    Source: theses/2 A8 (Fig. 2.8: 50 sampled networks).

    >>> import jax, jax.numpy as jnp
    >>> from jaxcert.attacks import pgd, transfer_matrix
    >>> from jaxcert.regions import linf_ball
    >>> apply = lambda weight, x: jnp.stack([weight @ x, 0 * x[0]])
    >>> weights = jnp.array([[1.0, 0.0], [0.0, 1.0]])  # two networks that look at different inputs
    >>> def of_one(x, label):
    ...     return transfer_matrix(
    ...         pgd(5), apply, weights, weights, linf_ball(x, 0.2), label, key=jax.random.key(0)
    ...     )
    >>> batch = jnp.array([[0.1, 0.5], [0.5, 0.1]])
    >>> found = jax.jit(jax.vmap(of_one))(batch, jnp.array([0, 0]))
    >>> (1 - found.success.mean(axis=0)).tolist()  # accuracy [source, target]
    [[0.5, 1.0], [1.0, 0.5]]
    """
    region = jax.lax.stop_gradient(region)
    count = _leading(sources, "sources")
    _leading(targets, "targets")

    def judge(parameters: Any, x: jax.Array) -> AttackResult:
        logits = logits_of(lambda z: apply(parameters, z), region, label)(x, key)
        return judged(x, logits, margin_loss(logits, as_label(label)), as_label(label))

    def from_one(source: tuple[Any, jax.Array]) -> Transfer:
        parameters, own_key = source
        x = attack(lambda z: apply(parameters, z), region, label, key=own_key).x
        found = jax.lax.map(lambda target: judge(target, x), targets)
        return Transfer(x, found.success, found.margin)

    found = jax.lax.map(from_one, (sources, jax.random.split(key, count)))
    return jax.lax.stop_gradient(found)


def _leading(parameters: Any, name: str) -> int:
    """How many networks there are."""
    shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(parameters)]
    counts = {shape[0] if shape else 0 for shape in shapes}
    if len(counts) != 1 or 0 in counts:
        raise InvalidInputError(
            f"The {name} must be parameters stacked along a common leading axis, got shapes {shapes}."
        )
    return counts.pop()
