"""Substituted convolutions: equal to JAX's own in value and derivative, and nothing else is touched."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxcert.attacks import pgd
from jaxcert.kernels.substitute import with_kernels
from jaxcert.regions import linf_ball

NHWC = ("NHWC", "HWIO", "NHWC")
NCHW = ("NCHW", "OIHW", "NCHW")


def normal(*shape):
    return jnp.asarray(np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32))


def names(function, *arguments) -> list[str]:
    """Names of all primitives in a function's jaxpr, nested ones included."""

    def inside(value):
        if hasattr(value, "eqns"):
            params = [tuple(eqn.params.values()) for eqn in value.eqns]
            return [eqn.primitive.name for eqn in value.eqns] + inside(tuple(params))
        return [name for item in value for name in inside(item)] if isinstance(value, tuple) else []

    return inside(jax.make_jaxpr(function)(*arguments))


def assert_close(found, expected):
    jax.tree.map(partial(np.testing.assert_allclose, rtol=2e-4, atol=2e-4), found, expected)


def assert_substituted(fn, *arguments):
    """All convolutions of fn are ours now; value and gradients to all arguments are those of before."""
    ours = with_kernels(fn)
    assert "conv_general_dilated" in names(fn, *arguments)
    assert "conv_general_dilated" not in names(ours, *arguments)
    assert "jaxcert_conv" in names(ours, *arguments)
    every = tuple(range(len(arguments)))
    score = lambda f: lambda *args: jnp.sum(jnp.sin(f(*args)))
    both = lambda f: jax.jit(lambda *args: (f(*args), jax.grad(score(f), every)(*args)))(*arguments)
    assert_close(both(ours), both(fn))


def assert_untouched(fn, *arguments):
    assert str(jax.make_jaxpr(with_kernels(fn))(*arguments)) == str(jax.make_jaxpr(fn)(*arguments))


GEOMETRIES = {
    "SAME": (NHWC, (2, 5, 6, 3), (3, 2, 3, 4), (1, 1), "SAME", {}),
    "strides": (NHWC, (2, 7, 6, 3), (3, 3, 3, 4), (2, 3), ((1, 0), (0, 2)), {}),
    "channels first": (NCHW, (2, 3, 7, 6), (4, 3, 3, 2), (2, 1), "SAME", {}),
    "crops": (NCHW, (1, 2, 6, 6), (3, 2, 2, 2), (1, 1), ((-1, 0), (1, -2)), {}),
    "groups": (NHWC, (2, 5, 5, 16), (2, 2, 8, 6), (1, 2), "SAME", {"feature_group_count": 2}),
    "dilated kernel": (None, (1, 2, 8, 7), (2, 2, 3, 2), (1, 1), "VALID", {"rhs_dilation": (2, 3)}),
    "1-D": (None, (2, 3, 9), (4, 3, 3), (2,), "SAME", {}),
    "3-D": (("NDHWC", "DHWIO", "NDHWC"), (1, 4, 3, 5, 2), (2, 2, 2, 2, 3), (1, 2, 1), "SAME", {}),
    "mixed layouts": (("CHWN", "IHOW", "WNHC"), (3, 5, 6, 2), (3, 2, 4, 3), (1, 1), "SAME", {}),
}


@pytest.mark.parametrize("case", GEOMETRIES)
def test_equals_jax_in_every_geometry(case):
    layout, image, kernel, strides, padding, settings = GEOMETRIES[case]
    window = {"window_strides": strides, "padding": padding, "dimension_numbers": layout, **settings}
    fn = lambda x, k: lax.conv_general_dilated(x, k, **window)
    assert_substituted(fn, normal(*image), normal(*kernel))


def conv(x, k, stride=1):
    return lax.conv_general_dilated(x[None], k, (stride, stride), "SAME", dimension_numbers=NHWC)[0]


X, K = normal(5, 4, 2), normal(3, 3, 2, 2)


def test_doubles(x64):
    assert_substituted(conv, normal(4, 4, 2).astype(jnp.float64), normal(2, 2, 2, 1).astype(jnp.float64))


def looped(x, k):
    body = lambda carry, _: (jax.nn.relu(conv(carry, k)), jnp.sum(carry))
    last, sums = lax.scan(body, x, length=3)
    return last + sums[-1][None, None, None]


def branched(x, k):
    return lax.cond(x[0, 0, 0] > 0, lambda z: conv(z, k), lambda z: 2.0 * conv(z, k), x)


READ_THROUGH = {
    "jit": jax.jit(conv),
    "two calls of one function": lambda x, k: (f := jax.jit(conv))(f(x, k), k),
    "remat": jax.checkpoint(lambda x, k: jnp.tanh(conv(x, k))),
    "scan": looped,
    "cond": branched,
    "vmap": lambda x, k: jax.vmap(conv, (None, 0))(x, jnp.stack([k, 2.0 * k])),
}


@pytest.mark.parametrize("case", READ_THROUGH)
def test_calls_and_control_flow_are_read_through(case):
    assert_substituted(READ_THROUGH[case], X, K)


def test_while_loops_are_read_through():
    fn = lambda x, k: lax.fori_loop(0, x.shape[0], lambda i, z: jnp.tanh(conv(z, k)), x)
    under = lambda x, k: lax.while_loop(lambda z: jnp.max(conv(z, k)) < 9.0, lambda z: 1.5 * z, x)
    for each in (fn, under):
        assert "conv_general_dilated" not in names(with_kernels(each), X, K)
        assert_close(jax.jit(with_kernels(each))(X, K), each(X, K))


def conv_in(dtype, **settings):
    """A convolution of a batch, computed in some dtype."""
    settings = {"dimension_numbers": NHWC, "padding": "SAME", "window_strides": (1, 1)} | settings
    return lambda x, k: lax.conv_general_dilated(x.astype(dtype), k.astype(dtype), **settings)


def without_space(x, k):
    numbers = lax.ConvDimensionNumbers((0, 1), (1, 0), (0, 1))
    return lax.conv_general_dilated(x[:, 0, 0], k[0, 0], (), (), dimension_numbers=numbers)


LEFT_ALONE = {
    "dilated input": conv_in(jnp.float32, lhs_dilation=(2, 1), padding=((0, 0), (1, 1))),
    "groups in the batch": conv_in(jnp.float32, batch_group_count=2),
    "wider result": conv_in(jnp.float16, preferred_element_type=jnp.float32),
    "narrow groups": lambda x, k: conv_in(jnp.float32, feature_group_count=2)(x, k[:, :, :1]),
    "half precision": conv_in(jnp.bfloat16),
    "integers": conv_in(jnp.int32),
    "complex": conv_in(jnp.complex64),
    "no pixels": lambda x, k: conv_in(jnp.float32)(x[:, :0], k),
    "no space": without_space,
    "kept by a policy": jax.checkpoint(
        lambda x, k: jnp.sin(conv_in(jnp.float32)(x, k)), policy=jax.checkpoint_policies.checkpoint_dots
    ),
    "none": lambda x, k: jax.nn.relu(x) @ k[0, 0],
}


@pytest.mark.parametrize("case", LEFT_ALONE)
def test_what_the_kernels_do_not_serve_stays(case):
    assert_untouched(LEFT_ALONE[case], normal(2, 5, 4, 2), K)


def test_without_convolutions_the_function_itself_is_called():
    called = []
    with_kernels(lambda x: called.append(x) or 2.0 * x)(X)
    assert called[-1] is X


def test_precision_is_kept():
    def fn(x, k):
        with jax.default_matmul_precision("highest"):
            return conv(x, k)

    (eqn,) = [e for e in jax.make_jaxpr(with_kernels(fn))(X, K).eqns if e.primitive.name == "jaxcert_conv"]
    assert eqn.params["precision"] == (lax.Precision.HIGHEST, lax.Precision.HIGHEST)


@jax.custom_jvp
def reversed_forward(x):
    return conv(x, K)


@reversed_forward.defjvp
def _(primals, tangents):
    return reversed_forward(*primals), -conv(*tangents, K)


@jax.custom_vjp
def reversed_backward(x):
    return conv(x, K)


def _backward(_, cotangent):
    return (-jax.linear_transpose(lambda x: conv(x, K), X)(cotangent)[0],)


reversed_backward.defvjp(lambda x: (conv(x, K), None), _backward)


@pytest.mark.parametrize("custom", [reversed_forward, reversed_backward], ids=["jvp", "vjp"])
def test_custom_derivatives_stay(custom):
    """Also beside convolutions that are substituted, inside jit and remat."""
    fn = lambda x: jax.checkpoint(jax.jit(custom))(conv(x, K))
    ours = with_kernels(fn)
    assert "jaxcert_conv" in names(ours, X)
    score = lambda f: lambda x: jnp.sum(f(x) ** 2)
    plain = jax.grad(score(lambda x: conv(conv(x, K), K)))(X)
    found = jax.jit(jax.grad(score(ours)))(X)
    assert_close(found, jax.grad(score(fn))(X))
    assert_close(found, -plain)


def test_flax_network_and_derivatives_to_what_it_closes_over():
    class Network(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.relu(nn.Conv(16, (3, 3), strides=(2, 2))(x))
            x = nn.relu(nn.Conv(4, (2, 2), feature_group_count=2, padding="VALID")(x))
            return nn.Dense(3)(x.reshape(-1))

    net, image = Network(), normal(8, 8, 3)
    variables = net.init(jax.random.key(0), image)

    def loss(change, variables, x):
        fn = lambda z: net.apply(variables, z)
        return jnp.sum(change(fn)(x) ** 2)

    assert "conv_general_dilated" not in names(with_kernels(lambda z: net.apply(variables, z)), image)
    gradients = lambda change: jax.jit(jax.grad(partial(loss, change), (0, 1)))(variables, image)
    assert_close(gradients(with_kernels), gradients(lambda fn: fn))
    images = jnp.stack([image, -image])
    network = lambda z: jnp.asarray(net.apply(variables, z))
    assert_close(jax.vmap(with_kernels(network))(images), jax.vmap(network)(images))


def test_forward_mode_and_second_derivatives():
    score = lambda f: lambda x: jnp.sum(jnp.tanh(f(x)))
    fn = lambda x: conv(x, K, 2)
    product = lambda f: jax.jvp(jax.grad(score(f)), (X,), (X,))[1]
    assert_close(product(with_kernels(fn)), product(fn))


def test_random_draws_and_keys():
    def fn(x, key):
        first, second = jax.random.split(key)
        kept = jax.random.bernoulli(first, 0.5, x.shape)
        return conv(jnp.where(kept, 2.0 * x, 0.0), K + jax.random.normal(second, K.shape))

    keys = jax.random.split(jax.random.key(3), 4)
    assert "conv_general_dilated" not in names(with_kernels(fn), X, keys[0])
    found = jax.jit(jax.vmap(with_kernels(fn), (None, 0)))(X, keys)
    assert_close(found, jnp.stack([fn(X, key) for key in keys]))
    assert_close(with_kernels(fn)(X, keys[0]), found[0])


def test_in_shard_map():
    mesh = jax.make_mesh((1,), ("a",), axis_types=(jax.sharding.AxisType.Auto,))
    spec = jax.sharding.PartitionSpec

    def shared(change):
        inside = jax.vmap(change(lambda x: conv(looped(x, K), K)))
        score = lambda x: jnp.sum(inside(x) ** 2)
        fn = lambda x: jax.grad(score)(x)
        return jax.jit(jax.shard_map(fn, mesh=mesh, in_specs=spec("a"), out_specs=spec("a")))

    x = jnp.stack([X, -X])
    assert "conv_general_dilated" not in names(shared(with_kernels), x)
    assert_close(shared(with_kernels)(x), shared(lambda fn: fn)(x))


def test_attacks_substitute():
    """In their loops XLA's own are slow; parameters may be traced."""

    def margin(k):
        fn = lambda z: jnp.sum(conv(z, k), (0, 1))
        return pgd(2)(fn, linf_ball(X, 0.1), 0, key=jax.random.key(0)).margin

    assert "conv_general_dilated" not in names(margin, K)
