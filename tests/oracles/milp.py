"""Exact minimum of a linear function of a small ReLU network over a box: a big-M mixed-integer program.

Solved by HiGHS. Works on any network of `nets` (residual ones too): one block of variables per node,
one binary per ReLU coordinate.
"""

from itertools import pairwise

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

from tests.oracles.interval import propagate
from tests.oracles.nets import Add, Affine, Net, Relu, forward, widths
from tests.oracles.sets import Set, interval


def minimum(net: Net, region: Set, row: np.ndarray) -> float:
    """The exact minimum of `row @ output`, to the solver's feasibility tolerance (about 1e-7)."""
    return minimum_and_point(net, region, row)[0]


def minimum_and_point(net: Net, region: Set, row: np.ndarray) -> tuple[float, np.ndarray, float]:
    """The MILP's optimum, its minimiser, and the value that the network really has there."""
    if not np.isinf(region.norm):
        raise ValueError(f"the MILP takes l_inf balls and boxes, got p = {region.norm}")
    program = _Program(net, region)
    for i, node in enumerate(net, start=1):
        program.add(i, node)
    optimum, point = program.solve(row)
    low, high = interval(region)
    point = np.clip(point, low, high)
    return optimum, point, float(row @ forward(net, point))


class _Program:
    """Variables: the values of the input and of every node in order, then one binary per ReLU coordinate."""

    def __init__(self, net: Net, region: Set):
        self.bounds = propagate(net, region)
        sizes = widths(net, len(region.center))
        starts = np.cumsum([0, *sizes])
        self.blocks = [slice(a, b) for a, b in pairwise(starts)]
        relu_sizes = [sizes[node.parent] for node in net if isinstance(node, Relu)]
        self.first_binary = starts[-1]
        self.next_binary = starts[-1]
        self.total = starts[-1] + sum(relu_sizes)
        self.constraints: list[LinearConstraint] = []

    def add(self, i: int, node) -> None:
        match node:
            case Affine(parent, weight, bias):
                self._require({i: np.eye(len(bias)), parent: -weight}, bias, bias)
            case Add(first, second):
                eye = np.eye(self._width(i))
                terms = {i: eye, first: -eye}
                terms[second] = terms.get(second, 0) - eye
                self._require(terms, np.zeros(len(eye)), np.zeros(len(eye)))
            case Relu(parent):
                self._relu(i, parent)

    def solve(self, row: np.ndarray):
        cost = np.zeros(self.total)
        cost[self.blocks[-1]] = row
        low, high = np.zeros(self.total), np.ones(self.total)
        for block, (lower, upper) in zip(self.blocks, self.bounds, strict=True):
            low[block], high[block] = lower - 1e-7, upper + 1e-7
        low[self.blocks[0]], high[self.blocks[0]] = self.bounds[0]
        integrality = (np.arange(self.total) >= self.first_binary) * 1
        result = milp(
            cost,
            constraints=self.constraints,
            bounds=Bounds(low, high),
            integrality=integrality,
            options={"mip_rel_gap": 0},
        )
        assert result.status == 0, result.message
        return float(result.fun), result.x[self.blocks[0]]

    def _relu(self, i: int, parent: int) -> None:
        """y >= 0, y >= z, y <= u b, y <= z - l (1 - b), with l <= 0 <= u; exact when stable too."""
        lower, upper = self.bounds[parent]
        low, high = np.minimum(lower, 0) - 1e-7, np.maximum(upper, 0) + 1e-7
        eye, width = np.eye(len(lower)), len(lower)
        infinite = np.full(width, np.inf)
        zeros = np.zeros(width)
        switch = {"binary": -np.diag(high)}
        self._require({i: eye}, zeros, infinite)
        self._require({i: eye, parent: -eye}, zeros, infinite)
        self._require({i: eye, **switch}, -infinite, zeros)
        self._require({i: eye, parent: -eye, "binary": -np.diag(low)}, -infinite, -low)
        self.next_binary += width

    def _require(self, terms: dict, low: np.ndarray, high: np.ndarray) -> None:
        matrix = np.zeros((len(low), self.total))
        for key, part in terms.items():
            if key == "binary":
                matrix[:, self.next_binary : self.next_binary + part.shape[1]] += part
            else:
                matrix[:, self.blocks[key]] += part
        self.constraints.append(LinearConstraint(matrix, low, high))

    def _width(self, i: int) -> int:
        block = self.blocks[i]
        return block.stop - block.start
