"""No point of the region may leave the bounds: every architecture, every method, every kind of region.

Each draw is a whole batch of networks and regions under one compiled function. The points are random
ones, corners, axis tips, and the minimisers of the network's linearisation at the centre.
"""

import os
from dataclasses import replace
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given

from tests.common.architectures import ARCHITECTURES, BY_NAME
from tests.common.cases import batch
from tests.common.compiling import quick_jit
from tests.common.methods import FEWER, METHODS
from tests.common.regions import KINDS, seeds
from tests.oracles import linear_min, sampling

COUNT, POINTS = 10, 40
TOLERANCE = {"float32": 2e-5, "float64": 1e-11}
# Every architecture once, kinds and precisions taking turns; a few of them, or with the profile `thorough`
# all of them, with every kind.
ALL_KINDS = ("conv_deep", "mixed")
EVERY_KIND = ALL_KINDS
if os.environ.get("HYPOTHESIS_PROFILE") == "thorough":
    EVERY_KIND = tuple(architecture.name for architecture in ARCHITECTURES)
TABLE = sorted(
    {
        (a.name, i % len(KINDS), ("float32", "float64")[(i // len(KINDS)) % 2])
        for i, a in enumerate(ARCHITECTURES)
    }
    | {(name, k, "float32") for name in EVERY_KIND for k in range(len(KINDS))}
)


def methods_of(name):
    """The methods that are run on an architecture."""
    return METHODS if name == ALL_KINDS[0] else FEWER


@pytest.mark.parametrize(
    ("name", "kind", "precision"), TABLE, ids=lambda v: str(KINDS[v]) if v in range(7) else v
)
def test_points_lie_within_the_bounds(name, kind, precision):
    architecture, kind = BY_NAME[name], KINDS[kind]
    with jax.enable_x64(precision == "float64"):
        bounds_of, values_of = compiled(architecture, kind)

        @given(seed=seeds())
        def check(seed):
            rng = np.random.default_rng(seed)
            drawn = batch(architecture, kind, rng, COUNT, precision)
            bounds, lines, slopes = jax.tree.map(np.asarray, bounds_of(drawn.params, drawn.parts))
            points = np.stack([points_of(r, s, rng) for r, s in zip(drawn.regions, slopes, strict=True)])
            shaped = points.reshape(*points.shape[:2], *architecture.in_shape)
            values = np.asarray(values_of(drawn.params, jnp.asarray(shaped, precision)), np.float64)
            if architecture.partial:
                left = np.isnan(values).any(1)
                for name, bound in bounds.items():
                    assert not np.isfinite(np.where(left, bound.lower + bound.upper, np.nan)).any(), name
                bounds, lines = without_domain(bounds, lines, drawn.regions)
                # A point outside the domain has no value: what was asked of the bounds there is above.
                values = np.where(left[:, None], 0.0, values)
            check_bounds(bounds, values, drawn.regions, TOLERANCE[precision], architecture.partial)
            check_lines(lines, points, values, TOLERANCE[precision])

        check()


@cache
def compiled(architecture, kind):
    def everything(params, parts):
        fn = lambda x: architecture.apply(params, x)
        region = kind.build(parts)
        bounds = {name: method(fn, region) for name, method in methods_of(architecture.name).items()}
        lines = {"crown_ibp": METHODS["crown_ibp"].linear(fn, region)}
        middle = 0.5 * (parts["lower"] + parts["upper"]) if kind.norm is None else parts["center"]
        return bounds, lines, jax.jacobian(fn)(middle)

    values_of = jax.vmap(jax.vmap(architecture.apply, (None, 0)))
    return quick_jit(jax.vmap(everything)), quick_jit(values_of)


def points_of(region, jacobian, rng):
    rows = jacobian.reshape(len(jacobian), -1).astype(np.float64)
    steered = [linear_min.minimizer(region, row) for row in np.concatenate([rows, -rows])]
    return np.concatenate([sampling.points(region, POINTS, rng), np.array(steered)])


def without_domain(bounds, lines, regions):
    """NaN and inf, which certify nothing, taken for nothing known: only large regions leave a domain."""
    large = np.array([region.radius.max() > 0.02 for region in regions])[:, None]
    most = float(np.finfo(np.float32).max)

    def known(form, least):
        nothing = large & ~(np.isfinite(form.coeffs).reshape(*form.offset.shape, -1).all(-1))
        nothing |= large & ~np.isfinite(form.offset)
        spread = nothing.reshape(*nothing.shape, *(1,) * (form.coeffs.ndim - nothing.ndim))
        return replace(
            form, coeffs=np.where(spread, 0, form.coeffs), offset=np.where(nothing, least, form.offset)
        )

    widen = lambda end, value: np.where(large & ~np.isfinite(end), value, end)
    return (
        {n: replace(b, lower=widen(b.lower, -most), upper=widen(b.upper, most)) for n, b in bounds.items()},
        {n: replace(p, lower=known(p.lower, -most), upper=known(p.upper, most)) for n, p in lines.items()},
    )


def check_bounds(bounds, values, regions, tolerance, partial):
    loosest = bounds["ibp"]
    scale = 1 + np.maximum(np.abs(loosest.lower), np.abs(loosest.upper))
    fixed = np.array([(region.radius == 0).all() for region in regions])
    for name, bound in bounds.items():
        assert np.isfinite(bound.lower).all(), name
        assert np.isfinite(bound.upper).all(), name
        slack = tolerance * scale
        assert (bound.lower[:, None] <= values + slack[:, None]).all(), name
        assert (bound.upper[:, None] >= values - slack[:, None]).all(), name
        # A region of one point: the bounds are the value. Steep lines around a point, such as those of 1/x
        # near 0, cancel in forward forms.
        if partial and name == "forward":
            continue
        exact = values[fixed, 0]
        assert (np.abs(bound.lower[fixed] - exact) <= slack[fixed]).all(), name
        assert (np.abs(bound.upper[fixed] - exact) <= slack[fixed]).all(), name


def check_lines(lines, points, values, tolerance):
    for name, pair in lines.items():
        for form, sign in ((pair.lower, 1.0), (pair.upper, -1.0)):
            coeffs = form.coeffs.reshape(*form.offset.shape, -1).astype(np.float64)
            line = np.einsum("bon,bpn->bpo", coeffs, points) + form.offset[:, None]
            scale = np.einsum("bon,bpn->bpo", np.abs(coeffs), np.abs(points)) + np.abs(form.offset)[:, None]
            assert (sign * line <= sign * values + tolerance * (1 + scale + np.abs(values))).all(), name
