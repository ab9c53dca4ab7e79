"""PEC against bisection: never more evaluations, never a wrong radius, and what each counts."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcert as jc
from tests.certify import nets
from tests.common.compiling import quick_jit
from tests.oracles import sampling, sets

COUNT, STEPS = 60, 9


def both(params, x, eps, label, norm, clip=(0.0, 1.0)):
    fn = lambda x: nets.apply(params, x)
    region = jc.lp_ball(x, eps, norm, clip)
    return {
        "lin": jc.certified_radius(jc.fast_lin(), fn, region, label, search=jc.bisection(STEPS)),
        "pec": jc.certified_radius(jc.fast_lin(), fn, region, label, search=jc.pec(STEPS)),
    }


@pytest.mark.parametrize("norm", [2.0, math.inf])
def test_pec_needs_no_more_evaluations_and_is_certified(norm):
    params, xs, labels = nets.batch(11, COUNT)
    labels = labels.at[0].set((labels[0] + 1) % nets.CLASSES)  # misclassified
    eps = np.full(COUNT, 2.0, np.float32)
    eps[1:5] = 1e-3  # certified whole
    found = quick_jit(jax.vmap(lambda *example: both(*example, norm)))(params, xs, eps, labels)
    lin, pec = ({k: np.asarray(v) for k, v in vars(found[name]).items()} for name in ("lin", "pec"))
    assert (pec["evaluations"] <= lin["evaluations"]).all()
    assert pec["evaluations"].mean() < lin["evaluations"].mean()
    assert set(lin["evaluations"]) == {1, STEPS + 1}
    assert lin["evaluations"][0] == pec["evaluations"][0] == 1
    assert pec["lower"][0] == pec["upper"][0] == 0
    assert (pec["lower"][1:5] == eps[1:5]).all()
    assert (pec["upper"][1:5] == eps[1:5]).all()
    for bracket in (lin, pec):
        assert (bracket["lower"] <= bracket["upper"]).all()
        assert (bracket["upper"] - bracket["lower"] <= eps * 2.0**-STEPS * (1 + 1e-5)).all()
    # Both searches look for the same number, which they may only miss where bounds are not monotone.
    close = np.abs(pec["lower"] - lin["lower"]) <= eps * 2.0**-STEPS * 1.01
    assert close.mean() > 0.85
    rng = np.random.default_rng(4)
    for i in np.flatnonzero(pec["lower"] > 0):
        region = sets.ball(np.asarray(xs[i], np.float64), pec["lower"][i], norm, (0.0, 1.0))
        points = sampling.points(region, 1500, rng)
        assert nets.least_margin([p[i] for p in params], int(labels[i]), points) > 0


def test_an_eps_array_gives_its_multiplier():
    params, xs, labels = nets.batch(21, 8)
    weights = jnp.array([1.0, 0.5, 0.0, 2.0])
    found = quick_jit(jax.vmap(lambda p, x, y: both(p, x, weights, y, math.inf)))(params, xs, labels)
    lin, pec = found["lin"], found["pec"]
    assert (pec.evaluations <= lin.evaluations).all()
    assert (np.asarray(pec.upper) <= 1.0).all()
    assert np.asarray(pec.lower) == pytest.approx(np.asarray(lin.lower), abs=2.0**-STEPS * 1.01)
    rng = np.random.default_rng(5)
    for i in np.flatnonzero(np.asarray(pec.lower) > 0):
        radius = np.asarray(weights, np.float64) * float(pec.lower[i])
        region = sets.ball(np.asarray(xs[i], np.float64), radius, math.inf, (0.0, 1.0))
        points = sampling.points(region, 500, rng)
        assert nets.least_margin([p[i] for p in params], int(labels[i]), points) > 0


def test_traced_bad_input_never_has_a_radius():
    matrix = jnp.array([[1.0, 2.0], [-1.0, 0.5]])
    radius = quick_jit(
        jax.vmap(
            lambda x, eps, y: jc.certified_radius(
                jc.crown(), lambda x: matrix @ x, jc.linf_ball(x, eps), y, search=jc.pec(3)
            )
        )
    )
    good = jnp.ones(2)
    xs = jnp.stack([good, good, good.at[0].set(jnp.nan), good, good, good])
    eps = jnp.array([-0.1, jnp.nan, 0.1, jnp.inf, 0.1, 0.01])
    found = radius(xs, eps, jnp.array([0, 0, 0, 0, 7, 0]))
    assert not bool((found.lower[:-1] > 0).any())
    assert not bool((found.upper[:-1] > 0).any())
    assert float(found.lower[-1]) == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda region: jc.certified_radius(jc.ibp(), jnp.sin, region, 0, search=jc.pec()), "linear_lower"),
        (lambda region: jc.certified_radius(jc.crown(), jnp.tanh, region, 0, search=20), "bisection"),
        (lambda region: jc.pec(0), "at least 1, got 0"),
    ],
)
def test_bad_input_is_named(call, says):
    with pytest.raises(jc.errors.InvalidInputError, match=says):
        call(jc.linf_ball(jnp.ones(2), 0.1))
