import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

from jaxcert.attacks import (
    cross_entropy,
    dlr,
    kl_divergence,
    margin_loss,
    targeted_cross_entropy,
    targeted_dlr,
    targeted_margin,
)
from jaxcert.attacks.objectives import Anchored

LOGITS = np.array([1.5, -2.0, 3.0, 2.5], np.float32)


def test_values():
    for label in range(4):
        others = np.delete(LOGITS, label)
        expected = scipy.special.logsumexp(LOGITS.astype(float)) - LOGITS[label]
        np.testing.assert_allclose(cross_entropy(LOGITS, label), expected, rtol=1e-6)
        np.testing.assert_allclose(margin_loss(LOGITS, label), others.max() - LOGITS[label], rtol=1e-6)
        np.testing.assert_allclose(targeted_margin(1)(LOGITS, label), LOGITS[1] - LOGITS[label], rtol=1e-6)
        expected = scipy.special.log_softmax(LOGITS.astype(float))[1]
        np.testing.assert_allclose(targeted_cross_entropy(1)(LOGITS, label), expected, rtol=1e-6)


def test_are_finite_far_out_and_shift_invariant():
    far = jnp.array([1e4, -1e4, 0.0])
    kl = kl_divergence().anchored(jnp.array([0.0, 1e4, 0.0]))
    targeted = targeted_margin(2), targeted_dlr(2), targeted_cross_entropy(2)
    for loss in (cross_entropy, margin_loss, dlr, *targeted, kl):
        value, gradient = jax.jit(jax.value_and_grad(loss))(far, 1)
        assert bool(jnp.isfinite(value))
        assert bool(jnp.all(jnp.isfinite(gradient)))
        if loss is not kl:
            np.testing.assert_allclose(loss(LOGITS + 7, 1), loss(LOGITS, 1), rtol=1e-5)


def test_gradient_of_the_margin_touches_two_classes():
    np.testing.assert_array_equal(jax.grad(margin_loss)(jnp.asarray(LOGITS), 2), [0, 0, -1, 1])
    np.testing.assert_array_equal(jax.grad(margin_loss)(jnp.asarray(LOGITS), 0), [-1, 0, 1, 0])


def test_labels_and_targets_that_do_not_exist_give_nan():
    clean = kl_divergence().anchored(jnp.zeros(4))
    targeted = targeted_margin, targeted_dlr, targeted_cross_entropy
    for label in (-1, 4, 99):
        for loss in (cross_entropy, margin_loss, dlr, clean, *(objective(0) for objective in targeted)):
            assert bool(jnp.isnan(jax.jit(loss)(LOGITS, label)))
        for objective in targeted:
            assert bool(
                jnp.isnan(jax.jit(lambda target, label, of=objective: of(target)(LOGITS, label))(label, 0))
            )


def ratio(logits, label, target=None):
    """Croce and Hein 2020, by sorting in double precision; two and three classes as documented."""
    z = np.asarray(logits, float)
    top = np.sort(z)[::-1]
    rise = (np.delete(z, label).max() if target is None else z[target]) - z[label]
    if len(z) == 2:
        return rise
    third = top[2] if target is None else (top[2] + top[min(3, len(z) - 1)]) / 2
    return rise / (top[0] - third)


@pytest.mark.parametrize("classes", [2, 3, 4, 10])
def test_ratios_are_the_formula(classes):
    rng = np.random.default_rng(classes)
    both = jax.jit(lambda z, label, target: (dlr(z, label), targeted_dlr(target)(z, label)))
    slopes = jax.jit(jax.grad(lambda z, label, target: dlr(z, label) + targeted_dlr(target)(z, label)))
    for draw in range(20):
        z = rng.normal(size=classes).astype(np.float32) * 10.0 ** rng.integers(-2, 4)
        if draw % 2 and classes > 2:  # ties at every place, but not all at the top
            z = np.round(rng.normal(size=classes) * 1.5).astype(np.float32)
            z[0], z[1] = z.max() + 1, z.min()
            rng.shuffle(z)
            if np.sort(z)[-1] == np.sort(z)[-3]:
                continue
        label, target = rng.choice(classes, 2, replace=False)
        plain, targeted = both(z, label, target)
        np.testing.assert_allclose(plain, ratio(z, label), rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(targeted, ratio(z, label, target), rtol=1e-4, atol=1e-6)
        assert bool(jnp.all(jnp.isfinite(slopes(z, label, target))))
        if classes > 2:
            moved = both((4 * z + 2).astype(np.float32), label, target)
            np.testing.assert_allclose(moved, (plain, targeted), rtol=1e-3, atol=1e-5)
        assert (plain > 0) == (np.argmax(z) != label) or np.sort(z)[-1] == np.sort(z)[-2]


@pytest.mark.parametrize("classes", [2, 3, 4, 10])
def test_equal_logits_give_ratio_zero_and_finite_gradients(classes):
    for logits in (jnp.zeros(classes), jnp.full(classes, 5.0)):
        for loss in (dlr, targeted_dlr(1)):
            value, gradient = jax.jit(jax.value_and_grad(loss))(logits, 0)
            assert float(value) == 0.0
            assert bool(jnp.all(jnp.isfinite(gradient)))


def test_gradient_of_the_ratio():
    """Against differences in double precision, away from ties."""
    z, label = np.array([0.3, 2.0, -1.0, 1.2, 0.9]), 3
    for loss, plain in ((dlr, lambda z: ratio(z, label)), (targeted_dlr(0), lambda z: ratio(z, label, 0))):
        gradient = jax.grad(loss)(jnp.asarray(z, jnp.float32), label)
        steps = 1e-6 * np.eye(5)
        expected = [(plain(z + step) - plain(z - step)) / 2e-6 for step in steps]
        np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-5)


def test_kl_divergence_is_anchored_at_the_clean_answer():
    rng = np.random.default_rng(0)
    assert isinstance(kl_divergence(), Anchored)
    assert not isinstance(cross_entropy, Anchored)
    for _ in range(5):
        clean, attacked = rng.normal(size=(2, 6)).astype(np.float32) * 3
        expected = scipy.stats.entropy(
            scipy.special.softmax(clean.astype(float)), scipy.special.softmax(attacked.astype(float))
        )
        objective = kl_divergence().anchored(clean)
        np.testing.assert_allclose(objective(attacked, 2), expected, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(objective(attacked + 3, 4), expected, rtol=1e-4, atol=1e-6)
        value, gradient = jax.value_and_grad(objective)(jnp.asarray(clean), 0)
        np.testing.assert_allclose(value, 0.0, atol=1e-6)
        np.testing.assert_allclose(gradient, 0.0, atol=1e-6)
