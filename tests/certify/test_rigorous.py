"""Rigorous bounds against exact rational arithmetic: fooled verifiers, cancellation, and closeness."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcert as jc
from jaxcert.certify.rigorous import rigorous, rigorous_margins
from jaxcert.errors import InvalidInputError, UnsupportedPrimitiveError
from jaxcert.graph import layers
from tests.common.compiling import quick_jit
from tests.oracles.rational import affine_minimum, exact, forward

METHODS = {
    "crown": jc.crown(),
    "fast_lin": jc.fast_lin(),
    "crown_ibp": jc.crown_ibp(),
    "ibp": jc.ibp(),
}


def network(parts, relu=True, dtype=jnp.float64):
    """The graph of `x @ W + b`, with a ReLU between two layers."""
    chain = []
    for i, (weight, bias) in enumerate(parts):
        chain += [layers.relu] if i and relu else []
        chain.append(layers.Dense(jnp.asarray(weight, dtype), jnp.asarray(bias, dtype)))
    return layers.network(chain, (parts[0][0].shape[0],), dtype)


def fooling_bias(dtype, big):
    """The margin is x - 4.5 on [4, 5]; its constants `big - 1 - big - 3.5` sum to -3.5 in this dtype."""
    biases = [big, -1.0, -big, -3.5]
    chain = [(np.array([[1.0]], dtype), np.array([b], dtype)) for b in biases]
    return [*chain, (np.array([[1.0, 0.0]], dtype), np.zeros(2, dtype))], np.array([4.0]), (4.0, 5.0)


def fooling_product(dtype, bits):
    """`s (a a - b) x + 1/4`, where b is the rounded square of a and exceeds it: 0 + 1/4 in this dtype."""
    # (1 + k ulp)^2 = 1 + 2 k ulp + 0.6 ulp, which is rounded up by 0.4 ulp.
    a = dtype(1 + round((0.6 * 2.0**bits) ** 0.5) * 2.0**-bits)
    b = dtype(a * a)
    assert Fraction(float(b)) - Fraction(float(a)) ** 2 > Fraction(1, 2 ** (bits + 2))
    scale = dtype(2.0 ** (bits + 4))
    first = np.array([[a, b]], dtype), np.zeros(2, dtype)
    second = np.array([[a, 0], [0, 1]], dtype), np.zeros(2, dtype)
    third = np.array([[scale, 0], [-scale, 0]], dtype), np.array([0.25, 0], dtype)
    return [first, second, third], np.array([1.0]), (1.0, 1.5)


def fooling_activation(dtype, big):
    """`relu(relu(x + big) - 4.5) - relu(0 + big)` is x - 4.5 on [4, 5]; -4.5 is lost next to -big."""
    first = np.array([[1.0, 0.0]], dtype), np.array([big, 0], dtype)
    second = np.array([[1.0, 0.0], [0.0, 1.0]], dtype), np.array([-4.5, big], dtype)
    third = np.array([[1.0, 0.0], [-1.0, 0.0]], dtype), np.zeros(2, dtype)
    return [first, second, third], np.array([4.0]), (4.0, 5.0)


FOOLS = {
    "bias": (fooling_bias, 1e8, 1e17),
    "product": (fooling_product, 23, 52),
    "activation": (fooling_activation, 1e9, 1e17),
}


@pytest.mark.parametrize("width", [32, 64])
@pytest.mark.parametrize("name", FOOLS)
def test_a_network_that_fools_floating_point_is_not_certified(x64, name, width):
    make, single, double = FOOLS[name]
    dtype = np.float32 if width == 32 else np.float64
    parts, point, (low, high) = make(dtype, single if width == 32 else double)
    relu = name != "bias"
    logits = forward(parts, point, relu)
    assert logits[0] < logits[1], "the counterexample, in exact arithmetic"
    region = jc.box(jnp.full(1, low, dtype), jnp.full(1, high, dtype))
    plain = jc.margins(jc.crown(), network(parts, relu, dtype), region, 0)
    assert bool(jc.is_certified(plain)), "plain CROWN in this precision must be fooled, or this shows nothing"
    for method in METHODS.values():
        proven = rigorous_margins(method, network(parts, relu), region, 0)
        assert not bool(jc.is_certified(proven))
        assert Fraction(float(proven[0])) <= logits[0] - logits[1]


def test_affine_networks_with_cancellation_stay_below_their_exact_minimum(x64):
    """2000 specifications of networks whose layers undo one another up to rounding."""
    rng = np.random.default_rng(0)
    plain_is_wrong = 0
    for draw in range(10):
        big = 10.0 ** rng.integers(0, 14)
        first = rng.normal(size=(4, 6)) * big
        second = np.linalg.pinv(first) @ first @ np.linalg.pinv(first) * rng.normal(size=(1, 4))
        parts = [
            (first, rng.normal(size=6) * big),
            (second, rng.normal(size=4)),
            (rng.normal(size=(4, 5)), rng.normal(size=5)),
        ]
        center, eps = rng.normal(size=4), 10.0 ** rng.integers(-12, 1)
        region = jc.box(jnp.asarray(center - eps), jnp.asarray(center + eps))
        rows = rng.normal(size=(200, 5)) * 10.0 ** rng.integers(-6, 6, size=(200, 5))
        least = affine_minimum(parts, rows, center - eps, center + eps)
        graph = network(parts, relu=False)
        method = list(METHODS.values())[draw % 4]
        proven = np.asarray(rigorous(method).lower(graph, region, jnp.asarray(rows)))
        plain = np.asarray(method.lower(graph, region, jnp.asarray(rows)))
        assert np.all(np.isfinite(proven))
        assert np.all(exact(proven) <= least)
        plain_is_wrong += int(np.sum(exact(plain) > least))
    assert plain_is_wrong > 100, "without slack these networks are beyond the bound"


@pytest.mark.parametrize("name", METHODS)
def test_relu_networks_stay_below_exact_values(x64, name):
    """Thousands of (specification, point) pairs, ends and corners of the region among the points."""
    rng = np.random.default_rng(sum(map(ord, name)))
    for _ in range(12):
        scale = 10.0 ** rng.integers(-3, 9)
        parts = [
            (rng.normal(size=(3, 5)) * scale, rng.normal(size=5) * scale),
            (rng.normal(size=(5, 4)) / scale, rng.normal(size=4)),
            (rng.normal(size=(4, 3)), rng.normal(size=3)),
        ]
        center, eps = rng.normal(size=3), 10.0 ** rng.integers(-16, 1)
        low, high = center - eps, center + eps
        rows = rng.normal(size=(20, 3))
        region = jc.box(jnp.asarray(low), jnp.asarray(high))
        graph = network(parts)
        proven = np.asarray(rigorous(METHODS[name]).lower(graph, region, jnp.asarray(rows)))
        plain = np.asarray(METHODS[name].lower(graph, region, jnp.asarray(rows)))
        size = np.abs(rows).sum(1) * float(max(abs(forward(parts, center)).max(), 1))
        assert np.all(plain - proven <= 1e-9 * size + 1e-9 * np.abs(plain))
        for x in (center, low, high, np.where(rng.random(3) < 0.5, low, high)):
            assert np.all(exact(proven) <= exact(rows) @ forward(parts, x))


RNG = np.random.default_rng(1)
KERNEL, SQUARE, HEAD = RNG.normal(size=(2, 2, 1, 2)), RNG.normal(size=(2, 2, 2, 2)), RNG.normal(size=(18, 3))


def residual(x):
    """Convolutions with a shared operand, each entry of which is used by several others."""
    window = {"window_strides": (1, 1), "padding": "SAME", "dimension_numbers": ("NHWC", "HWIO", "NHWC")}
    y = jax.nn.relu(jax.lax.conv_general_dilated(x.reshape(1, 3, 3, 1), jnp.asarray(KERNEL), **window))
    y = jax.nn.relu(y + jax.lax.conv_general_dilated(y, jnp.asarray(SQUARE), **window))
    return y.reshape(-1) @ jnp.asarray(HEAD)


def joined(x):
    """Products of bounded values, a quotient, maxima and means over windows."""
    y, z = jnp.tanh(x @ jnp.asarray(HEAD[:9])), x @ jnp.asarray(HEAD[9:])
    pool = jax.lax.reduce_window(z, -jnp.inf, jax.lax.max, (2,), (1,), "VALID")
    return jnp.stack([y[0] * z[1], pool[0] / (1 + y[1] * y[1]), jnp.maximum(pool[1], z[0]) + z.mean()])


def attention_weights(x):
    """A softmax, through exp and a quotient."""
    return jax.nn.softmax(x @ jnp.asarray(HEAD[:9]) * 0.3)


@pytest.mark.parametrize("fn", [residual, joined, attention_weights])
def test_every_kind_of_node_stays_below_samples(x64, fn):
    region = jc.linf_ball(jnp.asarray(RNG.uniform(0.1, 0.9, 9)), 0.03, clip=(0.0, 1.0))
    proven = rigorous(jc.crown())(fn, region)
    low, high = (np.asarray(end) for end in jc.regions.interval(region))
    values = np.asarray(jax.vmap(fn)(jnp.asarray(low + RNG.random((50, 9)) * (high - low))))
    assert np.all(values >= np.asarray(proven.lower) - 1e-12)
    assert np.all(values <= np.asarray(proven.upper) + 1e-12)
    assert np.all(np.asarray(proven.upper - proven.lower) > 0)
    if fn is not attention_weights:
        plain = quick_jit(lambda region: jc.crown()(fn, region))(region)
        np.testing.assert_allclose(proven.lower, plain.lower, rtol=0, atol=1e-9)
        np.testing.assert_allclose(proven.upper, plain.upper, rtol=0, atol=1e-9)


def test_alpha_crown_is_proven_with_its_slopes_row_by_row(x64):
    rng = np.random.default_rng(4)
    parts = [(rng.normal(size=(4, 8)), rng.normal(size=8)), (rng.normal(size=(8, 6)), rng.normal(size=6))]
    graph = network([*parts, (rng.normal(size=(6, 3)), rng.normal(size=3))])
    region = jc.linf_ball(jnp.asarray(rng.normal(size=4)), 0.3)
    method = jc.alpha_crown(steps=3, intermediate=jc.crown())
    best, start = (quick_jit(lambda r, m=m: jc.margins(m, graph, r, 0))(region) for m in (method, jc.crown()))
    proven = rigorous_margins(method, graph, region, 0)
    np.testing.assert_allclose(proven, best, rtol=1e-9)
    assert np.all(proven > np.asarray(start) + 1e-6)


def test_refusals(x64):
    region, wide = jc.linf_ball(jnp.ones(2, jnp.float32), 0.1), jc.linf_ball(jnp.ones(2), 0.1)
    fn = lambda x: jnp.stack([x[0] * x[1], x[1]])
    for call, reason in (
        (lambda: rigorous(jc.forward()), "rigorous bounds exist for"),
        (lambda: rigorous(jc.crown(intermediate=jc.forward())), "rigorous bounds exist for"),
        (lambda: rigorous(jc.crown(rules=jc.bounds.CROWN_RULES | {"sort": print})), "with their own rules"),
        (lambda: rigorous(jc.crown())(fn, region), "computed in float64"),
        (lambda: rigorous_margins(jc.crown(), lambda x: fn(x.astype(jnp.float32)), wide, 0), "computed in"),
        (lambda: jax.jit(lambda r: rigorous(jc.crown())(fn, r))(wide), "outside jit"),
        (
            lambda: rigorous_margins(jc.crown(), fn, jc.lp_ball(jnp.ones(2), 0.1, 3.0), 0),
            "norms 1, 2 and inf",
        ),
        (lambda: rigorous_margins(jc.crown(slope=[jnp.ones(3)]), fn, wide, 0), "slope"),
    ):
        with pytest.raises(InvalidInputError, match=reason):
            call()
    with pytest.raises(
        UnsupportedPrimitiveError, match=r"no rule for 'silu'|no rule for '.*' at test_rigorous"
    ):
        rigorous_margins(jc.crown(), lambda x: jax.nn.silu(x), wide, 0)


def test_without_64_bits_only_the_driver_works():
    region = jc.linf_ball(jnp.ones(2), 0.1)
    with pytest.raises(InvalidInputError, match="use rigorous_margins"):
        jc.margins(rigorous(jc.crown()), lambda x: x, region, 0)
    proven = rigorous_margins(jc.ibp(), lambda x: x * jnp.arange(2.0, dtype=x.dtype), region, 1)
    assert proven.dtype == np.float64
    assert Fraction(float(proven[0])) <= 1 - Fraction(float(np.float32(0.1)))
    assert jnp.zeros(()).dtype == jnp.float32
    with pytest.raises(InvalidInputError, match="does not accept float64"):
        rigorous_margins(jc.ibp(), lambda x: x @ jnp.eye(2, dtype=jnp.float32), region, 1)


def test_what_is_not_finite_certifies_nothing(x64):
    region = jc.linf_ball(jnp.ones(2), 0.1)
    for weight in (jnp.inf, jnp.nan, 1e308):
        proven = rigorous_margins(jc.crown(), lambda x, w=weight: jnp.maximum(x * w, 0.0) * w, region, 0)
        assert not bool(jc.is_certified(proven))
