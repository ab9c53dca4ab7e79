"""The three primitives, each bilinear and each the transpose of the other two.

With x [N, *S, C], y [N, *T, O] and K [*k, C / groups, O] they are the three ways to leave one argument
out of the trilinear form  <y, conv(x, K)> = <conv_transpose(y, K), x> = <conv_weight_grad(x, y), K>.
JAX derives every derivative, in any order and mix, from this alone.

Parameters of `jaxcert_conv` (all static; `jaxcert.graph` reads them from the jaxpr):
  strides    one int >= 1 per spatial axis
  padding    one (low, high) pair per spatial axis; negative entries crop
  dilation   one int >= 1 per spatial axis, of the kernel
  groups     feature groups
  precision  None, a jax.lax.Precision, a name, or a pair of them, as in jax.lax.conv_general_dilated
`jaxcert_conv_transpose` has also `input_spatial`, the spatial sizes of x, and `jaxcert_conv_weight_grad`
has also `kernel_spatial`, those of K.
"""

from functools import partial

import jax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from jaxcert.kernels import batch, cpu, cpu_weight_grad, geometry, native, placement

conv_p = Primitive("jaxcert_conv")
conv_transpose_p = Primitive("jaxcert_conv_transpose")
conv_weight_grad_p = Primitive("jaxcert_conv_weight_grad")

_WINDOW = ("strides", "padding", "dilation", "groups", "precision")


@conv_p.def_abstract_eval
def _conv_shape(x, kernel, *, precision, **window):
    del precision
    geometry.check_conv(x, kernel, **window)
    spatial = geometry.output_spatial(
        x.shape[1:-1], kernel.shape[:-2], window["strides"], window["padding"], window["dilation"]
    )
    shape = (x.shape[0], *spatial, kernel.shape[-1])
    return placement.result("conv", shape, x, kernel, {0: (x, 0), len(shape) - 1: (kernel, kernel.ndim - 1)})


@conv_transpose_p.def_abstract_eval
def _conv_transpose_shape(y, kernel, *, input_spatial, precision, **window):
    del precision
    geometry.check_transpose(y, kernel, input_spatial=input_spatial, **window)
    channels = kernel.shape[-2] * window["groups"]
    shape, last = (y.shape[0], *input_spatial, channels), len(input_spatial) + 1
    return placement.result("conv_transpose", shape, y, kernel, {0: (y, 0), last: (kernel, kernel.ndim - 2)})


@conv_weight_grad_p.def_abstract_eval
def _conv_weight_grad_shape(x, y, *, kernel_spatial, precision, **window):
    del precision
    geometry.check_weight_grad(x, y, kernel_spatial=kernel_spatial, **window)
    shape, last = (*kernel_spatial, x.shape[-1] // window["groups"], y.shape[-1]), x.ndim - 1
    taken = {last - 1: (x, last), last: (y, last)}
    return placement.result("conv_weight_grad", shape, x, y, taken)


def _conv_to_x(y, x, kernel, **window):
    return conv_transpose_p.bind(y, kernel, input_spatial=tuple(x.aval.shape[1:-1]), **window)


def _conv_to_kernel(y, x, kernel, **window):
    return conv_weight_grad_p.bind(x, y, kernel_spatial=tuple(kernel.aval.shape[:-2]), **window)


def _transpose_to_y(x, y, kernel, *, input_spatial, **window):
    del y, input_spatial
    return conv_p.bind(x, kernel, **window)


def _transpose_to_kernel(x, y, kernel, *, input_spatial, **window):
    del input_spatial
    return conv_weight_grad_p.bind(x, y, kernel_spatial=tuple(kernel.aval.shape[:-2]), **window)


def _weight_grad_to_x(kernel, x, y, *, kernel_spatial, **window):
    del kernel_spatial
    return conv_transpose_p.bind(y, kernel, input_spatial=tuple(x.aval.shape[1:-1]), **window)


def _weight_grad_to_y(kernel, x, y, *, kernel_spatial, **window):
    del y, kernel_spatial
    return conv_p.bind(x, kernel, **window)


def _register(primitive: Primitive, statics, transposes, batch_rule, default, on_cpu) -> None:
    primitive.def_impl(jax.jit(primitive.bind, static_argnames=statics))
    ad.defbilinear(primitive, *transposes)
    batching.primitive_batchers[primitive] = partial(batch_rule, primitive.bind)
    mlir.register_lowering(primitive, _lowering(default))
    mlir.register_lowering(primitive, _lowering(on_cpu), platform="cpu")


def _lowering(form):
    """The form as operations of XLA, which does the sharing out: types have said what they had to say."""
    rule = mlir.lower_fun(form, multiple_results=False)

    def lower(context, *operands, **params):
        typed = [aval for aval in context.avals_in if placement.says_more(aval)]
        if not typed:
            return rule(context, *operands, **params)
        avals_in, avals_out = (tuple(map(placement.plain, a)) for a in (context.avals_in, context.avals_out))
        with jax.sharding.use_abstract_mesh(placement.partitioned(typed[0].sharding.mesh)):
            return rule(context.replace(avals_in=avals_in, avals_out=avals_out), *operands, **params)

    return lower


_register(
    conv_p,
    _WINDOW,
    (_conv_to_x, _conv_to_kernel),
    batch.batch_conv,
    native.conv,
    cpu.conv,
)
_register(
    conv_transpose_p,
    (*_WINDOW, "input_spatial"),
    (_transpose_to_y, _transpose_to_kernel),
    batch.batch_conv_transpose,
    native.conv_transpose,
    cpu.conv_transpose,
)
_register(
    conv_weight_grad_p,
    (*_WINDOW, "kernel_spatial"),
    (_weight_grad_to_x, _weight_grad_to_y),
    batch.batch_conv_weight_grad,
    native.conv_weight_grad,
    cpu_weight_grad.conv_weight_grad,
)
