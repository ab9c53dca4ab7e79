"""The distance to a half-space: general solvers, the inverse problem, truncation, extremes, derivatives."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcert as jc
from jaxcert.regions import LpBall, minimize_linear
from jaxcert.regions.halfspace import halfspace_distance
from tests.common.compiling import quick_jit
from tests.oracles import finite, halfspace, sets

NORMS = [1.0, 1.1, 1.5, 2.0, 3.0, math.inf]
N, ROWS = 7, 60


def problems(rng, clipped, weighted):
    """One ball and many planes: zeros, wide scales, unreachable and reached ones among them."""
    center = rng.random(N)
    center[rng.random(N) < 0.3] = rng.integers(0, 2)  # black or white pixels have no room on one side
    weight = rng.random(N) * (rng.random(N) < 0.8) + 1e-3 if weighted else np.ones(N)
    coeffs = rng.normal(size=(ROWS, N)) * 10.0 ** rng.uniform(-3, 2, (ROWS, N))
    coeffs *= rng.random((ROWS, N)) < 0.9
    size = np.abs(coeffs).sum(1)
    value = size * rng.choice([-0.1, 0.01, 0.1, 0.3, 0.6, 1.2], ROWS) * rng.random(ROWS)
    ends = (np.zeros(N), np.ones(N)) if clipped else (np.full(N, -np.inf), np.full(N, np.inf))
    return center, weight, coeffs, value - coeffs @ center, ends


@pytest.mark.parametrize(
    ("norm", "clipped", "weighted"),
    [*((norm, clipped, True) for norm in NORMS for clipped in (False, True)), (2.0, True, False)],
)
def test_distances_are_those_of_general_solvers(norm, clipped, weighted, x64):
    rng = np.random.default_rng(3)
    center, weight, coeffs, offset, ends = problems(rng, clipped, weighted)

    @quick_jit
    def distance(center, weight, coeffs, offset):
        clip = (jnp.zeros(()), jnp.ones(())) if clipped else None
        return halfspace_distance(LpBall(center, weight, clip, norm), coeffs, offset)

    radius = weight if weighted else np.float64(0.123)  # a scalar radius is no unit
    found = np.asarray(distance(center, radius, coeffs, offset))
    region = sets.Set(center, weight, norm, np.maximum(ends[0], -1e9), np.minimum(ends[1], 1e9))
    exact = np.array([halfspace.distance(region, c, o) for c, o in zip(coeffs, offset, strict=True)])
    assert (np.isfinite(exact) & (exact > 0)).sum() > ROWS // 4
    assert (np.isinf(exact).sum() > 0) == clipped
    assert np.array_equal(np.isinf(found), np.isinf(exact))
    assert found[np.isfinite(exact)] == pytest.approx(exact[np.isfinite(exact)], rel=2e-6, abs=1e-9)


@pytest.mark.parametrize("norm", [1.5, 2.0, math.inf])
def test_stopping_early_gives_lower_bounds_that_rise(norm, x64):
    center, weight, coeffs, offset, _ = problems(np.random.default_rng(5), True, True)
    region = LpBall(center, weight, (np.zeros(()), np.ones(())), norm)
    found = np.stack([halfspace_distance(region, coeffs, offset, steps=steps) for steps in (0, 1, 2, 3, 20)])
    reachable = np.isfinite(found[-1])
    assert (np.diff(found[:, reachable], axis=0) >= -1e-12 * found[-1, reachable]).all()
    assert (found[0] < found[-1]).any()


@pytest.mark.parametrize("norm", [1.0, 2.0, math.inf])
def test_the_minimum_over_the_ball_of_that_radius_is_zero(norm, x64):
    center, _, coeffs, offset, _ = problems(np.random.default_rng(9), True, False)
    ball = lambda radius: LpBall(center, radius, (np.zeros(()), np.ones(())), norm)
    distances = halfspace_distance(ball(jnp.ones(())), coeffs, offset)
    least = jax.vmap(lambda d, c: minimize_linear(ball(d), c))(distances, coeffs) + offset
    reached = np.isfinite(distances) & (distances > 0)
    assert reached.any()
    scale = np.abs(coeffs).sum(1)
    assert np.abs(least / scale)[reached] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("clip", [None, (0.0, 1.0)], ids=["plain", "clipped"])
@pytest.mark.parametrize("norm", [1.0, 2.0, 3.0, math.inf])
def test_edge_cases(norm, clip):
    region = jc.lp_ball(jnp.full(3, 0.5), 0.2, norm, clip)
    distance = quick_jit(partial(halfspace_distance, region))
    zero, big, tiny = jnp.zeros(3), jnp.full(3, 1e30), jnp.full(3, 1e-30)
    nan = jnp.array([1.0, jnp.nan, 1.0])
    rows = jnp.stack([zero, zero, zero, jnp.ones(3), jnp.ones(3), nan, jnp.ones(3), big, tiny])
    offset = jnp.array([1.0, 0.0, -1.0, -1.5, -2.0, 0.0, jnp.nan, -1.2e30, -1.2e-30])
    found = np.asarray(distance(rows, offset))
    assert np.isinf(found[0])
    assert (found[1:5] == 0).all()  # on the plane or behind it
    assert np.isnan(found[5:7]).all()
    dual = {1.0: 1.0, 2.0: 3**0.5, 3.0: 3 ** (2 / 3), math.inf: 3.0}[norm]
    assert found[7:9] == pytest.approx(np.full(2, 0.3 / dual), rel=1e-5)


def test_a_pinned_coordinate_does_not_move():
    region = jc.linf_ball(jnp.ones(2), jnp.array([0.0, 0.5]), clip=(0.0, 2.0))
    assert float(halfspace_distance(region, jnp.array([5.0, 1.0]), jnp.array(-5.5))) == pytest.approx(1.0)
    assert float(halfspace_distance(region, jnp.array([5.0, 0.0]), jnp.array(-4.0))) == np.inf


@pytest.mark.parametrize("norm", [1.0, 1.5, 2.0, math.inf])
def test_derivatives(norm, x64):
    rng = np.random.default_rng(2)
    center, coeffs = rng.random(5), rng.normal(size=5)
    room = np.abs(coeffs) @ np.where(coeffs > 0, center, 1 - center)

    def distance(packed):
        x, c, o = packed[:5], packed[5:10], packed[10]
        return halfspace_distance(LpBall(x, jnp.ones(()), (jnp.zeros(()), jnp.ones(())), norm), c, o)

    at = np.concatenate([center, coeffs, [0.7 * room - coeffs @ center]])
    gradient = jax.grad(distance)(jnp.asarray(at))
    program = quick_jit(distance)
    assert np.asarray(gradient) == pytest.approx(
        finite.gradient(lambda p: float(program(p)), at), rel=1e-4, abs=1e-6
    )


def test_errors():
    ball = jc.linf_ball(jnp.zeros(3), 0.1)
    with pytest.raises(jc.errors.InvalidInputError, match="needs an l_p ball"):
        halfspace_distance(jc.box(jnp.zeros(3), jnp.ones(3)), jnp.ones(3), jnp.ones(()))
    with pytest.raises(jc.errors.InvalidInputError, match="must end with the region's shape"):
        halfspace_distance(ball, jnp.ones((2, 4)), jnp.ones(2))
    with pytest.raises(jc.errors.InvalidInputError, match="offset"):
        halfspace_distance(ball, jnp.ones((2, 3)), jnp.ones(()))
    with pytest.raises(jc.errors.InvalidInputError, match="at least 0"):
        halfspace_distance(ball, jnp.ones(3), jnp.ones(()), steps=-1)


@pytest.mark.parametrize("clipped", [False, True])
@pytest.mark.parametrize("norm", [1.0, 1.5, 2.0, math.inf])
def test_the_slope_at_a_coefficient_of_zero_lies_between_the_one_sided_ones(norm, clipped, x64):
    # A pixel at the end of the range has room on one side of zero only.
    center, coeffs, step = np.array([0.5, 0.0]), np.array([1.0, 0.0]), 1e-5
    clip = (jnp.zeros(()), jnp.ones(())) if clipped else None
    ball = LpBall(jnp.asarray(center), jnp.ones(2), clip, norm)
    slope = jax.grad(lambda c: halfspace_distance(ball, c, jnp.asarray(-0.2)))(jnp.asarray(coeffs))[1]
    ends = (np.zeros(2), np.ones(2)) if clipped else (np.full(2, -1e9), np.full(2, 1e9))
    region = sets.Set(center, np.ones(2), norm, *ends)
    exact = lambda change: halfspace.distance(region, coeffs + np.array([0.0, change]), -0.2)
    sides = (exact(step) - exact(0.0)) / step, (exact(0.0) - exact(-step)) / step
    assert min(sides) - 1e-3 <= float(slope) <= max(sides) + 1e-3
