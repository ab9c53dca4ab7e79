"""Normal forms of functions of one number: polynomials over atoms such as exp(x) or relu(x).

Two spellings of one function have one normal form as long as the rules below connect them: sums and
products are multiplied out, odd and even functions take arguments of positive lead, and the identities
of the logistic family and of max(x, 0) are applied in one direction. A polynomial maps monomials
(sorted tuples of atoms) to numbers; a constant that is an array or traced is an atom too.
Numbers are fractions: a program's constants are floats, floats are fractions, and so nothing is rounded
before it cancels. Only the comparison with a known function allows for rounding of its constants (the
root of 1/2 in GELU), and two different constants are never taken for one. Forms that differ are not
known to be equal; forms that are equal are.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from jaxcert.graph.same import same

Poly = dict[tuple[int, ...], Fraction]

X: Poly = {(0,): Fraction(1)}
ONE: Poly = {(): Fraction(1)}
_MOST_TERMS = 40
# Functions without a value everywhere: where one cancels, the rest is defined at more points than the sum.
_PARTIAL = frozenset({"reciprocal", "log", "sqrt", "rsqrt"})


class NoForm(Exception):
    """The expression is no function of the variable alone, or too large."""


@dataclass(frozen=True)
class Atom:
    """An element-wise function of a polynomial, a constant, or the variable."""

    name: str
    args: tuple[Any, ...]


def number(value: float | Fraction) -> Poly:
    """A constant."""
    if not math.isfinite(value):
        raise NoForm
    return {(): Fraction(value)} if value else {}


def value_of(p: Poly) -> Fraction | None:
    """The number that p is, if it is one."""
    return p.get((), Fraction(0)) if all(not m for m in p) else None


def scaled(p: Poly, factor: float | Fraction) -> Poly:
    """p times a number."""
    return {m: Fraction(factor) * c for m, c in p.items()} if factor else {}


def lead(p: Poly) -> Fraction:
    """The coefficient of the last monomial that is not the constant."""
    return p[max(m for m in p if m)]


class Algebra:
    """The atoms seen so far, the variable first, and how far constants of known functions may be off."""

    def __init__(self, tolerance: float, atoms: list[Atom] | None = None):
        self.tolerance = tolerance
        self.atoms = list(atoms) if atoms else [Atom("variable", ())]
        self.partial: set[int] = set()
        self._meant: dict[int, tuple[Any, ...]] = {}

    def near(self, p: Poly, q: Poly) -> bool:
        """Whether two forms agree up to the tolerance of their constants."""
        close = lambda a, b: abs(a - b) <= self.tolerance * max(abs(a), abs(b))
        return p.keys() == q.keys() and all(close(float(p[m]), float(q[m])) for m in p)

    def add(self, p: Poly, q: Poly) -> Poly:
        total = dict(p)
        for m, c in q.items():
            value = total.get(m, Fraction(0)) + c
            if value:
                total[m] = value
            else:
                total.pop(m, None)
        return total

    def sub(self, p: Poly, q: Poly) -> Poly:
        return self.add(p, scaled(q, -1.0))

    def mul(self, p: Poly, q: Poly) -> Poly:
        if len(p) * len(q) > _MOST_TERMS:
            raise NoForm
        total: Poly = {}
        for m, c in p.items():
            for n, d in q.items():
                total = self.add(total, {tuple(sorted(m + n)): c * d})
        return total

    def atom(self, name: str, *args: Any) -> Poly:
        for index, known in enumerate(self.atoms):
            alike = known.name == name and len(known.args) == len(args)
            if alike and all(self._same(a, b) for a, b in zip(known.args, args, strict=True)):
                if known.name != "constant" and self._meant.setdefault(index, args) != args:
                    raise NoForm  # two functions that differ by less than the tolerance: not one
                return self._used(index)
        self.atoms.append(Atom(name, args))
        return self._used(len(self.atoms) - 1)

    def _used(self, index: int) -> Poly:
        if self.atoms[index].name in _PARTIAL:
            self.partial.add(index)
        return {(index,): Fraction(1)}

    def kept(self, p: Poly) -> bool:
        """Whether every function without a value everywhere that was met is still in p."""
        return self.partial <= {index for m in p for index in m}

    def _same(self, a: Any, b: Any) -> bool:
        if isinstance(a, dict) and isinstance(b, dict):
            return self.near(a, b)
        return same(a, b)

    def single(self, p: Poly, name: str) -> tuple[Fraction, Poly] | None:
        """(c, q) if p is c times one atom `name` of q."""
        if len(p) != 1:
            return None
        ((m, c),) = p.items()
        if len(m) != 1 or self.atoms[m[0]].name != name:
            return None
        return c, self.atoms[m[0]].args[0]

    def apply(self, name: str, p: Poly) -> Poly:
        """The normal form of a function of p."""
        rule = RULES.get(name)
        if rule is not None:
            return rule(self, p)
        value = value_of(p)
        return self.atom(name, p) if value is None else number(_FOLD[name](value))

    def substitute(self, p: Poly, new: Poly) -> Poly:
        """p with another polynomial in place of the variable."""
        total: Poly = {}
        for m, c in p.items():
            term: Poly = {(): c}
            for index in m:
                term = self.mul(term, self._substituted(index, new))
            total = self.add(total, term)
        return total

    def _substituted(self, index: int, new: Poly) -> Poly:
        atom = self.atoms[index]
        if atom.name == "variable":
            return new
        if atom.name == "constant":
            return {(index,): Fraction(1)}
        return self.apply(atom.name, self.substitute(atom.args[0], new))


# max(x, 0): positively homogeneous, and max(-x, 0) = max(x, 0) - x.


def relu(a: Algebra, p: Poly) -> Poly:
    """max(p, 0)."""
    value = value_of(p)
    if value is not None:
        return number(max(value, 0.0))
    size = _known_sign(a, p)
    if size is not None:
        return p if size > 0 else {}
    low = _ceiling(a, p)
    if low is not None:
        return low
    top = lead(p)
    unit = a.atom("relu", scaled(p, 1 / top))
    positive = scaled(unit, abs(top))
    return positive if top > 0 else a.add(positive, p)


def _known_sign(a: Algebra, p: Poly) -> Fraction | None:
    """The sign of c * relu(q), c * (relu(q) - q) and c * exp(q), if p is one of them."""
    for name in ("relu", "exp", "sigmoid", "softplus", "sqrt"):
        found = a.single(p, name)
        if found is not None:
            return found[0]
    for m, c in p.items():
        bent = len(m) == 1 and a.atoms[m[0]].name == "relu"
        if bent and p == a.sub({m: c}, scaled(a.atoms[m[0]].args[0], c)):
            return c
    return None


def _ceiling(a: Algebra, p: Poly) -> Poly | None:
    """max(c min(q, 0) + e, 0) = max(c q + e, 0) - c max(q, 0) for c > 0 and e >= 0."""
    for m, c in p.items():
        if len(m) == 1 and a.atoms[m[0]].name == "relu" and c < 0:
            inner = scaled(a.atoms[m[0]].args[0], -c)
            offset = value_of(a.sub(a.sub(p, {m: c}), inner))
            if offset is not None:
                return a.add(relu(a, a.add(inner, number(offset))), {m: c}) if offset >= 0 else {}
    return None


def absolute(a: Algebra, p: Poly) -> Poly:
    """|p|."""
    return a.sub(scaled(relu(a, p), 2.0), p)


# exp, log and the logistic family.


def _exp(a: Algebra, p: Poly) -> Poly:
    value = value_of(p)
    return a.atom("exp", p) if value is None else number(math.exp(value))


def _one_plus_exp(a: Algebra, p: Poly) -> tuple[Fraction, Poly] | None:
    """(c, q) if p = c (1 + exp(q)) with c > 0."""
    constant = p.get((), Fraction(0))
    rest = a.single({m: c for m, c in p.items() if m}, "exp")
    if rest is None or constant <= 0 or rest[0] != constant:
        return None
    return constant, rest[1]


def _log(a: Algebra, p: Poly) -> Poly:
    value = value_of(p)
    if value is not None:
        if value <= 0:
            raise NoForm
        return number(math.log(value))
    for q, found in ((1.0, a.single(p, "sigmoid")), (-1.0, a.single(a.sub(ONE, p), "sigmoid"))):
        if found is not None and found[0] == 1:
            minus = scaled(softplus(a, found[1]), -1.0)
            return a.add(found[1], minus) if q > 0 else minus
    sum_of = _one_plus_exp(a, p)
    if sum_of is not None and sum_of[0] == 1:
        return softplus(a, sum_of[1])
    return a.atom("log", p)


def softplus(a: Algebra, p: Poly) -> Poly:
    """The form of log(1 + exp(p)), which is p + log(1 + exp(-p)); of -|x| it is that of x less max(x, 0)."""
    value = value_of(p)
    if value is not None:
        return number(math.log1p(math.exp(-abs(value))) + max(value, 0.0))
    for m, c in p.items():
        if len(m) == 1 and a.atoms[m[0]].name == "relu" and c < 0:
            q = scaled(a.atoms[m[0]].args[0], -c / 2)
            if p == a.add(q, {m: c}):
                return a.sub(softplus(a, q), {m: -c / 2})
    if lead(p) < 0:
        return a.add(a.atom("softplus", scaled(p, -1.0)), p)
    return a.atom("softplus", p)


def sigmoid(a: Algebra, p: Poly) -> Poly:
    """1 / (1 + exp(-p))."""
    value = value_of(p)
    if value is not None:
        return number(1 / (1 + math.exp(-value)))
    return a.sub(ONE, a.atom("sigmoid", scaled(p, -1.0))) if lead(p) < 0 else a.atom("sigmoid", p)


def _reciprocal(a: Algebra, p: Poly) -> Poly:
    value = value_of(p)
    if value is not None:
        if value == 0:
            raise NoForm
        return number(1 / value)
    sum_of = _one_plus_exp(a, p)
    if sum_of is not None:
        return scaled(sigmoid(a, scaled(sum_of[1], -1.0)), 1 / sum_of[0])
    power = a.single(p, "exp")
    if power is not None:
        return scaled(_exp(a, scaled(power[1], -1.0)), 1 / power[0])
    top = lead(p)
    return scaled(a.atom("reciprocal", scaled(p, 1 / top)), 1 / top)


def _sqrt(a: Algebra, p: Poly) -> Poly:
    if len(p) == 1:
        ((m, c),) = p.items()
        if len(m) == 2 and m[0] == m[1] and c > 0:
            return scaled(absolute(a, {m[:1]: Fraction(1)}), math.sqrt(c))
    value = value_of(p)
    if value is not None and value < 0:
        raise NoForm
    return a.atom("sqrt", p) if value is None else number(math.sqrt(value))


def _odd(name: str, fold: Callable[[Any], float]) -> Callable[[Algebra, Poly], Poly]:
    def rule(a: Algebra, p: Poly) -> Poly:
        value = value_of(p)
        if value is not None:
            return number(fold(value))
        return scaled(a.atom(name, scaled(p, -1.0)), -1.0) if lead(p) < 0 else a.atom(name, p)

    return rule


def gelu(a: Algebra, p: Poly) -> Poly:
    """p (1 + erf(p / sqrt(2))) / 2."""
    half = scaled(p, 0.5)
    return a.add(half, a.mul(half, a.apply("erf", scaled(p, math.sqrt(0.5)))))


def gelu_tanh(a: Algebra, p: Poly) -> Poly:
    """The approximation of GELU by tanh."""
    cubic = a.add(p, scaled(a.mul(p, a.mul(p, p)), 0.044715))
    half = scaled(p, 0.5)
    return a.add(half, a.mul(half, a.apply("tanh", scaled(cubic, math.sqrt(2 / math.pi)))))


RULES: Mapping[str, Callable[[Algebra, Poly], Poly]] = {
    "relu": relu,
    "exp": _exp,
    "expm1": lambda a, p: a.sub(_exp(a, p), ONE),
    "log": _log,
    "log1p": lambda a, p: _log(a, a.add(ONE, p)),
    "softplus": softplus,
    "sigmoid": sigmoid,
    "tanh": lambda a, p: a.sub(scaled(sigmoid(a, scaled(p, 2.0)), 2.0), ONE),
    "reciprocal": _reciprocal,
    "sqrt": _sqrt,
    "erf": _odd("erf", math.erf),
    "sin": _odd("sin", math.sin),
    "arctan": _odd("arctan", math.atan),
    "silu": lambda a, p: a.mul(p, sigmoid(a, p)),
    "mish": lambda a, p: a.mul(p, a.apply("tanh", softplus(a, p))),
    "gelu": gelu,
    "gelu_tanh": gelu_tanh,
}
_FOLD = {"cos": math.cos, "rsqrt": lambda v: 1 / math.sqrt(v)}
