"""Adding nodes to a graph under construction: the vocabulary of both front ends.

Values are either `Ref`, a bounded value, or plain arrays, which are constants.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxcert import kernels
from jaxcert.graph.ir import Graph, Node, prune
from jaxcert.relax import ACTIVATIONS

HIGHEST = lax.Precision.HIGHEST
_FUNCTIONS = {record.name: record.fn for record in ACTIVATIONS}


@dataclass(frozen=True)
class Ref:
    """A bounded value: the position of its node."""

    index: int


@dataclass
class Builder:
    """Nodes so far, and the source line and primitive that new nodes are attributed to."""

    nodes: list[Node] = field(default_factory=list)
    where: str = ""
    primitive: str = ""

    def input(self, shape: tuple[int, ...], dtype: Any) -> Ref:
        self.nodes.append(Node("input", (), (), _no_value, shape, dtype))
        return Ref(0)

    def add(
        self,
        kind: str,
        inputs: tuple[Ref, ...],
        apply: Callable[..., Any],
        consts: tuple[Any, ...] = (),
        params: Mapping[str, Any] = MappingProxyType({}),
    ) -> Ref:
        """Append a node; its shape and dtype come from an abstract evaluation of `apply`."""
        out = jax.eval_shape(partial(apply, consts), *self.operands(inputs))
        return self.append(kind, inputs, apply, consts, out, params)

    def append(
        self,
        kind: str,
        inputs: tuple[Ref, ...],
        apply: Callable[..., Any],
        consts: tuple[Any, ...],
        out: Any,
        params: Mapping[str, Any] = MappingProxyType({}),
    ) -> Ref:
        """Append a node whose value has the shape and dtype of `out`."""
        self.nodes.append(
            Node(
                kind,
                tuple(ref.index for ref in inputs),
                consts,
                apply,
                out.shape,
                out.dtype,
                self.operands(inputs),
                params,
                self.where,
                self.primitive,
            )
        )
        return Ref(len(self.nodes) - 1)

    def operands(self, inputs: tuple[Ref, ...]) -> tuple[jax.ShapeDtypeStruct, ...]:
        return tuple(jax.ShapeDtypeStruct(self.node(ref).shape, self.node(ref).dtype) for ref in inputs)

    def node(self, ref: Ref) -> Node:
        return self.nodes[ref.index]

    def graph(self, output: Ref) -> Graph:
        return prune(self.nodes, output.index)


def shift(b: Builder, x: Ref, offset: Any) -> Ref:
    """x + offset; the offset broadcasts against x, and x against the offset where sizes are 1."""
    shape = jnp.broadcast_shapes(b.node(x).shape, jnp.shape(offset))
    return b.add("shift", (broadcast(b, x, shape),), lambda c, v: v + c[0], (offset,))


def scale(b: Builder, x: Ref, factor: Any) -> Ref:
    """x * factor, entry by entry, with the same broadcasting as `shift`."""
    shape = jnp.broadcast_shapes(b.node(x).shape, jnp.shape(factor))
    return b.add("scale", (broadcast(b, x, shape),), lambda c, v: v * c[0], (factor,))


def total(b: Builder, x: Ref, y: Ref) -> Ref:
    """x + y for two bounded values."""
    shape = jnp.broadcast_shapes(b.node(x).shape, b.node(y).shape)
    return b.add("add", (broadcast(b, x, shape), broadcast(b, y, shape)), lambda _, u, v: u + v)


def negate(b: Builder, x: Ref) -> Ref:
    """-x for a bounded value."""
    return scale(b, x, jnp.asarray(-1, b.node(x).dtype))


def broadcast(b: Builder, x: Ref, shape: tuple[int, ...]) -> Ref:
    """x repeated along axes of size 1, or x itself where the shape is right already."""
    if b.node(x).shape == shape:
        return x
    return structural(b, "broadcast_in_dim", (x,), lambda v: jnp.broadcast_to(v, shape))


def structural(b: Builder, kind: str, inputs: tuple[Ref, ...], fn: Callable[..., Any]) -> Ref:
    """A linear map with weights 0 and 1 of one or more bounded values."""
    return b.add(kind, inputs, lambda _, *xs: fn(*xs))


def transpose(b: Builder, x: Ref, order: tuple[int, ...]) -> Ref:
    """x with its axes permuted, or x itself for the identity."""
    if order == tuple(range(len(order))):
        return x
    return structural(b, "transpose", (x,), lambda v: jnp.transpose(v, order))


def dot(b: Builder, x: Ref, weight: Any, dimension_numbers: Any, weight_first: bool) -> Ref:
    """dot_general of a bounded and a constant operand, always at the highest precision."""

    def apply(c, v):
        operands = (c[0], v) if weight_first else (v, c[0])
        return lax.dot_general(*operands, dimension_numbers, precision=HIGHEST)

    return b.add("dot", (x,), apply, (weight,))


def conv(b: Builder, x: Ref, kernel: Any, strides, padding, dilation, groups: int) -> Ref:
    """NHWC convolution with an HWIO kernel, always at the highest precision."""
    window = {
        "strides": tuple(strides),
        "padding": tuple((int(low), int(high)) for low, high in padding),
        "dilation": tuple(dilation),
        "groups": groups,
    }

    def apply(c, v):
        return kernels.conv(v, c[0], **window, precision=HIGHEST)

    return b.add("conv", (x,), apply, (kernel,), MappingProxyType(window))


def activation(b: Builder, name: str, x: Ref, *params: Any) -> Ref:
    """An element-wise function that has a record in `relax`."""
    fn = _FUNCTIONS[name]
    return b.add(name, (x,), lambda c, v: fn(v, *c), params)


def _no_value(*_):
    raise AssertionError("the input node has no operation")
