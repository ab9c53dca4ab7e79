"""An explicit description of small networks: a list of nodes on flat vectors, every weight a dense matrix."""

from dataclasses import dataclass
from itertools import product

import numpy as np


@dataclass(frozen=True)
class Affine:
    """`weight @ parent + bias`; `parent` is an index into `(input, *nodes)`."""

    parent: int
    weight: np.ndarray
    bias: np.ndarray


@dataclass(frozen=True)
class Relu:
    parent: int


@dataclass(frozen=True)
class Add:
    first: int
    second: int


Node = Affine | Relu | Add
Net = tuple[Node, ...]


def mlp(weights: list[np.ndarray], biases: list[np.ndarray]) -> Net:
    """Affine, ReLU, affine, ..., affine."""
    nodes: list[Node] = []
    for i, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        if i > 0:
            nodes.append(Relu(len(nodes)))
        nodes.append(Affine(len(nodes), np.asarray(weight, float), np.asarray(bias, float)))
    return tuple(nodes)


def residual(before: np.ndarray, body: list[np.ndarray], after: np.ndarray) -> Net:
    """`after @ relu(h + body[1] @ relu(body[0] @ h))` with `h = relu(before @ x)`, no biases."""

    def zeros(weight):
        return np.zeros(len(weight))

    return (
        Affine(0, before, zeros(before)),
        Relu(1),
        Affine(2, body[0], zeros(body[0])),
        Relu(3),
        Affine(4, body[1], zeros(body[1])),
        Add(2, 5),
        Relu(6),
        Affine(7, after, zeros(after)),
    )


def with_specification(net: Net, rows: np.ndarray, offset: np.ndarray | None = None) -> Net:
    """The network followed by `rows @ output + offset`, as one more affine node."""
    offset = np.zeros(len(rows)) if offset is None else offset
    return (*net, Affine(len(net), np.asarray(rows, float), offset))


def margin_rows(num_classes: int, label: int) -> np.ndarray:
    """Rows e_label - e_j for every j != label, j increasing."""
    rows = np.eye(num_classes)[label] - np.eye(num_classes)
    return np.delete(rows, label, axis=0)


def values(net: Net, x: np.ndarray) -> list[np.ndarray]:
    """Values of the input and of every node at `x`; leading axes of `x` are a batch."""
    found = [np.asarray(x, float)]
    for node in net:
        match node:
            case Affine(parent, weight, bias):
                found.append(found[parent] @ weight.T + bias)
            case Relu(parent):
                found.append(np.maximum(found[parent], 0.0))
            case Add(first, second):
                found.append(found[first] + found[second])
    return found


def forward(net: Net, x: np.ndarray) -> np.ndarray:
    return values(net, x)[-1]


def widths(net: Net, inputs: int) -> list[int]:
    return [len(value) for value in values(net, np.zeros(inputs))]


def layers(net: Net) -> list[tuple[np.ndarray, np.ndarray]]:
    """Weights and biases of a plain chain affine, ReLU, ..., affine; anything else is an error."""
    for i, node in enumerate(net):
        expected = Affine if i % 2 == 0 else Relu
        if not isinstance(node, expected) or node.parent != i:
            raise ValueError(f"node {i} of this network breaks the chain affine, ReLU, ..., affine")
    return [(node.weight, node.bias) for node in net if isinstance(node, Affine)]


def conv_matrix(
    kernel: np.ndarray,
    in_shape: tuple[int, int, int],
    strides: tuple[int, int] = (1, 1),
    padding: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0)),
    dilation: tuple[int, int] = (1, 1),
    groups: int = 1,
) -> tuple[np.ndarray, tuple[int, int, int]]:
    """The dense matrix of an HWIO convolution of a flattened HWC input, and its output shape (HWC)."""
    kernel_height, kernel_width, group_in, out_channels = kernel.shape
    sizes = []
    for axis, taps in enumerate((kernel_height, kernel_width)):
        padded = in_shape[axis] + sum(padding[axis])
        sizes.append((padded - dilation[axis] * (taps - 1) - 1) // strides[axis] + 1)
    out_shape = (*sizes, out_channels)
    matrix = np.zeros((*out_shape, *in_shape))
    group_out = out_channels // groups
    for row, column, up, left, out in product(
        *map(range, (*sizes, kernel_height, kernel_width, out_channels))
    ):
        y = row * strides[0] - padding[0][0] + up * dilation[0]
        x = column * strides[1] - padding[1][0] + left * dilation[1]
        if 0 <= y < in_shape[0] and 0 <= x < in_shape[1]:
            first = (out // group_out) * group_in
            matrix[row, column, out, y, x, first : first + group_in] = kernel[up, left, :, out]
    return matrix.reshape(np.prod(out_shape), np.prod(in_shape)), out_shape
