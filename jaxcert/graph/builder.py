"""Adding nodes to a graph under construction: the vocabulary of both front ends.

Values are either `Ref`, a bounded value, or plain arrays, which are constants. An operation
that is there already, on the same operands with the same constants, is not added again, so
that a value computed twice is one node.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxcert import kernels
from jaxcert.graph.ir import STRUCTURAL, Graph, Node, prune
from jaxcert.graph.same import same, uniform
from jaxcert.relax import ACTIVATIONS, JOINS

HIGHEST = lax.Precision.HIGHEST
_FUNCTIONS = {record.name: record.fn for record in ACTIVATIONS}
_JOINS = {record.name: record.fn for record in JOINS}


@dataclass(frozen=True)
class Ref:
    """A bounded value: the position of its node."""

    index: int


@dataclass
class Builder:
    """Nodes so far, and the source line and primitive that new nodes are attributed to.

    `clips` tells of max(x, c) and min(x, c) by their node: x, c, and which end c is ("low", "high").
    """

    nodes: list[Node] = field(default_factory=list)
    where: str = ""
    primitive: str = ""
    clips: dict[int, tuple[Ref, Any, str]] = field(default_factory=dict)
    _known: dict[tuple, list[int]] = field(default_factory=dict)

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
        """Return the node of this operation, with the shape and dtype of `out`; append it if new."""
        node = Node(
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
        twins = self._known.setdefault((kind, node.inputs, node.shape, str(node.dtype)), [])
        for index in twins:
            if _same_operation(self.nodes[index], node):
                return Ref(index)
        self.nodes.append(node)
        twins.append(len(self.nodes) - 1)
        return Ref(len(self.nodes) - 1)

    def operands(self, inputs: tuple[Ref, ...]) -> tuple[jax.ShapeDtypeStruct, ...]:
        return tuple(jax.ShapeDtypeStruct(self.node(ref).shape, self.node(ref).dtype) for ref in inputs)

    def node(self, ref: Ref) -> Node:
        return self.nodes[ref.index]

    def graph(self, output: Ref) -> Graph:
        return prune(self.nodes, output.index)


def _same_operation(a: Node, b: Node) -> bool:
    """Whether two nodes of one kind on the same operands are known to be one function.

    What a kind does beyond its constants is in `params`; a structural node without any is its own.
    """
    described = a.apply is b.apply or a.kind not in STRUCTURAL or bool(a.params and b.params)
    return described and same(a.params, b.params) and same(a.consts, b.consts)


def shift(b: Builder, x: Ref, offset: Any) -> Ref:
    """x + offset; the offset broadcasts against x, and x against the offset where sizes are 1."""
    shape = jnp.broadcast_shapes(b.node(x).shape, jnp.shape(offset))
    if _is_number(offset, 0):
        return broadcast(b, x, shape)
    return b.add("shift", (broadcast(b, x, shape),), lambda c, v: v + c[0], (offset,))


def scale(b: Builder, x: Ref, factor: Any) -> Ref:
    """x * factor, entry by entry, with the same broadcasting as `shift`."""
    shape = jnp.broadcast_shapes(b.node(x).shape, jnp.shape(factor))
    if _is_number(factor, 1):
        return broadcast(b, x, shape)
    return b.add("scale", (broadcast(b, x, shape),), lambda c, v: v * c[0], (factor,))


def _is_number(value: Any, number: int) -> bool:
    return jnp.size(value) == 1 and uniform(value) == number


def total(b: Builder, x: Ref, y: Ref) -> Ref:
    """x + y for two bounded values."""
    shape = jnp.broadcast_shapes(b.node(x).shape, b.node(y).shape)
    return b.add(
        "add", (broadcast(b, x, shape), broadcast(b, y, shape)), lambda _, u, v: u + v, (), {"sum": 2}
    )


def negate(b: Builder, x: Ref) -> Ref:
    """-x for a bounded value."""
    return scale(b, x, np.asarray(-1, b.node(x).dtype))


def broadcast(b: Builder, x: Ref, shape: tuple[int, ...]) -> Ref:
    """x repeated along axes of size 1, or x itself where the shape is right already."""
    if b.node(x).shape == shape:
        return x
    return structural(b, "broadcast_in_dim", (x,), lambda v: jnp.broadcast_to(v, shape), {"shape": shape})


def structural(
    b: Builder,
    kind: str,
    inputs: tuple[Ref, ...],
    fn: Callable[..., Any],
    params: Mapping[str, Any] = MappingProxyType({}),
) -> Ref:
    """A linear map with weights 0 and 1 of one or more bounded values.

    `params` says all that `fn` does beyond its kind; without it the node is like no other.
    """
    return b.add(kind, inputs, lambda _, *xs: fn(*xs), (), params)


def transpose(b: Builder, x: Ref, order: tuple[int, ...]) -> Ref:
    """x with its axes permuted, or x itself for the identity."""
    if order == tuple(range(len(order))):
        return x
    return structural(b, "transpose", (x,), lambda v: jnp.transpose(v, order), {"order": order})


def reshape(b: Builder, x: Ref, shape: tuple[int, ...]) -> Ref:
    """x with its entries in row-major order in another shape."""
    if b.node(x).shape == shape:
        return x
    return structural(b, "reshape", (x,), lambda v: v.reshape(shape), {"shape": shape})


def take(b: Builder, x: Ref, indices: Any, axis: int) -> Ref:
    """Entries of x along an axis; an index array of several axes puts them all in its place."""
    fn = lambda v: jnp.take(v, indices, axis=axis, mode="clip")
    return structural(b, "gather", (x,), fn, {"indices": indices, "axis": axis})


def reduce_sum(b: Builder, x: Ref, axes: tuple[int, ...]) -> Ref:
    """The sum over axes, which disappear."""
    return structural(b, "reduce_sum", (x,), lambda v: v.sum(axes), {"axes": axes})


def dot(b: Builder, x: Ref, weight: Any, dimension_numbers: Any, weight_first: bool) -> Ref:
    """dot_general of a bounded and a constant operand, always at the highest precision."""

    def apply(c, v):
        operands = (c[0], v) if weight_first else (v, c[0])
        return lax.dot_general(*operands, dimension_numbers, precision=HIGHEST)

    params = {"dimension_numbers": dimension_numbers, "weight_first": weight_first}
    return b.add("dot", (x,), apply, (weight,), params)


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


def linear(
    b: Builder, x: Ref, constant: Any, fn: Callable[[Any, Any], Any], params: Mapping[str, Any]
) -> Ref:
    """fn(constant, x), bilinear, every product of an entry of x and one of the constant used once at most."""
    return b.add("dot", (x,), lambda c, v: fn(c[0], v), (constant,), params)


def activation(b: Builder, name: str, x: Ref, *params: Any) -> Ref:
    """An element-wise function that has a record in `relax`; floats become arrays of x's dtype."""
    fn, dtype = _FUNCTIONS[name], b.node(x).dtype
    params = tuple(np.asarray(p, dtype) if isinstance(p, float) else p for p in params)
    return b.add(name, (x,), lambda c, v: fn(v, *c), params)


def join(b: Builder, name: str, *refs: Ref) -> Ref:
    """An element-wise function of several bounded values that has a record in `relax`, of one shape."""
    fn = _JOINS[name]
    return b.add(name, refs, lambda _, *xs: fn(*xs))


def product(b: Builder, x: Ref, y: Ref) -> Ref:
    """x * y for two bounded values; of a value with itself the square, which is tighter."""
    if x == y:
        return activation(b, "integer_pow", x, 2)
    shape = jnp.broadcast_shapes(b.node(x).shape, b.node(y).shape)
    return join(b, "multiply", broadcast(b, x, shape), broadcast(b, y, shape))


def _no_value(*_):
    raise AssertionError("the input node has no operation")
