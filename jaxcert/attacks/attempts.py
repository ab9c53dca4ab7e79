"""Attempts one after the other, each only as long as something is left to be done."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxcert.attacks.result import AttackResult, worse_for_network


def better(new: AttackResult, old: AttackResult, always: jax.Array | bool = False) -> AttackResult:
    """`new` where it is the better find (success, then the higher loss) or `always` says so."""
    take = worse_for_network(new, old) | always
    return jax.tree.map(lambda a, b: jnp.where(take, a, b), new, old)


def best_of(
    attempt: Callable[[jax.Array], AttackResult],
    count: jax.Array | int,
    first: AttackResult,
    *,
    early_stop: bool,
    replace_first: bool = False,
) -> AttackResult:
    """The best of `first` and of `attempt(0)`, ..., `attempt(count - 1)`.

    With `early_stop` no attempt is made for an example that has fallen. Under `vmap` the examples of a
    batch go on together: those that are through keep their results, and the loop ends as soon as all are.
    `replace_first` says that `first` is only a placeholder.
    """

    def more(state):
        index, best = state
        return (index < count) & ~best.success if early_stop else index < count

    def go_on(state):
        index, best = state
        return index + 1, better(attempt(index), best, replace_first & (index == 0))

    _, best = jax.lax.while_loop(more, go_on, (jnp.zeros((), jnp.int32), first))
    return best
