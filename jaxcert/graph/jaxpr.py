"""From a JAX function to a graph, through its jaxpr. The only file that touches `jax.extend`.

Parameters the function closes over stay what they are, tracers included, so bounds work
under jit, vmap and grad. Operations on constants are evaluated; operations on the bounded
input become nodes; calls (jit, remat, custom derivatives) are read through. A primitive
without a translation becomes a node of its own kind, which engines refuse if the output
depends on it.
"""

from collections.abc import Callable
from typing import Any, Protocol

import jax
from jax import lax
from jax.core import Tracer
from jax.extend import core

from jaxcert.errors import InvalidInputError
from jaxcert.graph.builder import Builder, Ref
from jaxcert.graph.control import CONTROL
from jaxcert.graph.ir import Graph, opaque_kind
from jaxcert.graph.recognise import recognise
from jaxcert.graph.translate import TRANSLATIONS

_CALLS = frozenset(
    {
        "jit",
        "pjit",
        "closed_call",
        "core_call",
        "remat",
        "remat2",
        "checkpoint",
        "custom_jvp_call",
        "custom_vjp_call",
    }
)
_INNER = ("jaxpr", "call_jaxpr", "fun_jaxpr")
_PRECISE = (
    "dot_general",
    "conv_general_dilated",
    "jaxcert_conv",
    "jaxcert_conv_transpose",
    "jaxcert_conv_weight_grad",
)
_LIBRARIES = (
    "/jax/",
    "/jaxlib/",
    "/flax/",
    "/jaxcert/graph/",
    "/jaxcert/bounds/",
    "/jaxcert/kernels/",
    "/jaxcert/regions/",
    "/functools.py",
)


class Shaped(Protocol):
    """Anything with a shape and a dtype: an array, a `ShapeDtypeStruct`, a region."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> Any: ...


def trace(fn: Callable[[jax.Array], jax.Array] | Graph, x: Shaped) -> Graph:
    """Return the graph of a function of one example.

    Args:
      fn: any JAX function of one array with one array as its value, or a `Graph`.
      x: an example input; only its shape and dtype are used.

    Raises:
      InvalidInputError: if fn does not return exactly one floating-point array, or a graph
        is given an input of another shape.

    Example:
      >>> import jax.numpy as jnp
      >>> [node.kind for node in trace(lambda x: jnp.maximum(2.0 * x, 0.0), jnp.ones(3)).nodes]
      ['input', 'scale', 'relu']
    """
    if isinstance(fn, Graph):
        if fn.in_shape != x.shape:
            raise InvalidInputError(f"the graph takes inputs of shape {fn.in_shape}, got {x.shape}.")
        return fn
    closed, out = jax.make_jaxpr(fn, return_shape=True)(jax.ShapeDtypeStruct(x.shape, x.dtype))
    leaves = jax.tree_util.tree_leaves(out)
    if len(leaves) != 1 or not jax.numpy.issubdtype(leaves[0].dtype, jax.numpy.floating):
        raise InvalidInputError(
            "the function must return one array of floating-point numbers, got "
            f"{[f'{leaf.dtype}{list(leaf.shape)}' for leaf in leaves]}: return the logits alone."
        )
    builder = Builder()
    x_ref = builder.input(x.shape, x.dtype)
    (value,) = _run(builder, _precise(closed.jaxpr), closed.consts, [x_ref], "")
    if not isinstance(value, Ref):
        raise InvalidInputError("the function does not depend on its input, so there is nothing to bound.")
    return recognise(builder.graph(value))


def _run(builder: Builder, jaxpr: core.Jaxpr, consts, args, caller: str) -> list[Any]:
    """Interpret a jaxpr; a non-empty `caller` is the line that its nodes are attributed to."""
    env: dict[core.Var, Any] = {}

    def read(atom):
        return atom.val if isinstance(atom, core.Literal) else env[atom]

    env.update(zip(jaxpr.constvars, consts, strict=True))
    env.update(zip(jaxpr.invars, args, strict=True))
    for eqn in jaxpr.eqns:
        values = _equation(builder, eqn, [read(atom) for atom in eqn.invars], caller)
        env.update(zip(eqn.outvars, values, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _equation(builder: Builder, eqn: core.JaxprEqn, args: list[Any], caller: str) -> list[Any]:
    if not any(isinstance(arg, Ref) for arg in args):
        return _constant(eqn, args)
    name = eqn.primitive.name
    if name in _CALLS:
        inner, consts = _inner(eqn)
        inside = caller or (_where(eqn) if _is_library_call(eqn, inner) else "")
        return _run(builder, inner, consts, args, inside)
    builder.where, builder.primitive = caller or _where(eqn), name
    follow = CONTROL.get(name)
    if follow is not None:
        run = lambda closed, args: _run(builder, closed.jaxpr, closed.consts, args, caller)
        values = follow(builder, eqn, args, run)
        builder.where, builder.primitive = caller or _where(eqn), name
        return _opaque(builder, eqn, args) if values is None else values
    translate = TRANSLATIONS.get(name)
    value = translate(builder, eqn, args) if translate else None
    if value is None:
        return _opaque(builder, eqn, args)
    return value if isinstance(value, list) else [value]


def _constant(eqn: core.JaxprEqn, args: list[Any]) -> list[Any]:
    """Evaluate an operation on constants, at once where they are concrete."""
    if any(isinstance(arg, Tracer) for arg in args):
        return _bind(eqn, args)
    with jax.ensure_compile_time_eval():
        return _bind(eqn, args)


def _bind(eqn: core.JaxprEqn, args: list[Any]) -> list[Any]:
    out = eqn.primitive.bind(*args, **eqn.primitive.get_bind_params(eqn.params))
    return list(out) if eqn.primitive.multiple_results else [out]


def _opaque(builder: Builder, eqn: core.JaxprEqn, args: list[Any]) -> list[Any]:
    """Keep an operation without a translation as nodes of its own kind, one per result."""
    refs = tuple(arg for arg in args if isinstance(arg, Ref))

    def evaluate(values):
        bounded = iter(values)
        return _constant(eqn, [next(bounded) if isinstance(arg, Ref) else arg for arg in args])

    consts = tuple(arg for arg in args if not isinstance(arg, Ref))
    kind = opaque_kind(eqn.primitive.name)
    bounded = tuple(isinstance(arg, Ref) for arg in args)
    return [
        builder.append(
            kind,
            refs,
            lambda _, *xs, i=i: evaluate(xs)[i],
            consts,
            var.aval,
            {"params": eqn.params, "bounded": bounded, "result": i},
        )
        for i, var in enumerate(eqn.outvars)
    ]


def _inner(eqn: core.JaxprEqn) -> tuple[core.Jaxpr, tuple]:
    for key in _INNER:
        inner = eqn.params.get(key)
        if isinstance(inner, core.ClosedJaxpr):
            return inner.jaxpr, tuple(inner.consts)
        if isinstance(inner, core.Jaxpr):
            return inner, ()
    raise AssertionError(f"call primitive {eqn.primitive.name} holds no jaxpr")


def _precise(jaxpr: core.Jaxpr) -> core.Jaxpr:
    """The same jaxpr with every dot and convolution, nested ones included, at the highest precision."""
    return jaxpr.replace(eqns=[eqn.replace(params=_precise_params(eqn)) for eqn in jaxpr.eqns])


def _precise_params(eqn: core.JaxprEqn) -> dict[str, Any]:
    params = {key: _precise_value(value) for key, value in eqn.params.items()}
    if eqn.primitive.name in _PRECISE:
        params["precision"] = (lax.Precision.HIGHEST, lax.Precision.HIGHEST)
    return params


def _precise_value(value: Any) -> Any:
    if isinstance(value, core.ClosedJaxpr):
        return core.ClosedJaxpr(_precise(value.jaxpr), value.consts)
    if isinstance(value, core.Jaxpr):
        return _precise(value)
    if isinstance(value, tuple) and any(isinstance(item, core.ClosedJaxpr | core.Jaxpr) for item in value):
        return tuple(_precise_value(item) for item in value)
    return value


def _is_library_call(eqn: core.JaxprEqn, inner: core.Jaxpr) -> bool:
    """Whether the called function is JAX's or Flax's own, e.g. jit[relu].

    JAX traces such a function once and reuses the jaxpr, so the lines inside it point at
    whoever called it first; the line of the call itself is the right one.
    """
    name = eqn.params.get("name")
    for nested in inner.eqns:
        for file, function, _ in _frames(nested):
            if function.rsplit(".", 1)[-1] == name:
                return _is_library(file)
    return True


def _where(eqn: core.JaxprEqn) -> str:
    """The source line of the user's code behind an equation, libraries skipped."""
    frames = _frames(eqn)
    for file, function, line in [frame for frame in frames if not _is_library(frame[0])] or frames[:1]:
        return f"{file.rsplit('/', 1)[-1]}:{line} ({function})"
    return ""


def _frames(eqn: core.JaxprEqn) -> list[tuple[str, str, int]]:
    traceback = eqn.source_info.traceback
    frames = traceback.frames if traceback else ()
    return [(frame.file_name.replace("\\", "/"), frame.function_name, frame.line_num) for frame in frames]


def _is_library(file: str) -> bool:
    return file.startswith("<") or any(part in file for part in _LIBRARIES)
