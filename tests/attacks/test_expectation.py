"""Randomised networks: the draws are replayed by their keys and everything is computed again in numpy."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcert.attacks import (
    center_start,
    expectation,
    fgsm,
    margin_loss,
    mean_logits,
    mean_probability,
    pgd,
)
from jaxcert.regions import l2_ball, linf_ball
from jaxcert.regions.contain import contains

KEY, SIZE, CLASSES, SAMPLES = jax.random.key(7), 4, 3, 5
WEIGHT = jnp.asarray(np.random.default_rng(0).normal(size=(CLASSES, SIZE)), jnp.float32)
CENTER = jnp.linspace(-1.0, 1.0, SIZE)


def drawn(key):
    return WEIGHT + jax.random.normal(key, WEIGHT.shape)


def noisy(x, key):
    return drawn(key) @ x


def weights_of_step(step, samples=SAMPLES):
    """What the attack draws at a step of its first start: every step folds its number into the key."""
    keys = jax.random.split(jax.random.fold_in(jax.random.fold_in(KEY, 0), step), samples)
    return np.asarray(jax.vmap(drawn)(keys), float)


def softmax(z):
    return np.exp(z) / np.exp(z).sum()


def test_climbs_the_mean_of_the_gradients():
    attack = pgd(1, step_size=1.0, start=center_start(), keep_best=False)
    ball = l2_ball(CENTER, 0.3)
    result = jax.jit(lambda key: attack(expectation(noisy, SAMPLES), ball, 1, key=key))(KEY)
    x = np.asarray(CENTER, float)
    gradients = [w.T @ (softmax(w @ x) - np.eye(CLASSES)[1]) for w in weights_of_step(0)]
    slope = np.mean(gradients, axis=0)
    x = x + 0.3 * slope / np.linalg.norm(slope)
    np.testing.assert_allclose(result.x, x, rtol=1e-4, atol=1e-5)
    assert not np.allclose(
        slope / np.linalg.norm(slope), gradients[0] / np.linalg.norm(gradients[0]), atol=0.05
    )
    probabilities = np.array([softmax(w @ x) for w in weights_of_step(1)])
    np.testing.assert_allclose(result.loss, -np.log(probabilities[:, 1]).mean(), rtol=1e-4)
    logs = np.log(probabilities.mean(axis=0))
    np.testing.assert_allclose(result.margin, logs[1] - np.delete(logs, 1).max(), rtol=1e-4, atol=1e-5)
    assert bool(result.success) == (np.argmax(logs) != 1)


@pytest.mark.parametrize("loss", [margin_loss, None])
def test_one_sample_of_a_deterministic_network_is_the_attack_itself(loss):
    options = {"steps": 4, "restarts": 2} | ({} if loss is None else {"loss": loss})
    plain = lambda x: jnp.tanh(WEIGHT @ x)
    run = jax.jit(lambda fns, key: [pgd(**options)(fn, BALL, 1, key=key) for fn in fns], static_argnums=0)
    alone, single, many = run(
        (plain, expectation(lambda x, key: plain(x), 1), expectation(lambda x, key: plain(x), 3)), KEY
    )
    for same in (single, many):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), alone, same)


BALL = linf_ball(CENTER, 0.4, (-1.0, 1.0))


def test_draws_afresh_at_every_step():
    slope = lambda key: jnp.where(jax.random.bernoulli(key), 1.0, -1.0)
    fn = lambda x, key: jnp.stack([slope(key) * x[0], jnp.zeros(())])
    attack = pgd(12, step_size=0.01, start=center_start(), keep_best=False, loss=margin_loss)
    result = jax.jit(lambda key: attack(expectation(fn, 1), linf_ball(jnp.zeros(1), 1.0), 0, key=key))(KEY)
    restart = jax.random.fold_in(KEY, 0)
    keys = [jax.random.split(jax.random.fold_in(restart, step), 1)[0] for step in range(12)]
    signs = [float(slope(key)) for key in keys]
    assert 0 < sum(sign > 0 for sign in signs) < 12
    np.testing.assert_allclose(result.x, [-0.01 * sum(signs)], atol=1e-6)


def test_is_judged_by_the_prediction_and_not_by_one_draw():
    """Few sure draws for class 0, many less sure ones for class 1: logits and probabilities disagree."""
    fn = lambda x, key: (
        jnp.where(jax.random.uniform(key) < 0.3, jnp.array([30.0, 0.0]), jnp.array([0.0, 5.0]))
        + 0 * jnp.sum(x)
    )
    found, attack = {}, pgd(1, start=center_start(), keep_best=False)
    for predict in (mean_probability, mean_logits):
        random = expectation(fn, 40, predict)
        found[predict] = jax.jit(lambda key, random=random: attack(random, BALL, 0, key=key))(KEY)
    keys = jax.random.split(jax.random.fold_in(jax.random.fold_in(KEY, 0), 1), 40)
    share = float(jnp.mean(jax.vmap(jax.random.uniform)(keys) < 0.3))
    assert 0.15 < share < 0.45
    odds = [share + (1 - share) / (1 + math.exp(5)), (1 - share) / (1 + math.exp(-5))]
    np.testing.assert_allclose(found[mean_probability].margin, math.log(odds[0] / odds[1]), rtol=1e-4)
    np.testing.assert_allclose(found[mean_logits].margin, 30 * share - 5 * (1 - share), rtol=1e-4)
    assert bool(found[mean_probability].success)
    assert not bool(found[mean_logits].success)


def test_parameters_are_held_constant():
    def run(weight, x):
        random = expectation(lambda z, key: (weight + jax.random.normal(key, weight.shape)) @ z, 3)
        return pgd(17)(random, l2_ball(x, 0.2), 0, key=KEY)

    total = lambda weight, x: jnp.sum(run(weight, x).x) + run(weight, x).margin
    assert not any(np.any(leaf) for leaf in jax.jit(jax.grad(total, (0, 1)))(WEIGHT, CENTER))
    loss = lambda weight: jnp.sum((weight @ run(weight, CENTER).x) ** 2)
    _, pull = jax.vjp(loss, WEIGHT)
    assert all(leaf.shape[:1] != (17,) for leaf in jax.tree.leaves(pull))


def test_batches_equal_the_loop_and_keys_decide():
    attack = pgd(3, restarts=2)

    def one(x, label, key):
        return attack(expectation(noisy, 3), linf_ball(x, 0.1), label, key=key)

    centers, labels, keys = jnp.stack([CENTER, -CENTER]), jnp.array([0, 2]), jax.random.split(KEY, 2)
    batched = jax.jit(jax.vmap(one))(centers, labels, keys)
    for i in range(2):
        alone = jax.jit(one)(centers[i], labels[i], keys[i])
        jax.tree.map(
            lambda a, b, i=i: np.testing.assert_allclose(a[i], b, rtol=1e-4, atol=1e-5), batched, alone
        )
        assert bool(contains(linf_ball(centers[i], 0.1), alone.x))
    other = jax.jit(one)(CENTER, 0, keys[1])
    assert float(other.loss) != float(batched.loss[0])


def test_one_bad_draw_and_other_bad_input_count_as_errors():
    sometimes = lambda x, key: jnp.where(jax.random.uniform(key) < 0.5, jnp.nan, 1.0) * x
    run = jax.jit(lambda x, eps, label: fgsm()(expectation(sometimes, 12), linf_ball(x, eps), label, key=KEY))
    for x, eps, label in ((CENTER, 0.1, 3), (CENTER, -0.1, 0), (CENTER.at[0].set(jnp.nan), 0.1, 0)):
        result = run(x, eps, label)
        assert (bool(result.success), bool(jnp.isnan(result.margin))) == (True, True)
    region = linf_ball(CENTER, 0.1)
    noisy_label = jax.jit(lambda label: pgd(2)(expectation(noisy, 2), region, label, key=KEY))
    for label in (-1, CLASSES):
        result = noisy_label(label)
        assert (bool(result.success), bool(jnp.isnan(result.margin))) == (True, True)
        assert bool(contains(region, result.x))


@pytest.mark.parametrize(
    ("message", "call"),
    [
        ("at least one sample", lambda: expectation(noisy, 0)),
        ("at least one sample", lambda: expectation(noisy, True)),
        ("classes 0 to 2", lambda: pgd(1)(expectation(noisy, 2), BALL, 3, key=KEY)),
        ("returned shape", lambda: pgd(1)(expectation(lambda x, key: x[:1], 2), BALL, 0, key=KEY)),
    ],
)
def test_bad_input_is_refused(message, call):
    with pytest.raises(ValueError, match=message):
        call()
