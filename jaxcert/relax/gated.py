"""x times a gate that opens from 0 to 1: SiLU (swish), GELU in both forms, Mish.

Each is convex between two inflection points and concave outside, falls to its only minimum
and rises from there. The first three differ from max(x, 0) by `f(-|x|)`, as their gates are one minus their
mirror images. The inflection points and minima were found with bracketing root finders
on the closed forms of the derivatives, which change sign nowhere else.
"""

import math
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp

from jaxcert.relax.bumps import Bump, lines, parallel
from jaxcert.relax.curve import Scalar, half, hinged_quotient
from jaxcert.relax.interval import ordered
from jaxcert.relax.types import Activation

_SIGMOID: Scalar = jax.nn.sigmoid
_CUBIC = 0.044715


def _silu(x: jax.Array) -> jax.Array:
    return x * _SIGMOID(x)


def _silu_slope(x: jax.Array) -> jax.Array:
    return _SIGMOID(x) * (1 + x * _SIGMOID(-x))


def _silu_curvature(x: jax.Array) -> jax.Array:
    return _SIGMOID(x) * _SIGMOID(-x) * (2 - x * jnp.tanh(0.5 * x))


def _normal(x: jax.Array) -> jax.Array:
    # Beyond 40 the density is 0 in float64 and the square might overflow.
    near = jnp.clip(x, -40, 40)
    return jnp.exp(-0.5 * near * near) / math.sqrt(2 * math.pi)


def _gelu(x: jax.Array) -> jax.Array:
    return 0.5 * x * jax.lax.erfc(-math.sqrt(0.5) * x)


def _gelu_slope(x: jax.Array) -> jax.Array:
    return 0.5 * jax.lax.erfc(-math.sqrt(0.5) * x) + x * _normal(x)


def _gelu_curvature(x: jax.Array) -> jax.Array:
    return _normal(x) * (2 - jnp.clip(x, -40, 40) ** 2)


def _exponent(x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The z of x sigmoid(z), which is GELU's tanh form, and its two derivatives; x where z matters."""
    z = 2 * math.sqrt(2 / math.pi)
    return z * (x + _CUBIC * x * x * x), z * (1 + 3 * _CUBIC * x * x), z * 6 * _CUBIC * x


def _gelu_tanh(x: jax.Array) -> jax.Array:
    return x * _SIGMOID(_exponent(jnp.clip(x, -30, 30))[0])


def _gelu_tanh_slope(x: jax.Array) -> jax.Array:
    x = jnp.clip(x, -30, 30)
    z, rate, _ = _exponent(x)
    return _SIGMOID(z) * (1 + x * _SIGMOID(-z) * rate)


def _gelu_tanh_curvature(x: jax.Array) -> jax.Array:
    x = jnp.clip(x, -30, 30)
    z, rate, turn = _exponent(x)
    return _SIGMOID(z) * _SIGMOID(-z) * (2 * rate + x * turn - x * jnp.tanh(0.5 * z) * rate * rate)


def _mish_gate(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """tanh(softplus(x)) and its derivative over sigmoid(x), sech^2; neither cancels or overflows."""
    e = jnp.exp(-jnp.abs(x))
    # (1 + e^x)^2 -+ 1, over e^2x on the right.
    risen = jnp.where(x > 0, 1 + 2 * e, e * (e + 2))
    whole = jnp.where(x > 0, 1 + 2 * e + 2 * e * e, e * (e + 2) + 2)
    rooted = jnp.where(x > 0, e * (1 + e), 1 + e)
    return risen / whole, 4 * (rooted / whole) ** 2


def _mish(x: jax.Array) -> jax.Array:
    return x * _mish_gate(x)[0]


def _mish_excess(x: jax.Array) -> jax.Array:
    # 1 - gate = 2 e^-2x / whole on the right.
    e = jnp.exp(-jnp.abs(x))
    return jnp.where(x > 0, -2 * x * e * e / (1 + 2 * e + 2 * e * e), _mish(x))


def _mish_slope(x: jax.Array) -> jax.Array:
    gate, rest = _mish_gate(x)
    return gate + x * rest * _SIGMOID(x)


def _mish_curvature(x: jax.Array) -> jax.Array:
    gate, rest = _mish_gate(x)
    rise = rest * _SIGMOID(x)
    return rise * (2 + x * (_SIGMOID(-x) - 2 * gate * _SIGMOID(x)))


def _image(
    lower: jax.Array, upper: jax.Array, fn: Callable[[jax.Array], jax.Array], lowest: float
) -> tuple[jax.Array, jax.Array]:
    lower, upper = ordered(lower, upper)
    left, right = fn(lower), fn(upper)
    return fn(jnp.clip(lowest, lower, upper)), jnp.where(right > left, right, left)


def _record(
    name: str,
    fn: Scalar,
    excess: Scalar,
    slope: Scalar,
    curvature: Scalar,
    bends: tuple[float, float],
    lowest: float,
) -> Activation:
    f = Bump(
        fn,
        slope,
        curvature,
        *bends,
        chord=partial(hinged_quotient, excess, slope),
        scale=lambda lower, upper: jnp.ones_like(lower),
        terms=1.0,
    )
    return Activation(
        name=name,
        fn=f.fn,
        derivative=f.slope,
        image=partial(_image, fn=f.fn, lowest=lowest),
        lines=partial(lines, f=f),
        parallel=partial(parallel, f=f),
        adaptive=half,
    )


SILU = _record(
    "silu",
    _silu,
    lambda x: _silu(-jnp.abs(x)),
    _silu_slope,
    _silu_curvature,
    bends=(-2.3993572805154676, 2.3993572805154676),
    lowest=-1.2784645427610738,
)

GELU = _record(
    "gelu",
    _gelu,
    lambda x: _gelu(-jnp.abs(x)),
    _gelu_slope,
    _gelu_curvature,
    bends=(-math.sqrt(2), math.sqrt(2)),
    lowest=-0.7517915246935645,
)

GELU_TANH = _record(
    "gelu_tanh",
    _gelu_tanh,
    lambda x: _gelu_tanh(-jnp.abs(x)),
    _gelu_tanh_slope,
    _gelu_tanh_curvature,
    bends=(-1.4185040087908284, 1.4185040087908284),
    lowest=-0.7524614220710161,
)

MISH = _record(
    "mish",
    _mish,
    _mish_excess,
    _mish_slope,
    _mish_curvature,
    bends=(-2.2563763963607935, 1.4905711794854284),
    lowest=-1.1924312145154946,
)
