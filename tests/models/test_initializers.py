"""Each initialisation against its formula: law of the weights, exact bounds, zero biases."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from jaxcert.models import (
    FAN_IN_UNIFORM,
    INITIALIZATIONS,
    OUT_CHANNELS_NORMAL,
    TRUNCATED_HE,
    ConvLayer,
    ConvNet,
    Initialization,
)
from jaxcert.models.initializers import (
    FanInUniformBias,
    fan_in,
    fan_in_uniform,
    out_channels_normal,
    truncated_he_normal,
    zero_bias,
    zeros,
)

CONV, DENSE = (4, 4, 16, 64), (200, 80)
KEY = jax.random.key(7)


def p_value(initializer, shape, law) -> float:
    sample = np.asarray(initializer(KEY, shape), np.float64).ravel()
    return scipy.stats.kstest(sample, law.cdf).pvalue


def test_fan_in_counts_all_but_the_outputs():
    assert (fan_in(CONV), fan_in(DENSE)) == (256, 200)


def test_out_channels_normal_law():
    std = math.sqrt(2.0 / (16 * 64))
    assert p_value(out_channels_normal, CONV, scipy.stats.norm(scale=std)) > 0.01
    # The fan-in law of the same kernel is a different one, and the test sees it.
    assert p_value(out_channels_normal, CONV, scipy.stats.norm(scale=math.sqrt(2.0 / 256))) < 1e-6


def test_fan_in_uniform_law():
    bound = 1.0 / math.sqrt(200)
    assert p_value(fan_in_uniform, DENSE, scipy.stats.uniform(-bound, 2 * bound)) > 0.01
    assert np.abs(fan_in_uniform(KEY, DENSE)).max() <= bound


def test_truncated_he_law():
    std = math.sqrt(2.0 / 256)
    law = scipy.stats.truncnorm(-2.0, 2.0, scale=std)
    assert p_value(truncated_he_normal, CONV, law) > 0.01
    assert np.abs(truncated_he_normal(KEY, CONV)).max() <= 2.0 * std * (1 + 1e-6)


def test_fan_in_uniform_bias_has_the_law_of_its_kernel():
    initializer = FanInUniformBias(25)
    assert p_value(initializer, (4000,), scipy.stats.uniform(-0.2, 0.4)) > 0.01
    assert initializer == FanInUniformBias(25)
    assert initializer != FanInUniformBias(24)


def test_zero_bias_is_zero():
    assert zero_bias(9) is zeros
    assert not np.any(zeros(KEY, (5,)))


@pytest.mark.parametrize("initializer", [fan_in_uniform, out_channels_normal, truncated_he_normal, zeros])
def test_dtype_is_as_asked(initializer, x64):
    for dtype in (jnp.float64, jnp.float32):
        assert jax.eval_shape(lambda key, d=dtype: initializer(key, CONV, d), KEY).dtype == dtype


@pytest.mark.parametrize("initializer", [fan_in_uniform, out_channels_normal, truncated_he_normal])
def test_draws_depend_on_the_key_alone(initializer):
    first, again, other = (initializer(key, CONV) for key in (KEY, KEY, jax.random.key(8)))
    np.testing.assert_array_equal(first, again)
    assert np.any(first != other)


def test_a_network_starts_as_its_initialization_says():
    net = ConvNet(20, convs=(ConvLayer(32, 4),), initialization=OUT_CHANNELS_NORMAL)
    params = jax.jit(net.init)(KEY, jnp.zeros((6, 6, 16)))["params"]
    conv, logits = jax.tree.map(np.asarray, (params["conv_0"], params["logits"]))
    assert conv["kernel"].std() == pytest.approx(math.sqrt(2 / (16 * 32)), rel=0.03)
    assert logits["kernel"].std() == pytest.approx(1 / math.sqrt(3 * 288), rel=0.03)
    assert not np.any(conv["bias"])
    assert 0.8 / math.sqrt(288) <= np.abs(logits["bias"]).max() <= 1 / math.sqrt(288)


def test_the_other_initializations():
    uniform = (fan_in_uniform, fan_in_uniform, FanInUniformBias, FanInUniformBias)
    assert Initialization(*uniform) == FAN_IN_UNIFORM
    assert Initialization(truncated_he_normal, truncated_he_normal, zero_bias, zero_bias) == TRUNCATED_HE


def test_initializations_are_frozen_and_named():
    assert set(INITIALIZATIONS.values()) == {FAN_IN_UNIFORM, OUT_CHANNELS_NORMAL, TRUNCATED_HE}
    with pytest.raises(TypeError):
        INITIALIZATIONS["other"] = FAN_IN_UNIFORM  # pyright: ignore[reportIndexIssue]
