"""Projection is checked by its optimality condition, with the exact linear maximum from the oracles."""

import math

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given

from jaxcert.errors import InvalidInputError
from jaxcert.regions import Box, LpBall, interval
from jaxcert.regions.contain import contains
from jaxcert.regions.project import project, project_scaled
from tests.oracles import linear_min, sets

SIZE = 6
project_jit, scaled_jit, contains_jit = jax.jit(project), jax.jit(project_scaled), jax.jit(contains)


def draw_ball(rng, norm, radius_kind, clipped, size=SIZE, dtype=np.float64):
    """A ball and a point near it or far from it; some radii 0, some coordinates at a clip end."""
    center = rng.uniform(0, 1, size).astype(dtype)
    center[0] = rng.choice([0.0, 1.0, center[0]])
    radius = np.asarray(10 ** rng.uniform(-2, 0.5), dtype)
    if radius_kind == "array":
        radius = (radius * 10 ** rng.uniform(-2, 0.5, size) * (rng.random(size) > 0.2)).astype(dtype)
    clip = (jnp.zeros((), dtype), jnp.ones((), dtype)) if clipped else None
    x = (center + rng.normal(size=size) * 10 ** rng.uniform(-2, 2)).astype(dtype)
    return LpBall(jnp.asarray(center), jnp.asarray(radius), clip, norm), x


def as_oracle(ball):
    return sets.ball(ball.center, ball.radius, ball.norm, None if ball.clip is None else (0.0, 1.0))


def optimality_gap(ball, x, nearest, metric):
    """max over the ball of `<metric (x - nearest), z - nearest>`: 0 at the projection, and at least
    the squared distance to it (in the metric), as the objective is strongly convex."""
    pull = metric * (np.asarray(x, float) - np.asarray(nearest, float))
    return -linear_min.minimize(as_oracle(ball), -pull) - pull @ np.asarray(nearest, float)


BALLS = given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([1.0, 2.0, math.inf, 1.1, 1.5, 3.0, 20.0]),
    st.sampled_from(["scalar", "array"]),
    st.booleans(),
)


@BALLS
@example(3, 1.0, "array", True)
@example(3, 2.0, "array", True)
@example(3, 1.1, "array", True)
@example(3, 20.0, "array", True)
def test_is_the_nearest_point(seed, norm, radius_kind, clipped):
    with jax.enable_x64(True):
        ball, x = draw_ball(np.random.default_rng(seed), norm, radius_kind, clipped)
        nearest = np.asarray(project_jit(ball, x))
        assert bool(contains_jit(ball, nearest))
        assert sets.contains(as_oracle(ball), nearest, 1e-12)
        assert optimality_gap(ball, x, nearest, 1.0) <= 1e-11 * (1 + x @ x)


@BALLS
@example(3, 2.0, "array", True)
def test_scaled_is_the_nearest_point_in_units_of_the_radius(seed, norm, radius_kind, clipped):
    with jax.enable_x64(True):
        ball, x = draw_ball(np.random.default_rng(seed), norm, radius_kind, clipped)
        nearest = np.asarray(scaled_jit(ball, x))
        radius = np.broadcast_to(np.asarray(ball.radius), x.shape)
        metric = np.where(radius > 0, 1 / np.where(radius > 0, radius, 1.0) ** 2, 0.0)
        assert bool(contains_jit(ball, nearest))
        scale = 1 + metric @ (x - np.asarray(ball.center)) ** 2
        assert optimality_gap(ball, x, nearest, metric) <= 1e-11 * scale


@BALLS
@example(0, 2.0, "array", True)
def test_single_precision_stays_inside_and_is_idempotent(seed, norm, radius_kind, clipped):
    rng = np.random.default_rng(seed)
    ball, x = draw_ball(rng, norm, radius_kind, clipped, dtype=np.float32)
    for move in (project_jit, scaled_jit):
        nearest = move(ball, x)
        assert bool(contains_jit(ball, nearest))
        np.testing.assert_array_equal(move(ball, nearest), nearest)
    if norm != math.inf:
        assert sets.contains(as_oracle(ball), np.asarray(nearest, float), 1e-6)
    np.testing.assert_array_equal(
        np.asarray(nearest)[np.asarray(ball.radius * jnp.ones(SIZE)) == 0],
        np.asarray(ball.center)[np.asarray(ball.radius * jnp.ones(SIZE)) == 0],
    )


@pytest.mark.parametrize("norm", [1.0, 2.0, 1.05, 50.0])
@pytest.mark.parametrize("clipped", [False, True])
@pytest.mark.parametrize("radius", [1e-6, 1e-30, 0.3, 1e4])
def test_image_sized_and_extreme_radii(norm, clipped, radius):
    rng = np.random.default_rng(1)
    center = jnp.asarray(rng.uniform(0, 1, 784), jnp.float32)
    clip = (jnp.zeros(784), jnp.ones(784)) if clipped else None
    ball = LpBall(center, jnp.asarray(radius, jnp.float32), clip, norm)
    x = center + 3 * jnp.asarray(rng.normal(size=784), jnp.float32)
    nearest = project_jit(ball, x)
    assert bool(contains_jit(ball, nearest))
    np.testing.assert_array_equal(project_jit(ball, nearest), nearest)
    if radius == 0.3:
        reached = jnp.linalg.norm(nearest - center, norm)
        np.testing.assert_allclose(reached, radius, rtol=1e-4)


def test_closed_forms():
    ball = LpBall(jnp.zeros(2), jnp.array(1.0), norm=2.0)
    np.testing.assert_allclose(project(ball, jnp.array([3.0, 4.0])), [0.6, 0.8], rtol=1e-5)
    clipped = LpBall(jnp.zeros(2), jnp.array(1.0), (jnp.array(-0.5), jnp.array(0.5)), 2.0)
    # In the corner of the clip range the ball is not active: exactly there.
    np.testing.assert_array_equal(project(clipped, jnp.array([3.0, 4.0])), [0.5, 0.5])
    ball = LpBall(jnp.zeros(3), jnp.array(1.0), norm=1.0)
    np.testing.assert_allclose(project(ball, jnp.array([2.0, -1.5, 0.1])), [0.75, -0.25, 0.0], atol=1e-5)
    box = Box(jnp.array([0.0, 0.0]), jnp.array([1.0, 2.0]))
    np.testing.assert_array_equal(project(box, jnp.array([-1.0, 5.0])), [0.0, 2.0])


def test_clip_and_ball_together_differ_from_one_after_the_other():
    ball = LpBall(jnp.array([0.0, 0.0]), jnp.array(1.0), (jnp.array(0.0), jnp.array(0.6)), 2.0)
    x = jnp.array([2.0, 1.0])
    np.testing.assert_allclose(project(ball, x), [0.6, 0.8 * 0.75], atol=1e-5)
    tall = LpBall(ball.center, ball.radius, (jnp.zeros(2), jnp.array([0.6, 9.0])), 2.0)
    np.testing.assert_allclose(project(tall, x), [0.6, 0.8], atol=1e-5)


@pytest.mark.parametrize("norm", [1.0, 2.0, 3.0, math.inf])
def test_zero_radius_gives_the_centre(norm):
    center = jnp.array([0.1, 0.7, 1.0])
    for radius in (jnp.array(0.0), jnp.zeros(3)):
        ball = LpBall(center, radius, (jnp.array(0.0), jnp.array(1.0)), norm)
        for move in (project, project_scaled):
            np.testing.assert_array_equal(move(ball, jnp.array([5.0, -3.0, 0.2])), center)


@pytest.mark.parametrize("norm", [1.0, 1.5, 2.0, math.inf])
def test_bad_values_poison_every_coordinate(norm):
    x = jnp.array([0.2, 0.4])
    clip = (jnp.array(0.0), jnp.array(1.0))
    bad = [
        (LpBall(jnp.array([jnp.nan, 0.5]), jnp.array(0.1), None, norm), x),
        (LpBall(x, jnp.array(-0.1), None, norm), x),
        (LpBall(x, jnp.array([0.1, jnp.nan]), None, norm), x),
        (LpBall(jnp.array([0.5, 2.0]), jnp.array(0.1), clip, norm), x),
        (LpBall(x, jnp.array(0.1), (jnp.array(jnp.nan), jnp.array(1.0)), norm), x),
        (LpBall(x, jnp.array(0.1), clip, norm), jnp.array([jnp.nan, 0.4])),
    ]
    for ball, point in bad:
        for move in (project, project_scaled, project_jit):
            assert bool(jnp.all(jnp.isnan(move(ball, point))))
        assert not bool(contains(ball, point))
    assert bool(jnp.all(jnp.isnan(project(Box(jnp.ones(2), jnp.zeros(2)), x))))


def test_infinite_input_is_brought_inside():
    for norm in (1.0, 1.05, 2.0, 50.0, math.inf):
        ball = LpBall(jnp.zeros(3), jnp.array(0.5), None, norm)
        assert bool(contains(ball, project(ball, jnp.array([jnp.inf, 1.0, -jnp.inf]))))


def test_refuses_wrong_shapes():
    x = jnp.zeros(2)
    with pytest.raises(InvalidInputError, match="shape"):
        project(LpBall(x, jnp.array(1.0), norm=2.0), jnp.zeros((4, 2)))


@pytest.mark.parametrize("norm", [1.0, 2.0, 3.0, math.inf])
def test_batched_equals_one_by_one_and_does_not_retrace(norm):
    rng = np.random.default_rng(5)
    drawn = [draw_ball(rng, norm, "array", True, dtype=np.float32) for _ in range(4)]
    traces = 0

    @jax.jit
    def one(ball, x):
        nonlocal traces
        traces += 1
        return project(ball, x)

    single = [one(ball, jnp.asarray(x)) for ball, x in drawn]
    assert traces == 1
    balls = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(ball for ball, _ in drawn))
    batched = jax.vmap(project)(balls, jnp.stack([x for _, x in drawn]))
    np.testing.assert_allclose(batched, jnp.stack(single), rtol=1e-5, atol=1e-6)


def test_contains_counts_both_ends_and_widens_by_the_tolerance():
    box = Box(jnp.zeros(2), jnp.ones(2))
    assert bool(contains(box, jnp.array([0.0, 1.0])))
    assert not bool(contains(box, jnp.array([0.0, 1.01])))
    assert bool(contains(box, jnp.array([0.0, 1.01]), 0.02))
    for norm, edge in ((1.0, 0.5), (2.0, 0.5**0.5), (3.0, 0.5 ** (1 / 3)), (math.inf, 1.0)):
        ball = LpBall(jnp.zeros(2), jnp.array([1.0, 2.0]), norm=norm)
        at = lambda factor, edge=edge: factor * jnp.array([edge, 2 * edge])
        assert bool(contains(ball, at(0.999)))
        assert not bool(contains(ball, at(1.001)))
        assert bool(contains(ball, at(1.001), 0.01))
    pinned = LpBall(jnp.zeros(2), jnp.array([1.0, 0.0]), norm=2.0)
    assert bool(contains(pinned, jnp.array([0.5, 0.0])))
    assert not bool(contains(pinned, jnp.array([0.5, 1e-6])))
    assert not bool(contains(pinned, jnp.array([jnp.nan, 0.0])))


def test_projection_onto_linf_is_the_clip_to_the_interval():
    rng = np.random.default_rng(2)
    ball, x = draw_ball(rng, math.inf, "array", True, dtype=np.float32)
    np.testing.assert_array_equal(project(ball, x), np.clip(x, *interval(ball)))
