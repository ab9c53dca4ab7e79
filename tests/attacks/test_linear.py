"""The linear attack against the exact worst case of affine networks."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcert.attacks import expectation, pgd
from jaxcert.attacks.linear import linear_attack
from jaxcert.regions import box, l2_ball, linf_ball, lp_ball, product
from jaxcert.regions.contain import contains
from tests.oracles import linear_min
from tests.regions.test_project import SIZE, as_oracle, draw_ball

KEY = jax.random.key(0)


@jax.jit
def attack_affine(weight, bias, region, label):
    result = linear_attack()(lambda x: weight @ x + bias, region, label, key=KEY)
    return result, contains(region, result.x)


def run(fn, region):
    return jax.jit(lambda region: linear_attack()(fn, region, 0, key=KEY))(region)


@pytest.mark.parametrize("clipped", [False, True])
@pytest.mark.parametrize("norm", [1.0, 2.0, 4.0, math.inf])
def test_attains_the_smallest_margin_of_an_affine_network(norm, clipped):
    rng = np.random.default_rng(2)
    with jax.enable_x64(True):
        for draw in range(8):
            ball, _ = draw_ball(rng, norm, "array" if draw % 2 else "scalar", clipped)
            weight, bias, label = rng.normal(size=(4, SIZE)), rng.normal(size=4), draw % 4
            result, inside = attack_affine(weight, bias, ball, label)
            others = [j for j in range(4) if j != label]
            best = min(
                linear_min.minimize(as_oracle(ball), weight[label] - weight[j]) + bias[label] - bias[j]
                for j in others
            )
            np.testing.assert_allclose(result.margin, best, rtol=1e-8, atol=1e-8)
            np.testing.assert_allclose(result.loss, -result.margin, rtol=1e-12)
            assert bool(inside)
            assert bool(result.success) == (best < 0)


@pytest.mark.parametrize("norm", [1.0, 1.5, 2.0, math.inf])
def test_closed_form_of_binary_logistic_regression(norm):
    """theses/4b A12: the worst margin is y w.x - eps ||w||_q, at -y eps sign(w) |w|^(q/p) / ||w||_q^(q/p)."""
    rng = np.random.default_rng(3)
    weight, x, eps = rng.normal(size=5).astype(np.float32), rng.normal(size=5).astype(np.float32), 0.3
    q = {1.0: math.inf, math.inf: 1.0}.get(norm) or norm / (norm - 1)
    rows, bias = np.stack([-weight / 2, weight / 2]), np.zeros(2, np.float32)
    for label, y in ((0, -1), (1, 1)):
        result, _ = attack_affine(rows, bias, lp_ball(x, eps, norm), label)
        np.testing.assert_allclose(result.margin, y * weight @ x - eps * np.linalg.norm(weight, q), rtol=1e-5)
        power = 0.0 if norm == math.inf else q / norm
        if norm > 1:
            size = np.abs(weight) ** power / np.linalg.norm(weight, q) ** power
            np.testing.assert_allclose(result.x - x, -y * eps * np.sign(weight) * size, rtol=1e-4, atol=1e-6)


def test_is_never_above_the_attack_on_the_farthest_class():
    """theses/4b A12 for several classes: the step against the class whose weights differ most."""
    rng = np.random.default_rng(6)
    for _ in range(5):
        weight, x = rng.normal(size=(4, SIZE)).astype(np.float32), rng.normal(size=SIZE).astype(np.float32)
        result, _ = attack_affine(weight, np.zeros(4, np.float32), l2_ball(x, 0.2), 1)
        far = max((0, 2, 3), key=lambda j: np.linalg.norm(weight[j] - weight[1]))
        apart = weight[far] - weight[1]
        logits = weight @ (x + 0.2 * apart / np.linalg.norm(apart))
        assert float(result.margin) <= logits[1] - np.delete(logits, 1).max() + 1e-5


def test_boxes_and_products():
    fn = lambda x: jnp.stack([x[0] - x[1], 0 * x[0]])
    corner = run(fn, box(jnp.array([0.0, -2.0]), jnp.array([1.0, 3.0])))
    assert corner.x.tolist() == [0.0, 3.0]
    parts = product({"a": linf_ball(jnp.ones(2), 0.5), "b": l2_ball(jnp.zeros(2), 1.0)})
    both = lambda parts: jnp.stack(
        [parts["a"].sum() + 3 * parts["b"][0] + 4 * parts["b"][1], 0 * parts["b"][0]]
    )
    result = run(both, parts)
    np.testing.assert_allclose(result.x, [0.5, 0.5, -0.6, -0.8], rtol=1e-5)
    np.testing.assert_allclose(result.margin, -4.0, rtol=1e-5)


def test_is_an_estimate_for_other_networks():
    """Never worse than the clean point, which is a candidate."""
    fn = lambda x: jnp.stack([jnp.sum(x**2), jnp.asarray(0.5, x.dtype)])
    result = run(fn, linf_ball(jnp.zeros(2), 1.0))
    assert result.x.tolist() == [0.0, 0.0]
    assert float(result.margin) == -0.5


def test_batches_randomised_networks_and_parameters_held_constant():
    weight = jnp.asarray(np.random.default_rng(1).normal(size=(3, SIZE)), jnp.float32)
    centers = jnp.linspace(0.0, 1.0, 4 * SIZE).reshape(4, SIZE)

    def margins(weight):
        one = lambda x, label: linear_attack()(lambda z: weight @ z, l2_ball(x, 0.1), label, key=KEY)
        return jax.vmap(one)(centers, jnp.array([0, 1, 2, 0])).margin

    looped = [
        attack_affine(weight, jnp.zeros(3), l2_ball(x, 0.1), label)[0].margin
        for x, label in zip(centers, (0, 1, 2, 0), strict=True)
    ]
    np.testing.assert_allclose(jax.jit(margins)(weight), jnp.stack(looped), rtol=1e-4, atol=1e-6)
    assert not np.any(jax.jit(jax.grad(lambda weight: jnp.sum(margins(weight))))(weight))
    noisy = expectation(lambda x, key: weight @ x + 0.01 * jax.random.normal(key, (3,)), 3)
    found = run(noisy, l2_ball(centers[0], 0.1))
    np.testing.assert_allclose(found.margin, looped[0], atol=0.05)


def test_bad_input_counts_as_an_error():
    weight, bias, good = jnp.eye(3, SIZE), jnp.zeros(3), jnp.full(SIZE, 0.5)
    for label in (-1, 3):
        result, inside = attack_affine(weight, bias, linf_ball(good, 0.1), label)
        assert (bool(result.success), bool(jnp.isnan(result.margin)), bool(inside)) == (True, True, True)
    region_of = jax.jit(lambda x, eps: linf_ball(x, eps))
    for x, eps in ((good, -0.1), (good, jnp.nan), (good.at[0].set(jnp.nan), 0.1)):
        result, _ = attack_affine(weight, bias, region_of(x, eps), 0)
        assert (bool(result.success), bool(jnp.isnan(result.margin))) == (True, True)
    steep = lambda x: jnp.stack([jnp.sqrt(x[0]), x[1]])  # infinite slope at the centre
    result = run(steep, linf_ball(jnp.zeros(2), 0.1, (0.0, 1.0)))
    assert bool(jnp.all(jnp.isfinite(result.x)))
    with pytest.raises(ValueError, match="classes 0 to 2"):
        linear_attack()(lambda x: weight @ x, linf_ball(good, 0.1), 3, key=KEY)


def test_pgd_does_not_beat_it():
    rng = np.random.default_rng(9)
    weight = rng.normal(size=(3, SIZE)).astype(np.float32)
    ball = lp_ball(jnp.full(SIZE, 0.5), 0.3, 1.0, (0.0, 1.0))
    exact, _ = attack_affine(weight, np.zeros(3, np.float32), ball, 0)
    found = jax.jit(lambda key: pgd(10, restarts=2)(lambda x: weight @ x, ball, 0, key=key))(KEY)
    assert float(exact.margin) <= float(found.margin) + 1e-5
