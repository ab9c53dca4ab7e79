"""A network as a list of layers: a graph without tracing a function.

For weights that come from a file rather than from a JAX model. The result is a `Graph`,
which every bound accepts in place of a function and which can be called on one input.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import jax
import jax.numpy as jnp

from jaxcert.errors import InvalidInputError
from jaxcert.graph import builder as ops
from jaxcert.graph.builder import Builder, Ref
from jaxcert.graph.ir import Graph


class Layer(Protocol):
    """Adds its nodes to a graph under construction and returns its output."""

    def build(self, b: Builder, x: Ref) -> Ref: ...


@dataclass(frozen=True, eq=False)
class Dense:
    """`x @ weight + bias`; weight `[in, out]`."""

    weight: jax.Array
    bias: jax.Array

    def build(self, b: Builder, x: Ref) -> Ref:
        if b.node(x).shape != (self.weight.shape[0],):
            raise InvalidInputError(
                f"dense layer takes {self.weight.shape[0]} features, got shape {b.node(x).shape}: "
                "add Flatten() before it."
            )
        y = ops.dot(b, x, self.weight, (((0,), (0,)), ((), ())), weight_first=False)
        return ops.shift(b, y, self.bias)


@dataclass(frozen=True, eq=False)
class Conv:
    """Convolution of `[H, W, C]` with a kernel `[kh, kw, C / groups, out]`, plus a bias per channel."""

    kernel: jax.Array
    bias: jax.Array
    strides: tuple[int, ...] = (1, 1)
    padding: tuple[tuple[int, int], ...] = ((0, 0), (0, 0))
    dilation: tuple[int, ...] = (1, 1)
    groups: int = 1

    def build(self, b: Builder, x: Ref) -> Ref:
        batched = ops.structural(b, "expand_dims", (x,), lambda v: v[None])
        y = ops.conv(b, batched, self.kernel, self.strides, self.padding, self.dilation, self.groups)
        y = ops.structural(b, "squeeze", (y,), lambda v: jnp.squeeze(v, 0))
        return ops.shift(b, y, self.bias.reshape((1,) * (self.kernel.ndim - 2) + (-1,)))


@dataclass(frozen=True, eq=False)
class Normalize:
    """`(x - mean) / std` per channel (last axis)."""

    mean: jax.Array
    std: jax.Array

    def build(self, b: Builder, x: Ref) -> Ref:
        lift = (1,) * (len(b.node(x).shape) - 1) + (-1,)
        return ops.scale(b, ops.shift(b, x, -self.mean.reshape(lift)), 1 / self.std.reshape(lift))


@dataclass(frozen=True)
class Flatten:
    """All entries in row-major order."""

    def build(self, b: Builder, x: Ref) -> Ref:
        return ops.structural(b, "reshape", (x,), lambda v: v.reshape(-1))


@dataclass(frozen=True)
class Elementwise:
    """An activation by its record's name, with its parameters."""

    name: str
    params: tuple[float, ...] = ()

    def build(self, b: Builder, x: Ref) -> Ref:
        dtype = b.node(x).dtype
        return ops.activation(b, self.name, x, *(jnp.asarray(p, dtype) for p in self.params))


@dataclass(frozen=True, eq=False)
class Residual:
    """`body(x) + shortcut(x)`; an empty shortcut is the identity."""

    body: Sequence[Layer]
    shortcut: Sequence[Layer] = ()

    def build(self, b: Builder, x: Ref) -> Ref:
        return ops.total(b, _stack(b, x, self.body), _stack(b, x, self.shortcut))


relu = Elementwise("relu")
sigmoid = Elementwise("sigmoid")
tanh = Elementwise("tanh")
arctan = Elementwise("arctan")


def leaky_relu(slope: float) -> Elementwise:
    """`x` for x > 0 and `slope * x` below."""
    return Elementwise("leaky_relu", (slope, 1.0))


def network(
    layers: Sequence[Layer], shape: tuple[int, ...], dtype: jax.typing.DTypeLike = jnp.float32
) -> Graph:
    """Return the graph of a list of layers on one input of the given shape.

    Raises:
      InvalidInputError: a dense layer whose input does not fit.

    Example:
      >>> import jax.numpy as jnp, jaxcert as jc
      >>> from jaxcert.graph import layers
      >>> net = layers.network([layers.Dense(jnp.eye(2), jnp.zeros(2)), layers.relu], (2,))
      >>> net(jnp.array([1.0, -1.0])).tolist()
      [1.0, 0.0]
      >>> jc.ibp()(net, jc.linf_ball(jnp.array([1.0, -1.0]), 0.5)).upper.tolist()
      [1.5, 0.0]
    """
    builder = Builder(where="layer list")
    return builder.graph(_stack(builder, builder.input(shape, dtype), layers))


def _stack(b: Builder, x: Ref, layers: Sequence[Layer]) -> Ref:
    for layer in layers:
        b.primitive = type(layer).__name__
        x = layer.build(b, x)
    return x
