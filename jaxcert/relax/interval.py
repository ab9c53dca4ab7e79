"""The interval every relaxation works on: ordered ends, and NaN kept alive."""

import jax
import jax.numpy as jnp

from jaxcert.relax.types import Lines


def ordered(lower: jax.Array, upper: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the ends in order; NaN in either end makes both NaN.

    Lower and upper bounds come from different sums, so with radius 0 they may cross by a
    rounding error; the hull of the two contains the true value either way.
    """
    return jnp.minimum(lower, upper), jnp.maximum(lower, upper)


def poisoned(lines: Lines, lower: jax.Array, upper: jax.Array) -> Lines:
    """Return the lines, all NaN wherever an end is not finite.

    Comparisons with NaN are false, so a relaxation chosen by `where` would silently turn a
    NaN interval into a finite line, and an infinite one has no line worth keeping.
    """
    finite = jnp.isfinite(lower) & jnp.isfinite(upper)
    return Lines(*(materialised(part, finite) for part in lines))


def materialised(value: jax.Array, kept: jax.Array | None = None) -> jax.Array:
    """Return the value, NaN where not `kept`, in a form that XLA does not compute again for every use.

    It is divided by one, which is exact. Cheaper operations are fused into the loops over the rows of
    a backward pass, so that every row would compute the whole relaxation again.
    """
    kept = ~jnp.isnan(value) if kept is None else kept
    return value / jnp.where(kept, 1.0, jnp.nan).astype(value.dtype)


def unless_overflown(lines: Lines) -> Lines:
    """Return the lines with a NaN offset wherever slope or offset overflowed, as those of exp do."""
    below = jnp.isfinite(lines.lower_slope) & jnp.isfinite(lines.lower_offset)
    above = jnp.isfinite(lines.upper_slope) & jnp.isfinite(lines.upper_offset)
    return lines._replace(
        lower_offset=jnp.where(below, lines.lower_offset, jnp.nan),
        upper_offset=jnp.where(above, lines.upper_offset, jnp.nan),
    )
