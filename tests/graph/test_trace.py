"""Functions become graphs that compute the same values, in every transformation and spelling."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import jaxcert as jc
from jaxcert.graph import trace

RNG = np.random.default_rng(0)
W = jnp.asarray(RNG.normal(size=(6, 4)), jnp.float32)
B = jnp.asarray(RNG.normal(size=4), jnp.float32)
KERNEL = jnp.asarray(RNG.normal(size=(2, 2, 2, 4)), jnp.float32)
VECTOR = jnp.asarray(RNG.normal(size=6), jnp.float32)
IMAGE = jnp.asarray(RNG.normal(size=(4, 5, 2)), jnp.float32)


def conv(x, kernel, numbers=("NHWC", "HWIO", "NHWC"), strides=(1, 1), padding="VALID", **options):
    return lax.conv_general_dilated(x[None], kernel, strides, padding, dimension_numbers=numbers, **options)[
        0
    ]


@jax.custom_jvp
def gated(x):
    return 2.0 * jnp.maximum(x, 0.0)


@gated.defjvp
def gated_jvp(primals, tangents):
    return gated(primals[0]), tangents[0]


@jax.custom_vjp
def straight(x):
    return jnp.tanh(x)


straight.defvjp(lambda x: (jnp.tanh(x), None), lambda _, g: (g,))


def nchw(x):
    kernel = jnp.transpose(KERNEL, (3, 2, 0, 1))
    return conv(jnp.transpose(x, (2, 0, 1)), kernel, ("NCHW", "OIHW", "NCHW"), (1, 2), ((1, 0), (2, 1)))


def grouped(x):
    return conv(x, KERNEL[:, :, :1], feature_group_count=2, rhs_dilation=(2, 1), padding="SAME")


def average_pool(x):
    return lax.reduce_window(x, 0.0, lax.add, (2, 2, 1), (1, 2, 1), "VALID") / 4.0


VECTORS = {
    "dense": lambda x: x @ W + B,
    "weight first": lambda x: W.T @ x - B,
    "einsum": lambda x: jnp.einsum("ij,i->j", W, x),
    "scaled": lambda x: (3.0 - x) / 2.0 * VECTOR - (-x),
    "constant minus": lambda x: VECTOR - x,
    "relu": jax.nn.relu,
    "leaky": partial(jax.nn.leaky_relu, negative_slope=0.2),
    "relu6": jax.nn.relu6,
    "maximum array": lambda x: jnp.maximum(VECTOR, x),
    "minimum": lambda x: jnp.minimum(x, 0.3) + jnp.minimum(VECTOR, x),
    "clip": lambda x: jnp.clip(x, -0.5, VECTOR + 3.0),
    "smooth": lambda x: jax.nn.sigmoid(x) + jnp.tanh(2.0 * x) - jnp.arctan(x),
    "nested jit": lambda x: jax.jit(lambda v: jax.jit(jax.nn.relu)(v - 1.0))(x) + x,
    "custom jvp": lambda x: gated(x) + gated(-x),
    "custom vjp": lambda x: straight(x) - x,
    "remat": jax.checkpoint(lambda x: jax.nn.relu(x @ W)),
    "vmap inside": lambda x: jax.vmap(lambda row: jax.nn.relu(row @ W[:3]))(x.reshape(2, 3)),
    "stop gradient": lambda x: lax.stop_gradient(x) * 2.0,
    "residual": lambda x: x + jax.nn.relu(x @ W @ W.T),
    "reused": lambda x: jnp.concatenate([x, x[::-1], 2.0 * x]),
    "constant parts": lambda x: jnp.concatenate([VECTOR, x, jnp.ones(2)]),
    "pad value": lambda x: lax.pad(x, jnp.asarray(7.0), ((1, 2, 1),)),
    "pad negative": lambda x: lax.pad(x, jnp.asarray(7.0), ((-1, -2, 0),)),
    "pad mixed": lambda x: lax.pad(x.reshape(2, 3), jnp.asarray(-1.0), ((-1, 1, 0), (1, -1, 1))),
    "select constant mask": lambda x: jnp.where(VECTOR > 0, x, 5.0) + jnp.where(VECTOR > 0, 2.0, -x),
    "gather": lambda x: x[jnp.array([5, 0, 0, 2])] + x.reshape(2, 3)[1, jnp.array([0, 1, 2, 0])],
    "slices": lambda x: x[1::2] - x[:3] + lax.dynamic_slice(x, (jnp.array(2),), (3,)),
    "split": lambda x: jnp.stack(jnp.split(x, 3), 1).reshape(-1),
    "sums": lambda x: x.sum() + jnp.cumsum(x) + x.reshape(2, 3).mean(0, keepdims=True).sum(),
    "tile": lambda x: jnp.tile(x, 2).reshape(2, 6).T,
    "flip squeeze": lambda x: jnp.squeeze(jnp.flip(x)[None, :, None], (0, 2)),
    "cast up": lambda x: x.astype(jnp.float32) * 2.0,
    "scalar output": lambda x: x @ VECTOR,
    "identity": lambda x: x,
    "zero weight": lambda x: x * 0.0,
    "constants computed": lambda x: x * jnp.exp(VECTOR).sum() + lax.top_k(VECTOR, 2)[0][0],
    "scan of constants": lambda x: x * lax.scan(lambda c, v: (c + v, None), 0.0, VECTOR)[0],
    "debug print": lambda x: (jax.debug.callback(lambda v: None, x), x + 1.0)[1],
    "dead branch": lambda x: (jnp.sin(x), jnp.sort(x), x * x, x + 1.0)[-1],
}
ADDED = {
    "softmax": jax.nn.softmax,
    "softmax of rows": lambda x: jax.nn.softmax(x.reshape(2, 3), axis=0),
    "softmax over two axes": lambda x: jax.nn.softmax(x.reshape(2, 3), axis=(0, 1)),
    "naive softmax": lambda x: jnp.exp(x) / jnp.exp(x).sum(),
    "softmax where": lambda x: jax.nn.softmax(x, where=jnp.arange(6) < 4),
    "softmax masked": lambda x: jax.nn.softmax(jnp.where(jnp.arange(6) < 4, x, -1e30)),
    "log softmax": lambda x: jax.nn.log_softmax(x) + jnp.log(jax.nn.softmax(x)) + x - jax.nn.logsumexp(x),
    "logsumexp": lambda x: jax.nn.logsumexp(x.reshape(2, 3), axis=1) + jnp.log(jnp.exp(x[:2]).sum()),
    "logsumexp kept": lambda x: jax.scipy.special.logsumexp(x.reshape(2, 3), axis=1, keepdims=True),
    "logaddexp": lambda x: jnp.logaddexp(x, x[::-1]),
    "variance": lambda x: x.var() + jnp.std(x[:3]) + jnp.maximum((x * x).mean() - x.mean() ** 2, 0),
    "norms": lambda x: jnp.linalg.norm(x) + jax.nn.standardize(x),
    "layer norm": lambda x: nn.LayerNorm().apply({"params": {"scale": VECTOR, "bias": VECTOR}}, x),
    "rms norm": lambda x: nn.RMSNorm().apply({"params": {"scale": VECTOR}}, x),
    "attention": lambda x: jax.nn.dot_product_attention(*[x.reshape(3, 1, 2) * s for s in (1.0, 2.0, 3.0)]),
    "products": lambda x: x * x[::-1] + x / (2.0 + jnp.abs(x)) + x**3 - x @ x,
    "einsums": lambda x: jnp.einsum("ij,kj,k->i", x.reshape(2, 3), x.reshape(2, 3), x[:2]),
    "outer": lambda x: jnp.outer(x, jnp.tanh(x)),
    "maxima": lambda x: jnp.maximum(x, x[::-1]) + jnp.minimum(x, 2.0 * x[::-1]) + x.max() - x.min(),
    "larger of two": lambda x: jnp.where(x > x[::-1], x, x[::-1]) + jnp.where(x <= x[::-1], x, x[::-1]),
    "scan": lambda x: lax.scan(lambda c, v: (c * 0.5 + v[0] * v[1], c), x[0], (x, VECTOR), reverse=True)[1],
    "scan with constants": lambda x: lax.scan(lambda c, v: (v, c), VECTOR[0], x)[1],
    "fori": lambda x: lax.fori_loop(0, 3, lambda i, c: jnp.tanh(c) + x[i], x),
    "while": lambda x: lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, 2.0 * c[1]), (0, x))[1],
    "switch": lambda x: lax.switch(2, [jnp.sort, jnp.floor, jnp.tanh], x),
    "writes": lambda x: x.at[1].set(3.0).at[jnp.array([1, 1])].add(x[:2]).at[2].multiply(2.0).at[7].set(1.0),
    "writes of values": lambda x: jnp.zeros(8).at[1:7].set(x).at[:2].set(x[4:]),
    "block": lambda x: lax.dynamic_update_slice(x, 2.0 * x[:2], (3,)),
    "exponentials": lambda x: jnp.exp(x) + jnp.exp2(x) + jnp.expm1(x) + 2.0**x + lax.erf(x) + lax.erfc(x),
    "guards": lambda x: jnp.where(jnp.isnan(x), 0.0, x) + jnp.nan_to_num(x),
    "kernel": lambda x: conv(IMAGE, x.reshape(1, 3, 1, 2), feature_group_count=2),
    "embedding": lambda x: W[jnp.array([0, 3])].sum(0)[:, None] * x[None, :],
}
IMAGES = {
    "max pool": lambda x: nn.max_pool(x, (3, 2), (2, 1), "SAME"),
    "max pool padded": lambda x: nn.max_pool(x, (3, 2), (1, 2), ((2, 1), (0, 1))),
    "min pool": lambda x: -nn.max_pool(-x, (2, 2)),
    "dilated pool": lambda x: lax.reduce_window(
        x, -jnp.inf, lax.max, (2, 2, 1), (1, 1, 1), ((1, 0), (0, 1), (0, 0)), window_dilation=(2, 3, 1)
    ),
    "average pool inside": lambda x: nn.avg_pool(x, (2, 2), (1, 1), "SAME", count_include_pad=False),
    "maximum over axes": lambda x: x.max((0, 2)) - x.min(axis=(0, 1), keepdims=True)[0, :, :1].sum(),
    "group norm": lambda x: nn.GroupNorm(2).apply({"params": {"scale": W[0, :2], "bias": W[1, :2]}}, x),
    "instance norm": lambda x: nn.InstanceNorm(use_bias=False, use_scale=False).apply({}, x),
    "conv": lambda x: conv(x, KERNEL),
    "nchw": nchw,
    "grouped dilated": grouped,
    "lhs dilated": lambda x: conv(x, KERNEL, padding=((1, 1), (0, 2)), lhs_dilation=(2, 3)),
    "transposed": lambda x: lax.conv_transpose(x[None], KERNEL, (2, 2), "SAME")[0],
    "negative padding": lambda x: conv(x, KERNEL, padding=((-1, 0), (1, -1))),
    "odd layout": lambda x: conv(jnp.transpose(x, (1, 0, 2)), KERNEL, ("NWHC", "WHIO", "CNHW"))[..., 0],
    "one dimensional": lambda x: conv(x[0], KERNEL[0], ("NWC", "WIO", "NWC"), (2,)),
    "our kernel": lambda x: jc.kernels.conv_general_dilated(
        x[None], KERNEL, (2, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )[0],
    "average pool": average_pool,
    "flatten": lambda x: x.reshape(-1) @ jnp.ones((40, 2)),
    "moved": lambda x: jnp.moveaxis(x, -1, 0).swapaxes(1, 2),
}
TABLE = [(name, fn, VECTOR * 1.3) for name, fn in {**VECTORS, **ADDED}.items()] + [
    (n, fn, IMAGE) for n, fn in IMAGES.items()
]


@pytest.mark.parametrize(("name", "fn", "x"), TABLE, ids=[row[0] for row in TABLE])
def test_the_graph_computes_the_function(name, fn, x):
    graph = trace(fn, x)
    expected = fn(x)
    found = graph(x)
    assert graph.in_shape == x.shape
    assert found.shape == expected.shape == graph.out_shape == graph.nodes[-1].shape
    assert found.dtype == expected.dtype == graph.nodes[-1].dtype
    assert np.asarray(found) == pytest.approx(np.asarray(expected), rel=2e-6, abs=2e-6)
    kinds = {node.kind for node in graph.nodes[1:]}
    assert kinds <= set(jc.bounds.IBP_RULES) & set(jc.bounds.CROWN_RULES), kinds
    for position, node in enumerate(graph.nodes):
        assert all(i < position for i in node.inputs), "topological order"
    assert trace(graph, x) is graph


def kinds(fn, x=VECTOR):
    return [node.kind for node in trace(fn, x).nodes[1:]]


@pytest.mark.parametrize(
    ("fn", "expected"),
    [
        (lambda x: x, []),
        (lambda x: x @ W + B, ["dot", "shift"]),
        (lambda x: jax.nn.relu(x @ W), ["dot", "relu"]),
        (lambda x: jnp.maximum(0.0, x), ["relu"]),
        (lambda x: jnp.maximum(x, 1.0), ["shift", "relu", "shift"]),
        (lambda x: -x, ["scale"]),
        (lambda x: VECTOR - x, ["scale", "shift"]),
        (lambda x: x - x * 2.0, ["scale", "scale", "add"]),
        (lambda x: jax.nn.sigmoid(x), ["sigmoid"]),
        (lambda x: jnp.concatenate([x, VECTOR]), ["concatenate", "shift"]),
        (lambda x: jax.nn.leaky_relu(x), ["leaky_relu"]),
        (lambda x: x.astype(jnp.float32), []),
        (lambda x: (jnp.sin(x), 2.0 * x)[1], ["scale"]),
    ],
)
def test_node_kinds(fn, expected):
    assert kinds(fn) == expected


def network(params, x):
    return jax.nn.relu(x @ params["w"] + params["b"]) @ params["v"] / params["s"]


def test_parameters_may_be_tracers():
    params = {"w": W, "b": B, "v": W.T[:, :3], "s": jnp.asarray(2.0)}

    def through_graph(params, x):
        return trace(lambda v: network(params, v), jax.ShapeDtypeStruct((6,), jnp.float32))(x)

    def direct(params, x):
        return network(params, x)

    xs = jnp.stack([VECTOR, 2.0 * VECTOR])
    many = jax.tree.map(lambda leaf: jnp.stack([leaf, 0.5 * leaf]), params)
    for transform in (
        jax.jit,
        lambda f: jax.jit(jax.grad(lambda p, x: f(p, x).sum())),
        lambda f: jax.jit(jax.jacfwd(f, argnums=1)),
    ):
        ours, theirs = transform(through_graph)(params, VECTOR), transform(direct)(params, VECTOR)
        for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
            assert np.asarray(a) == pytest.approx(np.asarray(b), rel=1e-5, abs=1e-5)
    ours, theirs = jax.jit(jax.vmap(through_graph))(many, xs), jax.vmap(direct)(many, xs)
    assert np.asarray(ours) == pytest.approx(np.asarray(theirs), rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("where", ["max", "select", "pad", "concatenate"])
def test_traced_constants_in_every_position(where):
    region = jc.linf_ball(VECTOR, 0.2)

    def fn(c, x):
        return {
            "max": lambda: jnp.maximum(x, c) + jnp.minimum(c, x),
            "select": lambda: jnp.where(c > 0, x, c),
            "pad": lambda: lax.pad(x, c[0], ((2, 0, 0),)),
            "concatenate": lambda: jnp.concatenate([c, x]),
        }[where]()

    def bounds(c):
        return jc.crown()(lambda x: fn(c, x), region)

    for c in (VECTOR[::-1], jnp.zeros(6)):
        found = jax.jit(bounds)(c)
        for x in (VECTOR, VECTOR - 0.2, VECTOR + 0.2):
            value = fn(c, x)
            assert bool((found.lower <= value + 1e-5).all() and (value <= found.upper + 1e-5).all())
        assert np.asarray(found.lower) == pytest.approx(np.asarray(bounds(c).lower), rel=1e-5, abs=1e-5)


def test_float32_to_float64_casts_are_linear(x64):
    x = jnp.asarray(VECTOR, jnp.float32)
    fn = lambda v: jax.nn.relu(v.astype(jnp.float64) * 2.0)
    graph = trace(fn, x)
    assert [node.kind for node in graph.nodes[1:]] == ["convert_element_type", "scale", "relu"]
    assert graph(x).dtype == jnp.float64
    assert jc.crown()(fn, jc.linf_ball(x, 0.1)).lower.dtype == jnp.float64


@pytest.mark.parametrize(
    "fn",
    [
        lambda x: (x, x),
        lambda x: {"logits": x, "aux": x},
        lambda x: x > 0,
        lambda x: x.astype(jnp.int32),
        lambda x: jnp.argmax(x),
        lambda x: (),
        lambda x: jnp.ones(3),
        lambda x: 0.0 + jnp.zeros_like(x),
    ],
)
def test_functions_that_cannot_be_bounded_raise(fn):
    with pytest.raises(jc.errors.InvalidInputError, match=r"one array of floating-point|does not depend"):
        trace(fn, VECTOR)


def test_graphs_refuse_inputs_of_another_shape():
    graph = trace(lambda x: 2.0 * x, VECTOR)
    with pytest.raises(jc.errors.InvalidInputError, match=r"takes inputs of shape \(6,\), got \(3,\)"):
        jc.ibp()(graph, jc.linf_ball(jnp.ones(3), 0.1))
