"""What is known about constant operands while a function is translated."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxcert.graph.builder import Builder, Ref


def known(evaluate: Callable[[], Any], operands: list[Any]) -> Any:
    """Evaluate at once, even under jit, where no operand is traced."""
    if any(isinstance(operand, Tracer) for operand in operands):
        return evaluate()
    with jax.ensure_compile_time_eval():
        return evaluate()


def is_float(dtype: Any) -> bool:
    """Whether a dtype is one of floating-point numbers."""
    return jnp.issubdtype(dtype, jnp.floating)


def is_zero(value: Any) -> bool:
    """Whether a constant is known to be 0 everywhere."""
    return not isinstance(value, Tracer) and not np.any(np.asarray(value))


def zeros(b: Builder, ref: Ref) -> np.ndarray:
    """Zeros of the shape and dtype of a bounded value."""
    return np.zeros(b.node(ref).shape, b.node(ref).dtype)


def dtype_of(b: Builder, value: Any) -> Any:
    """The dtype of an operand."""
    return b.node(value).dtype if isinstance(value, Ref) else jnp.asarray(value).dtype


def shape_of(b: Builder, value: Any) -> tuple[int, ...]:
    """The shape of an operand."""
    return b.node(value).shape if isinstance(value, Ref) else jnp.shape(value)


def all_float(b: Builder, args: list[Any]) -> bool:
    """Whether every bounded operand holds floating-point numbers."""
    return all(is_float(b.node(arg).dtype) for arg in args if isinstance(arg, Ref))


def single_or_wider(b: Builder, eqn: Any, args: list[Any]) -> bool:
    """Whether operands and result have at least 32 bits; half precision rounds beyond what bounds show."""
    dtypes = [*(dtype_of(b, arg) for arg in args), eqn.outvars[0].aval.dtype]
    return all(jnp.finfo(d).bits >= 32 for d in dtypes if is_float(d))
