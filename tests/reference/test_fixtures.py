"""auto_LiRPA's own regression fixtures: a residual block, 1-D convolutions, max pooling, S-shaped nodes.

They were made with that tool's default mixture of IBP and backward bounds. For ReLU that is specified fully;
for max pooling and S-shaped functions ours must be sound and no looser on average.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import jaxcert as jc
from tests.common.compiling import quick_jit
from tests.reference.bounds import MIXTURES, OPTIMISED, record
from tests.reference.sparse import BATCH, IbpWhereStable

SINGLE = "fixture_sshape_nodes"
BLOCK = "fixture_vision_resblock"
WINDOWS = ("k3_p0", "k3_p1", "k4_p0", "k4_p1")
CONV1D = tuple(f"fixture_conv1d_{window}_s2" for window in WINDOWS)
MAX_POOL = tuple(f"fixture_maxpool_{window}_convp0" for window in WINDOWS)
FILES = (SINGLE, BLOCK, *CONV1D, *MAX_POOL)


def stored(data_dir, name):
    arrays = np.load(data_dir / "reference" / f"{name}.npz")
    params = {k[6:]: jnp.asarray(arrays[k], jnp.float64) for k in arrays if k.startswith("param.")}
    return params, {k: arrays[k] for k in arrays if not k.startswith("param.")}


def geometry(name):
    """Kernel width and padding, from the name of a file."""
    kernel, padding = name.split("_")[2:4]
    return int(kernel[1:]), int(padding[1:])


# The residual block.

EPS, COUNT = 0.01, 2
BLOCK_METHODS = {
    "IBP": jc.ibp(),
    "CROWN-IBP": jc.crown_ibp(),
    "CROWN": MIXTURES["CROWN-tool-default"],
    "CROWN-same-slope": jc.crown(jc.slopes.parallel, IbpWhereStable(jc.slopes.parallel)),
}


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


@pytest.mark.parametrize("method", BLOCK_METHODS)
def test_residual_block_bounds_and_gradients(data_dir, method, x64):
    params, recorded = stored(data_dir, BLOCK)
    images = jnp.asarray(recorded["data"][:COUNT].transpose(0, 2, 3, 1))

    def width(x):
        found = BLOCK_METHODS[method](lambda x: block(params, x), jc.lp_ball(x, EPS, math.inf))
        return jnp.abs(found.upper - found.lower).sum(), found

    gradients, found = jax.jit(jax.vmap(jax.grad(width, has_aux=True), axis_name=BATCH))(images)
    for ours, side in ((found.lower, "lb"), (found.upper, "ub")):
        theirs = recorded[f"l_inf_{method}_{side}"][:COUNT]
        assert np.asarray(ours) == pytest.approx(theirs, rel=1e-7, abs=1e-9)
    theirs = recorded[f"l_inf_{method}_grad"][:COUNT].transpose(0, 2, 3, 1)
    assert np.asarray(gradients) == pytest.approx(theirs, rel=1e-6, abs=1e-8)


def test_residual_block_in_an_l2_ball(data_dir, x64):
    """Their IBP takes whole kernels at the padded border, so ours is never looser, and on average CROWN."""
    params, recorded = stored(data_dir, BLOCK)
    images = jnp.asarray(recorded["data"][:COUNT].transpose(0, 2, 3, 1))
    for method in ("IBP", "CROWN-IBP", "CROWN", "CROWN-same-slope"):
        bound = BLOCK_METHODS[method]
        one = lambda x, bound=bound: bound(lambda x: block(params, x), jc.lp_ball(x, EPS, 2.0))
        found = quick_jit(jax.vmap(one, axis_name=BATCH))(images)
        lower, upper = (recorded[f"l_2_{method}_{side}"][:COUNT] for side in ("lb", "ub"))
        assert (found.upper - found.lower).mean() <= (upper - lower).mean() + 1e-12, method
        if method == "IBP":
            assert (np.asarray(found.lower) >= lower - 1e-9).all()
            assert (np.asarray(found.upper) <= upper + 1e-9).all()


@pytest.mark.optimised
def test_residual_block_with_optimised_slopes(data_dir, x64):
    params, recorded = stored(data_dir, BLOCK)
    images = jnp.asarray(recorded["data"][:COUNT].transpose(0, 2, 3, 1))
    method = OPTIMISED["alpha-CROWN-full"]
    one = lambda x: method(lambda x: block(params, x), jc.lp_ball(x, EPS, math.inf))
    found = jax.jit(jax.vmap(one))(images)
    lower, upper = (recorded[f"l_inf_CROWN-Optimized_{side}"][:COUNT] for side in ("lb", "ub"))
    assert (found.upper - found.lower).mean() <= (upper - lower).mean()


# 1-D convolutions and max pooling.


def conv1d_net(name):
    width, padding = geometry(name)

    def apply(params, x):
        h = x
        for layer in ("n_n_conv1d_1", "n_n_conv1d_2", "n_n_conv1d_3"):
            kernel = params[f"{layer}.weight"]
            assert kernel.shape[2] == width
            h = lax.conv_general_dilated(h[None], kernel, (2,), ((padding, padding),))[0]
            h = jax.nn.relu(h + params[f"{layer}.bias"][:, None])
        return params["n_n_linear.weight"] @ h.reshape(-1) + params["n_n_linear.bias"]

    return apply


def max_pool_net(name):
    width, padding = geometry(name)

    def conv2d(params, layer, h):
        h = lax.conv_general_dilated(h[None], params[f"{layer}.weight"], (1, 1), "VALID")[0]
        return jax.nn.relu(h + params[f"{layer}.bias"][:, None, None])

    def apply(params, x):
        h = conv2d(params, "n_n_conv2d", x)
        window, pads = (1, width, width), ((0, 0), (padding, padding), (padding, padding))
        h = lax.reduce_window(h, np.array(-np.inf, h.dtype), lax.max, window, window, pads)
        h = conv2d(params, "n_n_conv2d_2", h)
        return params["n_n_dense.weight"][:, :, 0, 0] @ h.reshape(-1) + params["n_n_dense.bias"]

    return apply


def fixture_bounds(method, apply, params, images, eps=0.3):
    one = lambda x: method(lambda x: apply(params, x), jc.lp_ball(x, eps, math.inf))
    return jax.tree.map(np.asarray, quick_jit(jax.vmap(one, axis_name=BATCH))(images))


def assert_sound(found, apply, params, images, eps=0.3):
    rng = np.random.default_rng(0)
    moves = rng.choice([-1.0, -0.5, 0.0, 0.5, 1.0], size=(100, *images.shape))
    values = np.asarray(
        jax.jit(jax.vmap(jax.vmap(lambda x: apply(params, x))))(jnp.asarray(images + eps * moves))
    )
    assert (found.lower[None] <= values + 1e-9).all()
    assert (found.upper[None] >= values - 1e-9).all()


@pytest.mark.parametrize("name", CONV1D)
def test_one_dimensional_convolutions(data_dir, name, x64):
    params, recorded = stored(data_dir, name)
    apply, images = conv1d_net(name), recorded["x"]
    found = fixture_bounds(MIXTURES["CROWN-tool-default"], apply, params, images)
    assert found.lower == pytest.approx(recorded["lb"], rel=1e-7, abs=1e-9)
    assert found.upper == pytest.approx(recorded["ub"], rel=1e-7, abs=1e-9)
    assert_sound(found, apply, params, images)


@pytest.mark.parametrize("name", MAX_POOL)
def test_max_pooling(data_dir, name, x64):
    params, recorded = stored(data_dir, name)
    apply, images = max_pool_net(name), recorded["x"]
    found = fixture_bounds(MIXTURES["CROWN-tool-default"], apply, params, images)
    assert (found.upper - found.lower).mean() <= (recorded["ub"] - recorded["lb"]).mean() + 1e-9
    assert_sound(found, apply, params, images)
    assert_sound(fixture_bounds(jc.ibp(), apply, params, images), apply, params, images)


# Single nodes.

FUNCTIONS = {"sin": jnp.sin, "sigmoid": jax.nn.sigmoid}
CASES = {"CROWN": jc.crown(), "alpha-CROWN (tool default)": jc.alpha_crown(20)}
# Mean widths may exceed theirs by this factor: tangents of a table differ in the last digits, and our lines
# of sin have nothing to optimise on an arc that bends both ways, where the tool moves their tangents.
SLACK = {"CROWN": 1 + 1e-4, "alpha-CROWN (tool default)": 1 + 1e-9}
SLACK_OF_SIN = SLACK | {"alpha-CROWN (tool default)": 1.1}


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("method", CASES)
def test_single_nodes(data_dir, function, method, x64):
    cases = record(data_dir, SINGLE)["cases"]
    cases = [case for case in cases if (case["function"], case["method"]) == (function, method)]
    ends = [(np.array(case["input_lower"]), np.array(case["input_upper"])) for case in cases]
    lower, upper = (np.concatenate(side) for side in zip(*ends, strict=True))
    one = lambda lo, hi: CASES[method](FUNCTIONS[function], jc.box(lo, hi))
    found = jax.tree.map(np.asarray, quick_jit(jax.vmap(one))(jnp.asarray(lower), jnp.asarray(upper)))
    values = np.asarray(FUNCTIONS[function](jnp.linspace(lower, upper, 5001)))
    assert (found.lower <= values.min(axis=0) + 1e-12).all()
    assert (found.upper >= values.max(axis=0) - 1e-12).all()
    theirs = np.concatenate([np.array(case["ub"]) - np.array(case["lb"]) for case in cases])
    slack = (SLACK_OF_SIN if function == "sin" else SLACK)[method]
    assert (found.upper - found.lower).mean() <= slack * theirs.mean()
