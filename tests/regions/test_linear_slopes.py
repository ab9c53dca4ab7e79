"""Derivatives of `minimize_linear` in its coefficients, where some of them are 0 or next to nothing.

The minimum is concave and homogeneous in the coefficients, so that its slopes are the points of the
region at which the minimum is attained, and nothing else is one: inside, and of the right value.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcert as jc
from jaxcert.regions import minimize_linear
from jaxcert.regions.norms import dual_norm
from tests.common.regions import KINDS, OTHER, arrays, draw
from tests.oracles import finite, linear_min, sets

NORMS = (1.0, 1.05, 1.5, 2.0, 3.0, 50.0, np.inf)
TINY = (0.0, 1e-300, -1e-170, 1e-30, -1e-10, 1e-3)


def value_and_slope(region_of):
    return jax.jit(jax.vmap(jax.value_and_grad(lambda parts, c: minimize_linear(region_of(parts), c), 1)))


def require_minimiser(region, coeffs, value, slope):
    scale = 1e-300 + np.abs(coeffs) @ (np.abs(region.center) + region.radius)
    assert sets.contains(region, slope, 1e-9), slope
    with np.errstate(over="ignore"):
        least = linear_min.minimize(region, coeffs)
    assert value == pytest.approx(least, abs=1e-12 * scale)
    assert value == pytest.approx(coeffs @ slope, abs=1e-9 * scale)


@pytest.mark.parametrize("kind", KINDS + OTHER, ids=str)
def test_the_slope_is_a_minimiser(kind, x64):
    rng = np.random.default_rng(0)
    drawn = [draw(kind, 4, rng, (0.0, 0.03, 0.3, 1.0, 30.0)) for _ in range(200)]
    coeffs = rng.normal(size=(200, 4))
    coeffs = np.where(rng.random((200, 4)) < 0.5, coeffs, rng.choice(TINY, (200, 4)))
    values, slopes = value_and_slope(kind.build)(arrays(drawn, (4,), "float64"), jnp.asarray(coeffs))
    for found in zip(drawn, coeffs, np.asarray(values), np.asarray(slopes), strict=True):
        require_minimiser(*found)


@pytest.mark.parametrize("clipped", [False, True])
@pytest.mark.parametrize("norm", NORMS)
def test_where_one_coordinate_spends_the_budget(norm, clipped, x64):
    """The others have no coefficient, or nearly none; the centre may touch the range on either side."""
    clip = (0.0, 1.0) if clipped else None
    region_of = lambda center: jc.lp_ball(center, jnp.asarray(0.5), norm, clip)
    rows = [[sign, other, third] for sign in (1.0, -1.0) for other in TINY for third in (0.0, 1e-12)]
    centers = [[0.5, 0.5, 0.5], [0.1, 0.0, 1.0], [0.5, 1.0, 0.0], [0.4999999999, 0.3, 0.3]]
    coeffs, center = (np.array(part) for part in zip(*((r, c) for r in rows for c in centers), strict=True))
    values, slopes = value_and_slope(region_of)(jnp.asarray(center), jnp.asarray(coeffs))
    for i in range(len(coeffs)):
        region = sets.ball(center[i], 0.5, norm, clip)
        require_minimiser(region, coeffs[i], float(values[i]), np.asarray(slopes[i]))


@pytest.mark.parametrize("clipped", [False, True])
@pytest.mark.parametrize("norm", [1.5, 2.0, 3.0])
@pytest.mark.parametrize("coeffs", [[1.0, 0.0], [0.0, -2.0, 0.0], [1.0, 0.0, 3.0]])
def test_slopes_at_zero_are_finite_differences(norm, clipped, coeffs, x64):
    """Smooth there: one coordinate has the room for all of the budget."""
    clip = (0.0, 1.0) if clipped else None
    center, coeffs = np.full(len(coeffs), 0.5), np.array(coeffs)
    region, exact = jc.lp_ball(jnp.asarray(center), 0.5, norm, clip), sets.ball(center, 0.5, norm, clip)
    slope = jax.jit(jax.grad(lambda c: minimize_linear(region, c)))(jnp.asarray(coeffs))
    measured = finite.gradient(lambda c: linear_min.minimize(exact, c), coeffs, 1e-6)
    # With the dual power q the value is |c|^q next to 0, and the difference of two such small.
    assert np.asarray(slope) == pytest.approx(measured, abs=1e-5)


@pytest.mark.parametrize("norm", NORMS[:-1])
def test_the_dual_norm_has_no_slope_at_zero_entries(norm, x64):
    for gains in ([0.0, 0.0, 0.0], [1.0, 0.0, -2.0]):
        slope = jax.grad(lambda g: dual_norm(g, norm))(jnp.array(gains))
        assert np.asarray(slope)[np.array(gains) == 0].tolist() == [0.0] * gains.count(0.0)
    assert np.isnan(dual_norm(jnp.array([jnp.nan, 1.0]), norm))


@pytest.mark.parametrize("norm", NORMS[1:-1])
def test_single_precision_with_gains_out_of_sight_of_each_other(norm):
    """Squares and powers of the small ones vanish; a huge one that cannot move decides nothing."""
    center = jnp.array([0.5, 0.3, 0.0, 0.6])
    region = jc.lp_ball(center, 0.5, norm, (0.0, 1.0))
    exact = sets.ball(center, 0.5, norm, (0.0, 1.0))
    for row in (
        [1.0, 1e-25, 0.0, -1e-30],
        [0.0, 1e-25, 0.0, 1e-25],
        [1e-18, 1e-22, 1e30, -3e-18],
        [0.0, 1e-34, 1.0, 1e-36],
    ):
        value, slope = jax.jit(jax.value_and_grad(lambda c: minimize_linear(region, c)))(jnp.array(row))
        assert sets.contains(exact, np.asarray(slope, float), 1e-5 * norm)
        scale = np.abs(row[0]) + np.abs(row[1]) + np.abs(row[3])
        with np.errstate(over="ignore"):
            best = linear_min.minimize(exact, np.asarray(row, np.float32).astype(float))
        assert float(value) == pytest.approx(best, rel=1e-5, abs=1e-6 * scale)
