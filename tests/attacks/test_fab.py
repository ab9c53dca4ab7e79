"""FAB against exact distances of linear and small ReLU networks, and what no attack may break."""

import json
import math
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcert.attacks import expectation, margin_loss, targeted_margin
from jaxcert.attacks.fab import fab
from jaxcert.regions import box, contains, l1_ball, l2_ball, linf_ball, lp_ball, product
from tests.attacks.minimal import NORMS, linear, linear_case, linear_distance, relu, relu_cases

KEY = jax.random.key(0)


def float_cases(count=3):
    """The first network and points of `relu_cases` at single precision."""
    params, xs, labels, _ = relu_cases(2.0)
    params = tuple(jnp.asarray(leaf[0], jnp.float32) for leaf in params)
    return params, jnp.asarray(xs[:count], jnp.float32), jnp.asarray(labels[:count], jnp.int32)


@jax.jit
def nearest_linear(attack, weight, region, label):
    found = attack.nearest(linear(weight), region, label, key=KEY)
    return found, contains(replace(region, radius=0 * region.radius + 1e6), found.x)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("clipped", [False, True])
@pytest.mark.parametrize("norm", NORMS)
def test_the_distance_of_a_linear_network_is_exact(norm, clipped, weighted):
    reachable = 0
    for seed in range(6):
        weight, center, radius, label = linear_case(seed, weighted)
        exact = linear_distance(weight, center, radius, label, norm, clipped)
        ball = lp_ball(center, radius, norm, (0.0, 1.0) if clipped else None)
        found, in_clip = nearest_linear(fab(40), weight, ball, label)
        assert bool(in_clip)
        assert bool(found.found) == np.isfinite(exact) == np.isfinite(found.distance)
        if np.isinf(exact):
            np.testing.assert_array_equal(found.x, center)
            continue
        reachable += 1
        assert exact * (1 - 1e-5) <= float(found.distance) <= exact * 1.005
        moved = np.abs(np.asarray(found.x) - center) / (np.where(radius > 0, radius, 1) if weighted else 1)
        np.testing.assert_allclose(np.linalg.norm(moved, norm), found.distance, rtol=1e-5)
        if weighted:
            assert moved[2] == 0
        assert int(np.argmax(weight @ np.asarray(found.x))) != label
    assert reachable >= 3


@pytest.mark.parametrize("norm", NORMS)
def test_fixed_eps_on_a_linear_network_succeeds_where_the_distance_says(norm):
    run = jax.jit(lambda w, b, y: (r := fab(40)(linear(w), b, y, key=KEY), contains(b, r.x)))
    for seed in range(3):
        weight, center, radius, label = linear_case(seed, False)
        exact = linear_distance(weight, center, radius, label, norm, True)
        for factor in (0.5, 0.98, 1.02, 2.0):
            ball = lp_ball(center, np.float32(factor * exact), norm, clip=(0.0, 1.0))
            result, inside = run(weight, ball, label)
            assert bool(inside)
            assert bool(result.success) == (factor > 1)
            assert bool(result.success) == (int(np.argmax(weight @ np.asarray(result.x))) != label)


@pytest.mark.parametrize("norm", NORMS)
def test_never_beats_the_exact_distance_of_relu_networks_and_mostly_meets_it(norm, x64):
    params, xs, labels, exact = relu_cases(norm)

    def one(params, x, label, key):
        ball = lp_ball(x, 0.5, norm, clip=(0.0, 1.0))
        return fab(40, restarts=5).nearest(lambda z: relu(params, z), ball, label, key=key)

    found = jax.jit(jax.vmap(one))(params, xs, labels, jax.random.split(KEY, len(exact)))
    assert (found.distance >= exact - 1e-9).all()
    assert np.isfinite(exact).all()
    assert (found.distance <= 1.01 * exact).mean() >= 0.8
    outputs = jax.vmap(relu)(params, found.x)
    assert ((outputs.argmax(1) != labels) == found.found).all()


@pytest.mark.parametrize("name", ["a", "b", "c"])
def test_recorded_exact_margins_are_respected_and_mostly_decided(data_dir, name, x64):
    """Networks with two hidden layers; enumeration knows the least margin of every class in every box."""
    path = data_dir / "reference" / f"exact_tiny_mlp_{name}"
    arrays = np.load(f"{path}.npz")
    w = {key: jnp.asarray(arrays[key]) for key in ("W0", "b0", "W1", "b1", "W2", "b2")}
    entries = json.loads(path.with_suffix(".json").read_text())["entries"]
    entries = [entry for entry in entries if entry["clip"] is not None]
    exact = np.array([min(entry["margins"]["exact-enumeration"]) for entry in entries])
    inputs = jnp.asarray(arrays["X"])[np.array([entry["input"] for entry in entries])]
    labels, radii = (jnp.array([entry[key] for entry in entries]) for key in ("label", "eps"))

    def network(x):
        hidden = jax.nn.relu(w["W0"] @ x + w["b0"])
        return w["W2"] @ jax.nn.relu(w["W1"] @ hidden + w["b1"]) + w["b2"]

    def one(x, eps, label, key):
        return fab(50, restarts=3)(network, linf_ball(x, eps, clip=(0.0, 1.0)), label, key=key)

    result = jax.jit(jax.vmap(one))(inputs, radii, labels, jax.random.split(KEY, len(exact)))
    assert (result.margin >= exact - 1e-9).all()
    assert not result.success[exact > 1e-9].any()
    assert result.success[exact < 0].mean() >= 0.8


def test_one_hyperplane_where_a_loss_is_given():
    """The zero of the loss is the boundary: towards one class, or the margin."""
    weight, center, radius, label = linear_case(3, False)
    ball = l2_ball(center, radius)
    toward = jax.jit(
        lambda target: fab(40, loss=targeted_margin(target)).nearest(linear(weight), ball, label, key=KEY)
    )
    for target in range(4):
        if target == label:
            continue
        found = toward(target)
        slope = weight[label] - weight[target]
        # On its way another class may come first: never farther than the target's own boundary.
        assert float(found.distance) <= 1.003 * slope @ center / np.linalg.norm(slope)
    exact = linear_distance(weight, center, radius, label, 2.0, False)
    attack = fab(60, loss=margin_loss)
    one = jax.jit(lambda ball: attack.nearest(linear(weight), ball, label, key=KEY))(ball)
    assert float(one.distance) == pytest.approx(exact, rel=3e-3)


def test_boxes_and_products_are_l_inf_balls_in_half_widths():
    weight, center, _, label = linear_case(1, True)
    half = np.array([0.5, 1.0, 0.2, 0.4, 0.3], np.float32)
    exact = linear_distance(weight, center, half, label, math.inf, False)
    apart = product((linf_ball(center[:2], half[:2]), box(center[2:] - half[2:], center[2:] + half[2:])))
    joint = lambda parts: linear(weight)(jnp.concatenate(parts))
    whole = box(center - half, center + half)
    for fn, region in ((linear(weight), whole), (joint, apart)):
        found = jax.jit(lambda r, fn=fn: fab(40).nearest(fn, r, label, key=KEY))(region)
        assert float(found.distance) == pytest.approx(exact, rel=3e-3)
    mixed = product((linf_ball(center[:2], 0.1), l2_ball(center[2:], 0.1)))
    with pytest.raises(ValueError, match="needs one norm"):
        fab()(joint, mixed, label, key=KEY)


def test_early_stop_ends_with_the_first_point_of_the_region():
    fn = lambda x: jnp.stack([x[0], 0 * x[0]])
    ball = l2_ball(jnp.array([1.0]), 1.5)
    run = jax.jit(lambda ball: [fab(30, early_stop=stop)(fn, ball, 0, key=KEY) for stop in (True, False)])
    first, best = run(ball)
    assert bool(first.success)
    assert bool(best.success)
    assert float(first.x[0]) == pytest.approx(-0.05)  # one step, eta past the boundary
    assert -0.02 < float(best.x[0]) < 0


def test_a_farther_point_moved_into_the_region_is_judged_there():
    """FAB goes past the boundary; moved back to the edge of the region, the point may be so still."""
    fn = lambda x: jnp.stack([1.0 - x[0], 0 * x[0]])
    run = jax.jit(lambda ball: fab(3)(fn, ball, 0, key=KEY))
    ball = linf_ball(jnp.array([0.0]), 1.0 + 1e-6)
    result = run(ball)
    assert bool(contains(ball, result.x))
    assert bool(result.success)
    assert 1 < float(result.x[0]) < 1.00001
    small = run(linf_ball(jnp.array([0.0]), 0.5))
    assert not bool(small.success)
    assert float(small.margin) == pytest.approx(0.5)  # at the edge, not at the centre


def odd_network(kind, x):
    """Constant; NaN everywhere; a slope that is infinite at the centre."""
    return jax.lax.switch(
        kind,
        [
            lambda x: jnp.array([1.0, 2.0, 0.0]) + 0 * x,
            lambda x: jnp.stack([1 + jnp.sqrt(-1.0 - x[0]), x[1], x[2]]),
            lambda x: jnp.stack([jnp.sqrt(x[0] - 0.5) + 1, x[1] - 1, x[2] - 2]),
        ],
        x,
    )


@pytest.mark.parametrize(
    ("norm", "loss"), [(1.0, None), (2.0, None), (math.inf, None), (math.inf, margin_loss)]
)
def test_constant_and_poisoned_networks(norm, loss):
    ball = lp_ball(jnp.full(3, 0.5), 0.1, norm, clip=(0.0, 1.0))
    attack = fab(3, loss=loss)

    @jax.jit
    def run(kind, label):
        fn = lambda x: odd_network(kind, x)
        return attack(fn, ball, label, key=KEY), attack.nearest(fn, ball, label, key=KEY)

    for kind, label, wrong in ((0, 1, False), (0, 0, True), (1, 0, True), (2, 0, False)):
        result, found = run(kind, label)
        assert bool(jnp.all(jnp.isfinite(result.x)))
        assert bool(jnp.all(jnp.isfinite(found.x)))
        assert bool(result.success) == bool(found.found) == wrong
        assert float(found.distance) == (0.0 if wrong else math.inf)


def test_zero_radius_gives_the_clean_point():
    weight, center, _, label = linear_case(0, False)
    for radius in (np.float32(0.0), np.zeros(5, np.float32)):
        ball = lp_ball(center, radius, 2.0, (0.0, 1.0))
        result = jax.jit(lambda ball: fab(3)(linear(weight), ball, label, key=KEY))(ball)
        np.testing.assert_array_equal(result.x, center)
        assert not bool(result.success)


def test_traced_bad_labels_and_regions_count_as_errors():
    weight, center, _, label = linear_case(0, False)

    def both(x, eps, label):
        ball = lp_ball(x, eps, 2.0, clip=(-1.0, 1.5))
        return fab(2)(linear(weight), ball, label, key=KEY), fab(2).nearest(
            linear(weight), ball, label, key=KEY
        )

    good, bad = jnp.asarray(center), jnp.asarray(center).at[1].set(jnp.nan)
    xs = jnp.stack([good, good, good, bad, good + 2])
    eps, labels = jnp.array([0.1, 0.1, -0.1, 0.1, 0.1]), jnp.array([-1, 4, label, label, label])
    result, found = jax.jit(jax.vmap(both))(xs, eps, labels)
    assert bool(jnp.all(result.success & found.found))
    assert bool(jnp.all(jnp.isnan(result.margin)))
    assert bool(jnp.all(found.distance == 0))


def test_randomised_networks():
    noisy = lambda x, key: jnp.stack([x[0], 0 * x[0]]) + 0.01 * jax.random.normal(key, (2,))
    ball = l2_ball(jnp.array([1.0]), 1.2)
    for loss in (None, margin_loss):
        attack = fab(10, loss=loss)
        result = jax.jit(lambda key, go=attack: go(expectation(noisy, 4), ball, 0, key=key))(KEY)
        assert bool(result.success)
        assert -0.2 <= float(result.x[0]) < 0.05


def test_jit_and_vmap_equal_the_loop_without_retracing():
    params, xs, labels = float_cases()
    traces = 0

    def one(x, eps, label, alpha, key):
        nonlocal traces
        traces += 1
        attack = fab(4, alpha_max=alpha)
        return attack(lambda z: relu(params, z), l2_ball(x, eps, clip=(0.0, 1.0)), label, key=key)

    batch = (
        xs,
        jnp.array([0.1, 0.3, 0.5]),
        labels,
        jnp.array([0.1, 0.2, 0.0]),
        jax.random.split(KEY, 3),
    )
    jitted = jax.jit(one)
    looped = [jitted(*(leaf[i] for leaf in batch)) for i in range(3)]
    assert traces == 1
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *looped)
    batched = jax.jit(jax.vmap(one))(*batch)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), batched, stacked)


def test_no_gradient_flows_out():
    def loss(weight, center, eps):
        x = fab(2)(linear(weight), l1_ball(center, eps), 0, key=KEY).x
        return jnp.sum(weight @ x)

    weight, center = jnp.eye(2), jnp.array([1.0, 0.5])
    slopes = jax.jit(jax.grad(loss, argnums=(1, 2)))(weight, center, 0.1)
    assert not np.any(slopes[0])
    assert float(slopes[1]) == 0.0


@pytest.mark.parametrize(
    ("message", "call"),
    [
        ("classes 0 to 3", lambda: fab(1)(linear(jnp.eye(4)), linf_ball(jnp.ones(4), 0.1), 4, key=KEY)),
        ("returned shape", lambda: fab(1)(lambda x: x[None], linf_ball(jnp.ones(4), 0.1), 0, key=KEY)),
        ("steps", lambda: fab(0)),
        ("restarts", lambda: fab(restarts=0)),
        ("alpha_max", lambda: fab(alpha_max=1.5)),
        ("eta", lambda: fab(eta=0.9)),
        ("beta", lambda: fab(beta=1.0)),
        ("beta", lambda: fab(beta=jnp.ones(2))),
    ],
)
def test_bad_input_is_refused(message, call):
    with pytest.raises(ValueError, match=message):
        call()
