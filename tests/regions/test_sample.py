import math

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given

from jaxcert.regions import Box, LpBall
from jaxcert.regions.contain import contains
from jaxcert.regions.sample import corner, sample
from tests.regions.test_project import draw_ball

NORMS = [1.0, 2.0, 3.0, math.inf]


@jax.jit
def points(ball, keys):
    def one(key):
        drawn = jnp.stack([sample(ball, key=key), corner(ball, key=key)])
        return drawn, jax.vmap(lambda x: contains(ball, x))(drawn)

    return jax.vmap(one)(keys)


@given(st.integers(0, 2**32 - 1), st.sampled_from([1.0, 1.05, 2.0, 50.0, math.inf]), st.booleans())
def test_every_point_is_inside(seed, norm, clipped):
    ball, _ = draw_ball(np.random.default_rng(seed), norm, "array", clipped, dtype=np.float32)
    xs, inside = points(ball, jax.random.split(jax.random.key(seed), 50))
    pinned = np.asarray(ball.radius) == 0
    assert bool(jnp.all(inside))
    assert xs.dtype == ball.dtype
    assert bool(jnp.all(xs[..., pinned] == ball.center[pinned][None, None]))


@pytest.mark.parametrize("norm", NORMS)
def test_is_uniform_in_the_ball(norm):
    """In n dimensions ||u||_p^n is uniform on [0, 1], and no half-space through the centre is favoured."""
    n, draws = 4, 4000
    radius = jnp.array([0.1, 1.0, 2.0, 0.0, 5.0])
    ball = LpBall(jnp.arange(5.0), radius, norm=norm)
    xs = jax.vmap(lambda k: sample(ball, key=k))(jax.random.split(jax.random.key(3), draws))
    u = np.delete(np.asarray((xs - ball.center[None]) / jnp.where(radius > 0, radius, 1.0)[None]), 3, axis=1)
    depth = np.linalg.norm(u, norm, axis=1) ** n
    # Three standard errors of a Kolmogorov-Smirnov statistic would be about 1.6 / sqrt(draws) at 1 %.
    distance = np.abs(np.sort(depth) - (np.arange(draws) + 0.5) / draws).max()
    assert distance < 1.95 / math.sqrt(draws)
    above = np.random.default_rng(0).normal(size=(20, n)) @ u.T > 0
    assert np.abs(above.mean(axis=1) - 0.5).max() < 4.5 * 0.5 / math.sqrt(draws)
    spread = (u**2).mean(axis=0)
    assert spread.max() / spread.min() < 1.2


def test_box_is_uniform_and_corners_are_vertices():
    box = Box(jnp.array([0.0, -1.0, 3.0]), jnp.array([1.0, 1.0, 3.0]))
    keys = jax.random.split(jax.random.key(0), 4000)
    xs = np.asarray(jax.vmap(lambda k: sample(box, key=k))(keys))
    np.testing.assert_allclose(xs.mean(axis=0), [0.5, 0.0, 3.0], atol=0.05)
    np.testing.assert_allclose(xs.var(axis=0), [1 / 12, 4 / 12, 0.0], atol=0.02)
    assert bool(jax.vmap(lambda x: contains(box, x))(jnp.asarray(xs)).all())
    ends = np.asarray(jax.vmap(lambda k: corner(box, key=k))(keys[:100]))
    assert {tuple(v) for v in ends.tolist()} == {(a, b, 3.0) for a in (0.0, 1.0) for b in (-1.0, 1.0)}


def test_corners_of_balls_lie_on_the_boundary():
    keys = jax.random.split(jax.random.key(1), 200)
    for norm in NORMS:
        ball = LpBall(jnp.zeros(3), jnp.array([1.0, 2.0, 0.0]), norm=norm)
        xs, inside = points(ball, keys)
        assert bool(jnp.all(inside))
        u = np.asarray(xs)[:, 1, :2] / [1.0, 2.0]
        np.testing.assert_allclose(np.linalg.norm(u, norm, axis=1), 1.0, rtol=1e-5)
        if norm == 1:
            assert {tuple(v) for v in np.round(u).tolist()} == {(1, 0), (-1, 0), (0, 1), (0, -1)}


def test_clipping_puts_the_overhang_on_the_faces():
    ball = LpBall(jnp.array([0.0]), jnp.array(1.0), (jnp.array(0.0), jnp.array(2.0)))
    xs = jax.vmap(lambda k: sample(ball, key=k))(jax.random.split(jax.random.key(0), 1000))
    np.testing.assert_allclose(np.mean(np.asarray(xs) == 0.0), 0.5, atol=0.07)


def test_same_key_same_point_other_key_other_point():
    ball = LpBall(jnp.zeros(3), jnp.array(1.0), norm=2.0)
    for draw in (sample, corner):
        first = draw(ball, key=jax.random.key(7))
        np.testing.assert_array_equal(first, draw(ball, key=jax.random.key(7)))
        assert bool(jnp.any(first != draw(ball, key=jax.random.key(8))))


@pytest.mark.parametrize("norm", NORMS)
def test_invalid_regions_give_nan_and_zero_radius_the_centre(norm):
    center, key = jnp.array([0.5, 0.25]), jax.random.key(0)
    clip = (jnp.array(0.3), jnp.array(1.0))
    for draw in (sample, corner):
        for bad in (
            LpBall(center, jnp.array(-1.0), None, norm),
            LpBall(center, jnp.array([0.1, jnp.nan]), None, norm),
            LpBall(center, jnp.array(0.1), clip, norm),
        ):
            assert bool(jnp.all(jnp.isnan(draw(bad, key=key))))
        np.testing.assert_array_equal(draw(LpBall(center, jnp.array(0.0), None, norm), key=key), center)
        np.testing.assert_array_equal(draw(LpBall(center, jnp.zeros(2), None, norm), key=key), center)
    assert bool(jnp.all(jnp.isnan(sample(Box(jnp.ones(2), jnp.zeros(2)), key=key))))
