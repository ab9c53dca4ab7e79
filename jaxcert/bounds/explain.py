"""Which operations a function uses, where, and which engines have rules for them."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxcert.bounds.backward import CROWN_RULES
from jaxcert.bounds.forward import FORWARD_RULES
from jaxcert.bounds.ibp import IBP_RULES
from jaxcert.bounds.rules import Rules
from jaxcert.bounds.specification import Function
from jaxcert.graph import trace

ENGINES: Mapping[str, Rules] = MappingProxyType(
    {"ibp": IBP_RULES, "forward": FORWARD_RULES, "crown": CROWN_RULES}
)


@dataclass(frozen=True)
class Operation:
    """One operation of a function: op kind, JAX primitive, source line, result shape, engines."""

    kind: str
    primitive: str
    where: str
    shape: tuple[int, ...]
    engines: tuple[str, ...]


@dataclass(frozen=True)
class Explanation:
    """The operations of a function that depend on its input, in order; prints as a table."""

    operations: tuple[Operation, ...]

    @property
    def supported_by(self) -> tuple[str, ...]:
        """The engines that have a rule for every operation."""
        return tuple(name for name in ENGINES if all(name in op.engines for op in self.operations))

    def __str__(self) -> str:
        rows = [("kind", "primitive", "shape", *ENGINES, "where")]
        for op in self.operations:
            marks = ["yes" if name in op.engines else "NO" for name in ENGINES]
            rows.append((op.kind, op.primitive, str(op.shape), *marks, op.where))
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows
        ]
        engines = ", ".join(self.supported_by) or "no engine"
        return "\n".join(
            line.rstrip() for line in [*lines, f"The whole function is supported by: {engines}."]
        )


def explain(fn: Function, x: ArrayLike) -> Explanation:
    """Return which primitives fn uses on x, at which source line, and which engines support them.

    Args:
      fn: a function of one example.
      x: an example input; only its shape and dtype matter.

    Example:
      >>> import jax.numpy as jnp, jaxcert as jc
      >>> found = jc.explain(lambda x: jnp.sort(jnp.maximum(x, 0.0)), jnp.zeros(3))
      >>> [(op.primitive, op.engines) for op in found.operations]
      [('max', ('ibp', 'forward', 'crown')), ('sort', ())]
    """
    array = jnp.asarray(x)
    graph = trace(fn, jax.ShapeDtypeStruct(array.shape, array.dtype))
    return Explanation(
        tuple(
            Operation(
                node.kind,
                node.primitive or node.kind,
                node.where,
                node.shape,
                tuple(name for name, rules in ENGINES.items() if node.kind in rules),
            )
            for node in graph.nodes[1:]
        )
    )
