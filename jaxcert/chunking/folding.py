"""Batches as equal chunks for a loop, and back."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from jaxcert.errors import InvalidInputError


def rounds_of(examples: int, chunk: int) -> tuple[int, int]:
    """How many rounds of how many examples: of equal size, with the least padding."""
    rounds = math.ceil(examples / chunk)
    return rounds, math.ceil(examples / rounds)


def folded(batch: Any, rounds: int, size: int) -> Any:
    """Leaves `[N, ...]` as `[rounds, size, ...]`, the last example repeated to fill them.

    Neighbours go to different rounds, so that a batch that is split over devices keeps every
    device busy in every round.
    """

    def fold(leaf: jax.Array) -> jax.Array:
        extra = rounds * size - leaf.shape[0]
        filled = jnp.concatenate([leaf, *[leaf[-1:]] * extra]) if extra else leaf
        return filled.reshape(size, rounds, *leaf.shape[1:]).swapaxes(0, 1)

    return jax.tree_util.tree_map(fold, batch)


def unfolded(results: Any, examples: int) -> Any:
    """Leaves `[rounds, size, ...]` as `[N, ...]`, in the order before `folded`, the filling cut off."""

    def unfold(leaf: jax.Array) -> jax.Array:
        return leaf.swapaxes(0, 1).reshape(-1, *leaf.shape[2:])[:examples]

    return jax.tree_util.tree_map(unfold, results)


def count(batch: Any) -> int:
    """How many examples the batch holds.

    Raises:
      InvalidInputError: no arrays, or leading axes of different lengths.
    """
    leaves = jax.tree_util.tree_leaves(batch)
    lengths = {jnp.shape(leaf)[:1] for leaf in leaves}
    if len(lengths) != 1 or () in lengths:
        raise InvalidInputError(
            "map_examples and mean_gradient need arrays with one leading axis of examples, of the same "
            f"length in all, got shapes {[tuple(jnp.shape(leaf)) for leaf in leaves]}."
        )
    return lengths.pop()[0]
