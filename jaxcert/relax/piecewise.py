"""ReLU, leaky ReLU and their kind: `f(x) = pos * x` for x >= 0, `neg * x` below.

On an interval that contains 0, f is convex when pos >= neg and concave otherwise. One
line is the chord, the other passes through the origin with a slope between neg and pos:
`s = neg + alpha (pos - neg)`. The chord has slope `k = (pos u - neg l) / (u - l)` and
offset `(neg - k) l = (pos - k) u`. Source: theses/4a (3.4), theses/1 (2.15).
"""

from functools import partial

import jax
import jax.numpy as jnp

from jaxcert.relax.interval import ordered, poisoned
from jaxcert.relax.types import Activation, Lines

Parameter = jax.Array | float


def _fn(x: jax.Array, neg: Parameter, pos: Parameter) -> jax.Array:
    return jnp.where(x > 0, pos * x, neg * x)


def _derivative(x: jax.Array, neg: Parameter, pos: Parameter) -> jax.Array:
    return jnp.where(x > 0, pos, neg) + jnp.zeros_like(x)


def _image(lower: jax.Array, upper: jax.Array, neg: Parameter, pos: Parameter) -> tuple[jax.Array, jax.Array]:
    # The extremes lie at the ends or, on an interval that contains it, at the kink.
    lower, upper = ordered(lower, upper)
    ends = _fn(lower, neg, pos), _fn(upper, neg, pos)
    kink = jnp.clip(jnp.zeros_like(lower), lower, upper)
    middle = _fn(kink, neg, pos)
    return jnp.minimum(jnp.minimum(*ends), middle), jnp.maximum(jnp.maximum(*ends), middle)


def _lines(lower: jax.Array, upper: jax.Array, alpha: Parameter, neg: Parameter, pos: Parameter) -> Lines:
    lower, upper = ordered(lower, upper)
    return _enclose(lower, upper, neg + alpha * (pos - neg) + jnp.zeros_like(lower), neg, pos)


def _parallel(lower: jax.Array, upper: jax.Array, neg: Parameter, pos: Parameter) -> Lines:
    lower, upper = ordered(lower, upper)
    return _enclose(lower, upper, _chord(lower, upper, neg, pos)[0], neg, pos)


def _adaptive(lower: jax.Array, upper: jax.Array, neg: Parameter, pos: Parameter) -> jax.Array:
    # Least area between the lines: CROWN's choice, alpha = 1 exactly where u > -l.
    return jnp.where(upper > -lower, 1.0, 0.0).astype(lower.dtype)


def _chord(lower: jax.Array, upper: jax.Array, neg: Parameter, pos: Parameter) -> tuple[jax.Array, jax.Array]:
    """The slope of the chord, and whether the interval has the kink inside.

    Below the square root of the smallest number the derivative of the quotient overflows;
    any slope between neg and pos serves there, as the offset is found from the ends.
    """
    unstable = (lower < 0) & (upper > 0)
    wide = unstable & (upper - lower > 4 * float(jnp.finfo(lower.dtype).tiny) ** 0.5)
    quotient = (pos * upper - neg * lower) / jnp.where(wide, upper - lower, 1)
    return jnp.where(wide, quotient, 0.5 * (neg + pos)), unstable


def _enclose(lower: jax.Array, upper: jax.Array, free: jax.Array, neg: Parameter, pos: Parameter) -> Lines:
    slope, unstable = _chord(lower, upper, neg, pos)
    # Written with (upper <= 0) so that l = u = 0, where both pieces agree, takes slope neg.
    stable = jnp.where(upper <= 0, neg, pos) + jnp.zeros_like(lower)
    convex = jnp.asarray(pos >= neg)
    # The ends tie up to rounding; a select decides once, in the value and in its derivative alike.
    left, right = (neg - slope) * lower, (pos - slope) * upper
    offset = jnp.where((right > left) == convex, right, left)
    chord = jnp.where(unstable, slope, stable), jnp.where(unstable, offset, 0)
    line = jnp.where(unstable, free, stable), jnp.zeros_like(lower)
    below = [jnp.where(convex, a, b) for a, b in zip(line, chord, strict=True)]
    above = [jnp.where(convex, b, a) for a, b in zip(line, chord, strict=True)]
    return poisoned(Lines(below[0], below[1], above[0], above[1]), lower, upper)


def _relu_image(lower: jax.Array, upper: jax.Array) -> tuple[jax.Array, jax.Array]:
    return jax.nn.relu(lower), jax.nn.relu(upper)


LEAKY_RELU = Activation(
    name="leaky_relu",
    fn=_fn,
    derivative=_derivative,
    image=_image,
    lines=_lines,
    parallel=_parallel,
    adaptive=_adaptive,
    cases=(
        (0.01, 1.0),
        (0.2, 1.0),
        (1.0, 1.0),
        (2.0, 1.0),
        (-1.0, 1.0),
        (-0.5, -2.0),
        (0.0, 3.0),
        (1.0, 0.0),
    ),
)

RELU = Activation(
    name="relu",
    fn=jax.nn.relu,
    derivative=partial(_derivative, neg=0.0, pos=1.0),
    image=_relu_image,
    lines=partial(_lines, neg=0.0, pos=1.0),
    parallel=partial(_parallel, neg=0.0, pos=1.0),
    adaptive=partial(_adaptive, neg=0.0, pos=1.0),
)
