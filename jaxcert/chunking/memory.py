"""How much memory a computation may take, and how much it takes, estimated without compiling.

The working memory of n examples is at most about `fixed + n * per_example`. Both are estimated from two
traces: the largest sum of sizes of values that are alive at once. That is an upper estimate where XLA
fuses, and no promise where it copies.
"""

import math
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, NamedTuple

import jax

from jaxcert.errors import InvalidInputError

_UNITS = {"B": 1}
for _power, _letter in enumerate("KMGT", start=1):
    _UNITS |= {f"{_letter}B": 1000**_power, f"{_letter}IB": 1024**_power}
# Processors work fastest on what stays in their caches: with chunks of this size the CROWN-IBP bound of the
# Wong-Kolter network takes 0.6 of the time of one batch of 64, and its gradient too (docs/decisions.md, 25).
_CACHE_PER_PROCESSOR = 8 << 20
_LEAST_CACHE = 16 << 20
_LEAST_CHUNK, _BEYOND_CACHE = 4, 8


class Limit(NamedTuple):
    """How many bytes of working memory to use, and whether they were asked for or are only what is fast."""

    size: int
    asked: bool

    @classmethod
    def of(cls, memory: str | int | None) -> "Limit":
        if memory is not None:
            return cls(budget(memory), True)
        mesh = jax.sharding.get_abstract_mesh()
        if not mesh.empty and mesh.size > 1 and not mesh.are_all_axes_manual:
            # Chunks of a batch that devices share would leave most of them idle, and processes that each ask
            # for their own free memory could disagree. (Inside `shard_map` each device has its own batch.)
            return cls(sys.maxsize, False)
        return cls(min(_fastest(), budget(None)), False)

    @property
    def most(self) -> int:
        """What must not be exceeded: what was asked for, or what there is."""
        return self.size if self.asked else budget(None)

    def warn(self, used: int) -> None:
        """Warn that one example needs more than `most`."""
        allowed = self.most
        if used > allowed:
            warnings.warn(
                f"one example needs about {used / 2**20:.3g} MiB of working memory, more than the "
                f"budget of {allowed / 2**20:.3g} MiB: examples run one at a time; raise memory, or use a "
                "cheaper method.",
                stacklevel=4,
            )


class Need(NamedTuple):
    """Estimated working memory in bytes: of any number of examples, and of each."""

    fixed: int
    each: int

    @classmethod
    def of(cls, f: Callable[..., Any], batch: Any, examples: int, limit: Limit) -> "Need":
        """Of `f(*batch)` for batches of any size up to `examples`."""
        return cls.between(f, batch, examples, limit, traced(f, batch, examples)[0])

    @classmethod
    def between(cls, f: Callable[..., Any], batch: Any, examples: int, limit: Limit, whole: Any) -> "Need":
        """The same, given the jaxpr of all the examples.

        The estimate is a maximum of affine functions of the number of examples, so it lies below the
        chord from one to all of them. Where only speed is at stake, constants stand for the first trace.
        """
        most = peak(whole.jaxpr)
        if examples <= 1:
            return cls(0, max(most, 1))
        if limit.asked:
            one = peak(traced(f, batch, 1)[0].jaxpr)
            each = max((most - one) // (examples - 1), 1)
            return cls(max(one - each, 0), each)
        fixed = min(_total(whole.jaxpr.constvars), most)
        return cls(fixed, max((most - fixed) // examples, 1))

    def chunk(self, examples: int, limit: Limit) -> int:
        """How many examples to take at once."""
        fitting = (limit.size - self.fixed) // self.each
        if not limit.asked:
            # Fewer leave the processor's matrix products idle, which costs more than the cache gains.
            room = min(_BEYOND_CACHE * limit.size, budget(None))
            fitting = max(fitting, min(_LEAST_CHUNK, (room - self.fixed) // self.each))
        return max(1, min(examples, fitting))


def traced(f: Callable[..., Any], batch: Any, size: int) -> tuple[Any, Any]:
    """The jaxpr of `f` on `size` examples, and the shapes of what it returns."""
    shrink = lambda leaf: jax.ShapeDtypeStruct((size, *leaf.shape[1:]), leaf.dtype)
    trace = jax.make_jaxpr(lambda *args: f(*args), return_shape=True)
    return trace(*jax.tree_util.tree_map(shrink, batch))


def peak(jaxpr: Any) -> int:
    """The most bytes alive at once, arguments included, when the equations run in order."""
    last = {var: index for index, eqn in enumerate(jaxpr.eqns) for var in _variables(eqn.invars)}
    last |= dict.fromkeys(_variables(jaxpr.outvars), len(jaxpr.eqns))
    alive = {var: _bytes(var) for var in (*jaxpr.invars, *jaxpr.constvars)}
    now = sum(alive.values())
    most = now
    for index, eqn in enumerate(jaxpr.eqns):
        inner = max((peak(sub) - _total(sub.invars) for sub in _inner(eqn.params.values())), default=0)
        for var in eqn.outvars:
            alive[var] = _bytes(var)
            now += alive[var]
        most = max(most, now + max(inner, 0))
        for var in {*_variables(eqn.invars), *eqn.outvars}:
            if last.get(var, -1) <= index and var in alive:
                now -= alive.pop(var)
    return most


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


def _fastest() -> int:
    """What stays in the cache, where the first device is the processor; elsewhere no less than all."""
    if jax.local_devices()[0].platform != "cpu":
        return budget(None)
    own = getattr(os, "sched_getaffinity", None)
    processors = len(own(0)) if own else os.cpu_count() or 1
    return max(_LEAST_CACHE, _CACHE_PER_PROCESSOR * processors)


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
