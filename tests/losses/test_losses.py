import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax

from jaxcert import losses
from jaxcert.errors import InvalidInputError

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(6, 5)).astype(np.float32) * 4.0
LABELS = np.array([0, 1, 2, 3, 4, 0], np.int32)


def margins_of(logits, label):
    return np.delete(logits[label] - logits, label)


def test_cross_entropy_is_minus_log_softmax():
    got = jax.vmap(losses.cross_entropy)(jnp.asarray(LOGITS), jnp.asarray(LABELS))
    expected = -log_softmax(LOGITS.astype(np.float64), axis=1)[np.arange(6), LABELS]
    np.testing.assert_allclose(got, expected, rtol=2e-6, atol=1e-6)


def test_worst_case_cross_entropy_of_exact_margins_is_the_cross_entropy():
    for logits, label in zip(LOGITS, LABELS, strict=True):
        robust = losses.worst_case_cross_entropy(jnp.asarray(margins_of(logits, label)))
        expected = losses.cross_entropy(jnp.asarray(logits), int(label))
        np.testing.assert_allclose(robust, expected, rtol=2e-6, atol=1e-6)


def test_worst_case_cross_entropy_bounds_the_loss_over_a_box_of_logits():
    lower, upper = LOGITS[0] - 0.5, LOGITS[0] + 0.5
    label = 2
    worst = np.delete(lower[label] - upper, label)
    bound = float(losses.worst_case_cross_entropy(jnp.asarray(worst)))
    draws = RNG.uniform(lower, upper, size=(2000, 5))
    seen = -log_softmax(draws, axis=1)[:, label]
    assert seen.max() <= bound
    corner = upper.copy()
    corner[label] = lower[label]
    np.testing.assert_allclose(bound, -log_softmax(corner)[label], rtol=1e-6)


def test_large_margins_do_not_overflow():
    assert losses.worst_case_cross_entropy(jnp.array([1e30, 1e30])) == 0.0
    assert losses.worst_case_cross_entropy(jnp.array([-1e30, 0.0])) == 1e30
    slope = jax.grad(losses.worst_case_cross_entropy)(jnp.array([-1e30, 0.0]))
    np.testing.assert_array_equal(slope, [-1.0, 0.0])


def test_gradients_are_softmax_minus_one_hot_and_minus_softmax():
    logits, label = jnp.asarray(LOGITS[1]), 1
    share = np.exp(log_softmax(LOGITS[1]))
    np.testing.assert_allclose(
        jax.grad(losses.cross_entropy)(logits, label), share - np.eye(5)[1], rtol=1e-4, atol=1e-6
    )
    margins = jnp.asarray(margins_of(LOGITS[1], label))
    slope = jax.grad(losses.worst_case_cross_entropy)(margins)
    np.testing.assert_allclose(slope, -np.delete(share, label), rtol=1e-4, atol=1e-6)


def test_one_class_has_no_loss():
    assert losses.worst_case_cross_entropy(jnp.zeros(0)) == 0.0


@pytest.mark.parametrize("kappa", [0.0, 0.5, 1.0])
def test_nan_margins_give_nan_losses(kappa):
    logits, bad, good = jnp.zeros(3), jnp.array([1.0, jnp.nan]), jnp.ones(2)
    assert jnp.isnan(losses.worst_case_cross_entropy(bad))
    assert jnp.isnan(losses.ibp_loss(logits, 0, bad, kappa))
    for beta in (0.0, 0.5, 1.0):
        assert jnp.isnan(losses.crown_ibp_loss(logits, 0, bad, good, beta, kappa))
        assert jnp.isnan(losses.crown_ibp_loss(logits, 0, good, bad, beta, kappa))


def test_mixtures_meet_their_ends():
    logits, tight, loose = jnp.asarray(LOGITS[0]), jnp.full((4,), 0.5), jnp.full((4,), -0.5)
    clean = losses.cross_entropy(logits, 0)
    assert losses.ibp_loss(logits, 0, loose, 1.0) == clean
    assert losses.ibp_loss(logits, 0, loose, 0.0) == losses.worst_case_cross_entropy(loose)
    crown = lambda beta: losses.crown_ibp_loss(logits, 0, tight, loose, beta, 0.0)
    assert crown(1.0) == losses.worst_case_cross_entropy(tight)
    assert crown(0.0) == losses.worst_case_cross_entropy(loose)
    assert crown(1.0) < crown(0.5) < crown(0.0)
    np.testing.assert_allclose(losses.mixed_margins(tight, loose, 0.75), 0.25 * np.ones(4))


@pytest.mark.parametrize("label", [-1, 5])
def test_label_out_of_range_raises_and_poisons_under_jit(label):
    logits = jnp.zeros(5)
    with pytest.raises(InvalidInputError, match="outside"):
        losses.cross_entropy(logits, label)
    assert jnp.isnan(jax.jit(losses.cross_entropy)(logits, label))
    batch = jax.vmap(losses.cross_entropy)(jnp.zeros((2, 5)), jnp.array([0, label]))
    assert jnp.isfinite(batch[0])
    assert jnp.isnan(batch[1])


def test_batches_and_floating_labels_are_refused():
    with pytest.raises(InvalidInputError, match="vmap"):
        losses.cross_entropy(jnp.zeros((2, 3)), 0)
    with pytest.raises(InvalidInputError, match="vmap"):
        losses.worst_case_cross_entropy(jnp.zeros((2, 3)))
    with pytest.raises(InvalidInputError, match="integer"):
        losses.cross_entropy(jnp.zeros(3), jnp.zeros(()))


def test_no_gradient_flows_into_the_attacked_point():
    weights = jnp.asarray(RNG.normal(size=(3, 4)).astype(np.float32))
    loss = lambda w, x: losses.adversarial_cross_entropy(lambda x: w @ x, x, 1)
    x = jnp.arange(4.0)
    by_weights, by_input = jax.grad(loss, argnums=(0, 1))(weights, x)
    assert jnp.any(by_weights != 0.0)
    np.testing.assert_array_equal(by_input, np.zeros(4))
    np.testing.assert_allclose(
        by_weights, jax.grad(lambda w: losses.cross_entropy(w @ x, 1))(weights), rtol=1e-6
    )


def test_double_precision_is_kept(x64):
    assert losses.cross_entropy(jnp.zeros(3, jnp.float64), 0).dtype == jnp.float64
    assert losses.worst_case_cross_entropy(jnp.zeros(3, jnp.float64)).dtype == jnp.float64
