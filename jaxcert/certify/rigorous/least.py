"""Proven lower bounds of linear functions over a region.

With `delta = x - center`, `g = c * radius` and v = delta / radius, a ball is `||v||_p <= 1` and
clipping adds `v_j in [-down_j, up_j]`. Where both matter the bound is a Lagrangian one, valid for
every multiplier lam >= 0, so that lam may come from inexact arithmetic:

* l_1: `min g.v >= -lam - sum_j k_j max(|g_j| - lam, 0)`, k_j the room on the falling side, at most 1;
* l_2: `min g.v >= -lam / 2 - sum_j max_{0 <= v <= k_j} (|g_j| v - lam v^2 / 2)`. Each maximum is at
  w = min(|g_j| / lam, k_j); a rounded w changes it by at most |g_j| |w' - w|.
"""

import math
from dataclasses import dataclass

import numpy as np

from jaxcert.certify.rigorous.rounding import FLOOR, Array, dot_below, down, gamma, up
from jaxcert.errors import InvalidInputError
from jaxcert.regions import Box, LpBall, Product

_NORMS = (1.0, 2.0, math.inf)


@dataclass(frozen=True)
class ExactBox:
    """`lower <= x <= upper`; flat float64 arrays, read as exact reals."""

    lower: Array
    upper: Array

    @property
    def is_box(self) -> bool:
        return True

    def minimum_below(self, coeffs: Array) -> Array:
        """Lower bounds `[S]` of `coeffs . x` over the region, for rows `[S, n]`."""
        return dot_below(coeffs, np.where(coeffs < 0, self.upper, self.lower))


@dataclass(frozen=True)
class ExactBall:
    """An l_1 or l_2 ball, cut by the box `lower <= x <= upper` if `clipped`; else that is its hull."""

    lower: Array
    upper: Array
    center: Array
    radius: Array
    norm: float
    clipped: bool

    @property
    def is_box(self) -> bool:
        return False

    def minimum_below(self, coeffs: Array) -> Array:
        """Lower bounds `[S]` of `coeffs . x` over the region, for rows `[S, n]`."""
        middle = dot_below(coeffs, self.center)
        gains = up(np.abs(coeffs) * self.radius)
        free = down(middle - _dual_norm_above(gains, self.norm))
        if not self.clipped:
            return free
        return np.maximum(free, down(middle - _clipped_above(gains, self._room(coeffs), self.norm)))

    def _room(self, coeffs: Array) -> Array:
        """How far a coordinate can fall, in units of its radius, at most 1; rounded upwards."""
        gap = np.where(coeffs > 0, up(self.center - self.lower), up(self.upper - self.center))
        moving = self.radius > 0
        share = up(gap / np.where(moving, self.radius, 1))
        return np.where(moving & (gap > 0), np.minimum(share, 1), 0)


@dataclass(frozen=True)
class ExactProduct:
    """Several regions side by side in one flat vector."""

    parts: tuple[ExactBox | ExactBall, ...]

    @property
    def lower(self) -> Array:
        return np.concatenate([part.lower for part in self.parts])

    @property
    def upper(self) -> Array:
        return np.concatenate([part.upper for part in self.parts])

    @property
    def is_box(self) -> bool:
        return all(part.is_box for part in self.parts)

    def minimum_below(self, coeffs: Array) -> Array:
        """Lower bounds `[S]` of `coeffs . x` over the region, for rows `[S, n]`."""
        stops = np.cumsum([part.lower.size for part in self.parts])
        total = np.zeros(coeffs.shape[0])
        for part, columns in zip(self.parts, np.split(coeffs, stops[:-1], axis=1), strict=True):
            total = down(total + part.minimum_below(columns))
        return total


ExactRegion = ExactBox | ExactBall | ExactProduct


def exact_region(region: LpBall | Box | Product) -> ExactRegion:
    """The region in float64, its stored numbers taken as exact; what bounds it is rounded outwards.

    Raises:
      InvalidInputError: a norm other than 1, 2 and inf.
    """
    if isinstance(region, Product):
        return ExactProduct(tuple(_exact_member(member) for member in region.members))
    return _exact_member(region)


def _exact_member(region: LpBall | Box) -> ExactBox | ExactBall:
    if isinstance(region, Box):
        return ExactBox(_flat(region.lower, region), _flat(region.upper, region))
    if region.norm not in _NORMS:
        raise InvalidInputError(f"rigorous bounds know the norms 1, 2 and inf, got {region.norm:g}.")
    center, radius = _flat(region.center, region), _flat(region.radius, region)
    lower = np.where(radius == 0, center, down(center - radius))
    upper = np.where(radius == 0, center, up(center + radius))
    if region.clip is not None:
        low, high = (_flat(end, region) for end in region.clip)
        lower, upper = np.maximum(lower, low), np.minimum(upper, high)
    if region.norm == math.inf:
        return ExactBox(lower, upper)
    return ExactBall(lower, upper, center, radius, region.norm, region.clip is not None)


def _flat(value, region: LpBall | Box) -> Array:
    return np.broadcast_to(np.asarray(value, np.float64), region.shape).reshape(-1)


def _dual_norm_above(gains: Array, norm: float) -> Array:
    largest = np.max(gains, axis=-1, initial=0.0)
    if norm == 1.0:
        return largest
    unit = np.where((largest > 0) & np.isfinite(largest), largest, 1)
    ratio = gains / unit[:, None]
    terms = gains.shape[-1]
    square = (ratio * ratio).sum(-1) * (1 + gamma(terms)) + terms * FLOOR
    return up(up(np.sqrt(square) * (1 + gamma(terms))) * unit)


def _clipped_above(gains: Array, room: Array, norm: float) -> Array:
    """An upper bound of `max gains . v` over `0 <= v <= room`, `||v||_norm <= 1`."""
    terms = gains.shape[-1]
    if norm == 1.0:
        lam = _full_at(gains, room)
        over = up(np.maximum(gains - lam[:, None], 0))
        return up((over * room).sum(-1) * (1 + gamma(terms)) + terms * FLOOR) + lam * (1 + gamma(1))
    lam = _multiplier(gains, room)
    used = np.where(lam > 0, lam, 1)[:, None]
    best = np.where(lam[:, None] > 0, np.minimum(gains / used, room), room)
    linear, square = (gains * best).sum(-1), 0.5 * lam * ((best * best).sum(-1) + 1)
    value = linear - 0.5 * lam * ((best * best).sum(-1) - 1)
    return up(value + (gamma(terms) * (linear + square) * 4 + terms * FLOOR))


def _full_at(gains: Array, room: Array) -> Array:
    """The gain at which a fractional knapsack of capacity 1 is full, 0 if everything fits."""
    order = np.argsort(-gains, axis=-1)
    filled = np.cumsum(np.take_along_axis(room, order, -1), axis=-1)
    last = np.argmax(filled >= 1, axis=-1)
    level = np.take_along_axis(np.take_along_axis(gains, order, -1), last[:, None], -1)[:, 0]
    return np.where(filled[:, -1] >= 1, level, 0.0)


def _multiplier(gains: Array, room: Array) -> Array:
    """A multiplier near the best: `||min(gains / lam, room)||_2 = 1`, 0 if the room is all inside."""
    inside = (room * room).sum(-1) <= 1
    square = (gains * gains).sum(-1)
    low, high = np.zeros_like(square), np.sqrt(square)
    for _ in range(60):
        middle = 0.5 * (low + high)
        step = np.minimum(gains / np.where(middle > 0, middle, 1)[:, None], room)
        long = (step * step).sum(-1) > 1
        low, high = np.where(long, middle, low), np.where(long, high, middle)
    return np.where(inside, 0.0, high)
