"""Rotated gradients: the geometry, and the fall of PGD's success with the angle (theses/2 Fig. 2.2)."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcert.attacks import center_start, expectation, margin_loss, pgd, rotated_gradient
from jaxcert.regions import l2_ball, linf_ball
from jaxcert.regions.contain import contains

KEY = jax.random.key(0)
turn = jax.jit(lambda angle, gradient, key: rotated_gradient(angle)(gradient, key=key))


@pytest.mark.parametrize("angle", [0.0, 0.3, math.pi / 3, math.pi / 2, math.pi])
def test_keeps_the_length_and_turns_by_the_angle(angle):
    gradient = jnp.asarray(np.random.default_rng(0).normal(size=(4, 5)), jnp.float32)
    for scale in (1e-3, 1.0, 1e6):
        turned = np.asarray(turn(angle, scale * gradient, KEY), float) / scale
        size = np.linalg.norm(gradient)
        np.testing.assert_allclose(np.linalg.norm(turned), size, rtol=1e-5)
        cosine = (turned * np.asarray(gradient, float)).sum() / size**2
        np.testing.assert_allclose(cosine, math.cos(angle), atol=1e-5)
    if angle == 0.0:
        np.testing.assert_allclose(turned, gradient, rtol=1e-5)


def test_turns_elsewhere_with_every_key_and_evenly():
    gradient = jnp.array([2.0, 0.0, 0.0])
    turned = jax.vmap(lambda key: turn(math.pi / 2, gradient, key))(jax.random.split(KEY, 400))
    np.testing.assert_allclose(turned[:, 0], 0.0, atol=1e-5)
    np.testing.assert_allclose(jnp.mean(turned, axis=0), 0.0, atol=0.25)
    assert len(np.unique(np.asarray(turned).round(4), axis=0)) > 390


def test_zero_stays_zero_and_one_dimension_has_no_other_direction():
    assert turn(1.0, jnp.zeros(3), KEY).tolist() == [0.0, 0.0, 0.0]
    alone = turn(0.5, jnp.array([3.0]), KEY)
    assert bool(jnp.all(jnp.isfinite(alone)))


def test_the_gain_of_one_step_falls_with_the_cosine():
    """Exactly for l_2 on a linear network: the step has length eps and that angle to the slope."""
    weight = jnp.asarray(np.random.default_rng(1).normal(size=30), jnp.float32)
    fn = lambda x: jnp.stack([weight @ x, jnp.zeros(())])
    ball, full = l2_ball(jnp.zeros(30), 0.5), 0.5 * float(jnp.linalg.norm(weight))

    @jax.jit
    def gain(angle, key):
        attack = pgd(
            1, step_size=1.0, start=center_start(), loss=margin_loss, keep_best=False,
            gradient=rotated_gradient(angle),
        )  # fmt: skip
        result = attack(fn, ball, 0, key=key)
        return result.loss, contains(ball, result.x)

    for angle in np.linspace(0, math.pi / 2, 4, dtype=np.float32):
        for seed in range(3):
            found, inside = gain(angle, jax.random.key(seed))
            np.testing.assert_allclose(found, full * math.cos(angle), rtol=1e-4, atol=1e-4)
            assert bool(inside)


def test_many_steps_each_draw_their_own_axis():
    """Axes of all directions average out, so that many turned steps still climb."""
    fn = lambda x: jnp.stack([jnp.sum(x), 0 * jnp.sum(x)])
    ball = linf_ball(jnp.zeros(20), 1.0)

    @jax.jit
    def run(angle, key):
        attack = pgd(
            30, step_size=0.05, start=center_start(), loss=margin_loss, keep_best=False,
            gradient=rotated_gradient(angle),
        )  # fmt: skip
        return attack(fn, ball, 0, key=key).loss

    assert float(run(math.pi / 4, KEY)) > 0.9 * 20
    same, other = run(math.pi / 2, KEY), run(math.pi / 2, jax.random.key(1))
    assert float(same) == float(run(math.pi / 2, KEY))
    assert float(same) != float(other)


def test_with_randomised_networks_and_early_stops():
    noisy = expectation(lambda x, key: jnp.stack([x[0], x[1]]) + 0.01 * jax.random.normal(key, (2,)), 3)
    attack = pgd(6, gradient=rotated_gradient(0.2), early_stop=True)
    result = jax.jit(lambda key: attack(noisy, linf_ball(jnp.array([1.0, 0.0]), 0.7), 0, key=key))(KEY)
    assert bool(result.success)
