"""The gradient of a mean over examples, chunk by chunk: gradient accumulation."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxcert.chunking.folding import count, folded, rounds_of
from jaxcert.chunking.memory import Limit, Need, traced

Loss = Callable[..., tuple[jax.Array, Any]]


def mean_gradient(
    f: Loss, parameters: Any, *batch: Any, memory: str | int | None = None
) -> tuple[tuple[jax.Array, Any], Any]:
    """Return the mean loss over a batch, the mean of what comes with it, and the gradient of the loss.

    What `jax.value_and_grad(has_aux=True)` gives for the mean of `f` over the examples, with the memory
    of one chunk: chunks run one after the other, and nothing is computed twice. Differentiating
    `map_examples` instead computes every chunk twice.

    Args:
      f: `f(parameters, *example) -> (loss, aux)` of ONE example: a scalar, and a pytree of arrays
        that have a mean (`()` for nothing).
      parameters: a pytree of floating-point arrays; the gradient is with respect to them.
      batch: pytrees of arrays with one leading axis of examples, of the same length in all.
      memory: the working memory to use, as for `map_examples`.

    Returns:
      `((loss, aux), gradient)`: means over the batch, and a pytree like `parameters`. Equal to the
      gradient of the whole batch up to the order of sums.

    Raises:
      InvalidInputError: no batch, different lengths, a budget that is not understood.

    Cost: that of the gradient. Traces f twice, with a budget three times. Call it under `jax.jit`:
    outside, every call traces again, and compiles the loop over chunks again. Differentiable itself.

    Example:
      >>> import jax.numpy as jnp, jaxcert as jc
      >>> f = lambda w, x, y: ((w * x - y) ** 2, jnp.abs(w * x - y))
      >>> (loss, error), slope = jc.mean_gradient(f, jnp.array(1.0), jnp.arange(4.0), jnp.ones(4))
      >>> float(loss), float(error), float(slope)
      (1.5, 1.0, 4.0)
    """
    limit = Limit.of(memory)
    examples = count(batch)
    batch = jax.tree_util.tree_map(jnp.asarray, batch)

    def summed(parameters: Any, part: Any, counts: jax.Array) -> tuple[jax.Array, Any]:
        losses, aux = jax.vmap(lambda example: f(parameters, *example))(part)
        # Examples that only fill the last chunk do not count, whatever they give.
        add = lambda value: jnp.where(_beside(counts, value), value, 0).sum(0)
        return add(losses), jax.tree_util.tree_map(add, aux)

    slope = jax.value_and_grad(summed, has_aux=True)
    every = jnp.ones(examples, bool)
    run = lambda part, counts: slope(parameters, part, counts)
    whole, shapes = traced(run, (batch, every), examples)
    need = Need.between(run, (batch, every), examples, limit, whole)
    limit.warn(need.fixed + need.each)
    chunk = need.chunk(examples, limit)
    if chunk >= examples:
        sums = slope(parameters, batch, every)
    else:
        sums = _over_chunks(slope, parameters, batch, shapes, *rounds_of(examples, chunk))
    return jax.tree_util.tree_map(lambda total: total / examples, sums)


def _over_chunks(
    slope: Callable[..., Any], parameters: Any, batch: Any, shapes: Any, rounds: int, size: int
) -> Any:
    examples = count(batch)
    parts = folded(batch, rounds, size)
    # Example i of the filled batch is in round i % rounds, at place i // rounds.
    number = jnp.arange(rounds * size).reshape(size, rounds).swapaxes(0, 1)

    def add(sums: Any, part: Any) -> tuple[Any, None]:
        return jax.tree_util.tree_map(jnp.add, sums, slope(parameters, *part)), None

    nothing = jax.tree_util.tree_map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    return lax.scan(add, nothing, (parts, number < examples))[0]


def _beside(counts: jax.Array, value: jax.Array) -> jax.Array:
    return counts.reshape(-1, *(1,) * (value.ndim - 1))
