"""Elementary functions to 50 digits, by the decimal module and series."""

from collections.abc import Callable
from decimal import Decimal, getcontext

PRECISION = 50
_PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459")


def high_precision(fn: Callable[[Decimal], Decimal], x: float) -> Decimal:
    """`fn(x)` with the double x taken as exact."""
    getcontext().prec = PRECISION
    return fn(Decimal(float(x)))


def sigmoid(x: Decimal) -> Decimal:
    decay = (-abs(x)).exp()
    return (1 if x >= 0 else decay) / (1 + decay)


def tanh(x: Decimal) -> Decimal:
    if abs(x) < Decimal("1e-12"):
        return x - x**3 / 3
    decay = (-2 * abs(x)).exp()
    value = (1 - decay) / (1 + decay)
    return value if x >= 0 else -value


def arctan(x: Decimal) -> Decimal:
    for _ in range(8):  # arctan x = 2 arctan(x / (1 + sqrt(1 + x^2)))
        x = x / (1 + (1 + x * x).sqrt())
    total, power, n = Decimal(0), x, 1
    while abs(power) > Decimal(10) ** (-PRECISION - 5) * max(abs(x), Decimal(10) ** -30) and n < 200:
        total += power / n if n % 4 == 1 else -power / n
        power, n = power * x * x, n + 2
    return total * 256


def erf(x: Decimal) -> Decimal:
    if abs(x) > 7:
        return Decimal(1 if x > 0 else -1)  # to 1e-22
    total, term, n = Decimal(0), x, 0
    while abs(term) > Decimal(10) ** -45 * max(abs(x), Decimal(10) ** -30) or n < 5:
        total += term / (2 * n + 1)
        n += 1
        term = -term * x * x / n
    return 2 * total / _PI.sqrt()


def softplus(x: Decimal) -> Decimal:
    tail = (-abs(x)).exp()
    return max(x, Decimal(0)) + ((1 + tail).ln() if tail > Decimal("1e-25") else tail - tail * tail / 2)


def expm1(x: Decimal) -> Decimal:
    return x + x * x / 2 + x**3 / 6 if abs(x) < Decimal("1e-15") else x.exp() - 1


def log1p(x: Decimal) -> Decimal:
    return x - x * x / 2 + x**3 / 3 if abs(x) < Decimal("1e-15") else (1 + x).ln()
