"""Flax linen and nnx modules, batch norm in evaluation mode, the layer list, and facts about graphs."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxcert as jc
from jaxcert.graph import layers, trace

IMAGE = jnp.asarray(np.random.default_rng(0).random((6, 6, 1)), jnp.float32)


class Linen(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.BatchNorm(use_running_average=True)(nn.Conv(3, (3, 3), strides=2)(x)))
        x = nn.pooling.pool(x, 0.0, jax.lax.add, (2, 2), (1, 1), "VALID") / 4.0
        return nn.Dense(3)(x.reshape(-1))


class Nnx(nnx.Module):
    def __init__(self, rngs):
        self.conv = nnx.Conv(1, 3, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(3, use_running_average=True, rngs=rngs)
        self.head = nnx.Linear(108, 3, rngs=rngs)

    def __call__(self, x):
        return self.head(nnx.leaky_relu(self.norm(self.conv(x[None])), 0.1).reshape(-1))


def linen():
    model = Linen()
    variables = model.init(jax.random.key(0), IMAGE)
    stats = jax.tree.map(lambda leaf: leaf + 0.3, variables["batch_stats"])
    return lambda x: model.apply({**variables, "batch_stats": stats}, x)


@pytest.mark.parametrize("build", [linen, lambda: Nnx(nnx.Rngs(0))], ids=["linen", "nnx"])
def test_modules_become_graphs_and_bounds_hold(build):
    fn = build()
    assert np.asarray(trace(fn, IMAGE)(IMAGE)) == pytest.approx(np.asarray(fn(IMAGE)), rel=1e-4, abs=1e-5)
    found = jax.jit(lambda x: jc.crown_ibp()(fn, jc.linf_ball(x, 0.05)))(IMAGE)
    rng = np.random.default_rng(1)
    for _ in range(10):
        value = fn(IMAGE + jnp.asarray(rng.uniform(-0.05, 0.05, IMAGE.shape), jnp.float32))
        assert bool((found.lower <= value + 1e-5).all())
        assert bool((value <= found.upper + 1e-5).all())


def test_a_layer_list_equals_the_function_it_spells():
    rng = np.random.default_rng(2)
    draw = lambda *shape: jnp.asarray(rng.normal(size=shape), jnp.float32)
    kernel, bias, weight, shift = draw(3, 3, 1, 2), draw(2), draw(18, 3), draw(3)
    net = layers.network(
        [
            layers.Normalize(jnp.array([0.5]), jnp.array([0.25])),
            layers.Conv(kernel, bias, strides=(2, 2), padding=((1, 0), (1, 0))),
            layers.leaky_relu(0.1),
            layers.Residual([layers.tanh]),
            layers.Flatten(),
            layers.Dense(weight, shift),
        ],
        (6, 6, 1),
    )

    def fn(x):
        x = jc.kernels.conv_general_dilated(
            ((x - 0.5) / 0.25)[None],
            kernel,
            (2, 2),
            ((1, 0), (1, 0)),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )[0]
        x = jax.nn.leaky_relu(x + bias[None, None], 0.1)
        return (x + jnp.tanh(x)).reshape(-1) @ weight + shift

    assert np.asarray(net(IMAGE)) == pytest.approx(np.asarray(fn(IMAGE)), rel=1e-4, abs=1e-4)
    region = jc.linf_ball(IMAGE, 0.02)
    ours, theirs = jc.ibp()(net, region), jc.ibp()(fn, region)
    assert np.asarray(ours.lower) == pytest.approx(np.asarray(theirs.lower), rel=1e-4, abs=1e-3)
    with pytest.raises(jc.errors.InvalidInputError, match="takes 18 features"):
        layers.network([layers.Dense(weight, shift)], (6, 6, 1))


@pytest.mark.parametrize(
    ("fn", "affine", "exact"),
    [
        (lambda x: x @ jnp.ones((4, 2)) + 1.0, True, True),
        (lambda x: (x * 2.0)[::-1].reshape(2, 2).T, True, True),
        (lambda x: jnp.cumsum(x), True, True),
        (lambda x: x + x[::-1], True, False),
        (lambda x: (x @ jnp.ones((4, 2))) @ jnp.ones((2, 2)), True, False),
        (lambda x: x[jnp.array([0, 0, 1])] @ jnp.ones(3), True, False),
        (lambda x: jnp.concatenate([x, -x]).sum(), True, False),
        (lambda x: jax.nn.relu(x), False, False),
    ],
)
def test_facts_about_affine_graphs(fn, affine, exact):
    graph = trace(fn, jnp.ones(4))
    assert graph.affine_in_input()[graph.output] is affine
    assert graph.box_exact()[graph.output] is exact
