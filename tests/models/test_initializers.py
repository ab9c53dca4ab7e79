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


@pytest.mark.parametrize("shape", [CONV, DENSE])
def test_fan_in_uniform_law(shape):
    bound = 1.0 / math.sqrt(math.prod(shape[:-1]))
    assert p_value(fan_in_uniform, shape, scipy.stats.uniform(-bound, 2 * bound)) > 0.01
    assert np.abs(fan_in_uniform(KEY, shape)).max() <= bound


@pytest.mark.parametrize("shape", [CONV, DENSE])
def test_truncated_he_law(shape):
    std = math.sqrt(2.0 / math.prod(shape[:-1]))
    law = scipy.stats.truncnorm(-2.0, 2.0, scale=std)
    assert p_value(truncated_he_normal, shape, law) > 0.01
    assert np.abs(truncated_he_normal(KEY, shape)).max() <= 2.0 * std * (1 + 1e-6)


def test_fan_in_uniform_bias_has_the_law_of_its_kernel():
    initializer = FanInUniformBias(25)
    assert p_value(initializer, (4000,), scipy.stats.uniform(-0.2, 0.4)) > 0.01
    assert initializer == FanInUniformBias(25)
    assert initializer != FanInUniformBias(24)


def test_zero_bias_is_zero():
    assert zero_bias(9) is zeros
    assert not np.any(zeros(KEY, (5,)))


@pytest.mark.parametrize("initializer", [fan_in_uniform, out_channels_normal, truncated_he_normal, zeros])
def test_dtype_and_key(initializer, x64):
    doubles = jax.eval_shape(lambda key: initializer(key, CONV, jnp.float64), KEY)
    assert doubles.dtype == jnp.float64
    first, again, other = (initializer(key, (3, 3, 2, 4)) for key in (KEY, KEY, jax.random.key(8)))
    assert first.dtype == jnp.float32
    np.testing.assert_array_equal(first, again)
    assert np.any(first != other) == (initializer is not zeros)


@pytest.mark.parametrize(
    ("scheme", "conv_std", "dense_std", "conv_bias", "dense_bias"),
    [
        # Standard deviations of conv_0 (4, 4, 16, 32) and logits (288, 20); bounds of their biases.
        (FAN_IN_UNIFORM, (3 * 256) ** -0.5, (3 * 288) ** -0.5, 256**-0.5, 288**-0.5),
        (OUT_CHANNELS_NORMAL, (2 / 512) ** 0.5, (3 * 288) ** -0.5, 0.0, 288**-0.5),
        (TRUNCATED_HE, 0.87962566 * (2 / 256) ** 0.5, 0.87962566 * (2 / 288) ** 0.5, 0.0, 0.0),
    ],
)
def test_a_network_starts_as_its_initialization_says(scheme, conv_std, dense_std, conv_bias, dense_bias):
    net = ConvNet(20, convs=(ConvLayer(32, 4),), initialization=scheme)
    params = jax.jit(net.init)(KEY, jnp.zeros((6, 6, 16)))["params"]
    for layer, std, bound in (("conv_0", conv_std, conv_bias), ("logits", dense_std, dense_bias)):
        assert np.asarray(params[layer]["kernel"]).std() == pytest.approx(std, rel=0.03)
        largest = np.abs(np.asarray(params[layer]["bias"])).max()
        assert 0.8 * bound <= largest <= bound


def test_initializations_are_frozen_and_named():
    assert set(INITIALIZATIONS.values()) == {FAN_IN_UNIFORM, OUT_CHANNELS_NORMAL, TRUNCATED_HE}
    with pytest.raises(TypeError):
        INITIALIZATIONS["other"] = FAN_IN_UNIFORM  # pyright: ignore[reportIndexIssue]
