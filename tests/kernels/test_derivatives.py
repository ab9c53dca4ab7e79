"""Every derivative of the three primitives, in every mix with vmap, jit and loops, equals native XLA's."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxcert import kernels
from jaxcert.kernels.native import dimension_numbers


@dataclass(frozen=True)
class Case:
    """One convolution: its geometry, and sizes small enough for a Hessian."""

    spatial: tuple[int, ...]
    taps: tuple[int, ...]
    strides: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]
    groups: int = 1

    def arguments(self, dtype: type = np.float32):
        rng = np.random.default_rng(0)
        x = rng.standard_normal((2, *self.spatial, 2)).astype(dtype)
        kernel = rng.standard_normal((*self.taps, 2 // self.groups, 4)).astype(dtype)
        return jnp.asarray(x), jnp.asarray(kernel)

    def ours(self, x, kernel):
        return kernels.conv(
            x, kernel, strides=self.strides, padding=self.padding, dilation=self.dilation, groups=self.groups
        )

    def native(self, x, kernel):
        return lax.conv_general_dilated(
            x,
            kernel,
            self.strides,
            self.padding,
            rhs_dilation=self.dilation,
            dimension_numbers=dimension_numbers(len(self.spatial)),
            feature_group_count=self.groups,
        )


CASES = {
    "valid": Case((5, 4), (3, 2), (1, 1), ((0, 0), (0, 0)), (1, 1)),
    "stride 2, kernel 4, padding 1": Case((6, 6), (4, 4), (2, 2), ((1, 1), (1, 1)), (1, 1)),
    "stride 2, remainder left over": Case((6, 5), (3, 2), (2, 2), ((0, 0), (0, 0)), (1, 1)),
    "asymmetric": Case((5, 6), (3, 2), (2, 3), ((0, 2), (3, 1)), (1, 1)),
    "stride above kernel": Case((7, 6), (2, 1), (3, 2), ((0, 0), (1, 0)), (1, 1)),
    "padding above kernel": Case((3, 3), (2, 2), (2, 2), ((4, 3), (2, 5)), (1, 1)),
    "negative padding": Case((7, 7), (2, 3), (2, 1), ((-1, 2), (1, -2)), (1, 1)),
    "dilation": Case((6, 7), (2, 3), (1, 1), ((1, 0), (0, 2)), (2, 3)),
    "dilation and stride": Case((7, 7), (3, 2), (2, 3), ((1, 1), (0, 0)), (2, 2)),
    "groups": Case((4, 5), (3, 2), (2, 1), ((1, 1), (0, 0)), (1, 1), 2),
    "groups, dilation and stride": Case((6, 6), (2, 3), (2, 2), ((0, 1), (1, 1)), (1, 2), 2),
    "pointwise": Case((3, 4), (1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1)),
    "pointwise with stride": Case((5, 4), (1, 1), (2, 2), ((0, 0), (0, 0)), (1, 1)),
    "one axis": Case((7,), (3,), (2,), ((1, 0),), (1,)),
    "one axis, groups and dilation": Case((8,), (2,), (1,), ((0, 0),), (3,), 2),
    "three axes": Case((3, 4, 2), (2, 2, 1), (1, 2, 1), ((0, 1), (0, 0), (0, 0)), (1, 1, 1)),
}
FEW = ("stride 2, kernel 4, padding 1", "groups, dilation and stride", "one axis")


@pytest.fixture(params=CASES, ids=list(CASES))
def case(request) -> Case:
    return CASES[request.param]


@pytest.fixture(params=FEW, ids=list(FEW))
def hard_case(request) -> Case:
    return CASES[request.param]


def loss(conv):
    """A scalar that is not quadratic in anything, so that all orders of derivatives matter."""
    return lambda x, kernel: jnp.sum(jnp.sin(conv(x, kernel)))


def assert_same(ours, native, tolerance: float = 2e-5):
    assert jax.tree.structure(ours) == jax.tree.structure(native)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(native), strict=True):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * max(1.0, float(jnp.abs(b).max())))


def compare(case: Case, make, dtype: type = np.float32, tolerance: float = 2e-5):
    """make(conv)(x, kernel) by both convolutions, compiled."""
    arguments = case.arguments(dtype)
    assert_same(jax.jit(make(case.ours))(*arguments), jax.jit(make(case.native))(*arguments), tolerance)


def first_order(conv):
    def derivatives(x, kernel):
        dx, dkernel = jnp.cos(x), jnp.cos(kernel)
        value, tangent = jax.jvp(conv, (x, kernel), (dx, dkernel))
        cotangents = jax.vjp(conv, x, kernel)[1](jnp.sin(value))
        return value, tangent, cotangents

    return derivatives


def test_value_jvp_and_vjp(case):
    compare(case, first_order)


def test_value_jvp_and_vjp_in_double_precision(hard_case, x64):
    compare(hard_case, first_order, np.float64, 1e-12)


def test_forward_over_reverse_and_reverse_over_reverse(hard_case):
    def make(conv):
        gradient = jax.grad(loss(conv), argnums=(0, 1))

        def products(x, kernel):
            direction = (jnp.cos(x), jnp.cos(kernel))
            forward = jax.jvp(gradient, (x, kernel), direction)[1]
            inner = lambda x, kernel: sum(
                jnp.vdot(g, d) for g, d in zip(gradient(x, kernel), direction, strict=True)
            )
            return forward, jax.grad(inner, argnums=(0, 1))(x, kernel)

        return products

    compare(hard_case, make)


def test_hessian(hard_case):
    compare(hard_case, lambda conv: jax.hessian(loss(conv), argnums=1))


def test_reverse_over_reverse_over_forward(hard_case):
    """Third derivatives reach every transpose rule of every primitive."""

    def make(conv):
        def slope(x, kernel):
            return jax.jvp(loss(conv), (x, kernel), (jnp.cos(x), jnp.cos(kernel)))[1]

        squared = lambda x, kernel: sum(jnp.sum(g**2) for g in jax.grad(slope, argnums=(0, 1))(x, kernel))
        return jax.grad(squared, argnums=(0, 1))

    compare(hard_case, make)


def test_linear_transpose_in_each_argument_and_of_the_transposes(hard_case):
    def make(conv):
        def adjoints(x, kernel):
            y = conv(x, kernel)
            to_x = lambda y, kernel: jax.linear_transpose(lambda x: conv(x, kernel), x)(y)[0]
            to_kernel = lambda x, y: jax.linear_transpose(lambda kernel: conv(x, kernel), kernel)(y)[0]
            return (
                to_x(y, kernel),
                to_kernel(x, y),
                jax.linear_transpose(lambda y: to_x(y, kernel), y)(x),
                jax.vjp(to_x, y, kernel)[1](x),
                jax.vjp(to_kernel, x, y)[1](kernel),
            )

        return adjoints

    compare(hard_case, make)


def stacked(array, size: int = 3):
    return jnp.stack([array * (1.0 + 0.5 * i) + 0.1 * i for i in range(size)])


@pytest.mark.parametrize("axes", [(1, None), (None, 2), (-1, 0)], ids=str)
def test_vmap_of_every_primitive(hard_case, axes):
    def make(conv):
        def mapped(x, kernel):
            place = lambda array, axis: array if axis is None else jnp.moveaxis(stacked(array), 0, axis)
            return jax.vmap(first_order(conv), in_axes=axes)(place(x, axes[0]), place(kernel, axes[1]))

        return mapped

    compare(hard_case, make)


@pytest.mark.parametrize("mapped", ["x", "y"])
def test_weight_gradients_of_one_mapped_argument(hard_case, mapped):
    def make(conv):
        def grads(x, kernel):
            y = jnp.cos(conv(x, kernel))
            to_kernel = lambda x, y: jax.vjp(lambda kernel: conv(x, kernel), kernel)[1](y)[0]
            if mapped == "x":
                return jax.vmap(to_kernel, in_axes=(0, None))(stacked(x), y)
            return jax.vmap(to_kernel, in_axes=(None, 0), out_axes=2)(x, stacked(y))

        return grads

    compare(hard_case, make)


def test_transposed_convolutions_of_one_mapped_argument(hard_case):
    def make(conv):
        def transposed(x, kernel):
            y = jnp.cos(conv(x, kernel))
            to_x = lambda y, kernel: jax.vjp(lambda x: conv(x, kernel), x)[1](y)[0]
            return jax.vmap(to_x, in_axes=(None, 1), out_axes=1)(y, jnp.moveaxis(stacked(kernel), 0, 1))

        return transposed

    compare(hard_case, make)


def test_vmapped_gradients_and_gradients_of_vmap(hard_case):
    def make(conv):
        def both(x, kernel):
            one = lambda x, kernel: loss(conv)(x[None], kernel)
            per_example = jax.vmap(jax.grad(one, argnums=(0, 1)), in_axes=(0, None))(x, kernel)
            mean = lambda x, kernel: jnp.mean(jax.vmap(one, in_axes=(0, None))(x, kernel))
            nested = jax.vmap(jax.vmap(jax.grad(one, argnums=1), in_axes=(0, None)), in_axes=(None, 0))
            return per_example, jax.grad(mean, argnums=(0, 1))(x, kernel), nested(x, stacked(kernel))

        return both

    compare(hard_case, make)


def test_scan_and_remat(hard_case):
    """Gradient descent in a scan, through which a gradient flows again."""

    def make(conv):
        def descend(x, kernel):
            @jax.checkpoint
            def step(kernel, _):
                return kernel - 0.1 * jax.grad(loss(conv), argnums=1)(x, kernel), None

            return lax.scan(step, kernel, length=2)[0]

        return lambda x, kernel: (
            descend(x, kernel),
            jax.grad(lambda x, kernel: jnp.sum(descend(x, kernel) ** 2), (0, 1))(x, kernel),
        )

    compare(hard_case, make, tolerance=1e-4)


def test_eager_calls_equal_compiled_ones():
    case = CASES["asymmetric"]
    x, kernel = case.arguments()
    assert_same(case.ours(x, kernel), case.native(x, kernel))
    gradient = jax.grad(loss(case.ours), argnums=(0, 1))
    assert_same(gradient(x, kernel), jax.jit(gradient)(x, kernel))


def test_half_precision_keeps_its_type():
    case = CASES["valid"]
    x, kernel = (a.astype(jnp.bfloat16) for a in case.arguments())
    gradients = jax.grad(lambda x, k: jnp.sum(case.ours(x, k)), argnums=(0, 1))(x, kernel)
    assert case.ours(x, kernel).dtype == jnp.bfloat16
    assert [g.dtype for g in gradients] == [jnp.bfloat16, jnp.bfloat16]
