"""A function of one example over a batch, in chunks.

With concrete arguments the compiled program is asked how much memory it takes, and the chunk mended.
"""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.core import Tracer

from jaxcert.chunking.folding import count, folded, rounds_of, unfolded
from jaxcert.chunking.memory import Limit, Need, traced

_SETTINGS = ("jax_enable_x64", "jax_default_matmul_precision")  # that change a program of the same f
_COMPILES = 3  # of one program at most, while looking for the chunk


def map_examples(f: Callable[..., Any], *batch: Any, memory: str | int | None = None) -> Any:
    """Return `jax.vmap(f)(*batch)`, computed in chunks of examples that fit into `memory`.

    Args:
      f: a function of ONE example: as many arguments as `batch` has, any pytrees.
      batch: pytrees of arrays with one leading axis of examples, of the same length in all.
      memory: the working memory to use, beside arguments and results: `"512MiB"`, `"2GiB"`, a
        number of bytes, or `None`: on CPU what stays in the caches, which is faster than more; on
        other devices half of what is free at the first such call of the process.

    Returns:
      What `jax.vmap(f)` returns: pytrees with a leading axis, in order. The chunks are of equal
      size; the last example is repeated to fill them. If a single example does not fit (into half
      of the free memory, for `None`), the chunk is one example and a warning says so.

      With concrete arguments the memory is that of the compiled program, and the program is kept:
      f is traced and compiled at the first call only, for the same object f, shapes and budget
      (as under `jit`, so pass the same function again, not a new lambda). Under `jit`, `grad` or
      `vmap` it is estimated from the shapes of all intermediate values. In reverse mode a
      chunk is computed again rather than stored.

    Raises:
      InvalidInputError: no batch, different lengths, a budget that is not understood.

    Cost: that of `jax.vmap(f)`, up to three compilations at the first call.

    Example:
      >>> import jax.numpy as jnp, jaxcert as jc
      >>> x = jnp.arange(6.0).reshape(3, 2)
      >>> jc.map_examples(lambda x: x.sum(), x, memory="1GiB").tolist()
      [1.0, 5.0, 9.0]
    """
    limit = Limit.of(memory)
    examples = count(batch)
    batch = jax.tree_util.tree_map(jnp.asarray, batch)
    leaves, structure = jax.tree_util.tree_flatten(batch)
    if not any(isinstance(leaf, Tracer) for leaf in (jnp.zeros(()), *leaves)):
        kinds = tuple(_Kind(leaf.shape, leaf.dtype, leaf.sharding) for leaf in leaves)
        setting = tuple(getattr(jax.config, name, None) for name in _SETTINGS)
        try:
            return _program_of(f)(f, structure, kinds, limit, setting)(*batch)
        except _ClosesOverTracers:
            pass
    need = Need.of(jax.vmap(f), batch, examples, limit)
    limit.warn(need.fixed + need.each)
    return _in_chunks(f, need.chunk(examples, limit), batch)


class _Kind(NamedTuple):
    """What a compiled program fixes about an argument."""

    shape: tuple[int, ...]
    dtype: Any
    sharding: Any


class _ClosesOverTracers(Exception):
    """The function depends on values that are being transformed, so it cannot be compiled by itself."""


def _program_of(f: Callable[..., Any]) -> Callable[..., Callable[..., Any]]:
    """The cached compiler, or the plain one for functions that cannot be a key."""
    try:
        hash(f)
    except TypeError:
        return _compiled.__wrapped__
    return _compiled


@lru_cache(maxsize=16)
def _compiled(f: Callable[..., Any], structure: Any, kinds: tuple[_Kind, ...], limit: Limit, setting: Any):
    """The program for concrete arguments, within the limit if any chunk is."""
    del setting  # part of the key alone
    shapes = [jax.ShapeDtypeStruct(k.shape, k.dtype, sharding=k.sharding) for k in kinds]
    batch = jax.tree_util.tree_unflatten(structure, shapes)
    if any(isinstance(const, Tracer) for const in traced(jax.vmap(f), batch, 1)[0].consts):
        raise _ClosesOverTracers
    examples = kinds[0].shape[0]
    chunk = Need.of(jax.vmap(f), batch, examples, limit).chunk(examples, limit)
    best, best_chunk = None, 0
    for _ in range(_COMPILES):
        program = jax.jit(partial(_over, f, chunk)).lower(*batch).compile()
        used = _working_memory(program)
        if used <= limit.most and chunk > best_chunk:
            best, best_chunk = program, chunk
            if limit.size < limit.most:  # only speed is at stake, and compiling costs more than it gains
                break
        chunk, last = _mended(chunk, examples, used, limit.most), chunk
        if chunk == last or chunk <= best_chunk:
            break
    if best is None:
        # Nothing fitted within the tries: one example at a time is the least there is.
        best = program if last == 1 else jax.jit(partial(_over, f, 1)).lower(*batch).compile()
        limit.warn(_working_memory(best))
    return best


def _mended(chunk: int, examples: int, used: int, budget: int) -> int:
    """A chunk that uses nearly all of the budget, if memory grows in proportion; the same if it does."""
    if used > budget:
        return max(1, min(chunk - 1, int(0.9 * chunk * budget / used)))
    if chunk == examples or 2 * used > budget:
        return chunk
    return min(examples, int(0.8 * chunk * budget / max(used, 1)))


def _working_memory(program: Any) -> int:
    analysis = program.memory_analysis()
    return 0 if analysis is None else int(analysis.temp_size_in_bytes)


def _over(f: Callable[..., Any], chunk: int, *batch: Any) -> Any:
    return _in_chunks(f, chunk, batch)


def _in_chunks(f: Callable[..., Any], chunk: int, batch: Any) -> Any:
    examples = count(batch)
    if chunk >= examples:
        return jax.vmap(f)(*batch)
    body = jax.checkpoint(lambda part: jax.vmap(f)(*part), prevent_cse=False)
    return unfolded(lax.map(body, folded(batch, *rounds_of(examples, chunk))), examples)
