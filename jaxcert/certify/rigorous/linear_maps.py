"""Linear nodes applied in float64 with the counts that bound their rounding errors.

Each map is evaluated by XLA on the CPU in a program of its own, from materialised arrays to
materialised arrays, as sums of products; so what `rounding` says of sums of k products holds,
with k the largest number of non-zero weights that meet in one entry. Fast convolution
algorithms (Winograd, FFT), for which it would not hold, do not exist on the CPU.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxcert.certify.rigorous.rounding import FLOOR, Array, gamma
from jaxcert.graph import Node
from jaxcert.graph.ir import BILINEAR


@dataclass(frozen=True, eq=False)
class LinearMap:
    """A node `y = sum_i A_i x_i` for its operands x_i."""

    node: Node

    def forward(self, *values: Array) -> Array:
        """`A x`, computed: within `gamma(fan_in) |A| |x| + floor` of the exact value."""
        return self._forward(self.node.consts, values)

    def forward_absolute(self, *values: Array) -> Array:
        """`|A| x`, computed."""
        return self._forward(self._absolute, values)

    def backward(self, coeffs: Array) -> tuple[Array, ...]:
        """`A_i^T c` for rows `[S, *shape]`, computed: within `gamma(fan_out) |A|^T |c| + floor`."""
        return self._backward(self.node.consts, coeffs)

    def reach_above(self, magnitudes: Sequence[Array]) -> Array:
        """An upper bound of `|A| m` for magnitudes m >= 0."""
        return self.forward_absolute(*magnitudes) * (1 + gamma(self.fan_in)) + self.floor(*magnitudes)

    def floor(self, *values: Array) -> float:
        """What underflow may cost an entry of a product with these values, in either direction."""
        largest = max(float(np.max(np.abs(v), initial=0.0)) for v in values)
        return (self.fan_in + self.fan_out) * FLOOR * (1 + self._largest) * (1 + largest)

    @property
    def moves(self) -> bool:
        """Whether every entry of the value is one entry of an operand, or 0."""
        return not self.weighted and self.fan_in <= 1

    @property
    def weighted(self) -> bool:
        """Whether the constants are weights; those of structural nodes, if any, say what goes where."""
        return self.node.kind in BILINEAR

    @cached_property
    def fan_in(self) -> int:
        """The largest number of products that are added up in an entry of `A x`."""
        ones = [np.ones(operand.shape) for operand in self.node.operands]
        return int(np.max(self._forward(self._ones, ones), initial=0.0))

    @cached_property
    def fan_out(self) -> int:
        """The largest number of products that are added up in an entry of `A^T c`."""
        parts = self._backward(self._ones, np.ones((1, *self.node.shape)))
        return int(max(np.max(part, initial=0.0) for part in parts))

    @cached_property
    def _largest(self) -> float:
        weights = self._absolute if self.weighted else ()
        return max((float(np.max(np.abs(c), initial=0.0)) for c in weights), default=1.0)

    @cached_property
    def _absolute(self) -> tuple[jax.Array, ...]:
        return tuple(jnp.abs(c) for c in self.node.consts) if self.weighted else self.node.consts

    @cached_property
    def _ones(self) -> tuple[jax.Array, ...]:
        return tuple(jnp.ones_like(c) for c in self.node.consts) if self.weighted else self.node.consts

    def _forward(self, consts: tuple[jax.Array, ...], values: Sequence[Array]) -> Array:
        return _double(self.node.apply(consts, *(jnp.asarray(v) for v in values)))

    def _backward(self, consts: tuple[jax.Array, ...], coeffs: Array) -> tuple[Array, ...]:
        transposed = jax.linear_transpose(partial(self.node.apply, consts), *self.node.operands)
        return tuple(_double(part) for part in jax.vmap(transposed)(jnp.asarray(coeffs)))


def _double(value: jax.Array) -> Array:
    """The numpy array; in single precision nothing here would hold."""
    if value.dtype != np.float64:
        raise AssertionError(f"computed in {value.dtype} where float64 was promised")
    return np.asarray(value)
