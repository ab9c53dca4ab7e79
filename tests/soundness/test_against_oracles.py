"""Bounds equal those of the independent numpy programs, number by number, in double precision."""

from functools import cache

import jax
import numpy as np
import pytest

import jaxcert as jc
from tests.common.architectures import BY_NAME
from tests.common.cases import batch
from tests.common.compiling import quick_jit
from tests.common.methods import FORWARD, METHODS
from tests.common.regions import KINDS, MAGNITUDES
from tests.common.twins import TWINS
from tests.oracles import crown, dual, enumeration, forward, interval, milp, nets

COUNT = 5
SLOPES = {
    "crown": crown.adaptive,
    "crown_zero": crown.zero,
    "crown_one": crown.one,
    "fast_lin": crown.parallel,
}
TABLE = [(name, i) for name in ("deep", "conv_deep") for i in range(len(KINDS))] + [
    ("conv_strided", 1),
    ("affine", 3),
    ("dense", 5),
    ("skip", 1),
    ("skip", 2),
    ("conv_grouped", 1),
    ("conv_dilated", 4),
]


@cache
def compiled(architecture, kind):
    def everything(params, parts):
        fn = lambda x: architecture.apply(params, x)
        return {name: method(fn, kind.build(parts)) for name, method in methods.items()}

    # Columns per input are what the forward pass costs; dense networks show its rules.
    methods = METHODS | (FORWARD if len(architecture.in_shape) == 1 else {})
    return quick_jit(jax.vmap(everything))


def expected(name, net, region):
    """Lower and upper bounds of the outputs according to the oracles."""
    eye = np.eye(nets.widths(net, len(region.center))[-1])
    if name == "ibp":
        return interval.propagate(net, region)[-1]
    if name == "forward":
        return forward.bounds(net, region, crown.adaptive)
    lines = crown.crown_ibp_lines(net, region, crown.adaptive)
    if name in SLOPES:
        lines = crown.crown_lines(net, region, SLOPES[name])
    return crown.lower(net, region, eye, lines), -crown.lower(net, region, -eye, lines)


@pytest.mark.parametrize(("name", "kind"), TABLE, ids=lambda v: str(KINDS[v]) if isinstance(v, int) else v)
def test_bounds_equal_the_oracles(name, kind, x64):
    architecture, kind = BY_NAME[name], KINDS[kind]
    drawn = batch(architecture, kind, np.random.default_rng(11), COUNT, "float64", MAGNITUDES[2:-1])
    bounds = jax.tree.map(np.asarray, compiled(architecture, kind)(drawn.params, drawn.parts))
    for i, (weights, region) in enumerate(zip(drawn.weights, drawn.regions, strict=True)):
        net = TWINS[name](weights)
        for method, ours in bounds.items():
            lower, upper = expected(method, net, region)
            assert ours.lower[i] == pytest.approx(lower, rel=1e-9, abs=1e-9), method
            assert ours.upper[i] == pytest.approx(upper, rel=1e-9, abs=1e-9), method


@pytest.mark.parametrize("kind", [KINDS[1], KINDS[3], KINDS[4]], ids=str)
def test_parallel_slopes_give_the_wong_kolter_dual(kind, x64):
    architecture = BY_NAME["deep"]
    drawn = batch(architecture, kind, np.random.default_rng(12), COUNT, "float64", MAGNITUDES[2:-1])
    same = {"fast_lin": jc.fast_lin(), "crown_parallel": jc.crown(slope=jc.slopes.parallel)}

    @quick_jit
    @jax.vmap
    def both(params, parts):
        fn = lambda x: architecture.apply(params, x)
        return {name: method(fn, kind.build(parts)) for name, method in same.items()}

    bounds = jax.tree.map(np.asarray, both(drawn.params, drawn.parts))
    for i, (weights, region) in enumerate(zip(drawn.weights, drawn.regions, strict=True)):
        net = TWINS["deep"](weights)
        for name in same:
            assert bounds[name].lower[i] == pytest.approx(dual.lower(net, region, np.eye(3)), abs=1e-9)
            assert bounds[name].upper[i] == pytest.approx(-dual.lower(net, region, -np.eye(3)), abs=1e-9)


@pytest.mark.parametrize("kind", [KINDS[1], KINDS[5], KINDS[6]], ids=str)
def test_bounds_never_pass_the_exact_optimum(kind, x64):
    architecture = BY_NAME["deep"]
    drawn = batch(architecture, kind, np.random.default_rng(13), 2, "float64", (0.2, 0.6))
    bounds = jax.tree.map(np.asarray, compiled(architecture, kind)(drawn.params, drawn.parts))
    for i, (weights, region) in enumerate(zip(drawn.weights, drawn.regions, strict=True)):
        net = TWINS["deep"](weights)
        for j, row in enumerate(np.eye(3)):
            least, most = enumeration.minimum(net, region, row), -enumeration.minimum(net, region, -row)
            for name, bound in bounds.items():
                assert bound.lower[i, j] <= least + 1e-8, name
                assert bound.upper[i, j] >= most - 1e-8, name


def test_bounds_of_a_residual_net_never_pass_the_milp_optimum(x64):
    architecture, kind = BY_NAME["skip"], KINDS[1]
    drawn = batch(architecture, kind, np.random.default_rng(14), 4, "float64", (0.1, 0.4))
    bounds = jax.tree.map(np.asarray, compiled(architecture, kind)(drawn.params, drawn.parts))
    for i, (weights, region) in enumerate(zip(drawn.weights, drawn.regions, strict=True)):
        for j, row in enumerate(np.eye(3)):
            attained = milp.minimum_and_point(TWINS["skip"](weights), region, row)[2]
            assert all(bound.lower[i, j] <= attained + 1e-9 for bound in bounds.values())
