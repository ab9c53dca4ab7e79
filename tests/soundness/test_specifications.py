"""`lower`, `margins` and plain bounds agree, and fusing the specification never loosens it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcert as jc
from tests.common.architectures import BY_NAME
from tests.common.cases import batch
from tests.common.compiling import quick_jit, quick_jit_each
from tests.common.methods import FEWER, METHODS
from tests.common.regions import KINDS
from tests.oracles.nets import margin_rows

COUNT = 6


@pytest.mark.parametrize(
    ("name", "kind"),
    [("deep", KINDS[1]), ("conv_strided", KINDS[2]), ("ends_in_relu", KINDS[5]), ("sigmoid", KINDS[6])],
    ids=str,
)
def test_specifications_agree_with_bounds(name, kind, x64):
    architecture = BY_NAME[name]
    drawn = batch(architecture, kind, np.random.default_rng(2), COUNT, "float64", (0.03, 0.3))
    offset = jnp.array([0.5, -1.0, 2.0])

    def everything(method):
        @jax.vmap
        def run(params, parts):
            fn, region = (lambda x: architecture.apply(params, x)), kind.build(parts)
            below = method.lower(fn, region, jnp.eye(3), None)
            above = method.lower(fn, region, -jnp.eye(3), offset)
            fused = [jc.margins(method, fn, region, k) for k in range(3)]
            return method(fn, region), below, above, fused

        return run

    found = jax.tree.map(np.asarray, quick_jit_each(everything, FEWER)(drawn.params, drawn.parts))
    for method, (bounds, below, above, fused) in found.items():
        lower, upper = bounds.lower, bounds.upper
        assert below == pytest.approx(lower, rel=1e-9, abs=1e-9), method
        assert above - np.asarray(offset) == pytest.approx(-upper, rel=1e-9, abs=1e-9), method
        for label in range(3):
            others = [k for k in range(3) if k != label]
            assert (fused[label] >= lower[:, [label]] - upper[:, others] - 1e-9).all(), method


def test_margins_are_lower_bounds_with_margin_rows(x64):
    architecture, kind = BY_NAME["deep"], KINDS[1]
    drawn = batch(architecture, kind, np.random.default_rng(3), COUNT, "float64", (0.1,))

    @quick_jit
    def both(params, parts, label, rows):
        fn, region = (lambda x: architecture.apply(params, x)), kind.build(parts)
        margins = {name: jc.margins(method, fn, region, label) for name, method in METHODS.items()}
        return margins, {name: method.lower(fn, region, rows, None) for name, method in METHODS.items()}

    first = jax.tree.map(lambda leaf: leaf[0], (drawn.params, drawn.parts))
    for label in range(3):
        margins, lower = both(*first, label, jnp.asarray(margin_rows(3, label)))
        for name in METHODS:
            assert np.asarray(margins[name]) == pytest.approx(np.asarray(lower[name]), abs=1e-12), name


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_bounds_of_an_affine_function_are_exact(kind, x64):
    architecture = BY_NAME["affine"]
    drawn = batch(architecture, kind, np.random.default_rng(4), COUNT, "float64", (0.1, 1.0))

    @quick_jit
    @jax.vmap
    def everything(params, parts):
        fn, region = (lambda x: architecture.apply(params, x)), kind.build(parts)
        bounds = {name: method(fn, region).lower for name, method in METHODS.items()}
        return bounds, jc.regions.minimize_linear(region, params["w"].T) + params["b"]

    bounds, exact = everything(drawn.params, drawn.parts)
    for name, lower in bounds.items():
        assert np.asarray(lower) == pytest.approx(np.asarray(exact), abs=1e-11), name


def test_verdict_needs_every_margin_positive_and_finite():
    assert bool(jc.is_certified(jnp.array([0.1, 2.0])))
    for bad in ([0.0, 1.0], [-1e-9, 1.0], [jnp.nan, 1.0], [jnp.inf, 1.0], [-jnp.inf, 1.0]):
        assert not bool(jc.is_certified(jnp.array(bad)))
    assert jc.is_certified(jnp.array([[1.0, 1.0], [1.0, -1.0]])).tolist() == [True, False]
