"""PGD and FGSM against the exact worst case of linear networks, and what no attack may break."""

import math

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given

from jaxcert.attacks import (
    center_start,
    fgsm,
    fgsm_rs,
    margin_loss,
    pgd,
    random_start,
    start_at,
    targeted_margin,
)
from jaxcert.regions import box, lp_ball
from jaxcert.regions.contain import contains
from tests.oracles import linear_min, sets
from tests.regions.test_project import as_oracle, draw_ball

SIZE = 6
KEY = jax.random.key(0)


def two_classes(weight):
    """A linear network whose margin for class 0 is `weight @ x`."""
    return lambda x: jnp.stack([weight @ x, jnp.zeros((), x.dtype)])


def mlp(parameters):
    w1, w2 = parameters
    return lambda x: jnp.tanh(x @ w1) @ w2


def random_mlp(seed, classes=3):
    rng = np.random.default_rng(seed)
    shapes = (SIZE, 8), (8, classes)
    return tuple(jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in shapes)


@jax.jit
def attack_linear(attack, weight, region, key):
    return attack(two_classes(weight), region, 0, key=key)


@jax.jit
def attack_mlp(attack, parameters, region, label, key):
    result = attack(mlp(parameters), region, label, key=key)
    return result, contains(region, result.x), mlp(parameters)(result.x)


@pytest.mark.parametrize("radius_kind", ["scalar", "array"])
@pytest.mark.parametrize("clipped", [False, True])
@pytest.mark.parametrize("norm", [1.0, 1.1, 2.0, 4.0, math.inf])
def test_reaches_the_exact_worst_case_of_a_linear_network(norm, clipped, radius_kind):
    rng = np.random.default_rng(11)
    # l_1 steps go along few coordinates and end within about one step of the worst case.
    step_size, tolerance = (
        (None, 0.06) if norm == 1 and clipped else (0.5, 4e-3 if norm in (1.1, 4.0) else 1e-3)
    )
    attack = pgd(steps=40, step_size=step_size)
    for _ in range(8):
        ball, _ = draw_ball(rng, norm, radius_kind, clipped, dtype=np.float32)
        weight = rng.normal(size=SIZE).astype(np.float32)
        best = linear_min.minimize(as_oracle(ball), weight)
        room = float(weight @ ball.center) - best
        result = attack_linear(attack, weight, ball, KEY)
        assert best - 1e-5 * (1 + room) <= float(result.margin) <= best + tolerance * room + 1e-5
        assert bool(contains(ball, result.x))
        assert bool(result.success) == (float(result.margin) < 0)


@pytest.mark.parametrize("clipped", [False, True])
@pytest.mark.parametrize("norm", [1.0, 2.0, math.inf])
def test_fgsm_is_the_best_single_step(norm, clipped):
    rng = np.random.default_rng(4)
    for _ in range(5):
        ball, _ = draw_ball(rng, norm, "array", clipped, dtype=np.float32)
        weight = rng.normal(size=SIZE).astype(np.float32)
        unclipped = sets.ball(ball.center, ball.radius, norm)
        result = attack_linear(fgsm(), weight, ball, KEY)
        if norm == math.inf:  # coordinates do not compete: exact with clipping too
            np.testing.assert_allclose(
                result.margin, linear_min.minimize(as_oracle(ball), weight), rtol=1e-5, atol=1e-5
            )
        elif not clipped:
            np.testing.assert_allclose(
                result.margin, linear_min.minimize(unclipped, weight), rtol=1e-4, atol=1e-5
            )
        elif norm == 2:
            step = np.clip(linear_min.minimizer(unclipped, weight), 0, 1)
            np.testing.assert_allclose(result.x, step, rtol=1e-4, atol=1e-5)
        assert bool(contains(ball, result.x))


def test_fgsm_moves_up_where_the_gradient_is_zero():
    """The sources define sign(0) = +1."""
    ball = lp_ball(jnp.array([0.5, 0.5]), 0.1, math.inf)
    x = fgsm()(two_classes(jnp.array([1.0, 0.0])), ball, 0, key=KEY).x
    np.testing.assert_allclose(x, [0.4, 0.6], rtol=1e-6)


def test_box_region_reaches_its_corner():
    region = box(jnp.array([0.0, -2.0, 1.0]), jnp.array([1.0, 3.0, 1.0]))
    weight = jnp.array([1.0, -1.0, 2.0])
    for attack in (fgsm(), pgd(steps=5)):
        np.testing.assert_array_equal(attack_linear(attack, weight, region, KEY).x, [0.0, 3.0, 1.0])


CENTERED = pgd(steps=3, start=center_start(), loss=margin_loss)
CASES = (
    (pgd(steps=5, restarts=2), 1.0, True),
    (pgd(steps=5, restarts=2), 2.0, True),
    (pgd(steps=5, restarts=2), 2.0, False),
    (CENTERED, math.inf, True),
    (fgsm_rs(), math.inf, False),
)


@given(st.integers(0, 2**32 - 1), st.sampled_from(CASES))
def test_stays_inside_and_tells_the_truth(seed, case):
    attack, norm, clipped = case
    ball, _ = draw_ball(np.random.default_rng(seed), norm, "array", clipped, dtype=np.float32)
    label = seed % 3
    result, inside, logits = attack_mlp(attack, random_mlp(seed), ball, label, jax.random.key(seed))
    assert bool(inside)
    assert bool(result.success) == (int(jnp.argmax(logits)) != label)
    runner_up = jnp.max(jnp.delete(logits, label))
    np.testing.assert_allclose(result.margin, logits[label] - runner_up, rtol=1e-4, atol=1e-5)
    loss = -result.margin if attack is CENTERED else jax.nn.logsumexp(logits) - logits[label]
    np.testing.assert_allclose(result.loss, loss, rtol=1e-4, atol=1e-5)


def test_more_restarts_and_the_best_iterate_never_do_worse():
    ball = lp_ball(jnp.full(SIZE, 0.5), 0.3, math.inf)
    rank = lambda result: (bool(result.success), float(result.loss))
    above = lambda rank, by=1e-6: (rank[0], rank[1] + by * abs(rank[1]))
    improved = False
    for seed in range(8):
        run = lambda attack, seed=seed: rank(
            attack_mlp(attack, random_mlp(seed), ball, 0, jax.random.key(seed))[0]
        )
        one, three = run(pgd(steps=3, restarts=1)), run(pgd(steps=3, restarts=3))
        last = run(pgd(steps=3, keep_best=False))
        # Each attack is a program of its own, so equal points may differ in the last digit of the loss.
        assert above(three) >= one
        assert above(one) >= last
        improved |= three > above(one, 1e-3)
    assert improved


def test_remembers_a_success_that_the_last_iterate_undoes():
    """The loss has its top at the start, and one full step leaves it."""
    fn = lambda x: jnp.stack([jnp.abs(x[0]) - 0.1, jnp.zeros(())])
    ball = lp_ball(jnp.array([0.05]), 1.0, math.inf)
    start = {"start": center_start(), "steps": 1, "step_size": 1.0}
    assert bool(pgd(**start)(fn, ball, 0, key=KEY).success)
    assert not bool(pgd(keep_best=False, **start)(fn, ball, 0, key=KEY).success)


def test_prefers_a_misclassified_point_to_a_higher_loss():
    """Under a loss that hates success the highest loss is at a correctly classified point."""
    fn = lambda x: jnp.stack([x[0], jnp.zeros(())])
    away = lambda logits, label: logits[0]
    ball = lp_ball(jnp.array([0.0]), 1.0, math.inf)
    result = pgd(steps=4, step_size=0.5, start=start_at(jnp.array([-0.5])), loss=away)(fn, ball, 0, key=KEY)
    assert bool(result.success)
    assert float(result.loss) < 0


@pytest.mark.parametrize("norm", [1.0, 2.0, math.inf])
def test_zero_radius_gives_the_clean_point(norm):
    center = jnp.linspace(0.0, 1.0, SIZE)
    radius = 0.0 if norm == 2 else jnp.zeros(SIZE)
    ball = lp_ball(center, radius, norm, clip=(0.0, 1.0))
    result, _, _ = attack_mlp(pgd(steps=2), random_mlp(0), ball, 1, KEY)
    np.testing.assert_array_equal(result.x, center)


def test_reproducible_from_the_key():
    ball = lp_ball(jnp.full(SIZE, 0.5), 0.2, 2.0)
    run = lambda key: attack_mlp(pgd(steps=2, keep_best=False), random_mlp(1), ball, 0, key)[0].x
    np.testing.assert_array_equal(run(jax.random.key(5)), run(jax.random.key(5)))
    assert bool(jnp.any(run(jax.random.key(5)) != run(jax.random.key(6))))


def test_jit_and_vmap_equal_the_loop_without_retracing():
    parameters, traces = random_mlp(2), 0

    def one(x, eps, label, step_size, key):
        nonlocal traces
        traces += 1
        ball = lp_ball(x, eps, 2.0, clip=(0.0, 1.0))
        return pgd(steps=3, step_size=step_size)(mlp(parameters), ball, label, key=key)

    rng = np.random.default_rng(0)
    batch = (
        jnp.asarray(rng.random((4, SIZE)), jnp.float32),
        jnp.array([0.0, 0.1, 0.2, 0.5]),
        jnp.array([0, 1, 2, 0]),
        jnp.array([0.2, 0.4, 0.3, 1.0]),
        jax.random.split(KEY, 4),
    )
    jitted = jax.jit(one)
    looped = [jitted(*(leaf[i] for leaf in batch)) for i in range(4)]
    assert traces == 1
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *looped)
    eager = one(*(leaf[1] for leaf in batch))
    batched = jax.jit(jax.vmap(one))(*batch)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), batched, stacked)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), eager, looped[1])


def test_no_gradient_flows_out():
    """Training on the attacked point differentiates the loss there, and only there (Danskin)."""
    ball_center, parameters = jnp.full(SIZE, 0.5), random_mlp(3)
    attack = pgd(steps=3)

    def loss(parameters, center, eps):
        x = attack(mlp(parameters), lp_ball(center, eps, math.inf), 0, key=KEY).x
        return jnp.sum(mlp(parameters)(x) ** 2)

    through = jax.jit(jax.grad(loss, argnums=(0, 1, 2)))(parameters, ball_center, 0.1)
    x = attack_mlp(attack, parameters, lp_ball(ball_center, 0.1, math.inf), 0, KEY)[0].x
    at_point = jax.grad(lambda p: jnp.sum(mlp(p)(x) ** 2))(parameters)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), through[0], at_point)
    assert not np.any(through[1])
    assert float(through[2]) == 0.0


def test_differentiating_the_caller_stores_nothing_of_the_loop():
    """The residuals of the linearised caller hold no array with a leading axis of 17 steps."""
    center, parameters = jnp.full(SIZE, 0.5), random_mlp(3)

    def loss(parameters):
        x = pgd(steps=17)(mlp(parameters), lp_ball(center, 0.1, math.inf), 0, key=KEY).x
        return jnp.sum(mlp(parameters)(x) ** 2)

    _, pull = jax.vjp(loss, parameters)
    assert all(leaf.shape[:1] != (17,) for leaf in jax.tree.leaves(pull))


def test_a_constant_network_is_left_alone():
    constant = lambda x: jnp.array([1.0, 2.0, 0.0])
    for norm, attack in ((1.0, pgd(steps=2)), (2.0, fgsm_rs()), (math.inf, fgsm())):
        ball = lp_ball(jnp.full(3, 0.5), 0.1, norm)
        results = jax.vmap(lambda label, go=attack, ball=ball: go(constant, ball, label, key=KEY))(
            jnp.arange(3)
        )
        assert bool(jnp.all(jnp.isfinite(results.x)))
        assert results.success.tolist() == [True, False, True]


@pytest.mark.parametrize("norm", [1.0, math.inf])
def test_a_network_that_answers_nan_or_infinity_fails(norm):
    ball = lp_ball(jnp.full(3, 0.5), 0.1, norm)
    for fn in (
        lambda x: jnp.stack([1 + jnp.sqrt(-1.0 - x[0]), x[1]]),
        lambda x: jnp.stack([jnp.exp(1e3 + x[0]), x[1]]),
    ):
        result = jax.jit(lambda key, fn=fn: pgd(steps=2)(fn, ball, 0, key=key))(KEY)
        assert bool(jnp.all(jnp.isfinite(result.x)))
        assert bool(result.success)


def test_a_finite_counterexample_is_preferred_to_nan():
    fn = lambda x: jnp.stack([jnp.where(x[0] > 0.4, jnp.nan, -x[0] - 0.1), 0 * x[0]])
    ball = lp_ball(jnp.array([0.0]), 1.0, math.inf)
    attack = pgd(steps=4, step_size=0.2, start=center_start())
    result = attack(fn, ball, 0, key=KEY)
    assert bool(result.success)
    assert bool(jnp.isfinite(result.loss))


def test_a_traced_label_out_of_range_counts_as_an_error():
    ball = lp_ball(jnp.full(SIZE, 0.5), 0.1, math.inf)
    for label in (-1, 3, 2**31 - 1):
        result, inside, _ = attack_mlp(pgd(steps=2), random_mlp(0), ball, label, KEY)
        assert bool(result.success)
        assert bool(inside)
        assert bool(jnp.isnan(result.loss))
        assert bool(jnp.isnan(result.margin))


@pytest.mark.parametrize("norm", [2.0, math.inf])
def test_a_traced_bad_region_counts_as_an_error(norm):
    def run(center, eps):
        return pgd(steps=2)(mlp(random_mlp(0)), lp_ball(center, eps, norm, (0.0, 1.0)), 1, key=KEY)

    good = jnp.full(SIZE, 0.5)
    centers = jnp.stack([good, good, good.at[0].set(jnp.nan), good.at[1].set(1.5)])
    result = jax.jit(jax.vmap(run))(centers, jnp.array([-0.1, jnp.nan, 0.1, 0.1]))
    assert bool(jnp.all(result.success))
    assert bool(jnp.all(jnp.isnan(result.margin)))
    assert bool(jnp.all(jnp.isnan(result.loss)))


def test_targets_may_be_traced():
    ball = lp_ball(jnp.full(SIZE, 0.5), 0.3, math.inf)
    logits = mlp(random_mlp(4))

    def toward(target):
        return pgd(steps=3, loss=targeted_margin(target))(logits, ball, 0, key=KEY)

    results = jax.vmap(toward)(jnp.arange(3))
    for target in (1, 2):
        outputs = logits(results.x[target])
        np.testing.assert_allclose(results.loss[target], outputs[target] - outputs[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(results.loss[0], 0.0, atol=1e-6)


def test_starts():
    ball = lp_ball(jnp.full(SIZE, 0.5), 0.2, 2.0)
    np.testing.assert_array_equal(center_start()(ball, key=KEY), ball.center)
    far = start_at(jnp.full(SIZE, 9.0))(ball, key=KEY)
    np.testing.assert_allclose(jnp.linalg.norm(far - ball.center), 0.2, rtol=1e-4)
    near = random_start(0.1)(ball, key=KEY)
    wide = random_start()(ball, key=KEY)
    np.testing.assert_allclose(near - ball.center, 0.1 * (wide - ball.center), rtol=1e-4, atol=1e-6)


def test_double_precision(x64):
    ball = lp_ball(jnp.full(SIZE, 0.5), 0.2, 2.0, clip=(0.0, 1.0))
    weight = jnp.linspace(-1.0, 2.0, SIZE)
    result = attack_linear(pgd(steps=4), weight, ball, jax.random.key(0))
    assert result.x.dtype == jnp.float64
    assert bool(contains(ball, result.x))


@pytest.mark.parametrize(
    ("message", "call"),
    [
        ("classes 0 to 2", lambda: pgd(steps=1)(mlp(random_mlp(0)), BALL, 3, key=KEY)),
        ("classes 0 to 2", lambda: pgd(steps=1)(mlp(random_mlp(0)), BALL, -1, key=KEY)),
        ("classes 0 to 2", lambda: jax.jit(lambda: pgd(steps=1)(mlp(random_mlp(0)), BALL, 3, key=KEY))()),
        ("integer scalar", lambda: pgd(steps=1)(mlp(random_mlp(0)), BALL, 1.0, key=KEY)),
        ("integer scalar", lambda: pgd(steps=1)(mlp(random_mlp(0)), BALL, jnp.array([1, 2]), key=KEY)),
        ("returned shape", lambda: pgd(steps=1)(lambda x: x[None], BALL, 0, key=KEY)),
        ("returned shape", lambda: pgd(steps=1)(lambda x: x[:1], BALL, 0, key=KEY)),
        ("scalar per example", lambda: pgd(loss=lambda z, y: z)(mlp(random_mlp(0)), BALL, 0, key=KEY)),
        ("steps", lambda: pgd(steps=0)),
        ("restarts", lambda: pgd(restarts=1.5)),
        ("step_size", lambda: pgd(step_size=-0.1)),
        ("step_size", lambda: pgd(step_size=math.nan)),
        ("step_size", lambda: fgsm_rs(step=jnp.ones(2))),
        ("scale", lambda: random_start(1.5)),
    ],
)
def test_bad_input_is_refused(message, call):
    with pytest.raises(ValueError, match=message):
        call()


BALL = lp_ball(jnp.full(SIZE, 0.5), 0.1, math.inf)
