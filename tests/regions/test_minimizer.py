import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcert.errors import InvalidInputError
from jaxcert.regions import Box, LpBall, l2_ball, linf_ball, lp_ball, product
from jaxcert.regions.contain import contains
from jaxcert.regions.minimizer import linear_minimizer
from tests.oracles import linear_min
from tests.regions.test_project import SIZE, as_oracle, draw_ball

minimizer_jit, contains_jit = jax.jit(linear_minimizer), jax.jit(contains)


@pytest.mark.parametrize("clipped", [False, True])
@pytest.mark.parametrize("norm", [1.0, 1.1, 2.0, 20.0, math.inf])
def test_attains_the_minimum_inside_the_region(norm, clipped):
    rng = np.random.default_rng(5)
    with jax.enable_x64(True):
        for draw in range(12):
            ball, _ = draw_ball(rng, norm, "array" if draw % 2 else "scalar", clipped)
            coeffs = rng.normal(size=SIZE) * (rng.random(SIZE) > 0.2)
            # Steps of exactly the same gain, and coefficients of any size.
            coeffs = np.round(coeffs) * 10.0 ** rng.integers(-200, 200) if draw % 3 == 0 else coeffs
            x = minimizer_jit(ball, coeffs)
            assert bool(contains_jit(ball, x))
            unit = np.abs(coeffs).max() or 1.0
            best = linear_min.minimize(as_oracle(ball), coeffs / unit)
            reach = float(coeffs / unit @ np.asarray(ball.center)) - best
            np.testing.assert_allclose(coeffs / unit @ np.asarray(x), best, atol=1e-9 * reach + 1e-12)


@pytest.mark.parametrize("norm", [1.0, 1.1, 2.0, 20.0])
def test_steps_of_very_different_gains(norm):
    """One coordinate may spend the whole budget, and what is left after the clipped ones is shared."""
    with jax.enable_x64(True):
        ball = lp_ball(jnp.array([0.99, 0.0, 0.5, 0.999]), 0.4, norm, (0.0, 1.0))
        for coeffs in ([0, 0, 1, 1e-9], [-1, 1, 1e-9, 0], [-1e9, 1e9, 1, 1e-3], [-1, 0, 1e-300, -1e-5]):
            x = minimizer_jit(ball, jnp.array(coeffs, float))
            assert bool(contains_jit(ball, x))
            best = linear_min.minimizer(as_oracle(ball), np.array(coeffs, float))
            np.testing.assert_allclose(x, best, rtol=1e-9, atol=1e-12)


def test_boxes_products_and_no_slope():
    region = Box(jnp.array([0.0, -2.0]), jnp.array([1.0, 3.0]))
    assert minimizer_jit(region, jnp.array([1.0, -1.0])).tolist() == [0.0, 3.0]
    assert minimizer_jit(region, jnp.zeros(2)).tolist() == [0.5, 0.5]
    both = product((region, l2_ball(jnp.zeros((1, 2)), 1.0)))
    found = minimizer_jit(both, jnp.array([-1.0, 1.0, 0.3e-30, 0.4e-30]))
    np.testing.assert_allclose(found, [1.0, -2.0, -0.6, -0.8], rtol=1e-5)
    assert bool(contains_jit(both, found))


@pytest.mark.parametrize("norm", [1.0, 2.0, math.inf])
def test_nan_stays_nan(norm):
    ball = LpBall(jnp.zeros(2), jnp.array(1.0), (jnp.array(-1.0), jnp.array(0.5)), norm)
    assert np.isnan(minimizer_jit(ball, jnp.array([1.0, jnp.nan]))).all()
    bad = LpBall(jnp.zeros(2), jnp.array(-1.0), ball.clip, norm)
    assert np.isnan(minimizer_jit(bad, jnp.ones(2))).all()


def test_wrong_shapes_are_refused():
    with pytest.raises(InvalidInputError, match="shaped like the region"):
        linear_minimizer(linf_ball(jnp.zeros(2), 0.1), jnp.ones((3, 2)))
