"""Linear functions over an l_p ball cut by a box, for the norms between 1 and infinity.

In units of the radius: maximise `sum g_j v_j` over `0 <= v_j <= k_j`, `sum v_j^p <= 1`, with the
gains `g >= 0` and the room `k` in [0, 1]. For any nu >= 0

    U(nu) = max_v sum g_j v_j - (nu / p) (sum v_j^p - 1),   v_j = min((g_j / nu)^(1 / (p - 1)), k_j)

is an upper bound (weak duality): an inexact nu costs tightness, never soundness. The best nu
spends the budget: with `a = g^q`, `c = k^p` (1/p + 1/q = 1) and `nu = M^(-1/q)` it solves
`h(M) = sum_j min(a_j M, c_j) = 1`. h is concave, increasing and piecewise linear.

* p = 2: Newton from the left climbs monotonically and ends after finitely many steps.
* other p: powers of g and k leave the range of floats for p near 1 and for large p, so that h is
  bisected in log M, from the solution without room to where all are cut. A Newton step ends it: it
  is exact once the cut set is found.

With the cut set C fixed, the value is `sum_C g k + (1 - sum_C k^p)^(1/p) ||g outside C||_q`. That
form carries the derivatives: they are right to second order wherever they exist.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxcert.regions.norms import dual_norm, positive

_NEWTON_STEPS = 16


def clipped_reach(gains: jax.Array, room: jax.Array, norm: float) -> jax.Array:
    """Return `max sum(gains * v)` over `0 <= v <= room`, `||v||_p <= 1`: `[*S, n], [*S, n] -> [*S]`.

    `gains >= 0`, `room` in [0, 1], 1 < p < inf. Never below the maximum, up to rounding, and equal
    to it up to rounding. NaN gives NaN. Cost: about 35 passes, with p != 2 in float64 about 65.
    """
    tiny = jnp.finfo(gains.dtype).tiny
    # A gain without room moves nothing, and may be out of range in units of the others.
    gains = jnp.where(room > 0, gains, 0 * gains)
    largest = lax.stop_gradient(jnp.max(jnp.where(room < tiny, 0, gains), axis=-1))
    unit = positive(largest)
    gains = gains / unit[..., None]
    search = _by_newton if norm == 2 else partial(_by_bisection, norm=norm)
    found = search(lax.stop_gradient(gains), lax.stop_gradient(room))
    smooth = _with_cut_set(gains, room, found.cut, norm)
    bound = _dual_value(lax.stop_gradient(gains), lax.stop_gradient(room), found.nu, norm)
    return unit * (smooth + lax.stop_gradient(bound - smooth))


class _Multiplier(NamedTuple):
    nu: jax.Array  # [*S]; 0 where the budget suffices for all the room
    cut: jax.Array  # [*S, n], whether a coordinate uses all its room


def _by_newton(gains: jax.Array, room: jax.Array) -> _Multiplier:
    cost = room * room

    def cut_at(nu):
        return gains > nu[..., None] * room

    def newton(_, nu):
        cut = cut_at(nu)
        left = 1 - jnp.sum(jnp.where(cut, cost, 0), axis=-1)
        # The norm is taken in units of the largest: what is small by comparison decides when the rest is cut.
        step = dual_norm(jnp.where(cut, 0, gains), 2.0) / jnp.sqrt(positive(left))
        # Where rounding says that the budget is spent already, this nu is the root.
        return jnp.where(left > 0, jnp.minimum(step, nu), nu)

    nu = lax.fori_loop(0, _NEWTON_STEPS, newton, dual_norm(gains, 2.0))
    return _Multiplier(nu, cut_at(nu))


def _by_bisection(gains: jax.Array, room: jax.Array, norm: float) -> _Multiplier:
    tiny = jnp.finfo(gains.dtype).tiny
    power = norm / (norm - 1)
    useful = (gains >= tiny) & (room >= tiny)
    log_gain = power * jnp.log(jnp.where(useful, gains, 1))
    log_cost = norm * jnp.log(jnp.where(useful, room, 1))
    cost = jnp.where(useful, jnp.exp(log_cost), 0)
    scarce = jnp.sum(cost, axis=-1) > 1
    level = _spend(log_gain, log_cost, useful)
    cut = (room < tiny) | (useful & (log_cost - log_gain <= level[..., None]))
    nu = jnp.where(scarce, jnp.exp(jnp.where(scarce, -level / power, 0)), 0)
    return _Multiplier(nu, cut | (useful & ~scarce[..., None]))


def _spend(log_gain: jax.Array, log_cost: jax.Array, useful: jax.Array) -> jax.Array:
    """The log M at which the budget is spent, from below; meaningless where it never is."""
    edge = jnp.where(useful, log_cost - log_gain, -jnp.inf)

    def used(level):
        return jnp.sum(jnp.where(useful, jnp.exp(jnp.minimum(log_gain + level[..., None], log_cost)), 0), -1)

    def halve(_, bracket):
        low, high = bracket
        middle = 0.5 * low + 0.5 * high
        fits = used(middle) <= 1
        return jnp.where(fits, middle, low), jnp.where(fits, high, middle)

    low = -jax.nn.logsumexp(log_gain, axis=-1, where=useful)
    bracket = low, jnp.maximum(low, jnp.max(edge, axis=-1))
    low, _ = lax.fori_loop(0, jnp.finfo(log_gain.dtype).nmant + 8, halve, bracket)
    free = useful & (edge > low[..., None])
    left = 1 - jnp.sum(jnp.where(useful & ~free, jnp.exp(log_cost), 0), axis=-1)
    step = jnp.log(positive(left)) - jax.nn.logsumexp(log_gain, axis=-1, where=free)
    return jnp.where((left > 0) & jnp.any(free, axis=-1), jnp.maximum(low, step), low)


def _dual_value(gains: jax.Array, room: jax.Array, nu: jax.Array, norm: float) -> jax.Array:
    """U(nu), an upper bound for every nu >= 0."""
    active = nu > 0
    ratio = gains / positive(nu)[..., None]
    powers = ratio if norm == 2 else ratio ** (1 / (norm - 1))
    v = jnp.where(active[..., None], jnp.minimum(powers, room), room)
    spare = 1 - jnp.sum(v * v if norm == 2 else v**norm, axis=-1)
    value = jnp.sum(gains * v, axis=-1) + jnp.where(active, nu / norm * spare, 0)
    clean = jnp.sum(gains, axis=-1) + jnp.sum(room, axis=-1)
    return jnp.where(jnp.isnan(clean), jnp.nan, value)


def _with_cut_set(gains: jax.Array, room: jax.Array, cut: jax.Array, norm: float) -> jax.Array:
    moving = cut & (room > 0)
    cost = jnp.where(moving, jnp.where(moving, room, 1) ** norm, 0)
    left = 1 - jnp.sum(cost, axis=-1)
    rest = dual_norm(jnp.where(cut, 0, gains), norm)
    root = jnp.where(left > 0, positive(left) ** (1 / norm), 0)
    return jnp.sum(jnp.where(cut, gains * room, 0), axis=-1) + root * rest
