"""What the kinds promise, whatever static parameters their primitives carry.

A structural node is linear with weights 0 and 1: its value at 0 is 0 and its Jacobian holds nothing else. A
renaming node keeps row-major order. Every constant that a primitive brings along (a fill value, a padding
value, a branch) must have become a shift of its own.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import jaxcert as jc
from jaxcert.bounds.patches import RENAMING
from jaxcert.graph import trace
from jaxcert.graph.ir import STRUCTURAL

FUNCTIONS = {
    "reshape that permutes": lambda x: lax.reshape(x, (4, 3), dimensions=(1, 0)),
    "ravel in column order": lambda x: jnp.ravel(x, order="F"),
    "gather with a fill value": lambda x: x[0].at[jnp.array([0, 9])].get(mode="fill", fill_value=5.0),
    "take beyond the end": lambda x: jnp.take(x[0], jnp.array([0, 9])),
    "gather clipped": lambda x: x[0].at[jnp.array([0, 9])].get(mode="clip"),
    "gather repeated": lambda x: x[:, jnp.array([1, 1, 0])],
    "pad with a constant": lambda x: lax.pad(x, jnp.float32(2.0), ((1, -1, 1), (0, 2, 0))),
    "concatenate with a constant": lambda x: jnp.concatenate([x, jnp.ones((1, 4)), x]),
    "stack": lambda x: jnp.stack([x[0], jnp.ones(4), x[0]]),
    "where of a constant mask": lambda x: jnp.where(jnp.arange(4)[None] > 1, x, 7.0),
    "tile": lambda x: jnp.tile(x, (2, 1)),
    "split": lambda x: jnp.split(x, 2, axis=1)[1],
    "sums": lambda x: jnp.sum(x, axis=0) + jnp.cumsum(x, axis=1)[0] + lax.cumsum(x, axis=1, reverse=True)[1],
    "windows": lambda x: lax.reduce_window(x, 0.0, lax.add, (2, 2), (1, 2), ((1, 0), (0, 1))),
    "dynamic slice beyond the end": lambda x: lax.dynamic_slice(x, (2, 3), (1, 2)),
    "writes": lambda x: x.at[1, jnp.array([0, 2])].set(x[0, :2]).at[2].set(7.0),
    "writes into a constant": lambda x: jnp.ones((4, 4)).at[1:].set(x),
    "a block written": lambda x: lax.dynamic_update_slice(x, x[:1, :2], (2, 1)),
    "pieces of windows": lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (2, 3), (2, 1), ((1, 1), (1, 0))),
    "rows of a scan": lambda x: lax.scan(lambda c, row: (c + row, c), x[0], x, reverse=True)[1],
    "contraction with itself": lambda x: jnp.einsum("ij,kj->ik", x, x),
    "softmax": lambda x: jax.nn.softmax(x, axis=0),
    "names": lambda x: x[None].squeeze(0).reshape(2, 6)[::-1],
}


def traced(fn):
    graph = trace(fn, jax.ShapeDtypeStruct((3, 4), jnp.float32))
    return [node for node in graph.nodes if node.kind in STRUCTURAL]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_structural_nodes_have_weights_0_and_1_and_no_constant(name):
    nodes = traced(FUNCTIONS[name])
    assert nodes
    for node in nodes:
        zeros = [jnp.zeros(operand.shape, operand.dtype) for operand in node.operands]
        assert not np.any(node.apply(node.consts, *zeros)), node.kind
        slots = tuple(range(len(zeros)))
        for part in jax.jacobian(lambda *xs, n=node: n.apply(n.consts, *xs), argnums=slots)(*zeros):
            assert set(np.unique(part)) <= {0.0, 1.0}, node.kind


@pytest.mark.parametrize("name", FUNCTIONS)
def test_renaming_nodes_keep_row_major_order(name):
    for node in traced(FUNCTIONS[name]):
        (size,) = {operand.size for operand in node.operands[:1]}
        if node.kind in RENAMING and np.prod(node.shape, dtype=int) == size:
            value = jnp.arange(size, dtype=node.dtype).reshape(node.operands[0].shape)
            assert node.apply(node.consts, value).reshape(-1).tolist() == list(range(size))


def enclosed(method, fn, region, samples):
    bounds = method(fn, region)
    values = np.asarray(jax.vmap(fn)(samples))
    lower, upper = np.asarray(bounds.lower), np.asarray(bounds.upper)
    return bool(np.all(lower <= values + 1e-5) and np.all(values <= upper + 1e-5))


METHODS = {"ibp": jc.ibp(), "fast_lin": jc.fast_lin(), "crown": jc.crown(), "crown_ibp": jc.crown_ibp()}


@pytest.mark.parametrize("method", METHODS)
def test_permuting_reshape_between_convolutions(method):
    """Read as a mere renaming, it gave a wrong certificate."""
    rng = np.random.default_rng(1)
    one, two = (jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in ((3, 3, 1, 2), (3, 3, 2, 2)))
    image = jnp.asarray(rng.uniform(size=(6, 6, 1)), jnp.float32)

    def conv(x, kernel):
        layout = ("NHWC", "HWIO", "NHWC")
        return lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=layout)

    def fn(x):
        hidden = lax.reshape(jax.nn.relu(conv(x[None], one)), (1, 6, 6, 2), dimensions=(0, 2, 1, 3))
        return lax.reshape(conv(hidden, two), (1, 6, 6, 2), dimensions=(0, 2, 1, 3))

    noise = jax.random.uniform(jax.random.key(0), (64, 6, 6, 1), minval=-0.05, maxval=0.05)
    assert enclosed(METHODS[method], fn, jc.linf_ball(image, 0.05), image[None] + noise)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("fill", [5.0, -5.0])
def test_fill_values_are_kept(method, fill):
    fn = lambda x: x.at[jnp.array([0, 9])].get(mode="fill", fill_value=fill)
    x = jnp.array([0.1, 0.2, 0.3, 0.4])
    bounds = METHODS[method](fn, jc.linf_ball(x, 0.1))
    assert bounds.lower.tolist() == pytest.approx([0.0, fill], abs=1e-6)
    assert bounds.upper.tolist() == pytest.approx([0.2, fill])


@pytest.mark.parametrize("method", METHODS)
def test_nan_that_take_fills_in_never_certifies(method):
    fn = lambda x: jnp.take(x, jnp.array([0, 9])) * jnp.array([1.0, 0.0]) + jnp.array([1.0, 0.0])
    margins = jc.margins(METHODS[method], fn, jc.linf_ball(jnp.array([0.1, 0.2]), 0.01), 0)
    assert not jc.is_certified(margins)


@pytest.mark.parametrize("method", METHODS)
def test_a_bounded_padding_value_is_refused(method):
    fn = lambda x: jnp.ones((1, 4)) @ lax.pad(jnp.zeros(1), x[0], ((1, 2, 0),))
    with pytest.raises(jc.errors.UnsupportedPrimitiveError, match="'pad'"):
        METHODS[method](fn, jc.l2_ball(jnp.array([0.1, 0.2]), 0.29))


@pytest.mark.parametrize("norm", [1.01, 1.05, 1.1, 1.5, 2.0, 3.0])
def test_first_layer_of_every_norm_is_exact(norm):
    weights = jnp.array([[1.0, 2.0, 3.0, 1.0], [0.01, 0.0, 0.0, 0.0]])
    x = jnp.array([0.1, 0.2, 0.3, 0.4])
    for eps in (1e-4, 0.35):
        bounds = jc.ibp()(lambda x: weights @ x, jc.lp_ball(x, eps, norm))
        dual = norm / (norm - 1)
        largest = np.abs(weights).max(axis=1)
        reach = eps * largest * (np.abs(weights / largest[:, None]) ** dual).sum(axis=1) ** (1 / dual)
        assert (bounds.upper - bounds.lower).tolist() == pytest.approx(2 * reach, rel=1e-2)


def test_half_precision_is_refused():
    with pytest.raises(jc.errors.InvalidInputError, match="bfloat16"):
        jc.linf_ball(jnp.zeros(3, jnp.bfloat16), 0.1)
    weight = jnp.ones((4, 1))
    numbers = (((0,), (0,)), ((), ()))
    fn = lambda x: lax.dot_general(x, weight, numbers, preferred_element_type=jnp.bfloat16)
    with pytest.raises(jc.errors.UnsupportedPrimitiveError, match="dot_general"):
        jc.ibp()(fn, jc.linf_ball(jnp.zeros(4), 0.1))


@pytest.mark.parametrize("method", METHODS)
def test_infinite_ends_of_a_clip_are_no_ends(method):
    x = jnp.array([0.1, 0.5])
    for fn, upper in (
        (lambda x: jnp.clip(x, -jnp.inf, 0.3), [0.2, 0.3]),
        (lambda x: jnp.clip(x, jnp.array([-jnp.inf, 0.0]), jnp.array([0.3, jnp.inf])), [0.2, 0.6]),
    ):
        bounds = METHODS[method](fn, jc.linf_ball(x, 0.1))
        assert bounds.upper.tolist() == pytest.approx(upper, abs=1e-6)
        assert np.all(np.isfinite(bounds.lower))


def test_wrong_arguments_say_so():
    fn, region = (lambda x: jnp.maximum(x, 0.0)), jc.linf_ball(jnp.zeros(2), 0.1)
    for build, says in (
        (lambda: jc.crown(slope=jnp.ones((1, 4))), "slope must be"),
        (lambda: jc.crown(slope="adaptive"), "slope must be"),
        (lambda: jc.crown(intermediate="ibp"), "intermediate must be"),
        (lambda: jc.crown()(fn, jnp.zeros(2)), "must be a region"),
        (lambda: jc.crown(slope=[jnp.ones(2)] * 3)(fn, region), "3 arrays but the network has 1"),
    ):
        with pytest.raises(jc.errors.InvalidInputError, match=says):
            build()


def test_an_added_axis_keeps_the_first_layer_exact_and_cheap():
    """`x[None]` is a broadcast; taken for a repetition it costs a dense row per neuron."""
    graph = trace(lambda x: x[None] @ jnp.ones((4, 2)), jax.ShapeDtypeStruct((4,), jnp.float32))
    assert graph.box_exact()[graph.output]
    graph = trace(lambda x: jnp.broadcast_to(x, (2, 4)).sum(0), jax.ShapeDtypeStruct((4,), jnp.float32))
    assert not graph.box_exact()[graph.output]
