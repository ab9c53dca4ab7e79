import jax
import jax.numpy as jnp
import numpy as np
import scipy.special

from jaxcert.attacks import cross_entropy, margin_loss, targeted_margin

LOGITS = np.array([1.5, -2.0, 3.0, 2.5], np.float32)


def test_values():
    for label in range(4):
        others = np.delete(LOGITS, label)
        expected = scipy.special.logsumexp(LOGITS.astype(float)) - LOGITS[label]
        np.testing.assert_allclose(cross_entropy(LOGITS, label), expected, rtol=1e-6)
        np.testing.assert_allclose(margin_loss(LOGITS, label), others.max() - LOGITS[label], rtol=1e-6)
        np.testing.assert_allclose(targeted_margin(1)(LOGITS, label), LOGITS[1] - LOGITS[label], rtol=1e-6)


def test_are_finite_far_out_and_shift_invariant():
    far = jnp.array([1e4, -1e4, 0.0])
    for loss in (cross_entropy, margin_loss, targeted_margin(2)):
        value, gradient = jax.value_and_grad(loss)(far, 1)
        assert bool(jnp.isfinite(value))
        assert bool(jnp.all(jnp.isfinite(gradient)))
        np.testing.assert_allclose(loss(LOGITS + 7, 1), loss(LOGITS, 1), rtol=1e-5)


def test_gradient_of_the_margin_touches_two_classes():
    np.testing.assert_array_equal(jax.grad(margin_loss)(jnp.asarray(LOGITS), 2), [0, 0, -1, 1])
    np.testing.assert_array_equal(jax.grad(margin_loss)(jnp.asarray(LOGITS), 0), [-1, 0, 1, 0])


def test_labels_and_targets_that_do_not_exist_give_nan():
    for label in (-1, 4, 99):
        for loss in (cross_entropy, margin_loss, targeted_margin(0)):
            assert bool(jnp.isnan(jax.jit(loss)(LOGITS, label)))
        assert bool(jnp.isnan(targeted_margin(label)(LOGITS, 0)))
