"""`lower`, `margins` and plain bounds agree, and fusing the specification never loosens it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcert as jc
from tests.common.architectures import BY_NAME
from tests.common.cases import batch
from tests.common.compiling import quick_jit
from tests.common.methods import BACKWARD, METHODS
from tests.common.regions import KINDS
from tests.oracles.nets import margin_rows

COUNT = 6


@pytest.mark.parametrize("kind", [KINDS[1], KINDS[2]], ids=str)
@pytest.mark.parametrize("name", ["deep", "conv_strided", "ends_in_relu", "sigmoid"])
def test_specifications_agree_with_bounds(name, kind, x64):
    architecture = BY_NAME[name]
    drawn = batch(architecture, kind, np.random.default_rng(2), COUNT, "float64", (0.03, 0.3))
    offset = jnp.array([0.5, -1.0, 2.0])

    @quick_jit
    @jax.vmap
    def everything(params, parts):
        fn, region = (lambda x: architecture.apply(params, x)), kind.build(parts)
        bounds = {m: method(fn, region) for m, method in METHODS.items()}
        below = {m: method.lower(fn, region, jnp.eye(3), None) for m, method in METHODS.items()}
        above = {m: method.lower(fn, region, -jnp.eye(3), offset) for m, method in METHODS.items()}
        fused = {m: [jc.margins(method, fn, region, k) for k in range(3)] for m, method in METHODS.items()}
        return bounds, below, above, fused

    bounds, below, above, fused = jax.tree.map(np.asarray, everything(drawn.params, drawn.parts))
    for method in METHODS:
        lower, upper = bounds[method].lower, bounds[method].upper
        assert below[method] == pytest.approx(lower, rel=1e-9, abs=1e-9), method
        assert above[method] - np.asarray(offset) == pytest.approx(-upper, rel=1e-9, abs=1e-9), method
        for label in range(3):
            others = [k for k in range(3) if k != label]
            assert (fused[method][label] >= lower[:, [label]] - upper[:, others] - 1e-9).all(), method


@pytest.mark.parametrize("method_name", BACKWARD)
def test_margins_are_lower_bounds_with_margin_rows(method_name, x64):
    architecture, kind = BY_NAME["deep"], KINDS[1]
    drawn = batch(architecture, kind, np.random.default_rng(3), COUNT, "float64", (0.1,))
    method = BACKWARD[method_name]

    @quick_jit
    def both(params, parts, label, rows):
        fn, region = (lambda x: architecture.apply(params, x)), kind.build(parts)
        return jc.margins(method, fn, region, label), method.lower(fn, region, rows, None)

    first = jax.tree.map(lambda leaf: leaf[0], (drawn.params, drawn.parts))
    for label in range(3):
        margins, lower = both(*first, label, jnp.asarray(margin_rows(3, label)))
        assert np.asarray(margins) == pytest.approx(np.asarray(lower), abs=1e-12)


@pytest.mark.parametrize("method_name", METHODS)
def test_bounds_of_an_affine_function_are_exact(method_name, x64):
    architecture = BY_NAME["affine"]
    for kind in KINDS:
        drawn = batch(architecture, kind, np.random.default_rng(4), COUNT, "float64", (0.1, 1.0))

        @quick_jit
        @jax.vmap
        def pair(params, parts, kind=kind):
            region = kind.build(parts)
            bounds = METHODS[method_name](lambda x: architecture.apply(params, x), region)
            return bounds.lower, jc.regions.minimize_linear(region, params["w"].T) + params["b"]

        ours, exact = pair(drawn.params, drawn.parts)
        assert np.asarray(ours) == pytest.approx(np.asarray(exact), abs=1e-11), str(kind)


def test_verdict_needs_every_margin_positive_and_finite():
    assert bool(jc.is_certified(jnp.array([0.1, 2.0])))
    for bad in ([0.0, 1.0], [-1e-9, 1.0], [jnp.nan, 1.0], [jnp.inf, 1.0], [-jnp.inf, 1.0]):
        assert not bool(jc.is_certified(jnp.array(bad)))
    assert jc.is_certified(jnp.array([[1.0, 1.0], [1.0, -1.0]])).tolist() == [True, False]
