"""Convolutions for the body of loops: equal values and derivatives, and the layout that is asked for."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxcert.kernels.loops import fast_in_loops

RNG = np.random.default_rng(0)
KERNEL = jnp.asarray(RNG.normal(size=(3, 2, 2, 4)), jnp.float32)  # HWIO
GROUPED = jnp.asarray(RNG.normal(size=(4, 1, 2, 2)), jnp.float32)  # OIHW
DENSE = jnp.asarray(RNG.normal(size=(4, 3)), jnp.float32)


def channels_last(x):
    """Strides, dilation, uneven padding, a jitted part, functions with rules of their own, remat."""
    x = lax.conv_general_dilated(
        x[None], KERNEL, (2, 1), ((1, 0), (2, 1)), dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    x = jax.checkpoint(jax.jit(jax.nn.softplus))(jax.nn.relu(x))
    return x[0].sum((0, 1)) @ DENSE


def channels_first(x):
    """Groups, and another layout on each side."""
    x = jnp.moveaxis(x, -1, 0)[None]
    dims = ("NCHW", "OIHW", "NHWC")
    x = lax.conv_general_dilated(
        x, GROUPED, (1, 1), "SAME", rhs_dilation=(2, 1), feature_group_count=2, dimension_numbers=dims
    )
    return jnp.tanh(x[0]).sum((0, 1)) @ DENSE


def without_space(x):
    """A convolution over one axis."""
    dims = ("NWC", "WIO", "NCW")
    x = lax.conv_general_dilated(x, KERNEL[0], (1,), "VALID", dimension_numbers=dims)
    return x.sum((0, 2)) @ DENSE


@pytest.mark.parametrize("fn", [channels_last, channels_first, without_space])
def test_values_and_derivatives_are_those_of_the_function(fn):
    xs = jnp.asarray(RNG.normal(size=(2, 5, 6, 2)), jnp.float32)

    @jax.jit
    def everything(scale, xs):
        fast = lambda x: fast_in_loops(lambda x, scale: scale * fn(x))(x, scale)
        slow = lambda x: scale * fn(x)
        return [(jax.vmap(f)(xs), jax.vmap(jax.jacrev(f))(xs)) for f in (fast, slow)]

    fast, slow = everything(jnp.float32(1.5), xs)
    for a, b in zip(fast, slow, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_every_convolution_of_a_loop_is_in_the_fast_layout():
    def climbed(fn, x):
        slope = jax.vmap(jax.grad(lambda x: fn(x)[0]))
        return lax.fori_loop(0, 3, lambda _, x: x + slope(x), x)

    x = jnp.ones((2, 5, 6, 2))
    for fn in (channels_last, channels_first):
        text = jax.jit(lambda x, fn=fn: climbed(fast_in_loops(fn), x)).lower(x).as_text()
        layouts = re.findall(r"stablehlo.convolution.*dim_numbers = (\[.*?\])x(\[.*?\])->(\[.*?\])", text)
        assert len(layouts) >= 2
        assert set(layouts) == {("[b, 0, 1, f]", "[0, 1, i, o]", "[b, 0, 1, f]")}


def test_random_keys_may_be_among_the_others():
    noisy = fast_in_loops(lambda x, key: x + jax.random.normal(key, x.shape))
    keys = jax.random.split(jax.random.key(0), 3)
    slopes = jax.vmap(jax.grad(lambda x, key: noisy(x, key).sum() ** 2), (None, 0))(jnp.ones(2), keys)
    assert slopes.shape == (3, 2)
    assert len(np.unique(slopes[:, 0])) == 3
