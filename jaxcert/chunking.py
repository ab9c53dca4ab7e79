"""A function of one example over a batch, in chunks that fit a memory budget.

The working memory of `vmap(f)` on n examples is close to `fixed + n * per_example`. Both are
estimated without compiling, from two traces: the largest sum of sizes of values that are alive
at once. That is an upper estimate where XLA fuses, and no promise where it copies, so with
concrete arguments the compiled program is asked as well (`memory_analysis`), and the chunk mended.
"""

import math
import os
import re
import warnings
from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.core import Tracer

from jaxcert.errors import InvalidInputError

_UNITS = {"B": 1}
for _power, _letter in enumerate("KMGT", start=1):
    _UNITS |= {f"{_letter}B": 1000**_power, f"{_letter}IB": 1024**_power}
_SETTINGS = ("jax_enable_x64", "jax_default_matmul_precision")  # that change a program of the same f
_COMPILES = 3  # of one program at most, while looking for the chunk


def map_examples(f: Callable[..., Any], *batch: Any, memory: str | int | None = None) -> Any:
    """Return `jax.vmap(f)(*batch)`, computed in chunks of examples that fit into `memory`.

    Args:
      f: a function of ONE example: as many arguments as `batch` has, any pytrees.
      batch: pytrees of arrays with one leading axis of examples, of the same length in all.
      memory: the working memory to use, beside arguments and results: `"512MiB"`, `"2GiB"`, a
        number of bytes, or `None`: half of what is free on the device at the first such call of
        the process (half of the machine's available memory where the device does not tell).

    Returns:
      What `jax.vmap(f)` returns: pytrees with a leading axis, in order. The chunks are of equal
      size; the last example is repeated to fill them. If a single example does not fit, the
      chunk is one example and a warning says so.

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
    limit = budget(memory)
    _count(batch)
    batch = jax.tree_util.tree_map(jnp.asarray, batch)
    leaves, structure = jax.tree_util.tree_flatten(batch)
    if not any(isinstance(leaf, Tracer) for leaf in (jnp.zeros(()), *leaves)):
        kinds = tuple(_Kind(leaf.shape, leaf.dtype, leaf.sharding) for leaf in leaves)
        setting = tuple(getattr(jax.config, name, None) for name in _SETTINGS)
        try:
            return _program_of(f)(f, structure, kinds, limit, setting)(*batch)
        except _ClosesOverTracers:
            pass
    examples = _count(batch)
    need = _Need.of(f, batch)
    chunk = need.chunk(examples, limit)
    if need.fixed + need.each > limit:
        _warn(need.fixed + need.each, limit)
    return _in_chunks(f, chunk, batch)


class _Kind(NamedTuple):
    """What a compiled program fixes about an argument."""

    shape: tuple[int, ...]
    dtype: Any
    sharding: Any


class _ClosesOverTracers(Exception):
    """The function depends on values that are being transformed, so it cannot be compiled by itself."""


class _Need(NamedTuple):
    """Estimated working memory in bytes: of any number of examples, and of each."""

    fixed: int
    each: int

    @classmethod
    def of(cls, f: Callable[..., Any], batch: Any) -> "_Need":
        one, two = (_peak(_traced(f, batch, size).jaxpr) for size in (1, 2))
        each = max(two - one, 1)
        return cls(max(one - each, 0), each)

    def chunk(self, examples: int, budget: int) -> int:
        return max(1, min(examples, (budget - self.fixed) // self.each))


def _program_of(f: Callable[..., Any]) -> Callable[..., Callable[..., Any]]:
    """The cached compiler, or the plain one for functions that cannot be a key."""
    try:
        hash(f)
    except TypeError:
        return _compiled.__wrapped__
    return _compiled


@lru_cache(maxsize=16)
def _compiled(f: Callable[..., Any], structure: Any, kinds: tuple[_Kind, ...], budget: int, setting: Any):
    """The program for concrete arguments, within the budget if any chunk is."""
    del setting  # part of the key alone
    shapes = [jax.ShapeDtypeStruct(k.shape, k.dtype, sharding=k.sharding) for k in kinds]
    batch = jax.tree_util.tree_unflatten(structure, shapes)
    if any(isinstance(const, Tracer) for const in _traced(f, batch, 1).consts):
        raise _ClosesOverTracers
    examples = kinds[0].shape[0]
    chunk = _Need.of(f, batch).chunk(examples, budget)
    best, best_chunk = None, 0
    for _ in range(_COMPILES):
        program = jax.jit(partial(_over, f, chunk)).lower(*batch).compile()
        used = _working_memory(program)
        if used <= budget and chunk > best_chunk:
            best, best_chunk = program, chunk
        chunk, last = _mended(chunk, examples, used, budget), chunk
        if chunk == last or chunk <= best_chunk:
            break
    if best is None:
        # Nothing fitted within the tries: one example at a time is the least there is.
        best = program if last == 1 else jax.jit(partial(_over, f, 1)).lower(*batch).compile()
        used = _working_memory(best)
        if used > budget:
            _warn(used, budget)
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
    examples = _count(batch)
    if chunk >= examples:
        return jax.vmap(f)(*batch)
    rounds = math.ceil(examples / chunk)
    size = math.ceil(examples / rounds)  # rounds of equal size, with the least padding
    extra = rounds * size - examples

    def folded(leaf: jax.Array) -> jax.Array:
        filled = jnp.concatenate([leaf, *[leaf[-1:]] * extra]) if extra else leaf
        return filled.reshape(rounds, size, *leaf.shape[1:])

    def unfolded(leaf: jax.Array) -> jax.Array:
        return leaf.reshape(rounds * size, *leaf.shape[2:])[:examples]

    body = jax.checkpoint(lambda part: jax.vmap(f)(*part), prevent_cse=False)
    return jax.tree_util.tree_map(unfolded, lax.map(body, jax.tree_util.tree_map(folded, batch)))


def _traced(f: Callable[..., Any], batch: Any, size: int) -> Any:
    """The jaxpr of `vmap(f)` on `size` examples."""
    shrink = lambda leaf: jax.ShapeDtypeStruct((size, *leaf.shape[1:]), leaf.dtype)
    return jax.make_jaxpr(lambda *args: jax.vmap(f)(*args))(*jax.tree_util.tree_map(shrink, batch))


def _peak(jaxpr: Any) -> int:
    """The most bytes alive at once, arguments included, when the equations run in order."""
    last = {var: index for index, eqn in enumerate(jaxpr.eqns) for var in _variables(eqn.invars)}
    last |= dict.fromkeys(_variables(jaxpr.outvars), len(jaxpr.eqns))
    alive = {var: _bytes(var) for var in (*jaxpr.invars, *jaxpr.constvars)}
    now = sum(alive.values())
    peak = now
    for index, eqn in enumerate(jaxpr.eqns):
        inner = max((_peak(sub) - _total(sub.invars) for sub in _inner(eqn.params.values())), default=0)
        for var in eqn.outvars:
            alive[var] = _bytes(var)
            now += alive[var]
        peak = max(peak, now + max(inner, 0))
        for var in {*_variables(eqn.invars), *eqn.outvars}:
            if last.get(var, -1) <= index and var in alive:
                now -= alive.pop(var)
    return peak


def _inner(values: Iterable[Any]) -> Iterable[Any]:
    """The jaxprs among the parameters of an equation: of calls, loops and branches."""
    for value in values:
        value = getattr(value, "jaxpr", value)
        if hasattr(value, "eqns"):
            yield value
        elif isinstance(value, tuple | list):
            yield from _inner(value)


def _variables(atoms: Iterable[Any]) -> list[Any]:
    return [atom for atom in atoms if not hasattr(atom, "val")]  # literals have a value


def _total(variables: Iterable[Any]) -> int:
    return sum(_bytes(var) for var in variables)


def _bytes(var: Any) -> int:
    shape = getattr(var.aval, "shape", ())
    return math.prod(shape) * getattr(getattr(var.aval, "dtype", None), "itemsize", 8)


def _count(batch: Any) -> int:
    """How many examples the batch holds."""
    leaves = jax.tree_util.tree_leaves(batch)
    lengths = {jnp.shape(leaf)[:1] for leaf in leaves}
    if len(lengths) != 1 or () in lengths:
        raise InvalidInputError(
            "map_examples needs arrays with one leading axis of examples, of the same length in all, got "
            f"shapes {[tuple(jnp.shape(leaf)) for leaf in leaves]}."
        )
    return lengths.pop()[0]


def budget(memory: str | int | None) -> int:
    """Return a memory budget in bytes: of a string with a unit, a number, or `None` for what was detected.

    Raises:
      InvalidInputError: anything else.

    Example:
      >>> budget("2GiB")
      2147483648
    """
    if memory is None:
        return _half_of_free_memory()
    if isinstance(memory, int) and not isinstance(memory, bool) and memory > 0:
        return memory
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]+)\s*", memory) if isinstance(memory, str) else None
    if found is None or found[2].upper() not in _UNITS or float(found[1]) <= 0:
        raise InvalidInputError(
            f"memory must be a number of bytes or a string like '512MiB' or '2GiB', got {memory!r}."
        )
    return max(1, int(float(found[1]) * _UNITS[found[2].upper()]))


@lru_cache(maxsize=1)
def _half_of_free_memory() -> int:
    """Asked once, so that calls with the same arguments get the same chunks and programs."""
    told = jax.local_devices()[0].memory_stats() or {}
    if "bytes_limit" in told:
        return max(1, (told["bytes_limit"] - told.get("bytes_in_use", 0)) // 2)
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return max(1, free // 2)


def _warn(used: int, budget: int) -> None:
    warnings.warn(
        f"one example needs about {used / 2**20:.3g} MiB of working memory, more than the budget of "
        f"{budget / 2**20:.3g} MiB: examples run one at a time; raise memory, or use a cheaper method.",
        stacklevel=3,
    )
