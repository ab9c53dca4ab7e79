"""`minimize_linear` and `linear_range`: values, derivatives in every argument, batching."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcert as jc
from jaxcert.regions import clipped, linear, linear_range, minimize_linear
from jaxcert.regions.clipped import _dual_value
from tests.common.regions import KINDS, OTHER, arrays, draw, rounded
from tests.oracles import finite, linear_min, sets

N = 5


@pytest.mark.parametrize("kind", KINDS + OTHER, ids=str)
def test_range_is_the_minimum_and_minus_the_minimum_of_the_negative(kind, x64):
    rng = np.random.default_rng(0)
    drawn = [draw(kind, 6, rng) for _ in range(100)]
    coeffs = rng.normal(size=(100, 2, 2, 3)) * (rng.random((100, 2, 2, 3)) < 0.8)
    ranges = jax.jit(jax.vmap(lambda parts, c: linear_range(kind.build(parts), c)))
    low, high = ranges(arrays(drawn, (2, 3), "float64"), jnp.asarray(coeffs))
    assert low.shape == high.shape == (100, 2)
    for i, region in enumerate(drawn):
        rows = coeffs[i].reshape(2, 6)
        scale = np.abs(rows) @ (np.abs(region.center) + region.radius) + 1e-300
        assert (np.abs(low[i] - linear_min.minima(region, rows)) <= 1e-12 * scale).all()
        assert (np.abs(high[i] + linear_min.minima(region, -rows)) <= 1e-12 * scale).all()


@pytest.mark.parametrize("norm", [1.2, 1.5, 3.0, 4.0, 10.0])
def test_general_p_is_hoelders_inequality(norm, x64):
    rng = np.random.default_rng(1)
    center, radius, coeffs = rng.normal(size=N), rng.random(N) * [1, 1, 0, 1, 2], rng.normal(size=(4, N))
    region = jc.lp_ball(jnp.asarray(center), jnp.asarray(radius), norm)
    dual = norm / (norm - 1)
    reach = (np.abs(coeffs * radius) ** dual).sum(-1) ** (1 / dual)
    low, high = linear_range(region, jnp.asarray(coeffs))
    assert np.asarray(low) == pytest.approx(coeffs @ center - reach, rel=1e-12)
    assert np.asarray(high) == pytest.approx(coeffs @ center + reach, rel=1e-12)
    drawn = rng.normal(size=(4000, N))
    drawn /= (np.abs(drawn) ** norm).sum(-1, keepdims=True) ** (1 / norm)
    values = (center + drawn * radius) @ coeffs.T
    assert (values >= np.asarray(low) - 1e-12).all()


def test_general_p_lies_between_its_neighbours():
    """Balls grow with p, so minima fall with p."""
    rng = np.random.default_rng(2)
    center, coeffs = (
        jnp.asarray(rng.normal(size=N), jnp.float32),
        jnp.asarray(rng.normal(size=N), jnp.float32),
    )
    values = [
        float(minimize_linear(jc.lp_ball(center, 0.5, p), coeffs)) for p in (1, 1.5, 2, 3, 50, math.inf)
    ]
    assert values == sorted(values, reverse=True)
    assert len(set(values)) == len(values)


@pytest.mark.parametrize("shape", [(N + 1,), (), (2, N, 1)])
def test_wrong_coefficient_shapes_raise(shape):
    with pytest.raises(jc.errors.InvalidInputError, match="must end with the region's shape"):
        minimize_linear(jc.linf_ball(jnp.zeros(N), 0.1), jnp.ones(shape))


@pytest.mark.parametrize("kind", KINDS + OTHER, ids=str)
def test_rows_and_batches_equal_single_calls(kind):
    rng = np.random.default_rng(4)
    drawn = [rounded(draw(kind, 4, rng, (0.0, 0.3)), "float32") for _ in range(3)]
    parts = arrays(drawn, (2, 2), "float32")
    coeffs = jnp.asarray(rng.normal(size=(3, 2, 5, 2, 2)), jnp.float32)
    minimum = jax.jit(lambda p, c: minimize_linear(kind.build(p), c))
    batched = jax.jit(jax.vmap(minimum))(parts, coeffs)
    assert batched.shape == (3, 2, 5)
    for i in range(3):
        region = jax.tree.map(lambda leaf, i=i: leaf[i], parts)
        for j in range(2):
            one = minimum(region, coeffs[i, j, 4])
            assert float(one) == pytest.approx(float(batched[i, j, 4]), rel=1e-5, abs=1e-6)


def clipped_ball(norm):
    def region_of(theta):
        return jc.lp_ball(theta["x"], theta["eps"], norm, (theta["low"], theta["high"]))

    return region_of


def plain_ball(norm):
    return lambda theta: jc.lp_ball(theta["x"], theta["eps"], norm)


FAMILIES = {
    "l1": (plain_ball(1.0), ("x", "eps")),
    "l2": (plain_ball(2.0), ("x", "eps")),
    "l3": (plain_ball(3.0), ("x", "eps")),
    "linf": (plain_ball(math.inf), ("x", "eps")),
    "l1 clipped": (clipped_ball(1.0), ("x", "eps", "low", "high")),
    "l2 clipped": (clipped_ball(2.0), ("x", "eps", "low", "high")),
    "linf clipped": (clipped_ball(math.inf), ("x", "eps", "low", "high")),
    "l1.5 clipped": (clipped_ball(1.5), ("x", "eps", "low", "high")),
    "l4 clipped": (clipped_ball(4.0), ("x", "eps", "low", "high")),
    "box": (lambda theta: jc.box(theta["low"], theta["high"]), ("low", "high")),
}


def smooth_point(rng, pinned):
    theta = {
        "x": rng.uniform(0.3, 0.7, N),
        "eps": rng.uniform(0.3, 0.9, N) * (1 - pinned),
        "low": rng.uniform(0.0, 0.25, N),
        "high": rng.uniform(0.75, 1.0, N),
        "coeffs": rng.normal(size=N),
    }
    return {name: jnp.asarray(part) for name, part in theta.items()}


@pytest.mark.parametrize("name", FAMILIES)
def test_gradient_and_hessian_in_every_argument(name, x64):
    """Second derivatives include the mixed ones, where the clipped l_2 multiplier moves."""
    region_of, moving = FAMILIES[name]
    names = (*moving, "coeffs")
    movable = lambda theta: {key: theta[key] for key in names}

    def f(moved, rest):
        theta = {**rest, **moved}
        return minimize_linear(region_of(theta), theta["coeffs"])

    def flat(moved):
        return jnp.concatenate([moved[key] for key in names])

    def unflat(vector):
        return dict(zip(names, jnp.split(vector, len(names)), strict=True))

    value_of = jax.jit(lambda v, rest: f(unflat(v), rest))
    gradient_of = jax.jit(jax.grad(lambda v, rest: f(unflat(v), rest)))
    hessian_of = jax.jit(jax.hessian(lambda v, rest: f(unflat(v), rest)))
    # A pinned coordinate sits on the edge eps = 0, where only one side exists. |g|^q with q < 2
    # has no second derivative there, so p > 2 goes without one.
    pinned = np.zeros(N) if name in ("l3", "l4 clipped") else np.eye(N)[2]
    rng = np.random.default_rng(6)
    for _ in range(4):
        theta = smooth_point(rng, pinned)
        at = np.asarray(flat(movable(theta)))
        free = np.ones_like(at)
        if "eps" in names:
            free[names.index("eps") * N : (names.index("eps") + 1) * N] -= pinned
        direction = rng.normal(size=at.size) * free
        measured = finite.directional(lambda v, t=theta: value_of(v, t), at, direction)
        assert float(gradient_of(at, theta) @ direction) == pytest.approx(float(measured), rel=1e-6, abs=1e-8)
        measured = finite.hessian_vector(lambda v, t=theta: gradient_of(v, t), at, direction)
        found = np.asarray(hessian_of(at, theta) @ direction)
        assert found * free == pytest.approx(measured * free, rel=1e-5, abs=1e-6)


def test_the_clipped_l2_hessian_is_not_the_one_with_a_frozen_multiplier(x64):
    """Some coordinates clip, some do not; the curvature along coeffs comes from the multiplier alone."""
    region = jc.l2_ball(jnp.full(3, 0.5), 1.0, clip=(jnp.array([0.4, -9.0, -9.0]), jnp.full(3, 9.0)))
    coeffs = jnp.array([2.0, 1.0, 1.5])
    found = jax.jit(jax.hessian(lambda c: minimize_linear(region, c)))(coeffs)
    free = np.array([1.0, 1.5])
    room = np.sqrt(1 - 0.1**2)
    expected = -room * (np.eye(2) / np.linalg.norm(free) - np.outer(free, free) / np.linalg.norm(free) ** 3)
    assert np.asarray(found[1:, 1:]) == pytest.approx(expected, abs=1e-10)
    assert np.asarray(found[0]) == pytest.approx(0, abs=1e-10)


@pytest.mark.parametrize("name", FAMILIES)
def test_derivatives_are_finite_at_zero_coefficients_and_zero_radius(name):
    region_of, _ = FAMILIES[name]

    @jax.jit
    @jax.vmap
    def value_and_slopes(theta):
        return jax.value_and_grad(lambda t: minimize_linear(region_of(t), t["coeffs"]))(theta)

    grid = itertools.product((0.0, 0.5), (0.0, 1e-30, 1.0, 1e10), (0.0, 0.5))
    cases = [
        {
            "x": jnp.full(N, x),
            "eps": jnp.full(N, eps),
            "low": jnp.zeros(N),
            "high": jnp.full(N, x if name == "box" else 1.0),
            "coeffs": jnp.full(N, size).at[0].set(0),
        }
        for eps, size, x in grid
    ]
    values, slopes = value_and_slopes(jax.tree.map(lambda *leaves: jnp.stack(leaves), *cases))
    assert bool(jnp.isfinite(values).all())
    for key, slope in slopes.items():
        assert bool(jnp.isfinite(slope).all()), key


@pytest.mark.parametrize("norm", [1.0, 1.1, 2.0, 5.0, math.inf])
def test_clip_never_loosens_and_wide_clip_changes_nothing(norm, x64):
    rng = np.random.default_rng(8)
    x, coeffs = jnp.asarray(rng.random(N)), jnp.asarray(rng.normal(size=(50, N)))
    clipped = jax.jit(
        lambda low, high, x=x: minimize_linear(jc.LpBall(x, jnp.asarray(0.7), (low, high), norm), coeffs)
    )
    plain = minimize_linear(jc.lp_ball(x, 0.7, norm), coeffs)
    tight, wide = clipped(0.0, 1.0), clipped(-9.0, 9.0)
    assert bool((tight >= plain - 1e-12).all())
    assert bool((tight > plain + 1e-3).any())
    assert np.asarray(wide) == pytest.approx(np.asarray(plain), rel=1e-12)


@pytest.mark.parametrize(
    ("norm", "size"), [(2.0, 1), (2.0, 3), (2.0, 200), (1.05, 200), (3.0, 200), (50.0, 200)]
)
def test_clipped_balls_give_lower_bounds_even_for_awkward_scales(norm, size):
    """float32, gains and rooms over many orders of magnitude: the dual value stays below the true minimum."""
    rng = np.random.default_rng(size)
    ours = jax.jit(lambda x, eps, c: minimize_linear(jc.lp_ball(x, eps, norm, (0.0, 1.0)), c))
    for _ in range(60):
        center = np.round(rng.random(size), 1) if rng.random() < 0.5 else rng.random(size)
        radius = 10.0 ** rng.uniform(-4, 3, size)
        coeffs = rng.normal(size=size) * 10.0 ** rng.uniform(-8, 4, size)
        center, radius, coeffs = (a.astype(np.float32) for a in (center, radius, coeffs))
        region = sets.ball(center, radius.astype(float), norm, (0.0, 1.0))
        exact = linear_min.minimize(region, coeffs.astype(float))
        slack = 1e-6 * float(np.abs(coeffs.astype(float)) @ (np.abs(center) + np.minimum(radius, 1.0)))
        found = float(ours(jnp.asarray(center), jnp.asarray(radius), jnp.asarray(coeffs)))
        assert found <= exact + slack
        assert found >= exact - 10 * slack


@pytest.mark.parametrize("norm", [1.05, 1.5, 3.0, 50.0])
def test_every_multiplier_gives_a_bound(norm, x64):
    """Weak duality: whatever nu the search ends at, the dual value is on the safe side."""
    rng = np.random.default_rng(9)
    gains, room = rng.random((40, N)) * 10.0 ** rng.uniform(-3, 0, (40, N)), rng.random((40, N))
    exact = [
        -linear_min.minimize(sets.Set(np.zeros(N), np.ones(N), norm, np.full(N, -9.0), k), -g)
        for g, k in zip(gains, room, strict=True)
    ]
    dual = jax.jit(jax.vmap(lambda nu: _dual_value(jnp.asarray(gains), jnp.asarray(room), nu, norm)))
    values = np.asarray(dual(jnp.asarray(10.0 ** rng.uniform(-6, 2, (200, 40)))))
    assert (values >= np.array(exact) - 1e-13).all()
    assert (values.min(axis=0) <= np.array(exact) * 1.2).all(), "and some multiplier is nearly right"


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_few_newton_steps_cost_tightness_only(steps, x64, monkeypatch):
    monkeypatch.setattr(clipped, "_NEWTON_STEPS", steps)
    rng = np.random.default_rng(10)
    center, radius, coeffs = rng.random((40, N)), rng.uniform(0.2, 2, (40, N)), rng.normal(size=(40, N))
    found = jax.jit(jax.vmap(lambda x, eps, c: linear.minimize_linear(jc.l2_ball(x, eps, (0.0, 1.0)), c)))(
        center, radius, coeffs
    )
    exact = [
        linear_min.minimize(sets.ball(x, eps, 2.0, (0.0, 1.0)), c)
        for x, eps, c in zip(center, radius, coeffs, strict=True)
    ]
    assert (np.asarray(found) <= np.array(exact) + 1e-13).all()
    if steps == 0:
        assert (np.asarray(found) < np.array(exact) - 1e-3).any(), "unfinished searches are looser"


@pytest.mark.parametrize("norm", [1.05, 3.0, 50.0])
def test_slopes_of_clipped_balls_are_finite_over_all_scales(norm):
    """float32: powers of gains and rooms over twenty orders of magnitude, forward and backward."""
    rng = np.random.default_rng(11)
    shape = (300, 8)
    center = np.where(rng.random(shape) < 0.3, np.round(rng.random(shape)), rng.random(shape))
    radius = 10.0 ** rng.uniform(-10, 6, shape) * (rng.random(shape) < 0.9)
    coeffs = rng.normal(size=shape) * 10.0 ** rng.uniform(-12, 6, shape) * (rng.random(shape) < 0.9)

    def value(x, eps, c):
        return minimize_linear(jc.lp_ball(x, eps, norm, (0.0, 1.0)), c)

    slopes = jax.jit(jax.vmap(jax.value_and_grad(value, argnums=(0, 1, 2))))
    found = slopes(*(jnp.asarray(part, jnp.float32) for part in (center, radius, coeffs)))
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(found))


@pytest.mark.parametrize("kind", KINDS + OTHER, ids=str)
def test_nan_coefficients_give_nan(kind):
    parts = {
        "center": jnp.full(3, 0.5),
        "radius": jnp.full(3, 0.1),
        "lower": jnp.zeros(3),
        "upper": jnp.ones(3),
    }
    rows = jnp.array([[jnp.nan, 1.0, 1.0], [1.0, 1.0, 1.0]])
    low, high = jax.jit(lambda p: linear_range(kind.build(p), rows))(parts)
    assert np.isnan([low[0], high[0]]).all()
    assert np.isfinite([low[1], high[1]]).all()
