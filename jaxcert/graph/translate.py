"""The table of translations, from JAX primitives to nodes. Operands are `Ref` (bounded) or constants.

Each function returns the value (or values) of its equation, or `None` where it does not apply (then
the equation stays as an opaque node, which engines refuse). What is linear becomes linear nodes, what
has a record in `relax` an activation or a join; what only several equations together are is found
afterwards (`recognise`).
"""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from jaxcert.graph import activations, arithmetic, contraction, pooling, structural
from jaxcert.graph.builder import Builder, Ref
from jaxcert.relax import ACTIVATIONS


def _identity(b: Builder, eqn: Any, args: list[Any]) -> Ref:
    return args[0]


def _identity_all(b: Builder, eqn: Any, args: list[Any]) -> list[Any]:
    return list(args)


_MOVES = (
    "broadcast_in_dim",
    "concatenate",
    "cumsum",
    "dynamic_slice",
    "expand_dims",
    "gather",
    "reduce_window_sum",
    "rev",
    "slice",
    "squeeze",
    "stack",
    "tile",
    "transpose",
)
_RECORDS = {
    "logistic": "sigmoid",
    "tanh": "tanh",
    "atan": "arctan",
    "exp": "exp",
    "expm1": "expm1",
    "log": "log",
    "log1p": "log1p",
    "sqrt": "sqrt",
    "rsqrt": "rsqrt",
    "sin": "sin",
    "cos": "cos",
    "erf": "erf",
}
_NAMES = {record.name for record in ACTIVATIONS}

TRANSLATIONS: Mapping[str, Callable[[Builder, Any, list[Any]], Ref | list[Any] | None]] = MappingProxyType(
    dict.fromkeys(_MOVES, structural.structural)
    | {
        name: partial(activations.elementwise, record)
        for name, record in _RECORDS.items()
        if record in _NAMES
    }
    | dict.fromkeys(("gt", "ge", "lt", "le", "eq", "ne"), activations.compare)
    | dict.fromkeys(("copy", "copy_p", "stop_gradient", "name"), _identity)
    | {
        "device_put": _identity_all,
        "add": arithmetic.add,
        "add_any": arithmetic.add,
        "sub": arithmetic.sub,
        "mul": arithmetic.mul,
        "div": arithmetic.div,
        "neg": arithmetic.neg,
        "integer_pow": arithmetic.integer_pow,
        "pow": arithmetic.power,
        "square": arithmetic.square,
        "exp2": arithmetic.exp2,
        "erfc": arithmetic.erfc,
        "dot_general": contraction.dot_general,
        "conv_general_dilated": contraction.conv_general_dilated,
        "jaxcert_conv": contraction.jaxcert_conv,
        "reduce_sum": structural.reduce_sum,
        "pad": structural.pad,
        "reshape": structural.reshape,
        "split": structural.split,
        "convert_element_type": structural.convert,
        "scatter": structural.scatter,
        "scatter-add": structural.scatter_add,
        "scatter-mul": structural.scatter_mul,
        "dynamic_update_slice": structural.dynamic_update_slice,
        "abs": activations.absolute,
        "max": activations.maximum,
        "min": activations.minimum,
        "clamp": activations.clamp,
        "is_finite": activations.is_finite,
        "select_n": activations.select,
        "reduce_max": pooling.reduce_max,
        "reduce_min": pooling.reduce_min,
        "reduce_window_max": pooling.reduce_window_max,
        "reduce_window_min": pooling.reduce_window_min,
    }
)
