import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcert.attacks import steepest_ascent
from jaxcert.regions import Box, LpBall
from tests.oracles import linear_min, sets

CENTER = jnp.linspace(0.0, 1.0, 5)


@pytest.mark.parametrize("radius", [0.3, np.array([0.1, 0.0, 2.0, 0.5, 1.0])])
@pytest.mark.parametrize("norm", [1.0, 2.0, math.inf])
def test_is_the_linear_maximiser(norm, radius):
    rng = np.random.default_rng(0)
    ball = LpBall(CENTER, jnp.asarray(radius, jnp.float32), None, norm)
    reference = sets.ball(CENTER, ball.radius, norm)
    for scale in (1e-30, 1.0, 1e30):
        gradient = (scale * rng.normal(size=5)).astype(np.float32)
        step = np.asarray(steepest_ascent(ball, CENTER, gradient))
        assert sets.contains(reference, CENTER + step, 1e-5)
        best = linear_min.minimizer(reference, -np.asarray(gradient, float) / scale) - np.asarray(CENTER)
        np.testing.assert_allclose(step, best, rtol=1e-4, atol=1e-6)
        half = steepest_ascent(ball, CENTER, gradient, 0.5)
        np.testing.assert_allclose(half, 0.5 * step, rtol=1e-6)


@pytest.mark.parametrize("norm", [1.5, 3.0, 4.0])
def test_other_norms_attain_the_dual_norm(norm):
    radius, gradient = jnp.array([0.1, 0.5, 2.0, 0.0, 1.0]), jnp.array([3.0, -1.0, 0.5, 9.0, 0.0])
    step = steepest_ascent(LpBall(CENTER, radius, None, norm), CENTER, gradient)
    q = norm / (norm - 1)
    np.testing.assert_allclose(gradient @ step, jnp.linalg.norm(radius * gradient, q), rtol=1e-5)
    u = np.delete(np.asarray(step), 3) / np.delete(np.asarray(radius), 3)
    np.testing.assert_allclose(np.linalg.norm(u, norm), 1.0, rtol=1e-5)
    assert float(step[3]) == 0.0


def test_l1_passes_on_what_the_clip_range_stops():
    ball = LpBall(jnp.array([1.0, 0.5, 0.25]), jnp.array(2.0), (jnp.array(0.0), jnp.array(1.0)), 1.0)
    gradient = jnp.array([9.0, 3.0, 5.0])
    # In units of the radius the rooms are 0, 0.25, 0.375: the first is stuck, the third goes first.
    for size, expected in ((0.2, [0, 0, 0.4]), (0.5, [0, 0.25, 0.75]), (1.0, [0, 0.5, 0.75])):
        np.testing.assert_allclose(steepest_ascent(ball, ball.center, gradient, size), expected, rtol=1e-6)
    np.testing.assert_allclose(steepest_ascent(ball, ball.center, -gradient, 0.25), [-0.5, 0, 0], rtol=1e-6)


@pytest.mark.parametrize("norm", [1.0, 1.5, 2.0, 3.0, math.inf])
@pytest.mark.parametrize("bad", [0.0, jnp.nan, jnp.inf, -jnp.inf])
def test_is_finite_for_any_gradient(norm, bad):
    ball = LpBall(CENTER, jnp.array(0.3), None, norm)
    for gradient in (jnp.full(5, bad), jnp.array([1.0, bad, 0.0, -2.0, 0.0])):
        step = jax.jit(steepest_ascent)(ball, CENTER, gradient)
        assert bool(jnp.all(jnp.isfinite(step)))
    if norm != math.inf and bad == 0.0:
        assert steepest_ascent(ball, CENTER, jnp.zeros(5)).tolist() == [0.0] * 5


def test_sign_of_zero_is_plus_one():
    region = Box(jnp.array([0.0, 0.0]), jnp.array([1.0, 4.0]))
    assert steepest_ascent(region, region.center, jnp.zeros(2)).tolist() == [0.5, 2.0]
