"""Joins through one table: planes enclose on boxes of all sizes, ranges are exact, gradients are finite."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcert.relax import JOINS, MAXIMUM, MULTIPLY

REFERENCE = {"multiply": lambda xs: xs[0] * xs[1], "maximum": lambda xs: xs.max(0)}
CASES = [(join, count) for join in JOINS for count in join.operands]
IDS = [f"{join.name}-{count}" for join, count in CASES]
COUNT = 1500


def boxes(count, precision):
    """Ends `[operands, boxes]`: wide, tiny, huge, apart, touching, equal, some operands fixed."""
    rng = np.random.default_rng(3)
    center = rng.normal(size=(count, COUNT)) * 10.0 ** rng.uniform(-3, 2, COUNT)
    width = 10.0 ** rng.uniform(-6, 2, (count, COUNT)) * (rng.random((count, COUNT)) < 0.8)
    width[:, ::15] = 0
    center[:, 1::15] = center[:1, 1::15]  # one box for all operands
    width[:, 1::15] = width[:1, 1::15]
    center[:, 2::15] = 0
    lower = (center - width).astype(precision)
    return lower, np.maximum((center + width).astype(precision), lower)


def points(lower, upper):
    """[points, operands, boxes] in float64: corners, random points and the middle."""
    rng = np.random.default_rng(4)
    low, high = lower.astype(np.float64), upper.astype(np.float64)
    corners = rng.integers(0, 2, (64, *lower.shape))
    shares = np.concatenate([corners, rng.random((64, *lower.shape)), np.full((1, *lower.shape), 0.5)])
    return np.clip(low + shares * (high - low), low, high)


def gap(planes, lower, upper, x, values, precision):
    """How far the planes cross, in units of last place of the numbers that enter."""
    size = np.maximum(np.abs(lower), np.abs(upper)).astype(np.float64)
    below_slopes, below, above_slopes, above = (
        np.asarray(planes.lower_slopes, np.float64),
        np.asarray(planes.lower_offset, np.float64),
        np.asarray(planes.upper_slopes, np.float64),
        np.asarray(planes.upper_offset, np.float64),
    )
    terms = [(np.abs(s) * size).sum(0) for s in (below_slopes, above_slopes)]
    scale = np.maximum.reduce([*terms, np.abs(below), np.abs(above), np.abs(values).max(0)])
    unit = np.finfo(precision).eps * scale + np.finfo(precision).tiny
    crossing = np.maximum(
        (below_slopes * x).sum(1) + below - values, values - (above_slopes * x).sum(1) - above
    )
    return (crossing / unit).max()


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize(("join", "count"), CASES, ids=IDS)
def test_planes_enclose_and_ranges_are_exact(join, count, precision):
    with jax.enable_x64(precision == "float64"):
        lower, upper = boxes(count, precision)
        x = points(lower, upper)
        values = REFERENCE[join.name](np.moveaxis(x, 1, 0))
        lows, highs = tuple(map(jnp.asarray, lower)), tuple(map(jnp.asarray, upper))

        @jax.jit
        def enclose(lows, highs):
            free = [join.enclose(lows, highs, jnp.asarray(a, precision)) for a in (0.0, 0.3, 1.0)]
            chosen = join.enclose(lows, highs, join.choose(lows, highs))
            return [*free, chosen, join.enclose_parallel(lows, highs)], join.range(lows, highs)

        every, (low, high) = enclose(lows, highs)
        for position, planes in enumerate(every):
            assert all(np.isfinite(part).all() for part in jax.tree.leaves(planes))
            assert gap(planes, lower, upper, x, values, precision) < 8, position
        same = zip(every[-1].lower_slopes, every[-1].upper_slopes, strict=True)
        assert all(bool(jnp.array_equal(a, b)) for a, b in same)
        ends = np.stack([lower, upper]).astype(np.float64)
        exact = ends.max(1) if join is MAXIMUM else _products(lower, upper)
        unit = 2 * np.finfo(precision).eps * np.abs(exact) + np.finfo(precision).tiny
        assert (np.abs(np.asarray([low, high], np.float64) - exact) <= unit).all()


def _products(lower, upper):
    (xl, yl), (xu, yu) = lower.astype(np.float64), upper.astype(np.float64)
    ends = np.stack([xl * yl, xl * yu, xu * yl, xu * yu])
    return np.stack([ends.min(0), ends.max(0)])


@pytest.mark.parametrize(("join", "count"), CASES, ids=IDS)
def test_ends_that_are_not_finite_poison_both_offsets(join, count):
    for bad in (jnp.nan, jnp.inf, -jnp.inf):
        lows, highs = [jnp.array([0.0])] * count, [jnp.array([1.0])] * count
        lows[-1] = highs[-1] = jnp.array([bad])
        for planes in (
            join.enclose(tuple(lows), tuple(highs), 0.5),
            join.enclose_parallel(tuple(lows), tuple(highs)),
        ):
            assert bool(jnp.isnan(planes.lower_offset).all())
            assert bool(jnp.isnan(planes.upper_offset).all())


@pytest.mark.parametrize(("join", "count"), CASES, ids=IDS)
def test_gradients_are_finite(join, count):
    lower, upper = boxes(count, "float32")
    lows, highs = tuple(map(jnp.asarray, lower)), tuple(map(jnp.asarray, upper))

    @jax.jit
    def gradient(lows, highs):
        def total(lows, highs):
            chosen = join.enclose(lows, highs, 0.25), join.enclose_parallel(lows, highs)
            return sum(part.sum() for part in jax.tree.leaves((chosen, join.range(lows, highs))))

        return jax.grad(total, (0, 1))(lows, highs)

    assert all(bool(jnp.isfinite(part).all()) for part in jax.tree.leaves(gradient(lows, highs)))


def test_a_maximum_with_a_dominant_operand_is_that_operand():
    lows, highs = (jnp.array([2.0]), jnp.array([-1.0])), (jnp.array([3.0]), jnp.array([1.0]))
    planes = MAXIMUM.enclose(lows, highs, MAXIMUM.choose(lows, highs))
    assert [float(s[0]) for s in planes.lower_slopes] == [float(s[0]) for s in planes.upper_slopes] == [1, 0]
    assert float(planes.lower_offset[0]) == float(planes.upper_offset[0]) == 0


def test_a_maximum_with_zero_is_the_triangle_of_relu():
    lows, highs = (jnp.array([-1.0]), jnp.zeros(1)), (jnp.array([3.0]), jnp.zeros(1))
    planes = MAXIMUM.enclose(lows, highs, 1.0)
    assert float(planes.upper_slopes[0][0]) == pytest.approx(0.75)
    assert float(planes.upper_offset[0]) == pytest.approx(0.75)


def test_a_square_as_a_product_takes_the_tangent_at_the_middle():
    ends = (jnp.array([1.0]),) * 2, (jnp.array([3.0]),) * 2
    planes = MULTIPLY.enclose(*ends, MULTIPLY.choose(*ends))
    assert float(sum(planes.lower_slopes)[0]) == 4.0
    assert float(planes.lower_offset[0]) == -5.0
