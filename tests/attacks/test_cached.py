"""Perturbations that are remembered: ATTA, its canvas, and ATAS, against the same steps in numpy."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcert.attacks import margin_loss
from jaxcert.attacks.adaptive_step import AtasState, atas, root_of_sum, root_then_sum
from jaxcert.attacks.cached import Cached, atta
from jaxcert.attacks.canvas import crop_cached, enlarge_cached, paste_cached, shrink_cached
from jaxcert.regions import box, l2_ball, linf_ball, lp_ball, product
from jaxcert.regions.contain import contains

KEY, SIZE, EPS = jax.random.key(0), 5, 0.1
WEIGHT = jnp.asarray(np.random.default_rng(0).normal(size=(3, SIZE)), jnp.float32)
CENTER = jnp.linspace(0.0, 1.0, SIZE)


def affine(x):
    return WEIGHT @ x


def softmax(z):
    return np.exp(z - z.max()) / np.exp(z - z.max()).sum()


def slope(x, label):
    """The gradient of the cross-entropy of `affine`."""
    weight = np.asarray(WEIGHT, float)
    return weight.T @ (softmax(weight @ x) - np.eye(3)[label])


@jax.jit
def step(attack, region, label, state):
    result, state = attack(affine, region, label, state, key=KEY)
    return result, state, contains(region, result.x)


start = jax.jit(lambda attack, region, key: attack.init(region, key=key))


def test_atta_goes_on_from_where_it_was():
    region, attack = linf_ball(CENTER, EPS, (0.0, 1.0)), atta(step_size=0.5)
    cached, x = start(attack, region, KEY), None
    assert bool(jnp.all(jnp.abs(cached.delta) <= EPS + 1e-7))
    for _ in range(3):
        x = np.asarray(CENTER + cached.delta, float)
        x = x + 0.5 * EPS * np.where(slope(x, 1) < 0, -1, 1)
        x = np.clip(np.clip(x, CENTER - EPS, CENTER + EPS), 0, 1)
        result, cached, inside = step(attack, region, 1, cached)
        np.testing.assert_allclose(result.x, x, atol=1e-6)
        np.testing.assert_allclose(cached.delta, x - np.asarray(CENTER), atol=1e-6)
        np.testing.assert_allclose(result.loss, -np.log(softmax(np.asarray(WEIGHT) @ x)[1]), rtol=1e-4)
        assert bool(inside)


@pytest.mark.parametrize("attack", [atta(), atas()])
def test_a_perturbation_from_outside_is_projected(attack):
    """The region may shrink between epochs, and the stored perturbation may be anything."""
    for region in (l2_ball(CENTER, 0.2, (0.0, 1.0)), linf_ball(CENTER, 0.01 * jnp.arange(5.0))):
        state = start(attack, region, KEY)
        state = jax.tree.map(lambda leaf: 50 * leaf + 3, state)
        result, state, inside = step(attack, region, 0, state)
        assert bool(inside)
        np.testing.assert_allclose(region.center + state.delta, result.x, atol=1e-6)


@pytest.mark.parametrize("attack", [atta(), atas()])
def test_states_of_a_batch_keys_and_gradients(attack):
    centers = jnp.stack([CENTER, CENTER[::-1]])
    init = lambda x, key: attack.init(linf_ball(x, EPS), key=key)
    states = jax.jit(jax.vmap(init))(centers, jax.random.split(KEY, 2))
    assert bool(jnp.all(states.delta[0] != states.delta[1]))

    def one(weight, x, label, state):
        return attack(lambda z: weight @ z, linf_ball(x, EPS), label, state, key=KEY)

    labels = jnp.array([0, 2])
    results, after = jax.jit(jax.vmap(one, (None, 0, 0, 0)))(WEIGHT, centers, labels, states)
    for i in range(2):
        state = jax.tree.map(lambda leaf, i=i: leaf[i], states)
        alone, stored, _ = step(attack, linf_ball(centers[i], EPS), labels[i], state)
        np.testing.assert_allclose(results.x[i], alone.x, atol=1e-6)
        jax.tree.map(
            lambda a, b, i=i: np.testing.assert_allclose(a[i], b, rtol=1e-4, atol=1e-6), after, stored
        )
    first = jax.tree.map(lambda leaf: leaf[0], states)
    total = lambda weight, state: sum(
        jnp.sum(leaf)
        for leaf in jax.tree.leaves((one(weight, CENTER, 0, state)[1], one(weight, CENTER, 0, state)[0].x))
    )
    assert not any(
        np.any(leaf) for leaf in jax.tree.leaves(jax.jit(jax.grad(total, argnums=(0, 1)))(WEIGHT, first))
    )


@pytest.mark.parametrize("attack", [atta(), atas()])
def test_bad_input_counts_as_an_error_and_is_not_remembered(attack):
    state = start(attack, linf_ball(CENTER, EPS), KEY)
    for label in (-1, 3):
        result, after, inside = step(attack, linf_ball(CENTER, EPS), label, state)
        assert (bool(result.success), bool(jnp.isnan(result.margin)), bool(inside)) == (True, True, True)
        assert all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(after))
    bad = jax.jit(lambda eps: linf_ball(CENTER, eps))(-1.0)
    result, after, _ = step(attack, bad, 0, state)
    assert (bool(result.success), bool(jnp.isnan(result.margin))) == (True, True)
    jax.tree.map(np.testing.assert_array_equal, after, state)
    with pytest.raises(ValueError, match="cached perturbation has shape"):
        attack(affine, linf_ball(CENTER, EPS), 0, jax.tree.map(lambda leaf: leaf[..., None], state), key=KEY)


def test_products_and_other_objectives():
    region = product({"a": linf_ball(jnp.zeros(2), 0.1), "b": box(jnp.zeros(3), jnp.ones(3))})
    fn = lambda parts: WEIGHT @ jnp.concatenate([parts["a"], parts["b"]])
    for attack in (atta(loss=margin_loss), atas(root_then_sum(low=0.3, high=0.3), loss=margin_loss)):
        run = jax.jit(lambda state, attack=attack: attack(fn, region, 0, state, key=KEY))
        result, state = run(attack.init(region, key=KEY))
        assert bool(contains(region, result.x))
        assert state.delta.shape == (5,)


@pytest.mark.parametrize("norm", [1.0, 2.0, math.inf])
@pytest.mark.parametrize(("rule", "squared"), [(root_then_sum(), False), (root_of_sum(0.5, 0.04), True)])
def test_atas_is_the_algorithm(rule, squared, norm):
    """(5.15), (5.16) and the published form, with lengths in input units also where eps differs."""
    radius = jnp.array([1.0, 1.0, 0.0, 2.0, 3.0])
    region, attack = lp_ball(CENTER, radius, norm), atas(rule, beta=0.25)
    state = AtasState(jnp.zeros(SIZE), jnp.array(0.3))
    result, after, _ = step(attack, region, 2, state)
    gradient = slope(np.asarray(CENTER, float), 2)
    v = 0.25 * 0.3 + 0.75 * (gradient**2).sum()
    np.testing.assert_allclose(after.v, v, rtol=1e-5)
    alpha = 0.5 * 0.04 / np.sqrt(v + 0.04) if squared else 16 / 255 * 0.01 / (np.sqrt(v) + 0.01)
    alpha = alpha if squared else np.clip(alpha, 4 / 255, 14 / 255)
    free = np.where(np.asarray(radius) > 0, gradient, 0)
    step_of = {
        1.0: np.sign(free) * (abs(free) == abs(free).max()),
        2.0: free / np.linalg.norm(free),
        math.inf: np.sign(free),
    }
    np.testing.assert_allclose(after.delta, alpha * step_of[norm], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(result.x, np.asarray(CENTER) + alpha * step_of[norm], rtol=1e-5)


def test_step_rules():
    small, large = jnp.array(1e-12), jnp.array(1e12)
    np.testing.assert_allclose(root_then_sum(high=1.0)(small), 16 / 255, rtol=1e-3)
    np.testing.assert_allclose(root_then_sum()(small), 14 / 255, rtol=1e-6)
    np.testing.assert_allclose(root_then_sum()(large), 4 / 255, rtol=1e-6)
    np.testing.assert_allclose(root_of_sum()(small), 16 / 255 * 0.1, rtol=1e-5)
    # The mean loss of B examples has gradients B times smaller: the same step from B times the constant.
    for b in (1, 128):
        np.testing.assert_allclose(
            root_then_sum(constant=0.01 * b)(jnp.array(0.5**2)),
            np.clip(16 / 255 / (1 + (0.5 / b) / 0.01), 4 / 255, 14 / 255),
            rtol=1e-5,
        )


def test_a_gradient_that_is_not_finite_leaves_the_mean():
    steep = lambda x: jnp.stack([jnp.sqrt(x[0]), x[1]])
    region, state = linf_ball(jnp.zeros(2), EPS, (0.0, 1.0)), AtasState(jnp.zeros(2), jnp.array(2.0))
    result, after = jax.jit(lambda state: atas()(steep, region, 0, state, key=KEY))(state)
    assert float(after.v) == 2.0
    assert bool(contains(region, result.x))


def test_beta_is_checked():
    with pytest.raises(ValueError, match="beta"):
        atas(beta=1.5)


CANVAS = jnp.asarray(np.random.default_rng(1).normal(size=(7, 6, 2)), jnp.float32)


def test_crop_and_paste_are_inverse_on_the_window_only():
    crop = jax.jit(lambda offset, flip: crop_cached(CANVAS, offset, flip, (4, 3)))
    paste = jax.jit(lambda offset, flip, window: paste_cached(CANVAS, offset, flip, window))
    for row, column in ((0, 0), (3, 3), (2, 1)):
        for flip in (False, True):
            window = crop((row, column), flip)
            expected = np.asarray(CANVAS)[row : row + 4, column : column + 3]
            np.testing.assert_array_equal(window, expected[:, ::-1] if flip else expected)
            np.testing.assert_array_equal(paste((row, column), flip, window), CANVAS)
            changed = np.asarray(paste((row, column), flip, window + 1)) - np.asarray(CANVAS)
            mask = np.zeros(CANVAS.shape)
            mask[row : row + 4, column : column + 3] = 1
            np.testing.assert_allclose(changed, mask, atol=1e-6)


def test_windows_of_a_batch_and_offsets_in_one_array():
    offsets, flips = jnp.array([[0, 0], [3, 2]]), jnp.array([True, False])
    windows = jax.vmap(lambda offset, flip: crop_cached(CANVAS, offset, flip, (4, 3)))(offsets, flips)
    np.testing.assert_array_equal(windows[0], CANVAS[:4, 2::-1])
    np.testing.assert_array_equal(windows[1], CANVAS[3:7, 2:5])


def test_an_epoch_with_augmentation_moves_only_the_window():
    attack, size = atta(2.0), (3, 3)
    image = jnp.full((3, 3, 1), 0.5)
    fn = lambda x: jnp.stack([jnp.sum(x), 0 * jnp.sum(x)])
    canvas = attack.init(linf_ball(jnp.zeros((5, 5, 1)), EPS), key=KEY).delta

    @jax.jit
    def epoch(canvas, offset, flip):
        cached = Cached(crop_cached(canvas, offset, flip, size))
        result, cached = attack(fn, linf_ball(image, EPS), 0, cached, key=KEY)
        return result, paste_cached(canvas, offset, flip, cached.delta)

    result, after = epoch(canvas, (1, 2), True)
    np.testing.assert_allclose(result.x, image - EPS, atol=1e-6)
    inner = np.zeros((5, 5, 1), bool)
    inner[1:4, 2:5] = True
    np.testing.assert_allclose(after, np.where(inner, -EPS, canvas), atol=1e-6)


def test_storage_on_a_coarser_grid():
    place = np.arange(32, dtype=np.float32)
    smooth = jnp.asarray(np.sin(place / 8)[:, None, None] * np.cos(place / 10)[None, :, None])
    back = enlarge_cached(shrink_cached(smooth, (16, 16)), (32, 32))
    np.testing.assert_allclose(back[2:-2, 2:-2], smooth[2:-2, 2:-2], atol=0.03)
    noise = jnp.asarray(np.random.default_rng(3).uniform(-EPS, EPS, (32, 32, 1)), jnp.float32)
    stored = shrink_cached(noise, (8, 8))
    assert float(jnp.max(jnp.abs(stored))) <= EPS
    assert float(jnp.max(jnp.abs(enlarge_cached(stored, (40, 32))))) <= EPS
    np.testing.assert_allclose(shrink_cached(jnp.full((32, 32, 1), EPS), (8, 8)), EPS, rtol=1e-5)


@pytest.mark.parametrize(
    ("message", "call"),
    [
        ("expected", lambda: crop_cached(CANVAS[0], (0, 0), False, (2, 2))),
        ("does not fit", lambda: crop_cached(CANVAS, (0, 0), False, (8, 2))),
        ("outside", lambda: crop_cached(CANVAS, (4, 0), False, (4, 3))),
        ("outside", lambda: crop_cached(CANVAS, (0, -1), False, (4, 3))),
        ("do not fit", lambda: paste_cached(CANVAS, (0, 0), False, jnp.zeros((2, 2, 1)))),
        ("expected", lambda: shrink_cached(CANVAS[0], (2, 2))),
        ("at least", lambda: shrink_cached(CANVAS, (0, 2))),
    ],
)
def test_bad_windows_are_refused(message, call):
    with pytest.raises(ValueError, match=message):
        call()
