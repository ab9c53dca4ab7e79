"""Floating-point operations that a work takes at least, in closed form: two per multiply-add of layers.

- forward: those of the layers; IBP: two forward passes (centre with W, radius with |W|);
- a backward pass of S rows: each row through the transposed layers; below a convolution a row of one
  of its outputs is not zero in a window only, and only windows are counted;
- CROWN-IBP: IBP and a backward pass of K - 1 rows; CROWN: for every activation a backward pass from its
  inputs, one row for the lower and one for the upper line of each (the first layer has its exact interval
  from |W|), and one of K - 1 rows;
- a gradient takes three times its value; a step of PGD two forward passes;
- AutoAttack: every stage to its end, as for images that survive all of them: two forward passes per step of
  Auto-PGD, three per step of FAB, which also looks at the point that it has stepped to, one per query.

Elementwise work is not counted, and neither is what an unstable-only pass would save.
"""

from collections.abc import Iterator, Sequence

from benchmarks import work as works
from benchmarks.networks import Conv, Dense, Flatten, Layer, Network, Relu, Residual, network, shape_after
from benchmarks.work import Work

Shape = tuple[int, ...]

_RUNS = works.AUTOATTACK_TARGETS
_AUTOATTACK = (
    2 * (1 + _RUNS) * (works.AUTOATTACK_STEPS + 1)
    + 3 * _RUNS * works.AUTOATTACK_STEPS
    + works.AUTOATTACK_QUERIES
)


def needed(work: Work) -> float:
    """Floating-point operations of the work on the whole batch."""
    net = network(work.network)
    once, rows = forward(net), net.classes - 1
    crown_ibp = 2 * once + backward(net, rows)
    per_example = {
        "forward": lambda: once,
        "ibp": lambda: 2 * once,
        "crown-ibp": lambda: crown_ibp,
        "crown": lambda: crown(net),
        "fast-lin": lambda: crown(net),
        "alpha-crown": lambda: (3 * works.ALPHA_STEPS + 2) * crown(net),
        "train-ibp": lambda: 3 * 3 * once,
        "train-crown-ibp": lambda: 3 * (once + crown_ibp),
        "train-pgd": lambda: (2 * works.TRAIN_PGD_STEPS + 3) * once,
        "pgd": lambda: (2 * works.PGD_STEPS + 1) * once,
        "autoattack": lambda: _AUTOATTACK * once,
    }[work.base]()
    return work.batch * per_example * (3 if work.operation.endswith("-grad") else 1)


def forward(net: Network) -> float:
    return 2.0 * sum(_macs(layer, shape) for layer, shape in _affine(net.layers, net.shape))


def backward(net: Network, rows: int) -> float:
    """A dense backward pass of so many rows through the whole network."""
    return rows * forward(net)


def crown(net: Network) -> float:
    """Full CROWN of one example: passes from every activation and from the margins."""
    total = backward(net, net.classes - 1)
    for prefix in _prefixes(net.layers):
        affine = list(_affine(prefix, net.shape))
        if len(affine) == 1:
            total += 2.0 * _macs(*affine[0])
            continue
        neurons = 1
        for size in _end(prefix, net.shape):
            neurons *= size
        total += 2.0 * 2 * neurons * _row(prefix, net.shape)
    return total


def _macs(layer: Layer, shape: Shape) -> int:
    match layer:
        case Dense(features):
            return shape[0] * features
        case Conv(features, taps):
            rows, columns, _ = shape_after(layer, shape)
            return rows * columns * features * taps * taps * shape[-1]
    return 0


def _affine(layers: Sequence[Layer], shape: Shape) -> Iterator[tuple[Layer, Shape]]:
    """Every dense and convolution with the shape that it takes."""
    for layer in layers:
        if isinstance(layer, Residual):
            yield from _affine(layer.body, shape)
            yield from _affine(layer.shortcut, shape)
        elif isinstance(layer, Dense | Conv):
            yield layer, shape
        shape = shape_after(layer, shape)


def _end(layers: Sequence[Layer], shape: Shape) -> Shape:
    for layer in layers:
        shape = shape_after(layer, shape)
    return shape


def _prefixes(layers: Sequence[Layer], before: tuple[Layer, ...] = ()) -> Iterator[tuple[Layer, ...]]:
    """For every activation the layers before it."""
    for index, layer in enumerate(layers):
        so_far = (*before, *layers[:index])
        if isinstance(layer, Relu):
            yield so_far
        elif isinstance(layer, Residual):
            yield from _prefixes(layer.body, so_far)


def _row(layers: Sequence[Layer], shape: Shape) -> float:
    """Multiply-adds of one row that starts at one output of the last affine layer.

    That layer's own transpose costs nothing: the row is a part of its kernel.
    """
    return _back(layers, shape, window=None, at_start=True)[0]


def _back(
    layers: Sequence[Layer], shape: Shape, window: int | None, at_start: bool
) -> tuple[float, int | None, bool]:
    """Multiply-adds of a row through the transposed layers, and its window before them.

    The window is the side of the square of outputs with coefficients, None: all (or one unit).
    """
    shapes = [shape]
    for layer in layers[:-1]:
        shapes.append(shape_after(layer, shapes[-1]))
    total = 0.0
    for layer, before in zip(reversed(layers), reversed(shapes), strict=True):
        match layer:
            case Dense(features):
                total += 0.0 if at_start else before[0] * features
                window, at_start = None, False
            case Flatten():
                window = None
            case Conv(features, taps, stride):
                side = shape_after(layer, before)[0]
                now = 1 if at_start else side if window is None else min(window, side)
                total += 0.0 if at_start else now * now * features * taps * taps * before[-1]
                window, at_start = min((now - 1) * stride + taps, before[0]), False
            case Residual(body, shortcut):
                one, left, _ = _back(body, before, window, at_start)
                other, right, _ = (
                    _back(shortcut, before, window, at_start) if shortcut else (0.0, window, False)
                )
                total += one + other
                window = left if left is None or right is None else max(left, right)
                at_start = False
    return total, window, at_start
