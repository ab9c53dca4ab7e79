"""The parts of rigorous bounds: curves, joins and minima over regions, against exact arithmetic."""

from decimal import Decimal
from fractions import Fraction

import jax.numpy as jnp
import numpy as np
import pytest

import jaxcert as jc
from jaxcert.certify.rigorous import functions
from jaxcert.certify.rigorous.catalogue import CURVES, power
from jaxcert.certify.rigorous.joins import COMBINATIONS
from jaxcert.certify.rigorous.least import exact_region
from jaxcert.relax import ACTIVATIONS
from tests.oracles import decimals
from tests.oracles.decimals import high_precision

# name -> (curve, parameters, the function in decimals, where intervals are drawn)
LINE = (-30.0, 30.0)
CASES = {
    "relu": (CURVES["relu"], (), lambda x: max(x, Decimal(0)), LINE),
    "leaky": (CURVES["leaky_relu"], (0.1, 1.0), lambda x: x if x > 0 else Decimal.from_float(0.1) * x, LINE),
    "abs": (CURVES["leaky_relu"], (-1.0, 1.0), abs, LINE),
    "concave": (
        CURVES["leaky_relu"],
        (1.3, 0.7),
        lambda x: (Decimal.from_float(0.7) if x > 0 else Decimal.from_float(1.3)) * x,
        LINE,
    ),
    "hard_tanh": (
        CURVES["hard_tanh"],
        (-0.3, 6.0),
        lambda x: min(max(x, Decimal.from_float(-0.3)), Decimal(6)),
        LINE,
    ),
    "sigmoid": (CURVES["sigmoid"], (), decimals.sigmoid, LINE),
    "tanh": (CURVES["tanh"], (), decimals.tanh, LINE),
    "arctan": (CURVES["arctan"], (), decimals.arctan, LINE),
    "erf": (CURVES["erf"], (), decimals.erf, (-6.0, 6.0)),
    "exp": (CURVES["exp"], (), Decimal.exp, LINE),
    "expm1": (CURVES["expm1"], (), decimals.expm1, LINE),
    "elu": (
        CURVES["elu"],
        (1.7,),
        lambda x: x if x > 0 else Decimal.from_float(1.7) * decimals.expm1(x),
        LINE,
    ),
    "softplus": (CURVES["softplus"], (), decimals.softplus, LINE),
    "log": (CURVES["log"], (), Decimal.ln, (1e-6, 30.0)),
    "log1p": (CURVES["log1p"], (), decimals.log1p, (-0.999, 30.0)),
    "sqrt": (CURVES["sqrt"], (), Decimal.sqrt, (0.0, 30.0)),
    "rsqrt": (CURVES["rsqrt"], (), lambda x: 1 / x.sqrt(), (1e-6, 30.0)),
    "reciprocal": (CURVES["reciprocal"], (), lambda x: 1 / x, (1e-6, 30.0)),
    "reciprocal below": (CURVES["reciprocal"], (), lambda x: 1 / x, (-30.0, -1e-6)),
    "square": (power(2), (2,), lambda x: x**2, LINE),
    "cube": (power(3), (3,), lambda x: x**3, LINE),
    "fifth": (power(5), (5,), lambda x: x**5, LINE),
}


def intervals(rng, low, high, count):
    """Wide, narrow, touching and empty-handed intervals inside (low, high)."""
    middle = rng.uniform(low, high, count) * rng.choice([1.0, 1e-2, 1e-6, 0.0], count)
    middle = np.clip(middle, low, high)
    width = 10.0 ** rng.uniform(-18, 1.5, count) * rng.choice([1.0, 0.0], count, p=[0.9, 0.1])
    return np.clip(middle - width, low, high), np.clip(middle + width, low, high)


def inside(rng, lower, upper):
    """Points of each interval: both ends, the middle, 0 where it lies inside, and some between."""
    share = rng.uniform(0, 1, (3, lower.size))
    between = np.clip(lower + share * (upper - lower), lower, upper)
    zero = np.clip(0.0, lower, upper)
    return np.stack([lower, upper, np.clip(0.5 * lower + 0.5 * upper, lower, upper), zero, *between])


def test_every_curve_has_a_case():
    assert {id(case[0]) for case in CASES.values()} >= {id(curve) for curve in CURVES.values()}


@pytest.mark.parametrize("name", CASES)
def test_offsets_and_images_hold_in_high_precision(name):
    curve, params, fn, (low, high) = CASES[name]
    rng = np.random.default_rng(len(name))
    lower, upper = intervals(rng, low, high, 150)
    params = tuple(np.asarray(p) for p in params)
    with np.errstate(all="ignore"):
        slope = curve.slope(0.5 * lower + 0.5 * upper, *params)
    chosen = np.where(np.isfinite(slope.low), slope.low, rng.uniform(-2, 2, lower.size))
    for slopes in (chosen, rng.choice([0.0, 1.0, -1.0, 0.3, -2.5], lower.size)):
        with np.errstate(all="ignore"):
            below = curve.offset_below(lower, upper, slopes, *params)
            above = curve.offset_above(lower, upper, slopes, *params)
            least, most = curve.image(lower, upper, *params)
        assert np.mean(np.isfinite(below) & np.isfinite(above)) > 0.8
        for points in inside(rng, lower, upper):
            for i, x in enumerate(points):
                if not np.isfinite(below[i] + above[i]):
                    continue
                value, line = high_precision(fn, x), Decimal(float(slopes[i])) * Decimal(float(x))
                last = Decimal("1e-40") * (1 + abs(value) + abs(line))  # of the decimals themselves
                assert Decimal(float(below[i])) + line <= value + last, (lower[i], upper[i], x)
                assert Decimal(float(above[i])) + line >= value - last, (lower[i], upper[i], x)
                assert Decimal(float(least[i])) - last <= value <= Decimal(float(most[i])) + last


@pytest.mark.parametrize("record", ACTIVATIONS, ids=lambda record: record.name)
def test_offsets_are_as_good_as_the_records(x64, record):
    """For the record's own slopes, the proven offset loses a few units in the last place."""
    if record.name not in CURVES:
        return
    rng = np.random.default_rng(1)
    low, high = (
        (1e-3, 30.0) if record.name in ("log", "rsqrt", "sqrt", "reciprocal", "log1p") else (-8.0, 8.0)
    )
    lower = rng.uniform(low, high, 300)
    upper = np.minimum(lower + 10.0 ** rng.uniform(-4, 1, 300), high)
    lower = np.minimum(lower, upper)
    for params in record.cases:
        if record.name == "elu" and params[0] < 0:
            continue
        lines = record.lines(jnp.asarray(lower), jnp.asarray(upper), 0.5, *params)
        curve, given = CURVES[record.name], tuple(np.asarray(p, np.float64) for p in params)
        below = curve.offset_below(lower, upper, np.asarray(lines.lower_slope), *given)
        above = curve.offset_above(lower, upper, np.asarray(lines.upper_slope), *given)
        scale = 1 + np.abs(np.asarray(lines.lower_offset)) + 30 * np.abs(np.asarray(lines.lower_slope))
        scale = scale + np.abs(np.asarray(lines.upper_offset)) + 30 * np.abs(np.asarray(lines.upper_slope))
        assert np.all(below >= np.asarray(lines.lower_offset) - 1e-12 * scale)
        assert np.all(above <= np.asarray(lines.upper_offset) + 1e-12 * scale)


def test_functions_enclose_high_precision():
    x = np.concatenate([np.random.default_rng(0).uniform(-40, 40, 500), [0.0, 1e-300, -1e-20, 700.0, -745.0]])
    for enclosed, fn in (
        (functions.exp, Decimal.exp),
        (functions.sigmoid, decimals.sigmoid),
        (functions.tanh, decimals.tanh),
        (functions.sigmoid_slope, lambda v: decimals.sigmoid(v) * decimals.sigmoid(-v)),
        (functions.tanh_slope, lambda v: 4 * decimals.sigmoid(2 * v) * decimals.sigmoid(-2 * v)),
    ):
        low, high = enclosed(x)
        for i, value in enumerate(x):
            exact = high_precision(fn, value)
            assert Decimal(float(low[i])) <= exact <= Decimal(float(high[i]))
            assert (
                high[i] - low[i] <= 1e-13 * max(abs(float(exact)), 0.2 if fn is decimals.tanh else 0) + 1e-290
            )


def test_join_offsets_hold_exactly():
    rng = np.random.default_rng(0)
    for name, fn in (("multiply", lambda x, y: x * y), ("maximum", max)):
        rule = COMBINATIONS[name]
        size = 10.0 ** rng.uniform(-3, 3, (2, 200))
        ends = np.sort(rng.normal(size=(2, 2, 200)) * size[:, None], axis=1)
        lowers, uppers = list(ends[:, 0]), list(ends[:, 1])
        weight = rng.choice([0.0, 1.0, 0.3, 1 / 3], 200)
        slopes = [rng.normal(size=200), rng.normal(size=200)] if name == "multiply" else [weight, 1 - weight]
        below, above = (f(lowers, uppers, slopes) for f in (rule.offset_below, rule.offset_above))
        least, most = rule.image(lowers, uppers)
        for i in range(200):
            for corner in ((0, 0), (0, 1), (1, 0), (1, 1), None):
                points = [
                    float(e[i])
                    for e in (
                        [0.5 * ends[k, 0] + 0.5 * ends[k, 1] for k in (0, 1)]
                        if corner is None
                        else [ends[k, corner[k]] for k in (0, 1)]
                    )
                ]
                x, y = map(Fraction, points)
                line = Fraction(float(slopes[0][i])) * x + Fraction(float(slopes[1][i])) * y
                assert Fraction(float(below[i])) + line <= fn(x, y) <= Fraction(float(above[i])) + line
                assert Fraction(float(least[i])) <= fn(x, y) <= Fraction(float(most[i]))
    negative = [np.array([-0.5]), np.array([1.5])]
    assert np.isnan(COMBINATIONS["maximum"].offset_below([np.zeros(1)] * 2, [np.ones(1)] * 2, negative))


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("norm", [1.0, 2.0, np.inf])
def test_minima_are_below_exact_values_and_close(x64, norm, clip):
    rng = np.random.default_rng(3)
    for scale in (1.0, 1e-8, 1e8):
        center = rng.uniform(0, 1, 6)
        radius = scale * rng.uniform(0, 0.7, 6) * (np.arange(6) != 2)
        ends = (0.0, 1.0) if clip else None
        region = jc.lp_ball(jnp.asarray(center), jnp.asarray(radius), float(norm), clip=ends)
        rows = rng.normal(size=(40, 6)) * 10.0 ** rng.integers(-3, 3, (40, 6))
        found = exact_region(region).minimum_below(rows)
        plain = np.asarray(jc.regions.minimize_linear(region, jnp.asarray(rows)))
        size = (np.abs(rows) * (center + np.minimum(radius, 1 if clip else np.inf))).sum(1)
        assert np.all(found >= plain - 1e-12 * size)
        for _ in range(30):
            move = rng.normal(size=6)
            share = np.abs(move).max() if norm == np.inf else (np.abs(move) ** norm).sum() ** (1 / norm)
            x = center + radius * move / share * (1 - 1e-9)
            x = np.clip(x, 0, 1) if clip else x
            for row, bound in zip(rows, found, strict=True):
                value = sum(Fraction(float(c)) * Fraction(float(v)) for c, v in zip(row, x, strict=True))
                assert Fraction(float(bound)) <= value
    zero = exact_region(jc.lp_ball(jnp.asarray(center), 0.0, float(norm))).minimum_below(np.eye(6))
    np.testing.assert_allclose(zero, center, rtol=1e-14)
