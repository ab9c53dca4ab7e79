"""Functions of other people, with the convolutions inside them computed by the kernels of this package.

XLA's CPU backend is fast at convolutions in few forms only, and inside loops at fewer still; the derivatives
that JAX makes of `lax.conv_general_dilated` are not among them (see `cpu`). A function that was written with
it is traced, and each such equation of its jaxpr gives way to ours, which has the same value and derivatives.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import core

from jaxcert.kernels import placement
from jaxcert.kernels.interface import conv_general_dilated

# Calls and control flow that mean the same with another jaxpr of equal types inside. Rules of custom
# derivatives belong to the function as it was written, so those calls stay.
_READ_THROUGH = {
    "jit": ("jaxpr",),
    "pjit": ("jaxpr",),
    "closed_call": ("call_jaxpr",),
    "checkpoint": ("jaxpr",),
    "remat": ("jaxpr",),
    "remat2": ("jaxpr",),
    "scan": ("jaxpr",),
    "while": ("cond_jaxpr", "body_jaxpr"),
    "cond": ("branches",),
}
# Gradients in a loop, 3x3 by 64 channels, jaxlib 0.10.2, XLA's ms -> ours: faster in groups of 8 to 32
# channels (30 -> 23 and 124 -> 22), slower below (4 channels: 15 to 23 -> 30; one: 2 to 8 -> 15).
_LEAST_IN_GROUP = 8
_PASSED_ON = (
    "window_strides",
    "padding",
    "lhs_dilation",
    "rhs_dilation",
    "dimension_numbers",
    "feature_group_count",
    "batch_group_count",
    "precision",
    "preferred_element_type",
)


def with_kernels(fn: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, with every convolution that this package's kernels serve computed by them.

    Served are those in float32 and float64, of any layout, stride, padding and dilation of the kernel, where
    both operands and the result have one dtype, with one group or groups of at least eight channels. All
    others stay, as does whatever is inside functions with custom derivatives and `jax.checkpoint` with a
    policy. Calls, loops and branches are read through. A function without such a convolution is called as
    it is.

    Results are equal up to rounding, and so are derivatives in every mode and order, also to what `fn`
    closes over; vmap and jit work as before. `fn` is traced at every call.

    Args:
      fn: a function of arrays (or pytrees of arrays, PRNG keys among them) that can be traced.

    >>> import jax, jax.numpy as jnp
    >>> from jaxcert.kernels.substitute import with_kernels
    >>> layout = ("NHWC", "HWIO", "NHWC")
    >>> x, k = jnp.ones((1, 4, 4, 2)), jnp.ones((3, 3, 2, 5))
    >>> fn = lambda x: jax.lax.conv_general_dilated(x, k, (1, 1), "SAME", dimension_numbers=layout)
    >>> [eqn.primitive.name for eqn in jax.make_jaxpr(with_kernels(fn))(x).eqns]
    ['jaxcert_conv']
    """

    def computed(*args: Any) -> Any:
        closed, shape = jax.make_jaxpr(fn, return_shape=True)(*args)
        replaced = _in_closed(closed)
        if replaced is closed:
            return fn(*args)
        values = core.jaxpr_as_fun(replaced)(*jax.tree.leaves(args))
        return jax.tree.unflatten(jax.tree.structure(shape), values)

    return computed


def _replaced(value: Any) -> Any:
    """A jaxpr, or a tuple of them, with our convolutions; the same object where none is replaced."""
    if isinstance(value, core.ClosedJaxpr):
        return _in_closed(value)
    if isinstance(value, core.Jaxpr):
        return _in_jaxpr(value)
    if isinstance(value, tuple):
        items = tuple(map(_replaced, value))
        return value if _same(items, value) else items
    return value


def _in_closed(closed: core.ClosedJaxpr) -> core.ClosedJaxpr:
    jaxpr = _in_jaxpr(closed.jaxpr)
    return closed if jaxpr is closed.jaxpr else core.ClosedJaxpr(jaxpr, closed.consts)


def _in_jaxpr(jaxpr: core.Jaxpr) -> core.Jaxpr:
    eqns = [new for eqn in jaxpr.eqns for new in _equations(eqn)]
    return jaxpr if _same(eqns, jaxpr.eqns) else jaxpr.replace(eqns=eqns)


def _same(new, old) -> bool:
    return len(new) == len(old) and all(a is b for a, b in zip(new, old, strict=True))


def _equations(eqn: core.JaxprEqn) -> list[core.JaxprEqn]:
    """What stands in for an equation: itself where nothing is to be replaced."""
    if eqn.primitive.name == "conv_general_dilated":
        return _convolution(eqn) if _served(eqn) else [eqn]
    # A policy of jax.checkpoint goes by the primitives, and ours would not be known to it.
    if eqn.params.get("policy") is not None:
        return [eqn]
    held = {key: eqn.params[key] for key in _READ_THROUGH.get(eqn.primitive.name, ()) if key in eqn.params}
    new = {key: _replaced(value) for key, value in held.items()}
    if all(new[key] is held[key] for key in held):
        return [eqn]
    return [eqn.replace(params={**eqn.params, **new})]


def _served(eqn: core.JaxprEqn) -> bool:
    params = eqn.params
    avals: list[Any] = [atom.aval for atom in (*eqn.invars, *eqn.outvars)]
    known = all(
        name in _PASSED_ON or (name, value) == ("out_sharding", None) for name, value in params.items()
    )
    return (
        known
        and all(name in params for name in _PASSED_ON)
        and params["batch_group_count"] == 1
        and all(step == 1 for step in params["lhs_dilation"])
        and avals[0].ndim >= 3
        and _worthwhile(avals[1].shape, params)
        and avals[0].dtype in (jnp.float32, jnp.float64)
        and all(aval.dtype == avals[0].dtype and aval.size for aval in avals)
        and params["preferred_element_type"] in (None, avals[0].dtype)
        and not any(map(_split_by_type, avals))
    )


def _worthwhile(kernel: tuple[int, ...], params: dict[str, Any]) -> bool:
    channels = kernel[params["dimension_numbers"].rhs_spec[1]]
    return params["feature_group_count"] == 1 or channels >= _LEAST_IN_GROUP


def _split_by_type(aval: Any) -> bool:
    return placement.says_more(aval) and not aval.sharding.mesh.are_all_axes_manual


def _convolution(eqn: core.JaxprEqn) -> list[core.JaxprEqn]:
    """The equations of our convolution, between the variables of the one that they replace."""
    ours = partial(conv_general_dilated, **{name: eqn.params[name] for name in _PASSED_ON})
    inner = jax.make_jaxpr(ours)(*(atom.aval for atom in eqn.invars)).jaxpr
    outer = dict(zip((*inner.invars, *inner.outvars), (*eqn.invars, *eqn.outvars), strict=True))
    rename = lambda atom: atom if isinstance(atom, core.Literal) else outer.get(atom, atom)
    return [
        step.replace(
            invars=[rename(atom) for atom in step.invars],
            outvars=[rename(var) for var in step.outvars],
            source_info=eqn.source_info,
            ctx=eqn.ctx,
        )
        for step in inner.eqns
    ]
