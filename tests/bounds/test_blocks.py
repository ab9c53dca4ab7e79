"""Rows in blocks: windows by channels while one channel fits, dense entries below that; the bounds stay."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcert as jc
from jaxcert import kernels
from jaxcert.bounds import blocks

RNG = np.random.default_rng(0)
K1, K2 = (jnp.asarray(RNG.standard_normal(s), jnp.float32) for s in ((3, 3, 2, 6), (3, 3, 6, 8)))
X = jnp.asarray(RNG.uniform(size=(8, 8, 2)), jnp.float32)


def network(x):
    y = jax.nn.relu(kernels.conv(x[None], K1, padding="SAME") + 0.1)
    return jax.nn.relu(kernels.conv(y, K2, strides=(2, 2), padding="SAME")).sum((0, 1, 2))


@pytest.mark.parametrize(("memory", "expected"), [("1GiB", set()), ("64KiB", {"windows"}), (1, {"dense"})])
def test_the_limit_decides_the_kind_of_block_and_not_the_bounds(memory, expected, monkeypatch):
    met = set()

    def watch(name, function):
        def watched(graph, target, some=None):
            if some is not None:
                met.add(name)
            return function(graph, target, some)

        return watched

    region = jc.linf_ball(X, 0.05)
    whole = jc.crown(memory="1GiB")(network, region)
    monkeypatch.setattr(blocks, "patch_start", watch("windows", blocks.patch_start))
    monkeypatch.setattr(blocks, "identity_rows", watch("dense", blocks.identity_rows))
    found = jc.crown(memory=memory)(network, region)
    assert met == expected
    np.testing.assert_allclose(found.lower, whole.lower, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found.upper, whole.upper, rtol=1e-5, atol=1e-5)
