"""AutoAttack: its stages, what it leaves alone, few classes, randomised networks, bad input."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcert.attacks import (
    Stage,
    apgd,
    autoattack,
    autoattack_plus,
    autoattack_rand,
    center_start,
    expectation,
    fab,
    multi_targeted,
    pgd,
    square,
    targeted_dlr,
    targeted_margin,
)
from jaxcert.attacks.autoattack import notes, plus_stages, rand_stages, standard_stages
from jaxcert.errors import InvalidInputError
from jaxcert.regions import l1_ball, linf_ball, lp_ball
from jaxcert.regions.contain import contains
from tests.attacks.test_pgd import KEY, SIZE, mlp, random_mlp
from tests.oracles import linear_min
from tests.regions.test_project import as_oracle

SHORT = (
    Stage("apgd-ce", apgd(8)),
    Stage("apgd-t", multi_targeted(apgd(5), targeted_dlr, 9)),
    Stage("fab-t", multi_targeted(fab(5), targeted_margin, 9)),
    Stage("square", square(10)),
)


def names(attack, region):
    return [stage.name for stage in attack.stages_for(region)]


def test_the_stages_are_those_of_the_source():
    ball, sparse = linf_ball(jnp.zeros(2), 0.1), l1_ball(jnp.zeros(2), 0.1)
    assert names(autoattack(), ball) == ["apgd-ce", "apgd-t", "fab-t", "square"]
    assert names(autoattack_rand(), ball) == ["apgd-ce", "apgd-dlr"]
    standard = autoattack().stages_for(ball)
    assert (standard[0].attack.steps, standard[0].attack.restarts) == (100, 1)
    assert (standard[1].attack.targets, standard[1].attack.attack.steps) == (9, 100)
    assert (standard[2].attack.targets, standard[2].attack.attack.steps) == (9, 100)
    assert standard[3].attack.queries == 5000
    first, second = autoattack().stages_for(sparse)[:2]
    assert (first.attack.restarts, first.attack.widened) == (5, True)
    assert (second.attack.targets, second.attack.attack.widened) == (5, True)
    assert [s.attack.restarts for s in autoattack_plus().stages_for(ball)[:3]] == [5, 5, 5]


@pytest.mark.parametrize("norm", [1.0, 2.0, math.inf])
def test_worst_margin_of_a_linear_network_is_never_beaten_and_success_is_right(norm):
    """At nine and eleven tenths of the exact radius of a linear network of four classes."""
    rng = np.random.default_rng(5)
    weights = rng.normal(size=(4, SIZE)).astype(np.float32)
    center = np.full(SIZE, 0.5, np.float32)
    label = int(np.argmax(weights @ center))
    rows = [weights[label] - weights[j] for j in range(4) if j != label]
    ball = lambda eps: lp_ball(jnp.asarray(center), eps, norm)
    worst = lambda eps: min(linear_min.minimize(as_oracle(ball(np.float32(eps))), row) for row in rows)
    clean = [float(row @ center) for row in rows]
    fall = [
        before - linear_min.minimize(as_oracle(ball(1.0)), row)
        for before, row in zip(clean, rows, strict=True)
    ]
    exact = min(before / each for before, each in zip(clean, fall, strict=True))  # margins are linear in eps
    run = jax.jit(lambda eps: autoattack(SHORT)(lambda x: weights @ x, ball(eps), label, key=KEY))
    below, above = run(np.float32(0.9 * exact)), run(np.float32(1.1 * exact))
    assert (bool(below.success), bool(above.success)) == (False, True)
    assert float(below.margin) >= worst(0.9 * exact) - 1e-5
    assert float(below.margin) <= worst(0.9 * exact) + 0.05
    assert bool(contains(ball(np.float32(1.1 * exact)), above.x))
    np.testing.assert_allclose(below.loss, -below.margin, atol=0)


def test_what_has_fallen_is_left_alone():
    """The result of a first stage that succeeds is kept, and a misclassified input comes back as it is."""
    ball = linf_ball(jnp.full(SIZE, 0.5), 0.6)
    first = Stage("first", pgd(6, start=center_start()))
    broken = Stage("never", lambda fn, region, label, *, key: 1 / 0)
    parameters = random_mlp(3)
    logits = mlp(parameters)(ball.center)
    right, wrong = int(jnp.argmax(logits)), int(jnp.argmin(logits))
    attack = autoattack((first, Stage("square", square(20))))
    alone = first.attack(mlp(parameters), ball, right, key=jax.random.fold_in(KEY, 0))
    assert bool(alone.success)
    both = attack(mlp(parameters), ball, right, key=KEY)
    np.testing.assert_array_equal(both.x, alone.x)
    clean = attack(mlp(parameters), ball, wrong, key=KEY)
    np.testing.assert_array_equal(clean.x, ball.center)
    assert bool(clean.success)
    with pytest.raises(ZeroDivisionError):
        autoattack((broken,))(mlp(parameters), ball, right, key=KEY)


@pytest.mark.parametrize("classes", [2, 3, 4])
def test_any_number_of_classes(classes):
    rng = np.random.default_rng(classes)
    weights = jnp.asarray(rng.normal(size=(classes, SIZE)), jnp.float32)
    label = int(jnp.argmax(weights @ jnp.full(SIZE, 0.5)))
    run = jax.jit(
        lambda eps: autoattack(SHORT)(
            lambda x: weights @ x, linf_ball(jnp.full(SIZE, 0.5), eps), label, key=KEY
        )
    )
    assert not bool(run(np.float32(0.0)).success)
    assert bool(run(np.float32(3.0)).success)
    assert bool(jnp.isfinite(run(np.float32(0.0)).margin))


def test_notes_say_what_few_classes_change():
    assert notes(standard_stages(False), 10) == []
    assert "DLR" in notes(standard_stages(False), 2)[0]
    assert "1 target" in notes(standard_stages(False), 2)[1]
    assert "z(3)" in notes(standard_stages(False), 3)[0]
    assert "DLR" in notes(rand_stages(False), 2)[0]
    assert len(notes(plus_stages(False), 5)) == 1


def test_randomised_networks():
    """The noise of one draw hides the class; the mean of the draws does not."""
    noisy = lambda x, key: x + 0.05 * jax.random.normal(key, x.shape)
    attack = autoattack_rand(4)
    run = jax.jit(lambda eps: attack(noisy, linf_ball(jnp.array([0.3, 0.0]), eps), 0, key=KEY))
    assert bool(run(np.float32(0.3)).success)
    assert not bool(run(np.float32(0.01)).success)
    given = attack(expectation(noisy, 2), linf_ball(jnp.array([0.3, 0.0]), 0.3), 0, key=KEY)
    assert bool(given.success)


def test_a_batch_equals_the_loop_without_retracing():
    parameters, traces = random_mlp(2), 0

    def one(x, eps, label, key):
        nonlocal traces
        traces += 1
        return autoattack(SHORT)(mlp(parameters), linf_ball(x, eps, clip=(0.0, 1.0)), label, key=key)

    rng = np.random.default_rng(0)
    batch = (
        jnp.asarray(rng.random((4, SIZE)), jnp.float32),
        jnp.array([0.0, 0.02, 0.1, 0.5]),
        jnp.array([0, 1, 2, 0]),
        jax.random.split(KEY, 4),
    )
    jitted = jax.jit(one)
    looped = [jitted(*(leaf[i] for leaf in batch)) for i in range(4)]
    assert traces == 1
    batched = jax.jit(jax.vmap(one))(*batch)
    assert batched.success.tolist() == [bool(found.success) for found in looped]
    np.testing.assert_allclose(batched.margin, [float(found.margin) for found in looped], atol=1e-3)


def test_bad_input():
    ball = linf_ball(jnp.full(SIZE, 0.5), 0.1)
    with pytest.raises(InvalidInputError, match="at least one stage"):
        autoattack(())
    with pytest.raises(InvalidInputError, match="samples"):
        autoattack_rand(0)
    with pytest.raises(InvalidInputError, match="classes 0 to 2"):
        autoattack(SHORT)(mlp(random_mlp(0)), ball, 3, key=KEY)
    found = autoattack(SHORT[:1])(lambda x: jnp.stack([jnp.log(-x[0]), x[1]]), ball, 0, key=KEY)
    assert bool(found.success)
    assert bool(jnp.isnan(found.margin))
