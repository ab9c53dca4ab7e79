"""DeepFool, Carlini and Wagner, and bisection: exact distances, and what no attack may break."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcert.attacks import expectation, margin_loss, pgd
from jaxcert.attacks.carlini_wagner import carlini_wagner
from jaxcert.attacks.deepfool import deepfool
from jaxcert.attacks.minimal_norm import minimal_norm
from jaxcert.regions import box, contains, l2_ball, linf_ball, lp_ball, product
from tests.attacks.minimal import linear, linear_case, linear_distance, relu, relu_cases

KEY = jax.random.key(0)
CW = carlini_wagner(300, 6, learning_rate=0.02, initial_const=0.3)
PGD = minimal_norm(pgd(25, restarts=2, loss=margin_loss), 12)


@jax.jit
def nearest_linear(attack, weight, region, label):
    return attack.nearest(linear(weight), region, label, key=KEY)


@pytest.mark.parametrize(
    ("attack", "norm", "clipped", "weighted", "excess"),
    [
        (deepfool(), 1.0, True, False, 0.021),
        (deepfool(), 2.0, True, True, 0.021),
        (deepfool(), 2.0, False, False, 0.021),
        (deepfool(), math.inf, True, False, 0.021),
        (CW, 2.0, True, False, 0.03),
        (CW, 2.0, False, True, 0.03),
        (PGD, 1.0, False, False, 0.1),
        (PGD, 2.0, True, False, 0.02),
        (PGD, math.inf, False, True, 0.03),
    ],
)
def test_distances_of_linear_networks(attack, norm, clipped, weighted, excess):
    reached = 0
    for seed in range(5):
        # C&W follows the largest wrong logit, which need not be that of the nearest class.
        weight, center, radius, label = linear_case(seed, weighted, classes=2 if attack is CW else 4)
        radius = radius * np.float32(4)
        exact = linear_distance(weight, center, radius, label, norm, clipped)
        if attack is PGD and exact > (0.95 if weighted else 0.95 * radius):
            continue  # bisection looks inside the region only
        ball = lp_ball(center, radius, norm, (0.0, 1.0) if clipped else None)
        found = nearest_linear(attack, weight, ball, label)
        assert bool(found.found) == np.isfinite(found.distance)
        assert float(found.distance) >= exact * (1 - 1e-5)
        if np.isfinite(exact):
            reached += 1
            assert float(found.distance) <= exact * (1 + excess)
            assert int(np.argmax(weight @ np.asarray(found.x))) != label
    assert reached >= 3


@pytest.mark.parametrize(("attack", "norm", "share"), [(CW, 2.0, 0.6), (PGD, 2.0, 0.6), (PGD, math.inf, 0.6)])
def test_never_beats_the_exact_distance_of_relu_networks(attack, norm, share, x64):
    params, xs, labels, exact = relu_cases(norm)

    def one(params, x, label, key):
        ball = lp_ball(x, 1.0, norm, clip=(0.0, 1.0))
        network = lambda z: relu(params, z)
        direct = deepfool().nearest(network, ball, label, key=key)
        return attack.nearest(network, ball, label, key=key), direct

    found, direct = jax.jit(jax.vmap(one))(params, xs, labels, jax.random.split(KEY, len(exact)))
    assert (direct.distance >= exact - 1e-9).all()
    assert (found.distance >= exact - 1e-9).all()
    assert (found.distance <= 1.05 * exact).mean() >= share
    outputs = jax.vmap(relu)(params, found.x)
    assert ((outputs.argmax(1) != labels) == found.found).all()


@pytest.mark.parametrize("attack", [deepfool(), carlini_wagner(40, 4, 0.05, 1.0)])
def test_fixed_eps_succeeds_where_the_distance_says(attack):
    run = jax.jit(lambda w, b, y: (r := attack(linear(w), b, y, key=KEY), contains(b, r.x)))
    for seed in range(3):
        weight, center, radius, label = linear_case(seed, False)
        exact = linear_distance(weight, center, radius, label, 2.0, False)
        for factor in (0.9, 1.2):
            result, inside = run(weight, l2_ball(center, np.float32(factor * exact)), label)
            assert bool(inside)
            assert bool(result.success) == (factor > 1)
            assert bool(result.success) == (int(np.argmax(weight @ np.asarray(result.x))) != label)


def test_confidence_asks_for_a_margin():
    fn = lambda x: jnp.stack([x[0], -x[0]])
    ball = l2_ball(jnp.array([0.2]), 1.0, clip=(-1.0, 1.0))
    attack = lambda confidence: carlini_wagner(150, 5, 0.03, 1.0, confidence)
    run = jax.jit(lambda confidence: attack(confidence).nearest(fn, ball, 0, key=KEY).distance)
    assert float(run(0.0)) == pytest.approx(0.2, rel=0.02)
    assert 0.4 <= float(run(0.4)) <= 0.42  # -2x = 0.4


def test_a_bisection_moves_by_what_was_found_and_needs_a_radius():
    fn = lambda x: jnp.stack([x[0] + x[1], 0 * x[0]])
    attack = minimal_norm(pgd(5), 1)
    run = jax.jit(lambda ball: attack.nearest(fn, ball, 0, key=KEY))
    assert 1 <= float(run(linf_ball(jnp.ones(2), 1.5)).distance) <= 1.5
    nothing = run(linf_ball(jnp.ones(2), 0.9))
    assert not bool(nothing.found)
    assert float(nothing.distance) == math.inf
    np.testing.assert_array_equal(nothing.x, [1.0, 1.0])
    both = product((linf_ball(jnp.ones(1), 2.0), l2_ball(jnp.ones(1), 3.0)))
    joint = lambda parts: fn(jnp.concatenate(parts))
    found = minimal_norm(pgd(10), 10).nearest(joint, both, 0, key=KEY)
    assert float(found.distance) == pytest.approx(0.4, rel=0.01)  # 2 - 5 t = 0
    with pytest.raises(ValueError, match="radius to scale"):
        attack.nearest(fn, box(jnp.zeros(2), jnp.ones(2)), 0, key=KEY)


SHORT = (deepfool(3), carlini_wagner(3, 2), minimal_norm(pgd(2), 2))


@pytest.mark.parametrize("attack", SHORT)
def test_constant_and_poisoned_networks(attack):
    ball = l2_ball(jnp.full(3, 0.5), 0.1, clip=(0.0, 1.0))

    def network(kind, x):
        constant = lambda x: jnp.array([1.0, 2.0, 0.0]) + 0 * x
        poisoned = lambda x: jnp.stack([1 + jnp.sqrt(-1.0 - x[0]), x[1], x[2]])
        steep = lambda x: jnp.stack([jnp.sqrt(jnp.maximum(x[0] - 0.5, 0)) + 9, x[1] - 1, x[2] - 2])
        return jax.lax.switch(kind, [constant, poisoned, steep], x)

    run = jax.jit(lambda k, y: attack.nearest(lambda x: network(k, x), ball, y, key=KEY))
    for kind, label, wrong in ((0, 1, False), (0, 0, True), (1, 0, True), (2, 0, False)):
        found = run(kind, label)
        assert bool(jnp.all(jnp.isfinite(found.x)))
        assert bool(found.found) == wrong
        assert float(found.distance) == (0.0 if wrong else math.inf)


@pytest.mark.parametrize("attack", SHORT)
def test_traced_bad_labels_and_regions_count_as_errors(attack):
    weight, center, _, label = linear_case(0, False)
    good, bad = jnp.asarray(center), jnp.asarray(center).at[1].set(jnp.nan)
    xs = jnp.stack([good, good, good, bad, good + 2])
    eps, labels = jnp.array([0.1, 0.1, -0.1, 0.1, 0.1]), jnp.array([-1, 4, label, label, label])

    def one(x, eps, label):
        ball = l2_ball(x, eps, clip=(-1.0, 1.5))
        return attack.nearest(linear(weight), ball, label, key=KEY)

    found = jax.jit(jax.vmap(one))(xs, eps, labels)
    assert bool(jnp.all(found.found))
    assert bool(jnp.all(found.distance == 0))


@pytest.mark.parametrize("attack", [deepfool(5), carlini_wagner(5, 2, 0.1, 1.0), minimal_norm(pgd(3), 2)])
def test_jit_and_vmap_equal_the_loop_without_retracing(attack):
    params, xs, labels, _ = relu_cases(2.0)
    params = tuple(jnp.asarray(leaf[0], jnp.float32) for leaf in params)
    traces = 0

    def one(x, eps, label, key):
        nonlocal traces
        traces += 1
        ball = l2_ball(x, eps, clip=(0.0, 1.0))
        return attack.nearest(lambda z: relu(params, z), ball, label, key=key)

    keys = jax.random.split(KEY, 3)
    batch = (
        jnp.asarray(xs[:3], jnp.float32),
        jnp.array([0.3, 0.5, 1.0]),
        jnp.asarray(labels[:3], jnp.int32),
        keys,
    )
    jitted = jax.jit(one)
    looped = [jitted(*(leaf[i] for leaf in batch)) for i in range(3)]
    assert traces == 1
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *looped)
    batched = jax.jit(jax.vmap(one))(*batch)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), batched, stacked)


def test_randomised_networks():
    noisy = lambda x, key: jnp.stack([x[0], 0 * x[0]]) + 0.01 * jax.random.normal(key, (2,))
    ball = l2_ball(jnp.array([1.0]), 1.2)
    for attack in (deepfool(10), carlini_wagner(60, 2, 0.05, 10.0), minimal_norm(pgd(5), 4)):
        run = jax.jit(lambda key, go=attack: go.nearest(expectation(noisy, 4), ball, 0, key=key))
        assert float(run(KEY).distance) == pytest.approx(1.0, abs=0.2)


@pytest.mark.parametrize(
    ("message", "call"),
    [
        (
            "l_2 attack",
            lambda: carlini_wagner(1)(linear(jnp.eye(4)), linf_ball(jnp.ones(4), 0.1), 0, key=KEY),
        ),
        ("classes 0 to 3", lambda: deepfool(1)(linear(jnp.eye(4)), linf_ball(jnp.ones(4), 0.1), 4, key=KEY)),
        ("returned shape", lambda: PGD.nearest(lambda x: x[None], l2_ball(jnp.ones(4), 0.1), 0, key=KEY)),
        ("steps", lambda: deepfool(0)),
        ("overshoot", lambda: deepfool(overshoot=-0.1)),
        ("steps", lambda: carlini_wagner(0)),
        ("searches", lambda: carlini_wagner(searches=0)),
        ("learning_rate", lambda: carlini_wagner(learning_rate=0.0)),
        ("initial_const", lambda: carlini_wagner(initial_const=math.inf)),
        ("confidence", lambda: carlini_wagner(confidence=-1.0)),
        ("steps", lambda: minimal_norm(pgd(1), 0)),
    ],
)
def test_bad_input_is_refused(message, call):
    with pytest.raises(ValueError, match=message):
        call()
