"""Arguments, errors, the drop-in for lax, lowerings, and many devices."""

import subprocess
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxcert import kernels
from jaxcert.errors import InvalidInputError
from jaxcert.kernels import cpu, cpu_few_channels, cpu_weight_grad, native


def normal(*shape):
    return jnp.asarray(np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32))


def primitives_in(function, *arguments) -> list[str]:
    """Names of the equations of a function's jaxpr, in order."""
    return [equation.primitive.name for equation in jax.make_jaxpr(function)(*arguments).jaxpr.eqns]


@pytest.mark.parametrize(
    "layout", [("NHWC", "HWIO", "NHWC"), ("NCHW", "OIHW", "NCHW"), ("NHWC", "OIHW", "CNWH"), None], ids=str
)
@pytest.mark.parametrize("padding", ["SAME", "VALID", ((1, 2), (0, 3))], ids=str)
def test_drop_in_equals_lax_in_every_layout(layout, padding):
    lhs_layout, rhs_layout, _ = layout or ("NCHW", "OIHW", "NCHW")
    sizes = {"N": 2, "H": 6, "W": 5, "C": 4}
    taps = {"H": 3, "W": 2, "I": 2, "O": 6}
    x = normal(*(sizes[axis] for axis in lhs_layout))
    kernel = normal(*(taps[axis] for axis in rhs_layout))
    settings = {"rhs_dilation": (1, 2), "dimension_numbers": layout, "feature_group_count": 2}
    ours = kernels.conv_general_dilated(x, kernel, (2, 1), padding, **settings)
    theirs = lax.conv_general_dilated(x, kernel, (2, 1), padding, **settings)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_drop_in_dilates_the_input():
    x, kernel = normal(2, 4, 3, 2), normal(3, 2, 2, 5)
    settings = {"lhs_dilation": (2, 3), "dimension_numbers": ("NHWC", "HWIO", "NHWC")}
    arguments = (x, kernel, (1, 2), ((1, 0), (2, 1)))
    ours = kernels.conv_general_dilated(*arguments, **settings)
    theirs = lax.conv_general_dilated(*arguments, **settings)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_drop_in_is_one_primitive_on_plain_layouts_and_lax_for_the_rest():
    layout = ("NHWC", "HWIO", "NHWC")
    call = lambda x, kernel, **more: kernels.conv_general_dilated(
        x, kernel, (1, 1), "SAME", dimension_numbers=layout, **more
    )
    x, kernel = normal(2, 4, 4, 3), normal(2, 2, 3, 6)
    assert primitives_in(call, x, kernel) == ["jaxcert_conv"]
    in_batch = lambda x, kernel: call(x, kernel, batch_group_count=2)
    assert primitives_in(in_batch, x, kernel) == ["conv_general_dilated"]
    assert primitives_in(call, x.astype(int), kernel.astype(int)) == ["conv_general_dilated"]


def test_three_forms_of_one_pairing():
    x, kernel, y = normal(2, 7, 5, 4), normal(3, 2, 2, 6), normal(2, 4, 4, 6)
    window = {"strides": (2, 1), "padding": ((1, 1), (0, 0)), "dilation": (1, 1), "groups": 2}
    pairing = jnp.vdot(y, kernels.conv(x, kernel, **window))
    back = kernels.conv_transpose(y, kernel, input_shape=x.shape, **window)
    grad = kernels.conv_weight_grad(x, y, kernel_shape=kernel.shape, **window)
    np.testing.assert_allclose(jnp.vdot(back, x), pairing, rtol=1e-4)
    np.testing.assert_allclose(jnp.vdot(grad, kernel), pairing, rtol=1e-4)


def test_precision_reaches_every_derivative():
    window = {"strides": (1, 1), "padding": "VALID", "precision": lax.Precision.HIGHEST}
    x, kernel = normal(1, 4, 4, 1), normal(2, 2, 1, 1)
    gradient = jax.grad(lambda x, k: jnp.sum(kernels.conv(x, k, **window) ** 2), argnums=(0, 1))
    found = [
        equation.params["precision"]
        for equation in jax.make_jaxpr(gradient)(x, kernel).jaxpr.eqns
        if equation.primitive.name.startswith("jaxcert_conv")
    ]
    assert found == [lax.Precision.HIGHEST] * 3


def test_default_precision_is_taken_when_traced():
    call = lambda x, k: kernels.conv(x, k, strides=(1, 1), padding="VALID")
    with jax.default_matmul_precision("highest"):
        (equation,) = jax.make_jaxpr(call)(normal(1, 4, 4, 1), normal(2, 2, 1, 1)).jaxpr.eqns
    assert equation.params["precision"] == "highest"


def test_derivatives_of_mapped_examples_sum_in_the_convolution():
    """grad(vmap) has one weight gradient of the merged batch, not one per example with a sum behind it."""
    one = lambda x, k: jnp.sum(kernels.conv(x[None], k, strides=(1, 1), padding="SAME") ** 2)
    total = lambda x, k: jnp.sum(jax.vmap(one, in_axes=(0, None))(x, k))
    equations = jax.make_jaxpr(jax.grad(total, argnums=1))(normal(5, 4, 4, 2), normal(3, 3, 2, 2)).jaxpr.eqns
    grads = [e for e in equations if e.primitive.name == "jaxcert_conv_weight_grad"]
    assert [(e.params["groups"], e.outvars[0].aval.shape) for e in grads] == [(1, (3, 3, 2, 2))]


def test_large_unpadded_forms_equal_native():
    """Above a size the CPU forms pad: both with outputs to drop (stride 1) and without (stride 2)."""
    x, kernel = normal(16, 18, 18, 32), normal(3, 3, 32, 64)
    for stride in (1, 2):
        window = {
            "strides": (stride, stride),
            "padding": ((0, 0), (0, 0)),
            "dilation": (1, 1),
            "groups": 1,
            "precision": None,
        }
        wide, narrow = x if stride == 1 else jnp.tile(x, (4, 1, 1, 1)), kernel
        assert "slice" in primitives_in(lambda x, k, w=window: cpu.conv(x, k, **w), wide, narrow)
        y = native.conv(wide, narrow, **window)
        np.testing.assert_allclose(cpu.conv(wide, narrow, **window), y, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("examples", [31, 33, 70])
def test_weight_gradients_by_blocks_of_examples_equal_native(examples):
    """More examples than a block holds, and a last block that is not full."""
    x = normal(examples, 9, 8, 2)
    window = {
        "strides": (2, 1),
        "padding": ((1, 0), (-1, 2)),
        "dilation": (1, 2),
        "groups": 1,
        "precision": None,
    }
    y = native.conv(x, normal(3, 2, 2, 3), **window)
    assert examples <= cpu_weight_grad.examples_per_block(x, y) or examples > 32
    ours = cpu_weight_grad.conv_weight_grad(x, y, kernel_spatial=(3, 2), **window)
    theirs = native.conv_weight_grad(x, y, kernel_spatial=(3, 2), **window)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    ("channels", "stride", "taps"), [(1, 2, 4), (3, 2, 3), (1, 1, 3), (1, 3, 2), (2, 2, 5)]
)
def test_forms_for_few_channels_equal_native(channels, stride, taps):
    x, kernel = normal(3, 11, 8, channels), normal(taps, taps, channels, 4)
    assert cpu_few_channels.serves(channels, (stride, stride), (1, 1), 1)
    for padding in (((0, 0), (0, 0)), ((1, 2), (0, 1)), ((-1, 0), (2, -1))):
        window = {
            "strides": (stride, stride),
            "padding": padding,
            "dilation": (1, 1),
            "groups": 1,
            "precision": None,
        }
        y = native.conv(x, kernel, **window)
        np.testing.assert_allclose(cpu.conv(x, kernel, **window), y, rtol=1e-4, atol=1e-4)
        ours = cpu.conv_transpose(y, kernel, input_spatial=(11, 8), **window)
        theirs = native.conv_transpose(y, kernel, input_spatial=(11, 8), **window)
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("x_shape", "kernel_shape", "strides", "padding"),
    [
        ((2, 5, 5, 1), (3, 3, 1, 0), (1, 1), ((1, 1), (1, 1))),  # no output channel
        ((2, 5, 5, 1), (3, 3, 1, 0), (2, 2), ((0, 0), (0, 0))),
        ((2, 5, 5, 0), (3, 3, 0, 2), (2, 2), ((0, 0), (0, 0))),  # no input channel
        ((0, 5, 5, 2), (3, 3, 2, 2), (1, 1), ((0, 0), (0, 0))),  # no example
        ((2, 3, 1, 2), (2, 3, 2, 2), (3, 2), ((0, 0), (0, 1))),  # a kernel larger than the image
        ((2, 1, 4, 2), (1, 2, 2, 3), (2, 2), ((-2, 3), (1, 1))),  # every pixel cropped, zeros instead
        ((2, 1, 4, 2), (1, 2, 2, 3), (1, 1), ((-2, 3), (1, -1))),
    ],
    ids=str,
)
def test_forms_for_cpu_equal_native_where_nothing_is_left(x_shape, kernel_shape, strides, padding):
    x, kernel = normal(*x_shape), normal(*kernel_shape)
    window = {"strides": strides, "padding": padding, "dilation": (1, 1), "groups": 1, "precision": None}
    y = native.conv(x, kernel, **window)
    np.testing.assert_allclose(cpu.conv(x, kernel, **window), y, atol=1e-5)
    spatial = {"input_spatial": x_shape[1:-1]}
    expected = native.conv_transpose(y, kernel, **spatial, **window)
    np.testing.assert_allclose(cpu.conv_transpose(y, kernel, **spatial, **window), expected, atol=1e-4)
    spatial = {"kernel_spatial": kernel_shape[:-2]}
    expected = native.conv_weight_grad(x, y, **spatial, **window)
    np.testing.assert_allclose(
        cpu_weight_grad.conv_weight_grad(x, y, **spatial, **window), expected, atol=1e-4
    )


def test_forms_for_few_channels_are_left_where_their_matrix_is_large():
    """Beyond tens of MiB memory is mapped anew for every call, and budgets do not count what a form takes."""
    window = {"strides": (2, 2), "padding": ((1, 1), (1, 1)), "dilation": (1, 1), "groups": 1}
    window |= {"precision": None}

    def ours(form, *shapes, **more):
        arguments = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
        return "conv_general_dilated" not in primitives_in(partial(form, **window, **more), *arguments)

    for images, few in ((64, True), (2560, False)):
        assert ours(cpu.conv, (images, 28, 28, 3), (4, 4, 3, 16)) == few
        back = ours(cpu.conv_transpose, (images, 14, 14, 16), (4, 4, 3, 16), input_spatial=(28, 28))
        assert back == few
    assert not ours(cpu.conv, (64, 28, 28, 3), (7, 7, 3, 64)), "wide windows"


def test_transposed_convolutions_of_few_channels_round_half_precision_once():
    y, kernel = (a.astype(jnp.bfloat16) for a in (normal(4, 12, 12, 8), normal(5, 5, 2, 8)))
    window = {"strides": (1, 1), "padding": ((2, 2), (2, 2)), "dilation": (1, 1), "groups": 1}
    window |= {"precision": None, "input_spatial": (12, 12)}
    wide = native.conv_transpose(y.astype(jnp.float32), kernel.astype(jnp.float32), **window)
    found = cpu.conv_transpose(y, kernel, **window)
    assert found.dtype == jnp.bfloat16
    np.testing.assert_allclose(found.astype(jnp.float32), wide, rtol=2**-8, atol=1e-4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, k: kernels.conv(x, k.astype(jnp.bfloat16)), "one dtype"),
        (lambda x, k: kernels.conv(x.astype(int), k.astype(int)), "floating"),
        (lambda x, k: kernels.conv(x[0], k), "batch axis"),
        (lambda x, k: kernels.conv(x, k, groups=2), "channels"),
        (lambda x, k: kernels.conv(x, k, strides=(1,)), "2 strides"),
        (lambda x, k: kernels.conv(x, k, strides=(0, 1)), "at least 1"),
        (lambda x, k: kernels.conv(x, k, padding="some"), "SAME"),
        (lambda x, k: kernels.conv(x, k, padding=((-3, -3), (0, 0))), "removes more"),
        (lambda x, k: kernels.conv_transpose(x, k, input_shape=(2, 9, 9, 3), padding=((0, 0),) * 2), "shape"),
        (lambda x, k: kernels.conv_weight_grad(x, x, kernel_shape=k.shape, padding=((0, 0),) * 2), "shape"),
        (
            lambda x, k: kernels.conv_weight_grad(x, x, kernel_shape=(1, 1, 3, 9), padding=((0, 0),) * 2),
            "kernel_shape",
        ),
    ],
)
def test_bad_arguments_give_one_sentence(call, message):
    with pytest.raises(InvalidInputError, match=message):
        call(normal(2, 5, 4, 3), normal(2, 2, 3, 4))


def test_lowering_has_no_branch_and_is_native_off_cpu():
    """On CPU the transposed convolution does not dilate its input; other platforms get XLA's own form."""
    x, kernel = normal(1, 8, 8, 2), normal(4, 4, 2, 3)
    gradient = jax.jit(
        jax.grad(lambda x, k: jnp.sum(kernels.conv(x, k, strides=(2, 2), padding="SAME") ** 2), argnums=0)
    )
    traced = gradient.trace(x, kernel)
    text = {name: traced.lower(lowering_platforms=(name,)).as_text() for name in ("cpu", "cuda", "tpu")}
    dilated = {name: "lhs_dilate = [2, 2]" in lowered for name, lowered in text.items()}
    assert dilated == {"cpu": False, "cuda": True, "tpu": True}
    assert not any("stablehlo.case" in lowered or "stablehlo.if" in lowered for lowered in text.values())


SHARDED = """
import jax, jax.numpy as jnp, numpy as np
from functools import partial
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from jaxcert import kernels

rng = np.random.default_rng(0)
x = jnp.asarray(rng.standard_normal((64, 6, 6, 2)), jnp.float32)
k = jnp.asarray(rng.standard_normal((4, 4, 2, 3)), jnp.float32)
one = lambda x, k: jnp.sum(jnp.sin(kernels.conv(x[None], k, strides=(2, 2), padding="SAME")))
total = lambda x, k: jnp.sum(jax.vmap(one, in_axes=(0, None))(x, k))
gradient = jax.grad(total, argnums=(0, 1))
expected = jax.jit(gradient)(x, k)
mesh = jax.make_mesh((8,), ("batch",), axis_types=(AxisType.Auto,))
xs = jax.device_put(x, NamedSharding(mesh, P("batch")))
ks = jax.device_put(k, NamedSharding(mesh, P()))
compiled = jax.jit(gradient).lower(xs, ks).compile()
got = compiled(xs, ks)
close = partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-4)
jax.tree.map(close, got, expected)
assert got[0].sharding.spec[0] == "batch", got[0].sharding
assert "all-gather" not in compiled.as_text() and "all-reduce" in compiled.as_text()

shard = partial(jax.shard_map, mesh=mesh, in_specs=(P("batch"), P()), check_vma=False)
local = lambda x, k: (gradient(x, k)[0], jax.lax.psum(gradient(x, k)[1], "batch"))
jax.tree.map(close, jax.jit(shard(local, out_specs=(P("batch"), P())))(x, k), expected)
print("sharded", len(jax.devices()))
"""


def test_eight_devices_split_the_batch(monkeypatch):
    """GSPMD keeps the examples apart (no gathering) and sums weight gradients; so does shard_map."""
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=8")
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    done = subprocess.run([sys.executable, "-c", SHARDED], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "sharded 8", done.stderr
