"""auto_LiRPA's own regression fixture of a residual block with batch norm: bounds and their gradients."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import jaxcert as jc

EPS, COUNT = 0.01, 2


def conv(x, params, name):
    kernel = params[f"{name}.weight"].transpose(2, 3, 1, 0)
    out = lax.conv_general_dilated(
        x[None], kernel, (2, 2), ((1, 1), (1, 1)), dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    return out[0] + params[f"{name}.bias"][None, None]


def block(params, x):
    scale = params["bn.weight"] / jnp.sqrt(params["bn.running_var"] + 1e-5)
    normed = (x - params["bn.running_mean"][None, None]) * scale[None, None] + params["bn.bias"][None, None]
    h = jax.nn.relu(conv(normed, params, "conv1")) + conv(x, params, "shortcut")
    h = jax.nn.relu(conv(h, params, "conv2"))
    return params["fc1.weight"] @ h.transpose(2, 0, 1).reshape(-1) + params["fc1.bias"]


@pytest.mark.parametrize("method", ["IBP", "CROWN-IBP"])
def test_residual_block_bounds_and_gradients(data_dir, method, x64):
    stored = np.load(data_dir / "reference" / "fixture_vision_resblock.npz")
    params = {k[6:]: jnp.asarray(stored[k], jnp.float64) for k in stored if k.startswith("param.")}
    images = jnp.asarray(stored["data"][:COUNT].transpose(0, 2, 3, 1))
    bound = {"IBP": jc.ibp(), "CROWN-IBP": jc.crown_ibp()}[method]

    def width(x):
        found = bound(lambda x: block(params, x), jc.lp_ball(x, EPS, math.inf))
        return jnp.abs(found.upper - found.lower).sum(), found

    gradients, found = jax.jit(jax.vmap(jax.grad(width, has_aux=True)))(images)
    for ours, side in ((found.lower, "lb"), (found.upper, "ub")):
        recorded = stored[f"l_inf_{method}_{side}"][:COUNT]
        assert np.asarray(ours) == pytest.approx(recorded, rel=1e-7, abs=1e-9)
    recorded = stored[f"l_inf_{method}_grad"][:COUNT].transpose(0, 2, 3, 1)
    assert np.asarray(gradients) == pytest.approx(recorded, rel=1e-6, abs=1e-8)
