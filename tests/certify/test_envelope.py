"""Polyhedral envelopes: closed forms, no adversarial example inside, never below plain bounds, bad input."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcert as jc
from tests.certify import nets
from tests.common.compiling import quick_jit
from tests.oracles import sampling, sets

COUNT = 40
PIXELS = (0.0, 1.0)
KINDS = [(1.0, PIXELS), (2.0, None), (2.0, PIXELS), (3.0, PIXELS), (math.inf, PIXELS)]
RNG = np.random.default_rng(0)
MATRIX = RNG.normal(size=(3, 5)).astype(np.float32)
X = RNG.random(5).astype(np.float32)
LABEL = int(np.argmax(MATRIX @ X))


def linear(x):
    return MATRIX @ x


@pytest.mark.parametrize("norm", [1.0, 2.0, math.inf])
def test_linear_models_have_the_dual_norm_distance(norm):
    dual = {1.0: math.inf, 2.0: 2.0, math.inf: 1.0}[norm]
    rows = MATRIX[LABEL] - np.delete(MATRIX, LABEL, axis=0)
    exact = rows @ X / np.linalg.norm(rows, dual, axis=1)
    found = jc.polyhedral_envelope(jc.crown(), linear, jc.lp_ball(X, 3 * exact.min(), norm), LABEL)
    assert np.asarray(found.distances) == pytest.approx(exact, rel=1e-5)
    assert exact.min() * (1 - 1e-3) <= float(found.radius) <= exact.min() * (1 + 1e-6)
    assert found.form.coeffs.shape == (2, 5)
    weights = np.array([1.0, 0.0, 2.0, 0.5, 1.0], np.float32)
    scaled = rows @ X / np.linalg.norm(rows * weights, dual, axis=1)
    array = jc.polyhedral_envelope(jc.crown(), linear, jc.lp_ball(X, 2 * scaled.min() * weights, norm), LABEL)
    assert float(array.radius) == pytest.approx(0.5, rel=1e-3)
    assert np.asarray(array.distances) == pytest.approx(scaled / (2 * scaled.min()), rel=1e-4)


@pytest.mark.parametrize(("norm", "clip"), KINDS, ids=lambda value: str(value))
def test_no_adversarial_example_within_the_certified_radius(norm, clip):
    params, xs, labels = nets.batch(1, COUNT)

    @quick_jit
    @jax.vmap
    def envelopes(params, x, eps, label):
        region = jc.lp_ball(x, eps, norm, clip)
        return jc.polyhedral_envelope(jc.fast_lin(), lambda x: nets.apply(params, x), region, label)

    eps = np.random.default_rng(2).choice([0.02, 0.1, 0.3, 1.0, 3.0], COUNT).astype(np.float32)
    found = envelopes(params, xs, eps, labels)
    radius, margins = np.asarray(found.radius), np.asarray(found.margins)
    whole = (margins > 0).all(1)
    assert (radius[whole] == eps[whole]).all()
    assert ((radius >= 0) & (radius <= eps)).all()
    partly = ~whole & (radius > 0)
    assert partly.sum() >= 3
    rng = np.random.default_rng(3)
    for i in np.flatnonzero(radius > 0):
        one = [p[i] for p in params]
        region = sets.ball(np.asarray(xs[i], np.float64), radius[i], norm, clip)
        points = sampling.points(region, 2000, rng)
        assert nets.least_margin(one, int(labels[i]), points) > 0
        # On the whole region, the planes are below the margins.
        wide = sampling.points(sets.ball(region.center, eps[i], norm, clip), 300, rng)
        values = nets.logits(one, wide)
        exact = values[:, [int(labels[i])]] - np.delete(values, int(labels[i]), axis=1)
        planes = wide @ np.asarray(found.form.coeffs[i], np.float64).T + np.asarray(found.form.offset[i])
        assert (planes <= exact + 1e-4 * (1 + np.abs(exact))).all()


def test_an_attack_finds_nothing_within_the_certified_radius():
    params, xs, labels = nets.batch(31, COUNT)

    @quick_jit
    @jax.vmap
    def attacked(params, x, label, seed):
        fn = lambda x: nets.apply(params, x)
        radius = jc.polyhedral_envelope(jc.crown(), fn, jc.l2_ball(x, 0.3, PIXELS), label).radius
        region = jc.l2_ball(x, radius, PIXELS)
        return radius, jc.pgd(steps=20)(fn, region, label, key=jax.random.key(seed)).success

    radius, success = attacked(params, xs, labels, jnp.arange(COUNT))
    assert ((radius > 0) & (radius < 0.3)).sum() >= 5
    assert not bool(success.any())


def test_one_example_equals_its_batch_and_values_do_not_retrace():
    params, xs, labels = nets.batch(5, 4)
    traces = []

    def radius(params, x, eps, label):
        traces.append(None)
        region = jc.linf_ball(x, eps, clip=(0.0, 1.0))
        return jc.polyhedral_envelope(jc.crown(), lambda x: nets.apply(params, x), region, label).radius

    eps = jnp.array([0.05, 0.1, 0.2, 0.4])
    batched = quick_jit(jax.vmap(radius))
    many = batched(params, xs, eps, labels)
    batched(params, xs * 0.5, 2 * eps, (labels + 1) % 3)
    assert len(traces) == 1
    one = [p[3] for p in params]
    assert float(radius(one, xs[3], eps[3], labels[3])) == pytest.approx(float(many[3]), rel=1e-4, abs=1e-6)


def test_misclassified_centres_and_zero_radii():
    wrong = jc.polyhedral_envelope(jc.crown(), linear, jc.linf_ball(X, 0.1), (LABEL + 1) % 3)
    assert float(wrong.radius) == 0
    assert float(wrong.distances.min()) == 0
    point = jc.polyhedral_envelope(jc.crown(), linear, jc.linf_ball(X, 0.0), LABEL)
    assert float(point.radius) == 0
    assert bool(jc.is_certified(point.margins))
    tie = jc.polyhedral_envelope(jc.crown(), lambda x: jnp.stack([x[0], x[0]]), jc.linf_ball(X, 0.1), 0)
    assert float(tie.radius) == 0


def test_planes_that_nothing_allowed_reaches_are_at_infinity():
    fn = lambda x: jnp.stack([x[0] + 1.0, -x[0]])
    found = jc.polyhedral_envelope(jc.crown(), fn, jc.linf_ball(jnp.array([0.5]), 9.0, clip=(0.0, 1.0)), 0)
    assert found.distances.tolist() == [math.inf]
    assert float(found.radius) == 9.0


def test_bad_traced_input_has_no_radius():
    radius = quick_jit(
        jax.vmap(
            lambda x, eps, y: jc.polyhedral_envelope(jc.crown(), linear, jc.l2_ball(x, eps), y).radius,
        )
    )
    xs = jnp.stack([X, X, jnp.asarray(X).at[0].set(jnp.nan), X, X, X])
    eps = jnp.array([-0.1, jnp.nan, 0.1, jnp.inf, 0.1, 0.01])
    found = radius(xs, eps, jnp.array([LABEL, LABEL, LABEL, LABEL, 7, LABEL]))
    assert not bool((found[:-1] > 0).any())
    assert float(found[-1]) == pytest.approx(0.01)


def test_the_radius_is_differentiable():
    rows = MATRIX[LABEL] - np.delete(MATRIX, LABEL, axis=0)
    nearest = int(np.argmin(rows @ X / np.linalg.norm(rows, axis=1)))
    slope = jax.grad(
        lambda x: jc.polyhedral_envelope(jc.crown(), linear, jc.l2_ball(x, 100.0), LABEL).radius
    )(jnp.asarray(X))
    assert np.asarray(slope) == pytest.approx(rows[nearest] / np.linalg.norm(rows[nearest]), rel=1e-3)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: jc.polyhedral_envelope(jc.crown(), linear, jc.box(X, X + 1), LABEL), "needs an l_p ball"),
        (lambda: jc.polyhedral_envelope(jc.ibp(), linear, jc.linf_ball(X, 0.1), LABEL), "linear_lower"),
        (lambda: jc.polyhedral_envelope(jc.crown(), linear, jc.linf_ball(X, 0.1), 3), "out of range"),
        (lambda: jc.polyhedral_envelope(jc.crown(), lambda x: x[:1], jc.linf_ball(X, 0.1), 0), "K >= 2"),
    ],
)
def test_bad_input_is_named(call, says):
    with pytest.raises(jc.errors.InvalidInputError, match=says):
        call()
