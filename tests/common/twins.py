"""Oracle descriptions of some of the shared architectures: the same function as a list of dense nodes."""

import numpy as np

from tests.common.architectures import BY_NAME
from tests.oracles.nets import Add, Affine, Net, Relu, conv_matrix, mlp


def _convs(params, *windows) -> Net:
    """Convolution, ReLU, ..., head; one window of `conv_matrix` settings per kernel."""
    shape, nodes = windows[0].pop("in_shape"), []
    for i, window in enumerate(windows):
        suffix = str(i) if i else ""
        matrix, shape = conv_matrix(params["k" + suffix], shape, **window)
        bias = np.broadcast_to(params["b" + suffix], shape).reshape(-1)
        nodes += [Affine(len(nodes), matrix, bias), Relu(len(nodes) + 1)]
    return (*nodes, Affine(len(nodes), params["w_out"].T, params["b_out"]))


def _dense(p) -> Net:
    return mlp([p["w"].T, p["w_out"].T], [p["b"], p["b_out"]])


def _deep(p) -> Net:
    names = ("0", "1", "2", "_out")
    return mlp([p["w" + name].T for name in names], [p["b" + name] for name in names])


def _skip(p) -> Net:
    return (
        Affine(0, p["w"].T, p["b"]),
        Relu(1),
        Affine(2, p["w1"].T, p["b1"]),
        Relu(3),
        Add(2, 4),
        Relu(5),
        Affine(6, p["w_out"].T, p["b_out"]),
    )


_SHAPE = BY_NAME["conv_strided"].in_shape
TWINS = {
    "affine": lambda p: (Affine(0, p["w"].T, p["b"]),),
    "dense": _dense,
    "deep": _deep,
    "skip": _skip,
    "conv_strided": lambda p: _convs(
        p,
        {"in_shape": _SHAPE, "strides": (2, 1), "padding": ((1, 0), (0, 2))},
        {"strides": (2, 2), "padding": ((1, 1), (1, 1))},
    ),
    "conv_deep": lambda p: _convs(
        p,
        {"in_shape": BY_NAME["conv_deep"].in_shape, "padding": ((1, 0), (0, 1))},
        {"strides": (2, 2), "padding": ((0, 1), (1, 0)), "groups": 2},
        {"padding": ((1, 1), (0, 0)), "dilation": (2, 1)},
    ),
    "conv_grouped": lambda p: _convs(p, {"in_shape": _SHAPE, "groups": 2}, {"groups": 4}),
    "conv_dilated": lambda p: _convs(
        p,
        {"in_shape": _SHAPE, "padding": ((2, 2), (1, 1)), "dilation": (2, 1)},
        {"strides": (1, 2), "dilation": (2, 2)},
    ),
}
