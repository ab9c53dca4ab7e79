"""Functions are recognised by what they compute, in every spelling; what only looks like one is not."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

import jaxcert as jc
from jaxcert.graph import trace
from tests.common.compiling import quick_jit

X = jnp.asarray([-3.0, -0.7, 0.0, 0.4, 2.5], jnp.float32)

SPELLINGS = {
    "elu": [
        jax.nn.elu,
        nn.elu,
        nnx.elu,
        lambda x: jnp.where(x > 0, x, jnp.exp(x) - 1),
        lambda x: jnp.where(x > 0, x, 1.3 * (jnp.exp(x) - 1)),
        lambda x: jnp.where(x <= 0, 0.4 * jnp.expm1(x), x),
        lambda x: jax.nn.relu(x) + 0.7 * (jnp.exp(jnp.minimum(x, 0)) - 1),
        lambda x: jax.nn.elu(x, 0.2),
    ],
    "softplus": [
        jax.nn.softplus,
        lambda x: jnp.log(1 + jnp.exp(x)),
        lambda x: jnp.log1p(jnp.exp(x)),
        lambda x: jnp.logaddexp(x, 0.0),
        lambda x: jnp.logaddexp(0.0, x),
        lambda x: jax.nn.relu(x) + jnp.log1p(jnp.exp(-jnp.abs(x))),
        lambda x: jnp.where(x > 0, x + jnp.log1p(jnp.exp(-x)), jnp.log1p(jnp.exp(x))),
    ],
    "silu": [
        jax.nn.silu,
        nn.swish,
        lambda x: x * jax.nn.sigmoid(x),
        lambda x: jax.nn.sigmoid(x) * x,
        lambda x: x / (1 + jnp.exp(-x)),
        lambda x: 0.5 * x * (1 + jnp.tanh(0.5 * x)),
    ],
    "gelu": [
        lambda x: jax.nn.gelu(x, approximate=False),
        lambda x: 0.5 * x * (1 + lax.erf(x / np.float32(np.sqrt(2)))),
        lambda x: x * (0.5 + 0.5 * lax.erf(x * np.float32(np.sqrt(0.5)))),
        lambda x: 0.5 * x * lax.erfc(-x * np.float32(np.sqrt(0.5))),
    ],
    "gelu_tanh": [
        jax.nn.gelu,
        nn.gelu,
        lambda x: x / 2 * (1 + jnp.tanh(np.float32(np.sqrt(2 / np.pi)) * (x + 0.044715 * x**3))),
        lambda x: x * jax.nn.sigmoid(np.float32(np.sqrt(8 / np.pi)) * (x + 0.044715 * x * x * x)),
    ],
    "mish": [jax.nn.mish, lambda x: x * jnp.tanh(jnp.log1p(jnp.exp(x)))],
    "sigmoid": [
        jax.nn.sigmoid,
        lambda x: 1 / (1 + jnp.exp(-x)),
        lambda x: jnp.exp(x) / (1 + jnp.exp(x)),
    ],
    "tanh": [
        jnp.tanh,
        lambda x: (jnp.exp(x) - jnp.exp(-x)) / (jnp.exp(x) + jnp.exp(-x)),
    ],
    "hard_tanh": [
        jax.nn.hard_tanh,
        jax.nn.relu6,
        lambda x: jnp.clip(x, -0.5, 1.5),
        lambda x: lax.clamp(-0.5, x, 0.25),
        lambda x: jnp.minimum(jnp.maximum(x, -1), 2),
        lambda x: jnp.maximum(jnp.minimum(x, 2.0), -1),
        lambda x: jnp.where(x > 2, 2, jnp.where(x < -1, -1, x)),
    ],
    "leaky_relu": [
        jnp.abs,
        jax.nn.leaky_relu,
        lambda x: jnp.maximum(x, 0.1 * x),
        lambda x: jax.nn.relu(x) - 0.3 * jax.nn.relu(-x),
        lambda x: jnp.sqrt(x * x),
        lambda x: x - jax.nn.relu(x),
        lambda x: jnp.maximum(x, -x),
        lambda x: nn.PReLU().apply({"params": {"negative_slope": 0.2}}, x),
    ],
    "integer_pow": [jnp.square, lambda x: x * x, lambda x: x**3, lambda x: x * x * x, lambda x: (x * x) ** 2],
}
ALONE = [(kind, fn) for kind, fns in SPELLINGS.items() for fn in fns]


def kinds(fn, x=X):
    return [node.kind for node in trace(fn, x).nodes[1:]]


@pytest.mark.parametrize("kind", SPELLINGS)
def test_every_spelling_is_one_node(kind):
    for number, fn in enumerate(SPELLINGS[kind]):
        found = [k for k in kinds(fn) if k != "scale"]
        assert found == [kind], (number, found)
        assert np.asarray(trace(fn, X)(X)) == pytest.approx(np.asarray(fn(X)), rel=1e-5, abs=1e-6), number


@pytest.mark.parametrize("kind", SPELLINGS)
def test_recognition_is_of_the_function_of_any_node(kind):
    """On top of an affine map, twice, with a value that is used elsewhere as well."""
    weight = jnp.asarray(np.random.default_rng(0).normal(size=(5, 5)), jnp.float32)
    for fn in SPELLINGS[kind][:2]:
        deep = lambda x, fn=fn: fn(fn(x @ weight + 0.3) @ weight) + x
        found = kinds(deep)
        assert found.count(kind) == 2
        assert np.asarray(trace(deep, X)(X)) == pytest.approx(np.asarray(deep(X)), rel=1e-4, abs=1e-4)


def test_in_double_precision(x64):
    x = jnp.asarray(X, jnp.float64)
    for kind in ("elu", "softplus", "silu", "mish", "hard_tanh"):
        for fn in SPELLINGS[kind]:
            assert [k for k in kinds(fn, x) if k != "scale"] == [kind]
            assert np.asarray(trace(fn, x)(x)) == pytest.approx(np.asarray(fn(x)), rel=1e-12, abs=1e-12)
    assert kinds(jax.nn.gelu, x) == ["gelu_tanh"]


COMPOSED = {
    "selu": (jax.nn.selu, ["elu", "scale"]),
    "celu": (lambda x: jax.nn.celu(x, 0.7), ["scale", "elu", "scale"]),
    "log_sigmoid": (jax.nn.log_sigmoid, ["scale", "softplus", "scale"]),
    "log of sigmoid": (lambda x: jnp.log(jax.nn.sigmoid(x)), ["scale", "softplus", "scale"]),
    "hard_sigmoid": (jax.nn.hard_sigmoid, ["shift", "hard_tanh", "scale"]),
    "hard_swish": (jax.nn.hard_swish, ["shift", "hard_tanh", "scale", "multiply"]),
    "soft_sign": (jax.nn.soft_sign, ["leaky_relu", "shift", "reciprocal", "multiply"]),
    "squareplus": (jax.nn.squareplus, ["integer_pow", "shift", "sqrt", "add", "scale"]),
    "sharp swish": (lambda x: x * jax.nn.sigmoid(1.702 * x), ["scale", "silu", "scale"]),
    "softplus of another speed": (lambda x: jnp.log1p(jnp.exp(2 * x)) / 2, ["scale", "softplus", "scale"]),
    "shifted corner": (lambda x: jnp.where(x > 0.5, x, 0.5), ["shift", "leaky_relu", "shift"]),
    "glu": (lambda x: jax.nn.glu(x[:4]), ["slice", "slice", "slice", "sigmoid", "multiply"]),
    "negative power": (lambda x: x**-2, ["reciprocal", "integer_pow"]),
    "root": (lambda x: x**0.5, ["sqrt"]),
    "inverse root": (lambda x: 1 / jnp.sqrt(x), ["rsqrt"]),
    "other power": (lambda x: x**2.5, ["log", "scale", "exp"]),
    "power of a constant": (lambda x: 2.0**x, ["scale", "exp"]),
    "division": (lambda x: x[1:] / x[:4], ["slice", "slice", "reciprocal", "multiply"]),
}


@pytest.mark.parametrize("name", COMPOSED)
def test_compositions(name):
    fn, expected = COMPOSED[name]
    x = jnp.abs(X) + 0.1
    assert kinds(fn, x) == expected
    assert np.asarray(trace(fn, x)(x)) == pytest.approx(np.asarray(fn(x)), rel=1e-5, abs=1e-6)


def test_traced_parameters():
    slopes = jnp.arange(5.0) / 7
    for fn, kind in (
        (lambda x, a: jax.nn.elu(x, a[0]), "elu"),
        (lambda x, a: jnp.where(x > 0, x, a * (jnp.exp(x) - 1)), "elu"),
        (lambda x, a: jnp.where(x >= 0, x, a * x), "leaky_relu"),
        (lambda x, a: jax.nn.relu(x) - a * jax.nn.relu(-x), "leaky_relu"),
    ):
        found = []

        def evaluated(a, fn=fn, found=found):
            graph = trace(lambda x: fn(x, a), X)
            found.extend(node.kind for node in graph.nodes[1:])
            return graph(X)

        assert np.asarray(jax.jit(evaluated)(slopes)) == pytest.approx(np.asarray(fn(X, slopes)), abs=1e-6)
        assert found == [kind]


# One thing is wrong in each: it must not become the kind in its name, and bounds must hold or be refused.
NEAR_MISSES = {
    "silu of another constant": ("silu", lambda x: x / (1.01 + jnp.exp(-x))),
    "silu of two values": ("silu", lambda x: x * jax.nn.sigmoid(x[::-1])),
    "silu of a shifted value": ("silu", lambda x: x * jax.nn.sigmoid(x + 0.01)),
    "softplus with another constant": ("softplus", lambda x: jnp.log(1.001 + jnp.exp(x))),
    "softplus of the square": ("softplus", lambda x: jax.nn.relu(x) + jnp.log1p(jnp.exp(-x * x))),
    "softplus less another corner": (
        "softplus",
        lambda x: 0.5 * jax.nn.relu(x) + jnp.log1p(jnp.exp(-jnp.abs(x))),
    ),
    "softplus of |y|": ("softplus", lambda x: jax.nn.relu(x) + jnp.log1p(jnp.exp(-jnp.abs(x[::-1])))),
    "gelu with a wrong root": ("gelu", lambda x: 0.5 * x * (1 + lax.erf(x / 1.414))),
    "gelu of another sign": ("gelu", lambda x: 0.5 * x * (1 - lax.erf(x * np.float32(np.sqrt(0.5))))),
    "gelu_tanh with a wrong cubic": (
        "gelu_tanh",
        lambda x: x / 2 * (1 + jnp.tanh(np.float32(np.sqrt(2 / np.pi)) * (x + 0.0447 * x**3))),
    ),
    "elu with the branches swapped": ("elu", lambda x: jnp.where(x < 0, x, jnp.exp(x) - 1)),
    "elu with a jump": ("elu", lambda x: jnp.where(x > 0, x, 1.3 * jnp.exp(x) - 1)),
    "elu at another threshold": ("elu", lambda x: jnp.where(x > 0.1, x, jnp.exp(x) - 1)),
    "elu of another value": ("elu", lambda x: jnp.where(x > 0, x, jnp.exp(x[::-1]) - 1)),
    "elu decided by another value": ("elu", lambda x: jnp.where(x[::-1] > 0, x, jnp.exp(x) - 1)),
    "elu of a falling exponential": ("elu", lambda x: jnp.where(x > 0, x, jnp.exp(-x) - 1)),
    "mish of another inner function": ("mish", lambda x: x * jnp.tanh(jnp.log1p(jnp.exp(x + 1)))),
    "sigmoid with a factor": ("sigmoid", lambda x: 1 / (1 + 1.1 * jnp.exp(-x))),
    "tanh with a factor": ("tanh", lambda x: (jnp.exp(x) - jnp.exp(-x)) / (jnp.exp(x) + 2 * jnp.exp(-x))),
    "clip with crossed ends": ("hard_tanh", lambda x: jnp.minimum(jnp.maximum(x, 2.0), -1.0)),
    "clip that jumps": ("hard_tanh", lambda x: jnp.where(x > 2, 1.5, jnp.where(x < -1, -1, x))),
    "absolute of two values": ("leaky_relu", lambda x: jnp.sqrt(x * x[::-1] + 10.0)),
    "a hole that cancels": ("silu", lambda x: jax.nn.silu(x) + 1 / x - 1 / x),
}


@pytest.mark.parametrize("name", NEAR_MISSES)
def test_near_misses_are_not_taken_for_the_real_thing(name):
    kind, fn = NEAR_MISSES[name]
    graph = trace(fn, X)
    assert [node.kind for node in graph.nodes[1:] if node.kind != "scale"] != [kind]
    region = jc.box(jnp.full(5, -1.5), jnp.full(5, 2.0))
    points = np.random.default_rng(0).uniform(-1.5, 2, (300, 5)).astype(np.float32)
    values = np.asarray(jax.vmap(fn)(points))
    try:
        found = jc.ibp()(fn, region)
    except jc.errors.UnsupportedPrimitiveError:
        return
    lower, upper = np.asarray(found.lower), np.asarray(found.upper)
    assert not (lower > values + 1e-4).any()
    assert not (upper < values - 1e-4).any()
    if name == "a hole that cancels":
        assert np.isnan(lower).all()


def test_a_value_computed_twice_is_one_node():
    weight = jnp.asarray(np.random.default_rng(0).normal(size=(5, 5)), jnp.float32)
    fn = lambda x: jnp.where(x @ weight >= 0, x @ weight, 0.1 * (x @ weight))
    assert kinds(fn) == ["dot", "leaky_relu"]
    assert kinds(lambda x: jnp.where(x @ weight >= 0, x @ weight, 0.1 * (x @ weight.T))).count("dot") == 2


@pytest.mark.parametrize("guard", [jnp.isnan, lambda v: ~jnp.isfinite(v)])
def test_a_test_for_nan_is_no_way_to_a_certificate(guard):
    """exp overflows at some points of the region: the guard returns 5 there, the real function does not."""
    fn = lambda x: jnp.where(guard(jnp.exp(x) - jnp.exp(x)), 5.0, x)
    region = jc.box(jnp.full(5, 0.0), jnp.full(5, 100.0))
    try:
        found = jc.ibp()(fn, region)
    except jc.errors.UnsupportedPrimitiveError:
        return
    assert not np.isfinite(np.asarray(found.lower)).any()


TINY = 1 + 2.0**-51
CANCELLING = {
    "a product": lambda x: 0.5 * jax.nn.relu(x) - (x * TINY - x) * 2.0**51,
    "a sum": lambda x: jax.nn.relu(x) - ((x + (2 + 2.0**53)) - 2.0**53),
    "two exponentials": lambda x: jax.nn.silu(x) + (jnp.exp(x * TINY) - jnp.exp(x)) * 2.0**50,
    "two logistic functions": lambda x: (
        x * jax.nn.sigmoid(x) + (1 / (TINY + jnp.exp(-x)) - jax.nn.sigmoid(x)) * 2.0**50
    ),
    "a leaky slope": lambda x: jnp.where(x > 0, x, 0.1 * x) - (x * TINY - x) * 2.0**51,
}


@pytest.mark.parametrize("name", CANCELLING)
def test_what_nearly_cancels_is_not_dropped(name, x64):
    """A difference in the last digits, multiplied afterwards, is part of the function."""
    fn, x = CANCELLING[name], jnp.array([-1.5, -1.0, 0.5, 1.0, 2.0])
    assert np.asarray(trace(fn, x)(x)) == pytest.approx(np.asarray(fn(x)), rel=1e-12)


def test_a_sum_of_reciprocals_may_be_negative():
    fn, x = (lambda x: 1 / ((1 / x).sum() + 10.0)), jnp.full(4, -0.5)
    assert float(trace(fn, x)(x)) == pytest.approx(0.5)
    found = jc.ibp()(fn, jc.linf_ball(x, 0.01))
    assert float(found.lower) <= 0.5 <= float(found.upper)


HIDING = np.array([[True, False, True, True], [False, True, False, False], [True, True, True, True]])
MASKED = {
    "-inf": lambda x: jax.nn.softmax(jnp.where(HIDING, x, -jnp.inf)),
    "-1e9": lambda x: jax.nn.softmax(jnp.where(HIDING, x, -1e9)),
    "lowest, other axis": lambda x: jax.nn.softmax(jnp.where(HIDING, x, jnp.finfo(x.dtype).min), axis=0),
    "logarithm": lambda x: jnp.where(HIDING, jax.nn.log_softmax(jnp.where(HIDING, x, -1e9)), 0.0),
    "attention": lambda x: jax.nn.softmax(jnp.where(HIDING, x, -1e30)) @ x.T,
}


@pytest.mark.parametrize("name", MASKED)
def test_a_masked_softmax_has_finite_bounds_in_every_engine(name):
    fn, x = MASKED[name], jax.random.normal(jax.random.key(0), (3, 4))
    graph = trace(fn, x)
    assert "maximum" not in {node.kind for node in graph.nodes}
    points = x[None] + 0.3 * jax.random.uniform(jax.random.key(1), (300, 3, 4), minval=-1, maxval=1)
    values = jax.vmap(fn)(points)
    assert np.asarray(jax.vmap(graph)(points)) == pytest.approx(np.asarray(values), rel=1e-5, abs=1e-6)
    methods = (jc.ibp(), jc.forward(), jc.crown(), jc.fast_lin())
    every = quick_jit(lambda x: [method(graph, jc.linf_ball(x, 0.3)) for method in methods])
    for found in every(x):
        assert bool((found.lower <= values.min(0) + 1e-5).all())
        assert bool((found.upper >= values.max(0) - 1e-5).all())
        assert float((found.upper - found.lower).max()) < 20


def test_equal_arrays_of_one_expression_are_one_constant():
    again = lambda: np.array([0.1, 0.2, 0.3, 0.4], np.float32)
    fn, x = (lambda x: (jnp.maximum(x, 0) * again() + jnp.minimum(x, 0) * again()) * again()), jnp.ones(4)
    assert np.asarray(trace(fn, x)(x)) == pytest.approx(np.asarray(fn(x)))


def test_a_softmax_of_nothing_visible_is_never_certified():
    """JAX gives NaN where a mask of -inf hides a whole row; a row of equal finite offsets is uniform."""
    nothing = np.array([[True, False, True], [False, False, False]])
    x = jax.random.normal(jax.random.key(0), (2, 3))
    fn = lambda x: jax.nn.softmax(jnp.where(nothing, x, -jnp.inf))
    assert bool(jnp.isnan(fn(x)[1]).all())
    assert bool(jnp.isnan(trace(fn, x)(x)[1]).all())
    for method in (jc.ibp(), jc.crown(), jc.forward()):
        found = method(fn, jc.linf_ball(x, 0.1))
        assert not bool(jnp.isfinite(found.lower[1]).any())
        assert not bool(jnp.isfinite(found.upper[1]).any())
    steps = np.array([[-1e35, -1e38, 0.0], [-1e35, -1e38, -1e38]], np.float32)
    uneven = lambda x: jax.nn.softmax(jnp.where(nothing, x, steps))
    assert np.asarray(trace(uneven, x)(x)) == pytest.approx(np.asarray(uneven(x)), abs=1e-6)
