"""Every activation record through one table: lines enclose, images are exact, gradients are right.

Intervals are drawn over all scales and positions; the reference values of f are float64 numpy.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize, special

from jaxcert.relax import ACTIVATIONS
from tests.oracles import finite

REFERENCE = {
    "relu": lambda x: np.maximum(x, 0.0),
    "leaky_relu": lambda x, neg, pos: np.where(x > 0, pos * x, neg * x),
    "sigmoid": lambda x: np.exp(np.minimum(x, 0)) / (1 + np.exp(-np.abs(x))),
    "tanh": np.tanh,
    "arctan": np.arctan,
    "erf": special.erf,
    "softplus": lambda x: np.logaddexp(0, x),
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "sqrt": np.sqrt,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "reciprocal": lambda x: 1 / x,
    "silu": lambda x: x * special.expit(x),
    "gelu": lambda x: x * special.ndtr(x),
    "gelu_tanh": lambda x: x * special.expit(math.sqrt(8 / math.pi) * (x + 0.044715 * x**3)),
    "mish": lambda x: x * np.tanh(np.logaddexp(0, x)),
    "integer_pow": lambda x, n: x**n,
    "hard_tanh": np.clip,
    "sin": np.sin,
    "cos": np.cos,
    "elu": lambda x, a: np.where(x > 0, x, a * np.expm1(np.minimum(x, 0))),
}
# Where f turns, its extreme inside an interval.
GATED = ("silu", "gelu", "gelu_tanh", "mish")
LOWEST = {
    name: optimize.minimize_scalar(REFERENCE[name], (-2, -1, 0), options={"xtol": 1e-9}).x for name in GATED
}
# The positions of a lowest and of a highest point of waves.
WAVES = {"sin": (-0.5 * math.pi, 0.5 * math.pi), "cos": (math.pi, 0.0)}


def turns(record, case, lower):
    """Where f may have extremes inside an interval, float64: one row each."""
    zero = np.zeros_like(lower, float)
    if record.name in WAVES:
        period = 2 * math.pi
        return np.stack([x + period * np.ceil((lower - x) / period) for x in WAVES[record.name]])
    if record.name == "hard_tanh":
        return np.stack([zero, *(zero + kink for kink in case)])
    return np.stack([zero, zero + LOWEST.get(record.name, 0.0)])


CASES = [(record, case) for record in ACTIVATIONS for case in record.cases]
IDS = [f"{record.name}{list(case) or ''}" for record, case in CASES]
POINTS = np.concatenate(
    [np.linspace(0, 1, 201), np.geomspace(1e-9, 1e-2, 20), 1 - np.geomspace(1e-7, 1e-2, 10)]
)
ALPHAS = np.array([0.0, 0.1, 0.5, 0.9, 1.0])


def positive(lower, upper, least=1e-6):
    low, high = (np.maximum(np.abs(end), least).astype(end.dtype) for end in (lower, upper))
    return np.minimum(low, high), np.maximum(low, high)


def either_side(lower, upper):
    low, high = positive(lower, upper)
    left = np.arange(low.size) % 2 == 0
    return np.where(left, -high, low), np.where(left, -low, high)


def at_most(most):
    return lambda lower, upper: (np.minimum(lower, most), np.minimum(upper, most))


# Intervals moved into the domain of a function, or to where it does not overflow.
INSIDE = {
    "exp": at_most(70),
    "expm1": at_most(70),
    "log": positive,
    "log1p": lambda lower, upper: (np.maximum(lower, -0.999), np.maximum(upper, -0.999)),
    "sqrt": positive,
    "rsqrt": positive,
    "reciprocal": either_side,
}


def inside(record, lower, upper):
    low, high = INSIDE.get(record.name, lambda lower, upper: (lower, upper))(lower, upper)
    return low.astype(lower.dtype), high.astype(upper.dtype)


def intervals(precision, count=1000):
    """Ends of all sizes: wide, tiny, huge, far from 0, l = u, l = u = 0, one end at 0, close to 0."""
    rng = np.random.default_rng(11)
    scale = 10.0 ** rng.uniform(-8, 3, count)
    lower = rng.normal(size=count) * scale
    width = 10.0 ** rng.uniform(-8, 3, count)
    width[::10] = 0
    upper = lower + width
    lower[1::20], upper[1::20] = 0, width[1::20]
    lower[2::20], upper[2::20] = -width[2::20], 0
    special = [
        (0, 0),
        (-1, 1),
        (-1e-30, 1e-30),
        (-1e5, 1e5),
        (-1e5, 1e-3),
        (-1e-3, 1e5),
        (5, 5),
        (-5, -5),
        (20, 21),
    ]
    special += [
        (-90, -80),
        (80, 90),
        (-90, 90),
        (-1e-4, 90),
        (-90, 1e-4),
        (0, 1e5),
        (-1e5, 0),
        (-3, 2.999),
        (-2, 2),
    ]
    ends = np.concatenate([np.stack([lower, upper], 1), np.array(special, float)]).astype(precision)
    return ends[:, 0], np.maximum(ends[:, 0], ends[:, 1])


def samples(record, case, lower, upper):
    """[points, intervals], float64, within the ends; extremes are among them wherever they are inside."""
    low, high = lower.astype(np.float64), upper.astype(np.float64)
    points = np.concatenate([low + POINTS[:, None] * (high - low), turns(record, case, low)])
    return np.clip(points, low, high)


def parameters(case, precision):
    """Integers are static, as exponents are."""
    return tuple(p if isinstance(p, int) else jnp.asarray(p, precision) for p in case)


def worst_gap(lines, lower, upper, values, x, precision, at_zero):
    """How far the lines cross f, in units of last place of the numbers that enter."""
    below_slope, below, above_slope, above = (np.asarray(part, np.float64) for part in lines)
    size = np.maximum(np.abs(lower), np.abs(upper)).astype(np.float64)
    steep = np.maximum(np.abs(below_slope), np.abs(above_slope))
    scale = np.maximum.reduce(
        [steep * size, np.abs(values).max(0), np.abs(below), np.abs(above), at_zero + 0 * size]
    )
    unit = np.finfo(precision).eps * scale + np.finfo(precision).tiny
    crossing = np.maximum(below_slope * x + below - values, values - above_slope * x - above)
    return (crossing / unit).max()


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize(("record", "case"), CASES, ids=IDS)
def test_lines_enclose_for_every_alpha_and_parallel_lines_share_their_slope(record, case, precision):
    with jax.enable_x64(precision == "float64"):
        params = parameters(case, precision)
        lower, upper = inside(record, *intervals(precision))
        x = samples(record, case, lower, upper)
        values = REFERENCE[record.name](x, *case)
        # Offsets are sums with f(0), 1/2 for the sigmoid, however small f itself is in the tails.
        at_zero = float(record.fn(jnp.zeros((), precision), *params))
        at_zero = at_zero if np.isfinite(at_zero) else 0.0

        @jax.jit
        def enclose(lower, upper, alphas):
            lines = jax.vmap(lambda alpha: record.lines(lower, upper, alpha, *params))(alphas)
            return lines, record.parallel(lower, upper, *params)

        chosen = np.asarray(record.adaptive(jnp.asarray(lower), jnp.asarray(upper), *params))
        random = np.random.default_rng(0).random(lower.size)
        alphas = np.stack([chosen, random, *(np.full(lower.size, alpha) for alpha in ALPHAS)])
        free, parallel = enclose(lower, upper, alphas.astype(precision))
        assert bool(jnp.array_equal(parallel.lower_slope, parallel.upper_slope))
        candidates = [*(type(free)(*(part[i] for part in free)) for i in range(len(alphas))), parallel]
        for position, lines in enumerate(candidates):
            assert all(np.isfinite(part).all() for part in lines)
            assert {part.dtype for part in lines} == {jnp.dtype(precision)}
            assert worst_gap(lines, lower, upper, values, x, precision, at_zero) < 8, position
        if precision == "float64":
            near = np.minimum(np.abs(lower), np.abs(upper)) >= (0.05 if record.name in INSIDE else 0)
            width = upper - lower
            usual = np.flatnonzero((width > 0.02) & (width < 6) & (np.abs(lower) < 30) & near)[:60]
            assert usual.size > 20
            assert_least_area(candidates[0], usual, x, values)
            assert_touching(parallel, usual, x, values)


def assert_least_area(lines, chosen, x, values):
    """At the midpoint no line below f can be higher than its convex hull, here that of the samples."""
    for i in chosen:
        points, heights = x[:, i], values[:, i]
        middle = 0.5 * (points.min() + points.max())
        left, right = points <= middle, points >= middle
        a, b = points[left][:, None], points[right][None]
        share = (middle - a) / np.where(b > a, b - a, 1)
        across = (1 - share) * heights[left][:, None] + share * heights[right][None]
        slack = 1e-3 * np.ptp(heights) + 1e-5 * np.abs(heights).max() + 1e-12
        below, above = (
            float(slope[i]) * middle + float(offset[i]) for slope, offset in (lines[:2], lines[2:])
        )
        assert below >= across.min() - slack, (points.min(), points.max())
        assert above <= across.max() + slack, (points.min(), points.max())


def assert_touching(lines, chosen, x, values):
    """A line that can be moved towards f is not the best of its slope."""
    below_slope, below, above_slope, above = (np.asarray(part, np.float64)[chosen] for part in lines)
    x, values = x[:, chosen], values[:, chosen]
    slack = 1e-3 * np.ptp(values, axis=0) + 1e-5 * np.abs(values).max(0) + 1e-12
    assert ((values - below_slope * x - below).min(0) <= slack).all()
    assert ((above_slope * x + above - values).min(0) <= slack).all()


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize(("record", "case"), CASES, ids=IDS)
def test_images_are_exact(record, case, precision):
    with jax.enable_x64(precision == "float64"):
        params = parameters(case, precision)
        lower, upper = inside(record, *intervals(precision))
        values = REFERENCE[record.name](samples(record, case, lower, upper), *case)
        low, high = record.image(jnp.asarray(lower), jnp.asarray(upper), *params)
        unit = 4 * np.finfo(precision).eps * np.abs(values).max(0) + np.finfo(precision).tiny
        if record.name in GATED:
            # Their tails move by more than the last digit when x does, and exp flushes what is below tiny.
            ends = np.stack([lower, upper]).astype(np.float64)
            reference = REFERENCE[record.name]
            moved = np.abs(reference(ends * (1 + np.finfo(precision).eps)) - reference(ends)).max(0)
            unit = unit + 4 * moved + np.finfo(precision).tiny * np.abs(ends).max(0)
        assert (np.abs(np.asarray(low, np.float64) - values.min(0)) <= unit).all()
        assert (np.abs(np.asarray(high, np.float64) - values.max(0)) <= unit).all()


@pytest.mark.parametrize(("record", "case"), CASES, ids=IDS)
def test_function_and_derivative(record, case, x64):
    params = parameters(case, "float64")
    x = np.array([-30.0, -3.0, -0.4, -1e-3, 2e-3, 0.7, 4.0, 25.0])
    if record.name in INSIDE:
        x = np.concatenate(inside(record, np.where(np.abs(x) < 0.1, 0.1, x), x + 0.2))
    assert np.asarray(record.fn(jnp.asarray(x), *params)) == pytest.approx(
        REFERENCE[record.name](x, *case), rel=1e-12, abs=1e-15
    )
    measured = finite.directional(lambda v: record.fn(jnp.asarray(v), *params), x, np.ones_like(x))
    found = record.derivative(jnp.asarray(x), *params)
    assert found.shape == x.shape
    assert np.asarray(found) == pytest.approx(measured, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize(("record", "case"), CASES, ids=IDS)
def test_ends_that_are_not_finite_poison_both_offsets(record, case):
    params = parameters(case, "float32")
    ends = [
        (jnp.nan, 1),
        (-1, jnp.nan),
        (jnp.nan, jnp.nan),
        (-jnp.inf, 1),
        (-1, jnp.inf),
        (-jnp.inf, -jnp.inf),
    ]
    ends += [(-jnp.inf, jnp.inf), (jnp.inf, jnp.inf), (jnp.nan, 0), (0, jnp.nan), (0, jnp.inf)]
    ends.append((0.5, 1) if record.name in INSIDE else (-1, 1))
    lower, upper = (jnp.array(column, jnp.float32) for column in zip(*ends, strict=True))
    for lines in (record.lines(lower, upper, 0.5, *params), record.parallel(lower, upper, *params)):
        assert bool(jnp.isnan(lines.lower_offset[:-1]).all())
        assert bool(jnp.isnan(lines.upper_offset[:-1]).all())
        assert all(bool(jnp.isfinite(part[-1])) for part in lines)
    low, high = record.image(lower, upper, *params)
    with_nan = jnp.isnan(lower) | jnp.isnan(upper)
    assert bool(jnp.isnan(jnp.where(with_nan, low + high, jnp.nan)).all())


@pytest.mark.parametrize(("record", "case"), CASES, ids=IDS)
def test_ends_crossed_by_rounding_are_taken_in_order(record, case):
    params = parameters(case, "float32")
    lower, upper = np.array([1.0, -1.0, 1e-7, 0.3]), np.array([1.0, -1.0, -1e-7, 0.2999999])
    lower, upper = (jnp.asarray(end, jnp.float32) for end in inside(record, lower, upper))
    crossed = record.lines(lower, upper, 0.5, *params), record.lines(upper, lower, 0.5, *params)
    for ours, theirs in zip(*crossed, strict=True):
        assert bool(jnp.array_equal(ours, theirs))


@pytest.mark.parametrize(("record", "case"), CASES, ids=IDS)
def test_gradients_of_lines_and_images_are_finite_everywhere(record, case):
    params = parameters(case, "float32")
    lower, upper = inside(record, *intervals("float32", 400))
    ones, none = jnp.ones(lower.size), jnp.zeros(lower.size)

    def pieces(lower, upper, alpha):
        lines = [*record.lines(lower, upper, alpha, *params), *record.parallel(lower, upper, *params)]
        return jnp.stack([*lines, *record.image(lower, upper, *params)])

    @jax.jit
    def slopes(alpha, pushes):
        push = lambda t: jax.jvp(pieces, (jnp.asarray(lower), jnp.asarray(upper), alpha), t)[1]
        return jax.vmap(push)(pushes)

    pushes = tuple(jnp.stack(rows) for rows in ((ones, none, none), (none, ones, none), (none, none, ones)))
    for alpha in (0.0, 0.5, 1.0):
        found = np.asarray(slopes(jnp.full(lower.size, alpha), pushes))
        bad = np.argwhere(~np.isfinite(found))
        where = [(int(v), int(p), float(lower[i]), float(upper[i])) for v, p, i in bad[:5]]
        assert not where, f"alpha {alpha}: (variable, piece, lower, upper) {where}"


@pytest.mark.parametrize(("record", "case"), CASES, ids=IDS)
def test_gradients_of_lines_equal_central_differences(record, case, x64):
    params = parameters(case, "float64")
    rng = np.random.default_rng(7)
    lower = rng.uniform(-4, 3, 300)
    positive_only = record.name in ("log", "log1p", "sqrt", "rsqrt", "reciprocal")
    lower = lower + 4.1 if positive_only else lower
    ends = np.stack([lower, lower + rng.uniform(0.2, 4, 300)])
    ends = np.stack(inside(record, *ends))

    @jax.jit
    def pieces(ends):
        lines = [*record.lines(ends[0], ends[1], 0.4, *params), *record.parallel(ends[0], ends[1], *params)]
        return jnp.stack([*lines, *record.image(ends[0], ends[1], *params)])

    for direction in (np.array([[1.0], [0.0]]), np.array([[0.0], [1.0]])):
        push = np.broadcast_to(direction, ends.shape)
        measured = finite.directional(pieces, ends, push)
        found = np.asarray(
            jax.jit(lambda p: jax.jvp(pieces, (jnp.asarray(ends),), (p,))[1])(jnp.asarray(push))
        )
        here, ahead, behind = (np.asarray(pieces(ends + t * push)) for t in (0.0, 1e-6, -1e-6))
        # Large values leave less of a difference of two.
        scale = np.maximum(1, np.abs(here) / 100)
        kink = np.abs(ahead - 2 * here + behind) > 1e-9 * scale
        assert kink.mean() < 0.01
        assert (np.abs(found - measured) / scale)[~kink].max() < 1e-6


@pytest.mark.parametrize("name", ["log", "log1p", "sqrt", "rsqrt", "reciprocal"])
def test_outside_the_domain_there_is_nothing_but_nan(name):
    """Both ends of the image and both offsets: such an interval never certifies."""
    record = next(record for record in ACTIVATIONS if record.name == name)
    ends = [(-2.0, 3.0), (-1.0, 1.0), (-3.0, -1.5), (-1.5, 0.0), (-2.0, 1e-3)]
    ends = [pair for pair in ends if name != "reciprocal" or pair[1] >= 0]
    ends += [] if name in ("log1p", "sqrt") else [(0.0, 1.0), (0.0, 0.0), (-1e-9, 1e-9)]
    lower, upper = (jnp.array(column, jnp.float32) for column in zip(*ends, strict=True))
    for image in (record.image(lower, upper), record.image(upper, lower)):
        assert bool(jnp.isnan(jnp.stack(image)).all())
    for lines in (
        *(record.lines(lower, upper, alpha) for alpha in (0.0, 0.5, 1.0)),
        record.parallel(lower, upper),
    ):
        assert bool(jnp.isnan(jnp.stack([lines.lower_offset, lines.upper_offset])).all())


def test_lines_of_a_function_that_overflows_are_nan_not_wrong():
    record = next(record for record in ACTIVATIONS if record.name == "exp")
    lower, upper = jnp.array([-1.0, 0.0, 1.0, 95.0, 100.0]), jnp.array([100.0, 200.0, 1e9, 95.0, 100.0])
    for lines in (record.lines(lower, upper, 0.5), record.parallel(lower, upper)):
        assert bool(jnp.isnan(lines.upper_offset).all())
