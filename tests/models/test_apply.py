"""Networks as functions: one example or a batch, transformations, dtypes, normalisation, bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal

from jaxcert.errors import ConfigError, InvalidInputError
from jaxcert.models import (
    MLP,
    MODELS,
    CAPResNet,
    CNNDigits,
    ConvLayer,
    ConvNet,
    LeakyReLU,
    LeNet,
    Normalize,
    arctan,
    build,
    flatten,
    relu,
    sigmoid,
    tanh,
)
from tests.models.parameters import images, random_variables, shapes

SHAPE = (8, 8, 2)
STATISTICS = ((0.4, 0.6), (0.2, 0.3))
FAMILIES = [
    CNNDigits(10, normalize=STATISTICS),
    CNNDigits(10, padding=((0, 1), (2, 1))),
    LeNet(10, width=2),
    CAPResNet(10),
    build("cnn-b", 10),
    MLP((20, 15), 10, activation=tanh, normalize=STATISTICS),
]


@pytest.mark.parametrize("model", FAMILIES, ids=lambda model: type(model).__name__)
def test_one_example_is_a_row_of_a_batch(model):
    variables, batch = random_variables(model, SHAPE), images(SHAPE, 3)
    apply = jax.jit(model.apply)
    logits = apply(variables, batch)
    one = apply(variables, batch[1])
    assert logits.shape == (3, 10)
    assert one.shape == (10,)
    assert np.abs(one).max() > 0.1
    np.testing.assert_allclose(apply(variables, batch[1:2])[0], one, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(logits[1], one, rtol=1e-5, atol=1e-5)
    mapped = jax.jit(jax.vmap(model.apply, in_axes=(None, 0)))(variables, batch)
    np.testing.assert_allclose(mapped, logits, rtol=1e-5, atol=1e-5)


def numpy_forward(params, x, convs, mean, std):
    """The same network by scipy's correlation, zero padding after normalisation."""
    x = (x - np.asarray(mean)) / np.asarray(std)
    for index, layer in enumerate(convs):
        kernel = np.asarray(params[f"conv_{index}"]["kernel"], np.float64)
        (top, bottom), (left, right) = layer.padding
        padded = np.pad(x, ((top, bottom), (left, right), (0, 0)))
        maps = [
            sum(
                scipy.signal.correlate2d(padded[..., i], kernel[..., i, o], "valid")
                for i in range(x.shape[-1])
            )[:: layer.stride, :: layer.stride]
            for o in range(layer.features)
        ]
        x = np.maximum(np.stack(maps, axis=-1) + np.asarray(params[f"conv_{index}"]["bias"]), 0.0)
    x = x.ravel()
    hidden = np.maximum(
        x @ np.asarray(params["dense_0"]["kernel"]) + np.asarray(params["dense_0"]["bias"]), 0
    )
    return hidden @ np.asarray(params["logits"]["kernel"]) + np.asarray(params["logits"]["bias"])


def test_conv_net_in_double_precision_equals_scipy(x64):
    convs = (ConvLayer(3, 3, 1, ((1, 0), (2, 1))), ConvLayer(4, 4, 2, ((1, 1), (1, 2))))
    model = ConvNet(5, convs, (6,), normalize=STATISTICS, param_dtype=jnp.float64)
    variables, x = random_variables(model, SHAPE, np.float64), images(SHAPE, 1, np.float64)[0]
    logits = model.apply(variables, x)
    assert logits.dtype == jnp.float64
    expected = numpy_forward(variables["params"], np.asarray(x), convs, *STATISTICS)
    np.testing.assert_allclose(logits, expected, rtol=1e-12, atol=1e-12)


def test_param_dtype_is_the_dtype_of_every_parameter(x64):
    for model in (CAPResNet(10, param_dtype=jnp.float64), LeNet(10, width=2, param_dtype=jnp.float64)):
        variables = shapes(model, SHAPE, jnp.float64)
        assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float64")}


def test_gradients_under_vmap_are_the_batch_gradient():
    model = LeNet(10, width=2)
    variables, batch = random_variables(model, SHAPE), images(SHAPE, 3)
    loss = lambda variables, x: jnp.sum(jnp.sin(model.apply(variables, x)))
    whole = jax.jit(jax.grad(loss))(variables, batch)
    each = jax.jit(jax.vmap(jax.grad(loss), in_axes=(None, 0)))(variables, batch)
    assert max(float(np.abs(leaf).max()) for leaf in jax.tree.leaves(whole)) > 0.1
    jax.tree.map(lambda w, e: np.testing.assert_allclose(w, e.sum(0), rtol=1e-3, atol=1e-3), whole, each)


def test_precision_reaches_every_product():
    model = CNNDigits(10, precision=jax.lax.Precision.HIGHEST)
    text = str(jax.make_jaxpr(model.apply)(shapes(model, SHAPE), jax.ShapeDtypeStruct(SHAPE, jnp.float32)))
    assert text.count("HIGHEST") >= 4
    assert "precision=None" not in text


@pytest.mark.parametrize(
    ("activation", "expected"),
    [
        (relu, lambda x: np.maximum(x, 0)),
        (LeakyReLU(0.2), lambda x: np.where(x >= 0, x, 0.2 * x)),
        (sigmoid, lambda x: 1 / (1 + np.exp(-x))),
        (tanh, np.tanh),
        (arctan, np.arctan),
    ],
)
def test_mlp_applies_its_activation_between_layers(activation, expected):
    model = MLP((7,), 3, activation=activation)
    variables, x = random_variables(model, (4,)), images((4,), 2) - 0.5
    params = jax.tree.map(np.asarray, variables["params"])
    hidden = expected(np.asarray(x) @ params["dense_0"]["kernel"] + params["dense_0"]["bias"])
    logits = hidden @ params["logits"]["kernel"] + params["logits"]["bias"]
    np.testing.assert_allclose(model.apply(variables, x), logits, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model.apply(variables, x[0]), logits[0], rtol=1e-5, atol=1e-6)


def test_normalize_is_per_channel_and_has_no_parameters():
    layer, x = Normalize((0.1, 0.5, 0.9), (1.0, 2.0, 0.5)), images((4, 5, 3), 2)
    assert layer.init(jax.random.key(0), x) == {}
    expected = (np.asarray(x) - np.array([0.1, 0.5, 0.9])) / np.array([1.0, 2.0, 0.5])
    np.testing.assert_allclose(layer.apply({}, x), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(layer.apply({}, x[0]), expected[0], rtol=1e-5, atol=1e-6)


def test_flatten_goes_by_row_column_channel():
    x = jnp.arange(2 * 2 * 3 * 4).reshape(2, 2, 3, 4)
    np.testing.assert_array_equal(flatten(x), np.arange(48).reshape(2, 24))
    np.testing.assert_array_equal(flatten(x[1]), np.arange(24, 48))
    np.testing.assert_array_equal(flatten(x[0, 0, 0]), np.arange(4))
    np.testing.assert_array_equal(flatten(x[0, 0]), np.arange(12).reshape(3, 4))
    assert flatten(jnp.zeros((0, 2, 2, 1))).shape == (0, 4)


def test_equal_options_make_equal_modules():
    assert build("cnn-small", 10) == build("cnn-small", 10)
    assert hash(CAPResNet(10)) == hash(CAPResNet(10))
    assert MLP((3,), 2, activation=LeakyReLU(0.1)) == MLP((3,), 2, activation=LeakyReLU(0.1))
    assert build("cnn-small", 10) != build("cnn-small", 2)


def test_build_passes_normalisation_on_and_rejects_bad_names_and_classes():
    assert build("lenet", 10, normalize=((0.1,), (0.3,))).normalize == ((0.1,), (0.3,))
    with pytest.raises(
        ConfigError, match=r"no network named 'resnet'.*4c3f, 6c2f.*mlp-500-500-500, resnet-2b"
    ):
        build("resnet", 10)
    with pytest.raises(ConfigError, match="at least 2 classes, got 1"):
        build("lenet", 1)


def test_the_registry_is_frozen_sorted_and_whole():
    assert list(MODELS) == sorted(MODELS)
    with pytest.raises(TypeError):
        MODELS["mine"] = CNNDigits  # pyright: ignore[reportIndexIssue]


@pytest.mark.parametrize(
    ("model", "x", "message"),
    [
        (CNNDigits(10), jnp.zeros((8, 8)), "one image \\[H, W, C\\] or a batch"),
        (LeNet(10), jnp.zeros((2, 3, 8, 8, 1)), "one image \\[H, W, C\\] or a batch"),
        (CAPResNet(10), jnp.zeros(5), "one image \\[H, W, C\\] or a batch"),
        (CNNDigits(10), jnp.zeros((8, 8, 1), jnp.uint8), "floating-point inputs, got uint8"),
        (MLP((3,), 2), jnp.zeros(4, jnp.int32), "floating-point inputs, got int32"),
        (CNNDigits(10, normalize=STATISTICS), jnp.zeros((8, 8, 1)), "2 means and 2 .* input of 1 channels"),
        (Normalize((0.0,), (0.0,)), jnp.zeros((8, 8, 1)), "positive finite standard deviations"),
    ],
)
def test_bad_input_is_one_sentence(model, x, message):
    with pytest.raises(InvalidInputError, match=message):
        model.init(jax.random.key(0), x)
