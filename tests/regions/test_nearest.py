"""The nearest point of a half-space: general solvers give its distance, and it must lie where it should."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcert as jc
from jaxcert.regions import LpBall
from jaxcert.regions.nearest import measure, nearest_in_halfspace, nearest_on_hyperplane
from tests.common.compiling import quick_jit
from tests.oracles import halfspace, sets
from tests.regions.test_halfspace import N, problems

NORMS = [1.0, 1.5, 2.0, 3.0, math.inf]


def ball_of(center, radius, clipped, norm):
    return LpBall(center, radius, (jnp.zeros(()), jnp.ones(())) if clipped else None, norm)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("clipped", [False, True])
@pytest.mark.parametrize("norm", NORMS)
def test_it_lies_in_the_half_space_at_the_exact_distance(norm, clipped, weighted, x64):
    center, weight, coeffs, offset, ends = problems(np.random.default_rng(7), clipped, weighted)
    weight[2] = 0.0 if weighted else weight[2]  # a pinned coordinate
    radius = weight if weighted else np.float64(0.123)  # a scalar radius is no unit

    @quick_jit
    def solve(coeffs, offset):
        ball = ball_of(jnp.asarray(center), jnp.asarray(radius), clipped, norm)
        x = jax.vmap(lambda c, o: nearest_in_halfspace(ball, c, o))(coeffs, offset)
        return x, jax.vmap(lambda x: measure(ball, x - center))(x)

    points, distances = (np.asarray(found) for found in solve(coeffs, offset))
    low, high = np.maximum(ends[0], -1e9), np.minimum(ends[1], 1e9)
    region = sets.Set(center, weight, norm, low, high)
    moved = reached = 0
    for x, distance, c, o in zip(points, distances, coeffs, offset, strict=True):
        assert ((low <= x) & (x <= high)).all()
        exact = halfspace.distance(region, c, o)
        value, size = c @ x + o, np.abs(c).sum()
        if exact == 0:
            np.testing.assert_array_equal(x, center)
        elif np.isinf(exact):  # the farthest corner, or nowhere to go
            target = np.where(c > 0, low, high) if clipped else center
            assert np.allclose(x, np.where((c == 0) | (weight == 0), center, target), atol=1e-12)
            moved += 1
        else:
            assert value <= 1e-9 * size
            assert distance == pytest.approx(exact, rel=2e-6, abs=1e-9)
            reached += 1
    assert reached > 10
    assert moved > 0 or not clipped


@pytest.mark.parametrize("norm", [1.0, 2.0, math.inf])
def test_the_plane_is_reached_from_both_sides_and_from_any_point(norm, x64):
    rng = np.random.default_rng(1)
    ball = ball_of(jnp.asarray(rng.random(N)), jnp.ones(()), True, norm)
    for _ in range(6):
        coeffs, x, on = rng.normal(size=N), rng.random(N), rng.random(N)
        offset = -coeffs @ on
        found = np.asarray(
            nearest_on_hyperplane(ball, jnp.asarray(coeffs), jnp.asarray(offset), jnp.asarray(x))
        )
        side = 1.0 if coeffs @ x + offset >= 0 else -1.0
        exact = halfspace.distance(sets.ball(x, 1.0, norm, (0.0, 1.0)), side * coeffs, float(side * offset))
        assert coeffs @ found + offset == pytest.approx(0, abs=1e-12)
        assert np.linalg.norm(found - x, norm) == pytest.approx(exact, rel=1e-9)


@pytest.mark.parametrize("clip", [None, (0.0, 1.0)], ids=["plain", "clipped"])
@pytest.mark.parametrize("norm", [1.0, 2.0, 3.0, math.inf])
def test_edge_cases(norm, clip):
    region = jc.lp_ball(jnp.full(3, 0.5), 0.2, norm, clip)
    solve = quick_jit(jax.vmap(lambda c, o: nearest_in_halfspace(region, c, o)))
    nan, big, tiny = jnp.array([1.0, jnp.nan, 1.0]), jnp.full(3, 1e30), jnp.full(3, 1e-30)
    rows = jnp.stack([jnp.zeros(3), jnp.ones(3), jnp.ones(3), nan, jnp.ones(3), big, tiny])
    found = np.asarray(solve(rows, jnp.array([1.0, -1.5, -2.0, 0.0, jnp.nan, -1.2e30, -1.2e-30])))
    np.testing.assert_array_equal(found[:3], np.full((3, 3), 0.5))
    assert np.isnan(found[3:5]).all()
    # All gains are equal: in every norm it is a best answer to move all coordinates alike.
    assert found[5:7].sum(axis=1) == pytest.approx(np.full(2, 1.2), rel=1e-5)


def test_ties_and_coordinates_that_are_just_enough_under_l1():
    region = jc.l1_ball(jnp.full(4, 0.5), 1.0, clip=(0.0, 1.0))
    coeffs = jnp.array([2.0, -1.0, 1.0, 0.5])
    first = nearest_in_halfspace(region, coeffs, jnp.array(-0.25))  # value 1: the room of the steepest
    np.testing.assert_allclose(first, [0.0, 0.5, 0.5, 0.5], atol=1e-6)
    second = nearest_in_halfspace(region, coeffs, jnp.array(0.25))  # and a half more, of one or both equals
    assert float(second[0]) == 0.0
    assert float(second[3]) == 0.5
    assert float((second[1] - 0.5) + (0.5 - second[2])) == pytest.approx(0.5)


def test_errors():
    ball = jc.linf_ball(jnp.zeros(3), 0.1)
    for solve in (nearest_in_halfspace, nearest_on_hyperplane):
        with pytest.raises(jc.errors.InvalidInputError, match="needs an l_p ball"):
            solve(jc.box(jnp.zeros(3), jnp.ones(3)), jnp.ones(3), jnp.ones(()))  # pyright: ignore[reportArgumentType]
        with pytest.raises(jc.errors.InvalidInputError, match="shaped like the region"):
            solve(ball, jnp.ones((2, 3)), jnp.ones(2))
        with pytest.raises(jc.errors.InvalidInputError, match="shaped like the region"):
            solve(ball, jnp.ones(3), jnp.ones(()), jnp.ones(4))
