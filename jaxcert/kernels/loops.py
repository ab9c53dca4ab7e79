"""Convolutions in the one layout that XLA computes fast on a CPU inside loops.

XLA brings convolutions into the form of the CPU's fast routine at the top of a program only. Inside a
`while_loop` one that is not (batch, space, channels) with a kernel (space, in, out) is computed by a plain
nest of loops, 10 to 30 times as slowly (measured with jaxlib 0.10), and the transpose that differentiation
makes is never in that layout. Transposing the operands first costs next to nothing.
"""

from collections.abc import Callable
from typing import Any

import jax
from jax import lax
from jax.extend import core

Function = Callable[..., jax.Array]
_CALLS = ("jit", "pjit", "closed_call", "checkpoint", "custom_jvp_call", "custom_vjp_call")
_INNER = ("jaxpr", "call_jaxpr", "fun_jaxpr")


def fast_in_loops(fn: Function) -> Function:
    """The same function of an array, and of others that count as constants, for the body of a loop.

    Values and reverse-mode derivatives to the first argument are those of `fn`, computed with every
    convolution in the layout above. Loops and branches inside `fn` stay as they are. Forward-mode derivatives
    are not available, nor any to the other arguments.

    >>> import jax, jax.numpy as jnp
    >>> from jaxcert.kernels.loops import fast_in_loops
    >>> scaled_square = fast_in_loops(lambda x, y: y * x**2)
    >>> float(jax.grad(scaled_square)(jnp.array(3.0), jnp.array(2.0)))
    12.0
    """

    @jax.custom_vjp
    def known(x, others):
        return _run(fn, x, *others)

    def forward(x, others):
        return _run(lambda z: jax.vjp(lambda y: fn(y, *others), z), x)

    def backward(pull, cotangent):
        (slope,) = _run(pull, cotangent)
        return slope, None

    known.defvjp(forward, backward)
    return lambda x, *others: known(x, others)


def _run(fn: Callable[..., Any], *args: Any) -> Any:
    closed, shape = jax.make_jaxpr(fn, return_shape=True)(*args)
    values = _evaluate(closed, jax.tree.leaves(args))
    return jax.tree.unflatten(jax.tree.structure(shape), values)


def _evaluate(closed: core.ClosedJaxpr, args: list[Any]) -> list[Any]:
    jaxpr = closed.jaxpr
    values = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*closed.consts, *args), strict=True))
    read = lambda atom: atom.val if isinstance(atom, core.Literal) else values[atom]
    for eqn in jaxpr.eqns:
        inputs = [read(atom) for atom in eqn.invars]
        values.update(zip(eqn.outvars, _apply(eqn, inputs), strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _apply(eqn: Any, inputs: list[Any]) -> list[Any]:
    if eqn.primitive.name == "conv_general_dilated":
        return [_convolve(*inputs, **eqn.params)]
    if eqn.primitive.name in _CALLS:
        # Derivatives were taken before, so a rule for them may be dropped.
        inner = next(eqn.params[key] for key in _INNER if key in eqn.params)
        return _evaluate(
            inner if isinstance(inner, core.ClosedJaxpr) else core.ClosedJaxpr(inner, ()), inputs
        )
    found = eqn.primitive.bind(*inputs, **eqn.params)
    return list(found) if eqn.primitive.multiple_results else [found]


def _convolve(lhs: jax.Array, rhs: jax.Array, *, dimension_numbers: Any, **params: Any) -> jax.Array:
    batch, channels, *space = dimension_numbers.lhs_spec
    out, into, *taps = dimension_numbers.rhs_spec
    rank = lhs.ndim
    last, inner = rank - 1, tuple(range(1, rank - 1))
    image = (0, last, *inner)
    layout = lax.ConvDimensionNumbers(image, (last, last - 1, *range(rank - 2)), image)
    found = lax.conv_general_dilated(
        lax.transpose(lhs, (batch, *space, channels)),
        lax.transpose(rhs, (*taps, into, out)),
        dimension_numbers=layout,
        **params,
    )
    order = dict(zip(dimension_numbers.out_spec, image, strict=True))
    return lax.transpose(found, [order[axis] for axis in range(rank)])
