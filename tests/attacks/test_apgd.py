"""Auto-PGD: exact on linear networks, its checkpoints, its early stops, and attacks on several targets."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcert.attacks import (
    center_start,
    cross_entropy,
    dlr,
    margin_loss,
    pgd,
    start_at,
    targeted_dlr,
    targeted_margin,
)
from jaxcert.attacks.apgd import apgd
from jaxcert.attacks.pace import Halving, News, _windows
from jaxcert.attacks.targets import multi_targeted
from jaxcert.errors import InvalidInputError
from jaxcert.regions import box, l1_ball, linf_ball, lp_ball, product
from jaxcert.regions.contain import contains
from tests.attacks.test_pgd import KEY, SIZE, attack_linear, attack_mlp, mlp, random_mlp, two_classes
from tests.oracles import linear_min
from tests.regions.test_project import as_oracle, draw_ball


@pytest.mark.parametrize("radius_kind", ["scalar", "array"])
@pytest.mark.parametrize("clipped", [False, True])
@pytest.mark.parametrize("norm", [1.0, 2.0, 4.0, math.inf])
def test_reaches_the_exact_worst_case_of_a_linear_network(norm, clipped, radius_kind):
    rng = np.random.default_rng(3)
    attack = apgd(steps=100, loss=margin_loss, early_stop=False)
    # Along few coordinates of six the climb may end in a corner of ball and clip range.
    tolerance = 0.25 if norm == 1 else 5e-3
    gaps = []
    for _ in range(6):
        ball, _ = draw_ball(rng, norm, radius_kind, clipped, dtype=np.float32)
        weight = rng.normal(size=SIZE).astype(np.float32)
        best = linear_min.minimize(as_oracle(ball), weight)
        room = float(weight @ ball.center) - best
        result = attack_linear(attack, weight, ball, KEY)
        assert best - 1e-5 * (1 + room) <= float(result.margin) <= best + tolerance * room + 1e-5
        assert bool(contains(ball, result.x))
        gaps.append((float(result.margin) - best) / max(room, 1e-3))
    assert np.mean(gaps) < (0.06 if norm == 1 else 2e-3)


def test_boxes_and_products():
    region = box(jnp.array([0.0, -2.0, 1.0]), jnp.array([1.0, 3.0, 1.0]))
    weight = jnp.array([1.0, -1.0, 2.0])
    found = attack_linear(apgd(steps=10, early_stop=False), weight, region, KEY)
    np.testing.assert_allclose(found.x, [0.0, 3.0, 1.0], atol=1e-6)
    both = product((linf_ball(jnp.zeros(2), 0.5), lp_ball(jnp.zeros(2), 1.0, 2.0)))
    fn = lambda parts: jnp.stack([parts[0].sum() + 3 * parts[1][0] + 4 * parts[1][1], jnp.zeros(())])
    found = apgd(steps=40, early_stop=False)(fn, both, 0, key=KEY)
    np.testing.assert_allclose(found.margin, -6.0, rtol=1e-3)
    assert bool(contains(both, found.x))


def test_checkpoints_are_those_of_the_source():
    """p_1 = 0.22, p_(j+1) = p_j + max(p_j - p_(j-1) - 0.03, 0.06) of 100 steps."""
    ends, last, before = [], 0.22, 0.0
    while last <= 1 + 1e-9:
        ends.append(round(100 * last))
        last, before = last + max(last - before - 0.03, 0.06), last
    windows = _windows(100)
    assert (np.flatnonzero(windows) + 1).tolist() == ends
    assert windows[windows > 0].tolist() == np.diff([0, *ends]).tolist()
    assert _windows(1).tolist() == [1]


@pytest.mark.parametrize(
    ("rises", "highest", "kept", "halved"),
    [(10, 2.0, False, True), (18, 2.0, False, False), (18, 1.0, True, True), (18, 1.0, False, False)],
)
def test_the_step_is_halved_when_the_source_says_so(rises, highest, kept, halved):
    """At the end of a window of 22 steps: few rises, or neither the step nor the highest loss changed."""
    ball, pace = linf_ball(jnp.zeros(2), 0.1), Halving(100)
    state = pace.start(ball, jnp.zeros(2), jnp.asarray(1.0))
    state = state._replace(rises=jnp.asarray(rises - 1), kept=jnp.asarray(kept))
    news = News(jnp.asarray(21), jnp.asarray(True), jnp.asarray(highest), jnp.zeros(2))
    state, back = pace.adapt(state, ball, news)
    assert bool(back) == halved
    assert float(state.size) == (1.0 if halved else 2.0)
    assert (int(state.rises), bool(state.kept)) == (0, not halved)


def test_l1_steps_stay_sparse():
    """A steep network of few useful coordinates: the best points use few coordinates."""
    weight = jnp.where(jnp.arange(60) < 3, 5.0, 0.1) + jnp.linspace(0.0, 0.01, 60)
    ball = l1_ball(jnp.full(60, 0.5), 0.8, clip=(0.0, 1.0))
    found = attack_linear(apgd(steps=60, restarts=3, loss=margin_loss, early_stop=False), weight, ball, KEY)
    exact = linear_min.minimize(as_oracle(ball), np.asarray(weight))
    np.testing.assert_allclose(found.margin, exact, rtol=0.01)
    assert int(jnp.sum(jnp.abs(found.x - 0.5) > 1e-3)) <= 10
    wide = attack_linear(apgd(steps=60, loss=margin_loss, widened=True, early_stop=False), weight, ball, KEY)
    np.testing.assert_allclose(wide.margin, exact, rtol=0.01)
    assert bool(contains(ball, wide.x))


def test_stops_early_and_never_worse_with_all_steps():
    ball = lp_ball(jnp.full(SIZE, 0.5), 0.4, math.inf)
    for seed in range(4):
        key = jax.random.key(seed)
        short = attack_mlp(apgd(steps=15), random_mlp(seed), ball, 0, key)[0]
        long = attack_mlp(apgd(steps=15, early_stop=False), random_mlp(seed), ball, 0, key)[0]
        assert bool(short.success) == bool(long.success)
        assert float(long.loss) >= float(short.loss) - 1e-5


def test_finds_what_pgd_finds():
    """Each finds a misclassification within 20 steps where the other does, on nearly all random networks."""
    ball = lp_ball(jnp.full(SIZE, 0.5), 0.15, math.inf)
    agree = 0
    for seed in range(12):
        key = jax.random.key(seed)
        ours = attack_mlp(apgd(steps=20), random_mlp(seed), ball, 0, key)[0]
        theirs = attack_mlp(pgd(steps=20, restarts=2), random_mlp(seed), ball, 0, key)[0]
        agree += bool(ours.success) == bool(theirs.success)
    assert agree >= 11


def test_targets_are_tried_in_the_order_of_the_clean_logits():
    """With one target only the runner-up is tried, and the other class is found with two."""
    # The runner-up (class 1) moves with the label, class 2 overtakes it.
    fn = lambda x: jnp.stack([1.0 + x[0], 0.9 + x[0], 0.5 - 3 * x[0]])
    ball = linf_ball(jnp.zeros(1), 0.2)
    attack = lambda targets: multi_targeted(apgd(10, start=center_start()), targeted_margin, targets)
    assert not bool(attack(1)(fn, ball, 0, key=KEY).success)
    assert bool(attack(2)(fn, ball, 0, key=KEY).success)
    assert bool(attack(None)(fn, ball, 0, key=KEY).success)


def test_multi_targeted_finds_the_smallest_margin_of_a_linear_network():
    rng = np.random.default_rng(8)
    weights = rng.normal(size=(4, SIZE)).astype(np.float32)
    ball = linf_ball(jnp.full(SIZE, 0.5), 0.05, clip=(0.0, 1.0))
    label = int(np.argmax(weights @ np.full(SIZE, 0.5)))
    exact = min(
        linear_min.minimize(as_oracle(ball), weights[label] - weights[j]) for j in range(4) if j != label
    )
    attack = multi_targeted(apgd(20), targeted_dlr, early_stop=False)
    found = jax.jit(lambda key: attack(lambda x: weights @ x, ball, label, key=key))(KEY)
    np.testing.assert_allclose(found.margin, exact, atol=1e-5)
    np.testing.assert_allclose(found.loss, -found.margin, atol=0)


@pytest.mark.parametrize("loss", [cross_entropy, dlr])
def test_constant_and_nan_networks(loss):
    ball = linf_ball(jnp.full(3, 0.5), 0.1)
    constant = lambda x: jnp.array([1.0, 2.0, 0.0])
    results = jax.vmap(lambda label: apgd(5, loss=loss)(constant, ball, label, key=KEY))(jnp.arange(3))
    assert results.success.tolist() == [True, False, True]
    assert bool(jnp.all(jnp.isfinite(results.x)))
    broken = lambda x: jnp.stack([1 + jnp.sqrt(-1.0 - x[0]), x[1], x[2]])
    found = apgd(5, loss=loss)(broken, ball, 0, key=KEY)
    assert bool(found.success)
    assert bool(jnp.all(jnp.isfinite(found.x)))


@pytest.mark.parametrize("norm", [1.0, 2.0, math.inf])
def test_zero_radius_gives_the_clean_point_and_bad_regions_count_as_errors(norm):
    center = jnp.linspace(0.0, 1.0, SIZE)

    def run(eps):
        ball = lp_ball(center, eps, norm, clip=(0.0, 1.0))
        return apgd(steps=3)(mlp(random_mlp(0)), ball, 1, key=KEY)

    found = jax.jit(jax.vmap(run))(jnp.array([0.0, -0.1, jnp.nan]))
    np.testing.assert_array_equal(found.x[0], center)
    assert found.success[1:].tolist() == [True, True]
    assert bool(jnp.all(jnp.isnan(found.margin[1:])))


def test_vmap_equals_the_loop_without_retracing():
    parameters, traces = random_mlp(2), 0

    def one(x, eps, label, key):
        nonlocal traces
        traces += 1
        ball = lp_ball(x, eps, 2.0, clip=(0.0, 1.0))
        return apgd(steps=8, restarts=2)(mlp(parameters), ball, label, key=key)

    batch = (
        jnp.asarray(np.random.default_rng(0).random((4, SIZE)), jnp.float32),
        jnp.array([0.0, 0.1, 0.2, 0.5]),
        jnp.array([0, 1, 2, 0]),
        jax.random.split(KEY, 4),
    )
    jitted = jax.jit(one)
    looped = [jitted(*(leaf[i] for leaf in batch)) for i in range(4)]
    assert traces == 1
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *looped)
    batched = jax.jit(jax.vmap(one))(*batch)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), batched, stacked)


@pytest.mark.parametrize(
    ("message", "call"),
    [
        ("steps", lambda: apgd(steps=0)),
        ("restarts", lambda: apgd(restarts=0)),
        ("rho", lambda: apgd(rho=1.5)),
        ("targets", lambda: multi_targeted(apgd(), targets=0)),
        (
            "widened",
            lambda: apgd(widened=True)(two_classes(jnp.ones(2)), linf_ball(jnp.zeros(2), 1.0), 0, key=KEY),
        ),
        (
            "classes 0 to 1",
            lambda: apgd(3)(two_classes(jnp.ones(2)), linf_ball(jnp.zeros(2), 1.0), 2, key=KEY),
        ),
    ],
)
def test_bad_input_is_refused(message, call):
    with pytest.raises(InvalidInputError, match=message):
        call()


def test_starts_where_it_is_told():
    ball = linf_ball(jnp.zeros(2), 1.0)
    fn = lambda x: jnp.stack([x[0] ** 2 + 0.1, jnp.zeros(())])  # a valley of the margin at 0
    found = apgd(5, start=start_at(jnp.array([0.0, 0.3])), early_stop=False)(fn, ball, 0, key=KEY)
    np.testing.assert_allclose(found.margin, 0.1, atol=1e-6)
