"""The line search against enumeration of the linear pieces and a dense grid."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcert.attacks.line_search import line_search
from jaxcert.regions import box, l2_ball, linf_ball, lp_ball, product
from jaxcert.regions.contain import contains

INPUTS, HIDDEN, CLASSES, KEY = 4, 12, 3, jax.random.key(0)
SIGNAL = np.eye(INPUTS, dtype=np.float32)[1]


def random_net(seed, dtype=np.float32):
    rng = np.random.default_rng(seed)
    shapes = (HIDDEN, INPUTS), (HIDDEN,), (CLASSES, HIDDEN), (CLASSES,)
    return tuple(rng.normal(size=shape).astype(dtype) for shape in shapes)


def search(net, region, label):
    """Closes over the first layer, as a user's network does."""
    w1, b1, w2, b2 = net
    hidden = lambda x: w1 @ x + b1
    result = line_search(hidden)(lambda x: w2 @ jax.nn.relu(hidden(x)) + b2, region, label, key=KEY)
    return result, contains(region, result.x)


search_jit = jax.jit(search)


def margins(net, points, label):
    w1, b1, w2, b2 = (np.asarray(part, float) for part in net)
    logits = np.maximum(points @ w1.T + b1, 0) @ w2.T + b2
    return logits[:, label] - np.delete(logits, label, axis=1).max(axis=1)


def on_segment(center, radius, betas):
    points = np.tile(np.asarray(center, float), (len(betas), 1))
    points[:, 1] += betas * radius
    return points


def exact_minimum(net, center, radius, low, high, label):
    """Ends and breakpoints, by one division per neuron in double precision."""
    w1, b1 = (np.asarray(part, float) for part in net[:2])
    betas = -(w1 @ center + b1) / (w1[:, 1] * radius)
    betas = np.append(betas[(betas > low) & (betas < high)], [low, high])
    return margins(net, on_segment(center, radius, betas), label).min()


@pytest.mark.parametrize("clipped", [False, True])
def test_finds_the_exact_minimum(clipped):
    failed = set()
    for seed in range(40):
        net, rng = random_net(seed), np.random.default_rng(100 + seed)
        center, radius, label = rng.random(INPUTS).astype(np.float32), 10 ** rng.uniform(-1, 0.7), seed % 3
        clip = (jnp.zeros(INPUTS), jnp.ones(INPUTS)) if clipped else None
        region = linf_ball(center, np.float32(radius) * SIGNAL, clip)
        result, inside = search_jit(net, region, label)
        limits = (-center[1] / radius, (1 - center[1]) / radius) if clipped else (-1, 1)
        low, high = np.clip(limits, -1, 1)
        exact = exact_minimum(net, center.astype(float), radius, low, high, label)
        np.testing.assert_allclose(result.margin, exact, rtol=1e-4, atol=1e-5)
        grid = margins(net, on_segment(center, radius, np.linspace(low, high, 20001)), label)
        assert float(result.margin) <= grid.min() + 1e-5
        np.testing.assert_allclose(result.loss, -result.margin)
        assert bool(inside)
        assert bool(result.success) == (float(result.margin) < 0)
        failed.add(bool(result.success))
    assert failed == {True, False}


def test_closed_form_of_one_neuron():
    """theses/1 (A.20): y (b + a max(0, l)) where a y > 0 and y (b + a max(0, u)) where a y < 0."""

    @jax.jit
    def attack(a, b, theta, x, eps, label):
        hidden = lambda z: (theta @ z)[None]
        fn = lambda z: jnp.stack([jnp.zeros(()), b + a * jax.nn.relu(hidden(z))[0]])
        return line_search(hidden)(fn, linf_ball(x, eps * SIGNAL), label, key=KEY).margin

    rng = np.random.default_rng(0)
    for _ in range(40):
        a, b, eps = rng.normal(size=3).astype(np.float32) * np.array([1, 1, 2], np.float32)
        theta, x = rng.normal(size=(2, INPUTS)).astype(np.float32)
        y, eps = rng.choice([-1, 1]), abs(eps)
        reach = eps * abs(theta[1])
        hidden = theta @ x - reach if a * y > 0 else theta @ x + reach
        expected = y * (b + a * max(0, hidden))
        np.testing.assert_allclose(attack(a, b, theta, x, eps, int(y > 0)), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("norm", [1.0, 2.0, 3.0])
def test_all_norms_agree_where_one_coordinate_moves(norm):
    for seed in range(5):
        net, center = random_net(seed), np.full(INPUTS, 0.3, np.float32)
        of_norm, inside = search_jit(net, lp_ball(center, 0.7 * SIGNAL, norm), 0)
        flat, _ = search_jit(net, linf_ball(center, 0.7 * SIGNAL), 0)
        np.testing.assert_allclose(of_norm.margin, flat.margin, rtol=1e-4, atol=1e-5)
        assert bool(inside)


def test_boxes_products_and_no_room():
    net, center = random_net(3), jnp.full(INPUTS, 0.3)
    ball, _ = search_jit(net, linf_ball(center, 0.5 * SIGNAL), 1)
    same, inside = search_jit(net, box(center - 0.5 * SIGNAL, center + 0.5 * SIGNAL), 1)
    np.testing.assert_allclose(same.margin, ball.margin, rtol=1e-4, atol=1e-5)
    assert bool(inside)
    still, _ = search_jit(net, l2_ball(center, 0.0), 1)
    np.testing.assert_array_equal(still.x, center)
    parts = product((linf_ball(jnp.zeros(2), 0.0), box(jnp.array(-1.0), jnp.array(2.0))))
    fn = lambda parts: jnp.stack([jax.nn.relu(1 - parts[1]) + 0 * parts[0][0], 0 * parts[1]])
    result = line_search(lambda parts: (1 - parts[1])[None])(fn, parts, 0, key=KEY)
    assert float(result.margin) == 0.0
    assert result.x[:2].tolist() == [0.0, 0.0]


def test_a_tie_that_decides_is_found():
    """The predicted class is the first of equals: with all margins 0, label 1 is wrong and label 0 right."""
    fn = lambda x: jnp.stack([jax.nn.relu(x[0]), jax.nn.relu(x[0]) + jax.nn.relu(x[0] - 1)])
    hidden = lambda x: jnp.stack([x[0], x[0] - 1])
    region = linf_ball(jnp.array([2.0]), 1.5)
    assert bool(line_search(hidden)(fn, region, 1, key=KEY).success)
    worst = line_search(hidden)(fn, linf_ball(jnp.array([-1.0]), 1.5), 0, key=KEY)
    assert (bool(worst.success), float(worst.margin)) == (False, 0.0)


def test_batches_without_retracing_and_lets_no_gradient_out():
    net, centers = random_net(5), jnp.linspace(0.0, 1.0, 5 * INPUTS).reshape(5, INPUTS)
    labels, radii = jnp.array([0, 1, 2, 0, 1]), jnp.linspace(0.0, 2.0, 5)

    def one(net, x, eps, label):
        return search(net, linf_ball(x, eps * SIGNAL, (0.0, 1.0)), label)[0]

    batched = jax.jit(jax.vmap(one, (None, 0, 0, 0)))(net, centers, radii, labels)
    for i in range(5):
        alone = jax.jit(one)(net, centers[i], radii[i], labels[i])
        np.testing.assert_allclose(batched.margin[i], alone.margin, rtol=1e-4, atol=1e-5)
    moved = jax.jit(jax.grad(lambda net: one(net, centers[0], 0.3, 0).margin))(net)
    assert not any(np.any(leaf) for leaf in moved)


def test_bad_input_counts_as_an_error():
    net, center = random_net(0), jnp.full(INPUTS, 0.5)
    run = jax.jit(lambda x, eps, label: search(net, linf_ball(x, eps, (0.0, 1.0)), label)[0])
    two = jnp.array([0.1, 0.1, 0.0, 0.0])
    for x, eps, label in (
        (center, SIGNAL, -1),
        (center, SIGNAL, 3),
        (center, -SIGNAL, 0),
        (center, two, 0),
        (center.at[0].set(jnp.nan), SIGNAL, 0),
    ):
        result = run(x, jnp.asarray(eps), label)
        assert (bool(result.success), bool(jnp.isnan(result.margin))) == (True, True)
    region = linf_ball(center, SIGNAL)
    partly = lambda x: jnp.stack([jnp.where(x[1] > 1.4, jnp.nan, 1.0), 0.0 * x[1]])
    found = line_search(lambda x: x)(partly, region, 0, key=KEY)
    assert bool(found.success)
    assert bool(contains(region, found.x))


@pytest.mark.parametrize(
    ("message", "region"),
    [
        ("but 4 do", linf_ball(jnp.zeros(INPUTS), 0.1)),
        ("but 2 do", l2_ball(jnp.zeros(INPUTS), jnp.array([0.1, 0.0, 0.2, 0.0]))),
        ("but 2 do", box(jnp.zeros(INPUTS), jnp.array([1.0, 0.0, 0.0, 1.0]))),
    ],
)
def test_more_than_one_moving_coordinate_is_refused(message, region):
    for call in (search, lambda *args: jax.jit(lambda: search(*args))()):
        with pytest.raises(ValueError, match=message):
            call(random_net(0), region, 0)


def test_preactivations_must_be_a_vector():
    with pytest.raises(ValueError, match="returned shape"):
        line_search(lambda x: x[None])(
            lambda x: x, linf_ball(jnp.zeros(2), jnp.array([0.1, 0.0])), 0, key=KEY
        )


def test_double_precision(x64):
    net = random_net(7, np.float64)
    center = np.full(INPUTS, 0.4)
    result, _ = search_jit(net, linf_ball(center, 0.9 * SIGNAL.astype(float)), 2)
    assert result.x.dtype == jnp.float64
    np.testing.assert_allclose(result.margin, exact_minimum(net, center, 0.9, -1, 1, 2), rtol=1e-10)
