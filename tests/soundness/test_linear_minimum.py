"""`regions.minimize_linear` and `regions.interval` against the numpy minimiser, derivatives included."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given

import jaxcert as jc
from jaxcert import regions
from tests.common.compiling import quick_jit
from tests.common.regions import KINDS, OTHER, arrays, draw, rounded, seeds
from tests.oracles import finite, linear_min, sampling, sets

SIZE, BATCH = 6, 24


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("kind", KINDS + OTHER, ids=str)
def test_linear_minimum_is_exact(kind, precision):
    tolerance = 3e-6 if precision == "float32" else 1e-12
    with jax.enable_x64(precision == "float64"):
        minimise = quick_jit(jax.vmap(lambda parts, c: regions.minimize_linear(kind.build(parts), c)))
        enclose = quick_jit(jax.vmap(lambda parts: regions.interval(kind.build(parts))))

        @given(seed=seeds())
        def check(seed):
            rng = np.random.default_rng(seed)
            drawn = [rounded(draw(kind, SIZE, rng), precision) for _ in range(BATCH)]
            coeffs = rng.normal(size=(BATCH, 3, SIZE)) * (rng.random((BATCH, 3, SIZE)) < 0.8)
            coeffs *= 10.0 ** rng.integers(-6, 6, size=(BATCH, 1, 1))
            coeffs = coeffs.astype(precision)
            parts = arrays(drawn, (SIZE,), precision)
            values, (lower, upper) = minimise(parts, jnp.asarray(coeffs)), enclose(parts)
            for i, region in enumerate(drawn):
                rows = coeffs[i].astype(np.float64)
                scale = np.abs(rows) @ (np.abs(region.center) + region.radius)
                exact = linear_min.minima(region, rows)
                assert (np.abs(np.asarray(values[i]) - exact) <= tolerance * scale + 1e-300).all()
                for ours, theirs in zip((lower[i], upper[i]), sets.interval(region), strict=True):
                    assert np.asarray(ours) == pytest.approx(theirs, rel=tolerance, abs=tolerance)

        check()


@pytest.mark.parametrize("kind", KINDS + OTHER, ids=str)
def test_gradient_and_hessian_of_the_linear_minimum(kind, x64):
    def value(coeffs, center, parts):
        return regions.minimize_linear(kind.build({**parts, "center": center}), coeffs)

    value_of = quick_jit(value)
    slopes_of = quick_jit(jax.grad(value, argnums=(0, 1)))
    curved_of = quick_jit(jax.hessian(value))
    rng = np.random.default_rng(5)
    for _ in range(4):
        region = draw(kind, SIZE, rng, magnitudes=(0.3, 1.0))
        parts = jax.tree.map(lambda leaf: leaf[0], arrays([region], (SIZE,), "float64"))
        center = parts["center"] * 0.9 + 0.05 if kind.clipped else parts["center"]
        check_derivatives(value_of, slopes_of, curved_of, center, parts, rng, moves=kind.norm is not None)


def check_derivatives(value_of, slopes_of, curved_of, center, parts, rng, moves):
    coeffs, direction = rng.normal(size=SIZE), rng.normal(size=SIZE)
    by_coeffs, by_center = slopes_of(coeffs, center, parts)
    measured = finite.directional(lambda c: value_of(c, center, parts), coeffs, direction)
    assert float(by_coeffs @ direction) == pytest.approx(measured, rel=1e-6, abs=1e-7)
    if moves:
        measured = finite.directional(lambda x: value_of(coeffs, x, parts), center, direction)
        assert float(by_center @ direction) == pytest.approx(measured, rel=1e-6, abs=1e-7)
    measured = finite.hessian_vector(lambda c: slopes_of(c, center, parts)[0], coeffs, direction)
    assert np.asarray(curved_of(coeffs, center, parts) @ direction) == pytest.approx(
        measured, rel=1e-5, abs=1e-6
    )


@pytest.mark.parametrize("kind", OTHER, ids=str)
def test_networks_over_clipped_balls_of_other_norms(kind):
    """No point of the region, minimisers of the linear parts included, leaves the bounds."""

    @quick_jit
    @jax.vmap
    def bounds_of(w1, w2, parts):
        fn = lambda x: w2 @ jnp.maximum(w1 @ x, 0.0)
        region = kind.build(parts)
        return {"ibp": jc.ibp()(fn, region), "crown": jc.crown()(fn, region)}

    rng = np.random.default_rng(12)
    drawn = [rounded(draw(kind, SIZE, rng), "float32") for _ in range(BATCH)]
    w1, w2 = (rng.normal(size=(BATCH, *shape)).astype(np.float32) for shape in ((5, SIZE), (3, 5)))
    found = bounds_of(w1, w2, arrays(drawn, (SIZE,), "float32"))
    for i, region in enumerate(drawn):
        rows = np.concatenate([w1[i], -w1[i], w2[i] @ w1[i], -w2[i] @ w1[i]]).astype(float)
        points = [sampling.points(region, 60, rng), *(linear_min.minimizer(region, r)[None] for r in rows)]
        values = np.maximum(np.concatenate(points) @ w1[i].T.astype(float), 0) @ w2[i].T.astype(float)
        slack = 1e-5 * (1 + np.abs(values).max())
        for name, bounds in found.items():
            assert (values >= np.asarray(bounds.lower[i]) - slack).all(), name
            assert (values <= np.asarray(bounds.upper[i]) + slack).all(), name


@pytest.mark.parametrize("kind", KINDS + OTHER, ids=str)
def test_gradients_are_finite_where_the_minimum_has_a_kink(kind, x64):
    parts = {"center": jnp.full(SIZE, 0.5), "lower": jnp.zeros(SIZE), "upper": jnp.ones(SIZE)}

    @quick_jit
    @jax.vmap
    def slopes(coeffs, eps):
        def value(coeffs, eps):
            return regions.minimize_linear(kind.build({**parts, "radius": jnp.full(SIZE, eps)}), coeffs)

        return jax.grad(value, argnums=(0, 1))(coeffs, eps)

    found = slopes(jnp.array([[0.0] * SIZE, [1.0] * SIZE] * 2), jnp.array([0.0, 0.0, 0.5, 0.5]))
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in found)
