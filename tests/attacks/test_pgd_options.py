"""Early stops, iterated FGSM and the objectives beside the cross-entropy."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

from jaxcert.attacks import (
    center_start,
    dlr,
    ifgsm,
    kl_divergence,
    margin_loss,
    pgd,
    random_start,
    targeted_cross_entropy,
    targeted_dlr,
)
from jaxcert.regions import linf_ball, lp_ball
from jaxcert.regions.contain import contains
from tests.attacks.test_pgd import SIZE, attack_mlp, mlp, random_mlp, two_classes

KEY = jax.random.key(0)
LINE = two_classes(jnp.ones(1))  # wrong where x < 0
FOREVER = 10**9  # steps that a test could not wait for


def walk(steps=10, **options):
    return pgd(steps, step_size=0.1, start=center_start(), loss=margin_loss, **options)


@jax.jit
def on_line(attack, x):
    return attack(LINE, linf_ball(x[None], 1.0), 0, key=KEY)


def test_stops_one_step_after_the_first_misclassified_point():
    """That step is computed together with the loss there; the last point is judged like the others."""
    for x, expected in ((0.25, -0.15), (0.95, -0.05), (-0.5, -0.6)):
        stopped = on_line(walk(early_stop=True), jnp.float32(x))
        assert bool(stopped.success)
        np.testing.assert_allclose(stopped.x, [expected], atol=1e-6)
        np.testing.assert_allclose(stopped.margin, expected, atol=1e-6)
        whole = on_line(walk(), jnp.float32(x))
        np.testing.assert_allclose(whole.x, [x - 1], atol=1e-6)


def test_without_success_it_is_the_whole_attack():
    for seed in range(3):
        ball = linf_ball(jnp.full(SIZE, 0.5), 0.01)
        label = int(jnp.argmax(mlp(random_mlp(seed))(ball.center)))
        whole, stopped = (
            attack_mlp(pgd(4, restarts=2, early_stop=stop), random_mlp(seed), ball, label, KEY)[0]
            for stop in (False, True)
        )
        assert not bool(whole.success)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), whole, stopped)


def test_no_work_is_done_after_the_success():
    """Also not for further starts, and in a batch as soon as its last example has fallen."""
    attack = walk(FOREVER, restarts=FOREVER, early_stop=True)
    starts = jnp.array([-0.5, 0.25, 0.95, 0.5])
    batched = jax.jit(jax.vmap(lambda x: attack(LINE, linf_ball(x[None], 1.0), 0, key=KEY)))(starts)
    assert bool(jnp.all(batched.success))
    for i, x in enumerate(starts):
        alone = on_line(attack, x)
        np.testing.assert_allclose(batched.x[i], alone.x, atol=1e-6)
        np.testing.assert_allclose(batched.loss[i], alone.loss, atol=1e-6)


def test_examples_that_have_fallen_wait_unchanged_for_the_others():
    attack, starts = walk(7, early_stop=True), jnp.array([0.25, 0.95, -0.5, 5.0])
    batched = jax.jit(jax.vmap(lambda x: attack(LINE, linf_ball(x[None], 1.0), 0, key=KEY)))(starts)
    assert batched.success.tolist() == [True, False, True, False]
    np.testing.assert_allclose(batched.x[:, 0], [-0.15, 0.25, -0.6, 4.3], atol=1e-6)


def test_bad_input_stops_as_an_error():
    attack = pgd(FOREVER, restarts=FOREVER, early_stop=True)
    ball = linf_ball(jnp.full(SIZE, 0.5), 0.1)
    result, inside, _ = attack_mlp(attack, random_mlp(0), ball, -1, KEY)
    assert (bool(result.success), bool(jnp.isnan(result.margin)), bool(inside)) == (True, True, True)
    bad = jax.jit(lambda eps: linf_ball(jnp.full(SIZE, 0.5), eps))(jnp.nan)
    result, _, _ = attack_mlp(attack, random_mlp(0), bad, 0, KEY)
    assert (bool(result.success), bool(jnp.isnan(result.margin))) == (True, True)


def test_early_stop_needs_the_best_point():
    with pytest.raises(ValueError, match="keep_best"):
        pgd(early_stop=True, keep_best=False)


def test_ifgsm_is_the_iteration():
    """theses/4b (2.2): from the clean input, clipped after every step, and the last point counts."""
    parameters = random_mlp(6)
    w1, w2 = (np.asarray(part, float) for part in parameters)
    center, eps, label = np.linspace(0, 1, SIZE, dtype=np.float32), 0.3, 1
    for steps, size in ((3, None), (4, 0.5)):
        x = center.astype(float)
        for _ in range(steps):
            hidden = np.tanh(x @ w1)
            error = scipy.special.softmax(hidden @ w2) - np.eye(3)[label]
            slope = w1 @ ((1 - hidden**2) * (w2 @ error))
            x = x + eps * (1 / steps if size is None else size) * np.sign(slope)
            x = np.clip(np.clip(x, center - eps, center + eps), 0, 1)
        ball = linf_ball(center, eps, (0.0, 1.0))
        result, inside, _ = attack_mlp(ifgsm(steps, size), parameters, ball, label, KEY)
        np.testing.assert_allclose(result.x, x, atol=1e-5)
        assert bool(inside)
    with pytest.raises(ValueError, match="steps"):
        ifgsm(0, 0.1)


@pytest.mark.parametrize("norm", [2.0, math.inf])
def test_kl_climbs_away_from_the_clean_answer(norm):
    parameters, ball = random_mlp(8), lp_ball(jnp.full(SIZE, 0.5), 0.1, norm)
    logits = np.asarray(mlp(parameters)(ball.center), float)
    divergence = lambda z: scipy.stats.entropy(
        scipy.special.softmax(logits), scipy.special.softmax(np.asarray(z, float))
    )
    attack = pgd(8, restarts=2, loss=kl_divergence())
    result, inside, outputs = attack_mlp(attack, parameters, ball, 0, KEY)
    np.testing.assert_allclose(result.loss, divergence(outputs), rtol=1e-3, atol=1e-5)
    starts = [random_start()(ball, key=jax.random.key(seed)) for seed in range(20)]
    assert float(result.loss) > max(divergence(mlp(parameters)(x)) for x in starts)
    assert bool(inside)


@pytest.mark.parametrize("loss", [dlr, targeted_dlr(2), targeted_cross_entropy(2)])
def test_other_objectives_are_climbed(loss):
    parameters, ball = random_mlp(9, classes=5), linf_ball(jnp.full(SIZE, 0.5), 0.2)
    label = int(jnp.argmax(mlp(parameters)(ball.center)))
    before = float(loss(mlp(parameters)(ball.center), jnp.asarray(label)))
    result, inside, outputs = attack_mlp(pgd(6, loss=loss), parameters, ball, label, KEY)
    np.testing.assert_allclose(result.loss, loss(outputs, jnp.asarray(label)), rtol=1e-3, atol=1e-5)
    assert float(result.loss) > before
    assert bool(contains(ball, result.x)) == bool(inside) is True
