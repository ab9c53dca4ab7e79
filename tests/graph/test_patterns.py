"""`where(x > 0, p x, n x)` in every spelling is a leaky ReLU; what only looks like it is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import jaxcert as jc
from jaxcert.graph import trace

X = jnp.array([-2.0, -0.3, 0.0, 0.4, 3.0])
ZERO = jnp.zeros(5)
METHODS = (jc.ibp(), jc.crown(), jc.crown_ibp(), jc.fast_lin())

# spelling of the positive branch p(x) and the negative branch n(x)
SPELLINGS = {
    "x > 0": lambda x, p, n: jnp.where(x > 0, p, n),
    "x >= 0": lambda x, p, n: jnp.where(x >= 0, p, n),
    "0 < x": lambda x, p, n: jnp.where(x > 0, p, n),
    "0 <= x": lambda x, p, n: jnp.where(x >= 0, p, n),
    "x < 0": lambda x, p, n: jnp.where(x < 0, n, p),
    "x <= 0": lambda x, p, n: jnp.where(x <= 0, n, p),
    "0 > x": lambda x, p, n: jnp.where(x < 0, n, p),
    "0 >= x": lambda x, p, n: jnp.where(x <= 0, n, p),
    "lax.gt(0, x)": lambda x, p, n: lax.select(lax.gt(ZERO, x), n, p),
    "lax.le(0, x)": lambda x, p, n: lax.select(lax.le(ZERO, x), p, n),
    "zeros array": lambda x, p, n: jnp.where(x > ZERO, p, n),
    "select_n": lambda x, p, n: lax.select_n(x > 0, n, p),
    "jitted": lambda x, p, n: jax.jit(jnp.where)(x > 0, p, n),
}
SLOPES = {
    "leaky": (lambda x: x, lambda x: 0.1 * x, 0.1, 1.0),
    "divided": (lambda x: x, lambda x: x / 4.0, 0.25, 1.0),
    "relu": (lambda x: x, jnp.zeros_like, 0.0, 1.0),
    "abs": (lambda x: x, lambda x: -x, -1.0, 1.0),
    "minus abs": (lambda x: -x, lambda x: x, 1.0, -1.0),
    "upside down": (jnp.zeros_like, lambda x: 2.0 * x, 2.0, 0.0),
    "steep": (lambda x: 3.0 * x, lambda x: x * 0.5, 0.5, 3.0),
    "arrays": (lambda x: x * jnp.arange(5.0), lambda x: -x, -1.0, np.arange(5.0)),
}


@pytest.mark.parametrize("slopes", SLOPES)
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_is_recognised_with_its_slopes(spelling, slopes):
    positive, negative, neg, pos = SLOPES[slopes]

    def fn(x):
        return SPELLINGS[spelling](x, positive(x), negative(x))

    graph = trace(fn, X)
    assert [node.kind for node in graph.nodes] == ["input", "leaky_relu"]
    found_neg, found_pos = graph.nodes[1].consts
    assert np.broadcast_to(found_neg, (5,)) == pytest.approx(np.broadcast_to(neg, (5,)))
    assert np.broadcast_to(found_pos, (5,)) == pytest.approx(np.broadcast_to(pos, (5,)))
    assert graph(X).tolist() == fn(X).tolist()


def other_thing(x):
    return jnp.where(x[::-1] > 0, x, 0.0)


LOOKALIKES = {
    "threshold 1": lambda x: jnp.where(x > 1, x, 0.0),
    "threshold array": lambda x: jnp.where(x > jnp.array([0.0, 0.0, 0.0, 0.0, 0.5]), x, 0.0),
    "shifted branch": lambda x: jnp.where(x > 0, x + 1.0, x),
    "constant branch": lambda x: jnp.where(x > 0, x, 1.0),
    "step": lambda x: jnp.where(x > 0, jnp.ones_like(x), jnp.zeros_like(x)),
    "another value decides": other_thing,
    "difference decides": lambda x: jnp.where(x - x[0] > 0, x, 0.0),
    "square branch": lambda x: jnp.where(x < 0, -x * x, x),
    "other value in a branch": lambda x: jnp.where(x > 0, x, 0.1 * x[::-1]),
    "equality": lambda x: jnp.where(x == 0, x, 0.0),
    "inequality": lambda x: jnp.where(x != 0, x, 2.0 * x),
    "and": lambda x: jnp.where((x > 0) & (x < 1), x, 0.0),
    "not": lambda x: jnp.where(~(x > 0), x, 0.0),
    "mask times x": lambda x: (x > 0).astype(x.dtype) * x,
    "hard tanh": jax.nn.hard_tanh,
    "one scalar decides": lambda x: jnp.where(x[0] > 0, x, 0.0),
    "integer decides": lambda x: jnp.where(x.astype(jnp.int32) > 0, x, 0.0),
    "comparison of two": lambda x: jnp.where(x > 2.0 * x, x, 0.0),
    "elu": jax.nn.elu,
    "nan guard": lambda x: jnp.where(jnp.isnan(x), 0.0, x),
}


@pytest.mark.parametrize("how", ["bounds", "lower", "linear"])
@pytest.mark.parametrize("name", LOOKALIKES)
def test_lookalikes_are_refused_or_soundly_bounded(name, how):
    fn = LOOKALIKES[name]
    region = jc.box(jnp.full(5, -2.0), jnp.full(5, 3.0))
    points = jnp.asarray(np.random.default_rng(0).uniform(-2, 3, (400, 5)), jnp.float32)
    values = np.asarray(jax.vmap(fn)(points))
    for method in METHODS:
        if how == "linear" and not hasattr(method, "linear"):
            continue
        try:
            lower, upper = ends(method, how, fn, region, points)
        except jc.errors.UnsupportedPrimitiveError:
            continue
        assert (lower <= values + 1e-5).all(), method
        assert (values <= upper + 1e-5).all(), method


def ends(method, how, fn, region, points):
    if how == "bounds":
        found = method(fn, region)
        return np.asarray(found.lower), np.asarray(found.upper)
    if how == "lower":
        return np.asarray(method.lower(fn, region, jnp.eye(5))), np.inf
    forms = method.linear(fn, region)
    return np.asarray(jax.vmap(forms.lower)(points)), np.asarray(jax.vmap(forms.upper)(points))


def test_a_traced_threshold_is_not_taken_for_zero():
    region = jc.linf_ball(X, 1.0)

    def bounds(threshold):
        return jc.ibp()(lambda x: jnp.where(x > threshold, x, 0.0), region)

    with pytest.raises(jc.errors.UnsupportedPrimitiveError, match="gt"):
        jax.jit(bounds)(0.0)


def test_traced_slopes_are_accepted_and_differentiable(x64):
    region = jc.linf_ball(jnp.zeros(3), 1.0)

    def upper(slope):
        return jc.crown()(lambda x: jnp.where(x > 0, x, slope * x), region).upper.sum()

    assert float(upper(-0.5)) == pytest.approx(3.0)
    assert float(upper(-2.0)) == pytest.approx(6.0)
    assert float(jax.jit(jax.grad(upper))(-2.0)) == pytest.approx(-3.0)
