"""Labels of every integer type, with and without 64-bit types, under strict promotion."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcert as jc
from jaxcert import attacks

LABELS = ("uint8", "int16", "int32", "uint32", "int64")
OBJECTIVES = {
    "cross_entropy": attacks.cross_entropy,
    "margin_loss": attacks.margin_loss,
    "dlr": attacks.dlr,
    "kl_divergence": attacks.kl_divergence().anchored(jnp.arange(4.0)),
    "targeted_margin": attacks.targeted_margin(2),
    "targeted_dlr": attacks.targeted_dlr(2),
    "targeted_cross_entropy": attacks.targeted_cross_entropy(2),
}
ATTACKS = {
    "pgd": attacks.pgd(1),
    "apgd": attacks.apgd(1),
    "multi_targeted": attacks.multi_targeted(attacks.pgd(1), attacks.targeted_dlr),
    "fab": attacks.fab(1),
    "square": attacks.square(1),
    "linear_attack": attacks.linear_attack(),
    "deepfool": attacks.deepfool(1),
    "carlini_wagner": attacks.carlini_wagner(1, 1),
    "autoattack": attacks.autoattack(),
}


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_objectives_take_every_type_of_label(name, wide):
    with jax.enable_x64(wide):
        logits = jnp.array([0.5, 2.0, -1.0, 1.0], jnp.float32)
        expected = OBJECTIVES[name](logits, 1)
        for kind in LABELS if wide else LABELS[:-1]:
            assert OBJECTIVES[name](logits, jnp.asarray(1, kind)) == expected
            assert np.isnan(OBJECTIVES[name](logits, jnp.asarray(9, kind)))


def test_a_short_type_means_one_class_of_many():
    logits = jnp.zeros(600).at[3].set(1.0)
    assert attacks.margin_loss(logits, jnp.asarray(3, jnp.uint8)) == -1.0


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("name", ATTACKS)
def test_attacks_take_every_type_of_label(name, wide):
    """They need no more than to be traced; one type of each way to be widened."""
    with jax.enable_x64(wide):
        network = lambda x: jnp.stack([x[0], x[1], -x[0]])
        ball = jc.l2_ball if name == "carlini_wagner" else jc.linf_ball
        region = ball(jnp.array([0.1, 0.5]), 0.1)
        attack = lambda label: ATTACKS[name](network, region, label, key=jax.random.key(0))
        for kind in ("uint8", "int32", "int64") if wide else ("uint8", "int32"):
            assert jax.eval_shape(attack, jax.ShapeDtypeStruct((), kind)).success.shape == ()
