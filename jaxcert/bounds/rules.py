"""Rule tables: frozen mappings from op kind to rule, one per engine, extended with `|`."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from jaxcert.errors import UnsupportedPrimitiveError
from jaxcert.graph import Node


class Rules(Mapping[str, Callable[..., Any]]):
    """An immutable, hashable rule table, so that a method that holds one is a static value.

    Example:
      >>> import jaxcert as jc
      >>> extended = jc.bounds.IBP_RULES | {"my_primitive": jc.bounds.ibp_structural}
      >>> "my_primitive" in extended, "my_primitive" in jc.bounds.IBP_RULES
      (True, False)
    """

    def __init__(self, table: Mapping[str, Callable[..., Any]]):
        self._table = dict(table)
        self._hash = hash(frozenset(self._table.items()))

    def __getitem__(self, kind: str) -> Callable[..., Any]:
        return self._table[kind]

    def __iter__(self) -> Iterator[str]:
        return iter(self._table)

    def __len__(self) -> int:
        return len(self._table)

    def __or__(self, other: Mapping[str, Callable[..., Any]]) -> "Rules":
        return Rules({**self._table, **other})

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rules) and self._table == other._table

    def __repr__(self) -> str:
        return f"Rules({len(self._table)} kinds)"

    def rule(self, node: Node, engine: str) -> Callable[..., Any]:
        """Return the rule of a node's kind.

        Raises:
          UnsupportedPrimitiveError: naming the primitive, its source line and the engine.
        """
        if node.kind not in self._table:
            raise UnsupportedPrimitiveError(
                f"{engine} has no sound rule for '{node.primitive or node.kind}' at "
                f"{node.where or 'an unknown line'}: rewrite that line, or see what each engine "
                "supports with jaxcert.explain(fn, x)."
            )
        return self._table[node.kind]
