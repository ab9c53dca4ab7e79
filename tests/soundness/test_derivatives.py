"""Gradients, jvps and Hessian-vector products of margins against central differences, in double precision.

One scalar per method, compiled on its own: XLA's time grows with the square of a program. The direction
moves parameters, input, radius and slopes at once, and each of them alone. Points are drawn at random, so
kinks (measure zero) are not met within the step.
"""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import jaxcert as jc
from tests.common.architectures import BY_NAME
from tests.common.compiling import quick_jit
from tests.common.regions import KINDS
from tests.oracles import finite

# Activation input shapes, for slopes given as arrays.
SLOPED = {"dense": [(6,)], "deep": [(5,), (6,), (4,)], "conv_grouped": [(3, 3, 4), (2, 2, 4)], "mixed": None}
TABLE = [("dense", 3), ("deep", 5), ("conv_grouped", 2), ("mixed", 1)]
GROUPS = ("params", "center", "eps", "alphas")


def methods(alphas):
    found = {"ibp": jc.ibp(), "fast_lin": jc.fast_lin(), "crown": jc.crown(), "crown_ibp": jc.crown_ibp()}
    if alphas:
        found["given"] = jc.crown(slope=jc.slopes.given(alphas))
    return found


def start(name, rng):
    """Parameters, centre, eps and slopes strictly inside their ranges."""
    architecture = BY_NAME[name]
    shapes = SLOPED[name] or []
    return {
        "params": jax.tree.map(jnp.asarray, architecture.init(rng)),
        "center": jnp.asarray(rng.uniform(0.15, 0.85, architecture.in_shape)),
        "eps": jnp.asarray(rng.uniform(0.1, 0.3)),
        "alphas": [jnp.asarray(rng.uniform(0.2, 0.8, shape)) for shape in shapes],
    }


@cache
def compiled(name, kind):
    """Per method: its scalar, gradient, jvp and Hessian product, of one flat vector."""
    architecture = BY_NAME[name]
    with jax.enable_x64(True):
        first = start(name, np.random.default_rng(0))
        unravel = ravel_pytree(first)[1]

    def value(method_name, flat):
        at = unravel(flat)
        center, method = at["center"], methods(at["alphas"])[method_name]
        parts = {"center": center, "radius": jnp.broadcast_to(at["eps"], center.shape)}
        parts |= {"lower": jnp.zeros_like(center), "upper": jnp.ones_like(center)}
        margins = jc.margins(method, lambda x: architecture.apply(at["params"], x), kind.build(parts), 1)
        return jnp.array([1.0, -0.7]) @ jnp.tanh(0.3 * margins)

    return {method_name: programs(partial(value, method_name)) for method_name in methods(first["alphas"])}


def programs(value):
    gradient = jax.grad(value)
    value_and_slope = lambda flat, v: jax.jvp(value, (flat,), (v,))
    gradient_and_product = lambda flat, v: jax.jvp(gradient, (flat,), (v,))
    return quick_jit(value_and_slope), quick_jit(gradient_and_product)


def directions(at, rng):
    """A random direction in all variables, and in each group of variables alone."""
    full = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), at)
    yield "all", full
    still = jax.tree.map(jnp.zeros_like, full)
    for group in GROUPS:
        if jax.tree.leaves(at[group]):
            yield group, {**still, group: full[group]}


def alive(name, found, rng):
    """A start where every group of variables matters: not a network whose neurons are all off."""
    for _ in range(50):
        at = start(name, rng)
        flat = np.asarray(ravel_pytree(at)[0])
        moves = [(group, np.asarray(ravel_pytree(v)[0])) for group, v in directions(at, rng)]
        slopes = [[float(slope(flat, v)[1]) for slope, _ in found.values()] for _, v in moves]
        if (np.abs(slopes).max(axis=1) > 1e-4).all():
            return flat, moves
    raise AssertionError("fifty draws without a network that reacts to all its variables")


@pytest.mark.parametrize(("name", "kind"), TABLE, ids=lambda v: str(KINDS[v]) if isinstance(v, int) else v)
def test_derivatives_equal_central_differences(name, kind, x64):
    rng = np.random.default_rng(17)
    found = compiled(name, KINDS[kind])
    for _ in range(2):
        flat, moves = alive(name, found, rng)
        for group, v in moves:
            for method, (value_and_slope, gradient_and_product) in found.items():
                at = group, method
                measured = finite.directional(lambda x, f=value_and_slope, v=v: f(x, v)[0], flat, v)
                assert float(value_and_slope(flat, v)[1]) == pytest.approx(measured, rel=1e-5, abs=1e-7), at
                gradient, product = map(np.asarray, gradient_and_product(flat, v))
                assert gradient @ v == pytest.approx(measured, rel=1e-5, abs=1e-7), at
                curved = finite.hessian_vector(lambda x, f=gradient_and_product, v=v: f(x, v)[0], flat, v)
                assert product == pytest.approx(curved, rel=1e-4, abs=1e-5 * np.abs(curved).max() + 1e-8), at


@pytest.mark.parametrize(
    ("name", "kind"),
    [("deep", KINDS[0]), ("dense", KINDS[2]), ("dense", KINDS[3]), ("dense", KINDS[5])],
    ids=str,
)
def test_gradients_are_finite_at_kinks_and_zero_radius(name, kind):
    """All-zero networks and images put every neuron on its kink, every norm at its origin."""
    architecture = BY_NAME[name]
    at = {name: jnp.zeros(shape) for name, shape in architecture.shapes.items()}

    @quick_jit
    def slopes(params, center, eps):
        def total(params, center, eps):
            parts = {"center": center, "radius": jnp.broadcast_to(eps, center.shape)}
            parts |= {"lower": jnp.zeros_like(center), "upper": jnp.ones_like(center)}
            fn = lambda x: architecture.apply(params, x)
            return sum(jc.margins(m, fn, kind.build(parts), 0).sum() for m in methods(()).values())

        return jax.grad(total, argnums=(0, 1, 2))(params, center, eps)

    for center in (jnp.zeros(4), jnp.full(4, 0.5)):
        for eps in (0.0, 1e-30, 0.2):
            found = jax.tree.leaves(slopes(at, center, jnp.asarray(eps)))
            assert all(bool(jnp.isfinite(leaf).all()) for leaf in found), eps
