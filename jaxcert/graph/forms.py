"""The normal form of a node as a function of another node, entry by entry."""

from fractions import Fraction
from typing import Any

import numpy as np
from jax.core import Tracer

from jaxcert.graph.algebra import Algebra, NoForm, Poly, X, number, relu, scaled
from jaxcert.graph.ir import Graph, Node
from jaxcert.graph.same import same, uniform

SELECT = "untranslated select_n"
COMPARISONS = frozenset({"gt", "ge", "lt", "le"})
FUNCTIONS = frozenset(
    {
        *("relu", "sigmoid", "tanh", "arctan", "softplus", "silu", "gelu", "gelu_tanh", "mish"),
        *("exp", "expm1", "log", "log1p", "sqrt", "rsqrt", "reciprocal", "sin", "cos", "erf"),
    }
)
NONLINEAR = FUNCTIONS | {"leaky_relu", "elu", "hard_tanh", "integer_pow", "multiply", "maximum", SELECT}
ENTRYWISE = NONLINEAR | COMPARISONS | {"add", "scale", "shift"}


class Forms:
    """Normal forms over one variable, the value of the node `base`."""

    def __init__(self, graph: Graph, base: int, algebra: Algebra):
        self.nodes, self.base, self.algebra = graph.nodes, base, algebra
        self.shape = self.nodes[base].shape
        self.known: dict[int, Poly] = {base: X}

    def of(self, index: int) -> Poly:
        """Return the form of a node.

        Raises:
          NoForm: the node depends on the input in another way than through `base`.
        """
        if index not in self.known:
            node = self.nodes[index]
            if index < self.base or node.kind not in ENTRYWISE or node.shape != self.shape:
                raise NoForm
            self.known[index] = self._form(node)
        return self.known[index]

    def _form(self, node: Node) -> Poly:
        a = self.algebra
        if node.kind == SELECT:
            return self._select(node)
        if node.kind in COMPARISONS:
            raise NoForm
        args = [self.of(i) for i in node.inputs]
        if node.kind == "add":
            return a.add(args[0], args[1])
        if node.kind == "multiply":
            return a.mul(args[0], args[1])
        if node.kind == "maximum":
            return self._maximum(args)
        (x,) = args
        if node.kind in FUNCTIONS:
            return a.apply(node.kind, x)
        return self._parametric(node, x)

    def _parametric(self, node: Node, x: Poly) -> Poly:
        a = self.algebra
        if node.kind == "integer_pow":
            return self._power(x, int(node.consts[0]))
        consts = [self.constant(value) for value in node.consts]
        if node.kind == "shift":
            return a.add(x, consts[0])
        if node.kind == "scale":
            return a.mul(x, consts[0])
        if node.kind == "leaky_relu":
            neg, pos = consts
            return a.add(a.mul(neg, x), a.mul(a.sub(pos, neg), relu(a, x)))
        if node.kind == "elu":
            below = a.sub(a.apply("exp", a.sub(x, relu(a, x))), number(1.0))
            return a.add(relu(a, x), a.mul(consts[0], below))
        low, high = consts  # hard_tanh
        return a.add(low, a.sub(relu(a, a.sub(x, low)), relu(a, a.sub(x, high))))

    def _power(self, x: Poly, exponent: int) -> Poly:
        if exponent > 8:
            raise NoForm
        total = x
        for _ in range(exponent - 1):
            total = self.algebra.mul(total, x)
        return total

    def constant(self, value: Any) -> Poly:
        """A number, or an atom for an array of several numbers or a traced value."""
        found = uniform(value)
        if found is not None:
            return number(found)
        if not isinstance(value, Tracer):
            minus = self._place(-np.asarray(value))
            if minus is not None:
                return {(minus,): Fraction(-1)}
        return self.algebra.atom("constant", value)

    def _place(self, value: Any) -> int | None:
        for index, atom in enumerate(self.algebra.atoms):
            if (
                atom.name == "constant"
                and not isinstance(atom.args[0], Tracer)
                and same(np.asarray(atom.args[0]), value)
            ):
                return index
        return None

    def _maximum(self, args: list[Poly]) -> Poly:
        """max(p, q) = q + max(p - q, 0)."""
        total = args[0]
        for other in args[1:]:
            total = self.algebra.add(other, relu(self.algebra, self.algebra.sub(total, other)))
        return total

    def _select(self, node: Node) -> Poly:
        """where(p > 0, then, other): through relu where the branches meet at p = 0."""
        a = self.algebra
        operands, fixed = iter(node.inputs), iter(node.consts)
        which, *branches = [next(operands) if b else next(fixed) for b in node.params["bounded"]]
        if not isinstance(which, int) or len(branches) != 2:
            raise NoForm
        other, then = (
            self.of(branch) if isinstance(branch, int) else self.constant(branch) for branch in branches
        )
        p = self._difference(self.nodes[which])
        if self.nodes[which].kind in ("lt", "le"):
            p = scaled(p, -1.0)
        gap = a.sub(then, other)
        if not gap:
            return other
        factor = self._multiple(gap, p)
        if factor is not None:
            return a.add(other, scaled(relu(a, p), factor))
        return self._meeting(p, then, other)

    def _difference(self, node: Node) -> Poly:
        if node.kind not in COMPARISONS:
            raise NoForm
        operands, fixed = iter(node.inputs), iter(node.consts)
        left, right = (
            self.of(next(operands)) if bounded else self.constant(next(fixed))
            for bounded in node.params["bounded"]
        )
        return self.algebra.sub(left, right)

    def _multiple(self, gap: Poly, p: Poly) -> Fraction | None:
        if not gap or gap.keys() != p.keys():
            return None
        ratios = [gap[m] / p[m] for m in p]
        return ratios[0] if all(ratio == ratios[0] for ratio in ratios) else None

    def _meeting(self, p: Poly, then: Poly, other: Poly) -> Poly:
        """Branches that agree where the variable is at the threshold: f(max(x, t)) + g(min(x, t)) - f(t)."""
        a = self.algebra
        if not p.keys() <= {(), (0,)} or (0,) not in p:
            raise NoForm
        above, below = (then, other) if p[(0,)] > 0 else (other, then)
        threshold = number(-p.get((), Fraction(0)) / p[(0,)])
        at = a.substitute(above, threshold)
        if a.sub(at, a.substitute(below, threshold)):
            raise NoForm
        over = relu(a, a.sub(X, threshold))
        high, low = a.substitute(above, a.add(threshold, over)), a.substitute(below, a.sub(X, over))
        return a.sub(a.add(high, low), at)
