"""Loops and branches whose course does not depend on the bounded input: they are followed step by step.

Each takes `run(jaxpr, args)`, which interprets a closed jaxpr and returns its values.
"""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer

from jaxcert.graph import builder as ops
from jaxcert.graph.builder import Builder, Ref
from jaxcert.graph.constants import is_float, known
from jaxcert.graph.structural import stack

Run = Callable[[Any, list[Any]], list[Any]]


def scan(b: Builder, eqn: Any, args: list[Any], run: Run) -> list[Any] | None:
    """Every step in turn; the values of the steps are stacked."""
    p, body = eqn.params, eqn.params["jaxpr"].jaxpr
    # A step sees rows of xs and gives rows of outputs; constants and carry keep their rank.
    rows_in, rows_out = _ranks_differ(eqn.invars, body.invars), _ranks_differ(eqn.outvars, body.outvars)
    size = len(eqn.outvars) - rows_out
    consts, carry, xs = _parts(args, len(args) - size - rows_in, size)
    if any(isinstance(x, Ref) and not is_float(b.node(x).dtype) for x in (*carry, *xs)):
        return None
    rows = []
    order = range(p["length"])
    for i in reversed(order) if p["reverse"] else order:
        values = run(p["jaxpr"], [*consts, *carry, *(_row(b, x, i) for x in xs)])
        carry = values[:size]
        rows.append(values[size:])
    if p["reverse"]:
        rows.reverse()
    dtypes = [var.aval.dtype for var in eqn.outvars[size:]]
    if not rows:
        return None if dtypes else carry
    stacked = [stack(b, column, dtype) for column, dtype in zip(zip(*rows, strict=True), dtypes, strict=True)]
    return None if any(value is None for value in stacked) else [*carry, *stacked]


def _ranks_differ(outside: list[Any], inside: list[Any]) -> int:
    return sum(len(a.aval.shape) != len(b.aval.shape) for a, b in zip(outside, inside, strict=True))


def _parts(values: list[Any], first: int, second: int) -> tuple[list[Any], list[Any], list[Any]]:
    return values[:first], values[first : first + second], values[first + second :]


def _row(b: Builder, x: Any, i: int) -> Any:
    if not isinstance(x, Ref):
        return known(lambda: x[i], [x])
    part = partial(lax.slice_in_dim, start_index=i, limit_index=i + 1, axis=0)
    row = ops.structural(b, "slice", (x,), part, {"start": i, "size": 1, "axis": 0})
    return ops.reshape(b, row, b.node(x).shape[1:])


def cond(b: Builder, eqn: Any, args: list[Any], run: Run) -> list[Any] | None:
    """The branch that is taken; where only a traced value tells which, both, and a selection."""
    index, *operands = args
    branches = eqn.params["branches"]
    if isinstance(index, Ref):
        return None
    if not isinstance(index, Tracer):
        return run(branches[int(np.clip(np.asarray(index), 0, len(branches) - 1))], operands)
    columns = zip(*(run(branch, operands) for branch in branches), strict=True)
    chosen = [_choose(b, index, column) for column in columns]
    return None if any(value is None for value in chosen) else chosen


def _choose(b: Builder, index: Any, cases: tuple[Any, ...]) -> Any:
    """The case of a traced index, read from all of them stacked."""
    place = jnp.clip(index.astype(jnp.int32), 0, len(cases) - 1)
    if not any(isinstance(case, Ref) for case in cases):
        return lax.select_n(jnp.broadcast_to(place, jnp.shape(cases[0])), *cases)
    joined = stack(b, cases, b.node(next(case for case in cases if isinstance(case, Ref))).dtype)
    if joined is None:
        return None
    fn = lambda v: lax.dynamic_index_in_dim(v, place, 0, keepdims=False)
    return ops.structural(b, "dynamic_slice", (joined,), fn, {"index": index})


def while_loop(b: Builder, eqn: Any, args: list[Any], run: Run) -> list[Any] | None:
    """Step by step, as long as the condition is known."""
    p = eqn.params
    condition, body, carry = _parts(args, p["cond_nconsts"], p["body_nconsts"])
    while True:
        (go,) = run(p["cond_jaxpr"], [*condition, *carry])
        if isinstance(go, Ref | Tracer):
            return None
        if not bool(go):
            return carry
        carry = run(p["body_jaxpr"], [*body, *carry])


CONTROL: Mapping[str, Callable[[Builder, Any, list[Any], Run], list[Any] | None]] = MappingProxyType(
    {"scan": scan, "cond": cond, "while": while_loop}
)
