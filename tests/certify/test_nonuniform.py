"""Non-uniform certificates: closed forms, what is certified, invariants, and bad input."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxcert as jc
from jaxcert.certify import nonuniform
from tests.certify import nets
from tests.common.compiling import quick_jit
from tests.oracles import sampling, sets

WEIGHTS = np.array([0.2, 1.0, -3.0, 0.5, -1.5], np.float32)
X = np.array([1.0, 0.5, -0.4, 0.3, 0.1], np.float32)
DUAL = {1.0: math.inf, 2.0: 2.0, math.inf: 1.0}
SHORT = jc.AugmentedLagrangian(steps=60, dual_every=3)


def linear(x):
    return jnp.stack([jnp.asarray(WEIGHTS) @ x, jnp.zeros(())])


@pytest.mark.parametrize("norm", [1.0, 2.0, math.inf])
def test_linear_classifiers_have_the_closed_form(norm):
    """Optimal eps_i = m / (M^(1/q) |w_i|); uniform eps = m / ||w||_q."""
    q, margin = DUAL[norm], float(WEIGHTS @ X)
    share = 1.0 if math.isinf(q) else len(X) ** (1 / q)

    @quick_jit
    def both(x):
        free = jc.nonuniform_radii(jc.crown(), linear, x, 0, norm=norm)
        return free, jc.uniform_radii(jc.crown(), linear, x, 0, norm=norm)

    free, uniform = both(jnp.asarray(X))
    exact = margin / (share * np.abs(WEIGHTS))
    assert np.asarray(free.radius) == pytest.approx(exact, rel=0.05)
    assert float(free.average) == pytest.approx(np.exp(np.log(exact).mean()), rel=0.01)
    assert float(free.log_volume) == pytest.approx(np.log(np.asarray(free.radius)).sum(), rel=1e-4)
    single = margin / np.linalg.norm(WEIGHTS, q)
    assert np.asarray(uniform.radius) == pytest.approx(np.full(5, single), rel=0.01)
    assert float(uniform.average) <= single
    assert float(free.log_volume) > float(uniform.log_volume)
    assert (np.asarray(free.multipliers) <= 0).all()


def certify(params, x, label, clip=(0.0, 1.0)):
    fn = lambda x: nets.apply(params, x)
    region = jc.linf_ball(x, 3.0, clip=clip)
    return {
        "free": jc.nonuniform_radii(jc.fast_lin(), fn, x, label, clip=clip, solver=SHORT),
        "uniform": jc.uniform_radii(jc.fast_lin(), fn, x, label, clip=clip, solver=SHORT),
        "bisection": jc.certified_radius(jc.fast_lin(), fn, region, label),
    }


def test_radii_of_networks_are_certified_and_larger_than_uniform_ones():
    count = 12
    params, xs, labels = nets.batch(41, count)
    labels = labels.at[0].set((labels[0] + 1) % nets.CLASSES)
    traces = []

    @quick_jit
    @jax.vmap
    def program(params, x, label):
        traces.append(None)
        found = certify(params, x, label)
        region = jc.linf_ball(x, found["free"].radius, clip=(0.0, 1.0))
        again = jc.margins(jc.fast_lin(), lambda x: nets.apply(params, x), region, label)
        return found, again

    found, again = program(params, xs, labels)
    program(params, xs * 0.9, labels)
    assert len(traces) == 1
    free, uniform = found["free"], found["uniform"]
    assert float(free.radius[0].max()) == float(free.average[0]) == 0.0
    assert float(free.log_volume[0]) == -math.inf
    assert bool((free.radius[1:] > 0).all())
    assert bool(jc.is_certified(free.margins)[1:].all())
    assert bool(jc.is_certified(again)[1:].all())
    assert bool((free.multipliers <= 0).all())
    assert bool((free.log_volume[1:] >= uniform.log_volume[1:]).all())
    ratio = np.asarray(free.average / uniform.average)[1:]
    assert ratio.mean() > 1.03
    # The baseline of the same algorithm is what bisection finds, where the bracket was wide enough.
    lower = np.asarray(found["bisection"].lower)[1:]
    inner = lower < 0.99
    assert inner.sum() >= 5
    assert np.asarray(uniform.average)[1:][inner] == pytest.approx(lower[inner], rel=0.02)
    rng = np.random.default_rng(6)
    for i in range(1, count):
        radius = np.asarray(free.radius[i], np.float64)
        region = sets.Set(np.asarray(xs[i], np.float64), radius, math.inf, np.zeros(4), np.ones(4))
        points = np.concatenate([sampling.points(region, 1000, rng), sampling.corners(region)])
        assert nets.least_margin([p[i] for p in params], int(labels[i]), points) > 0


def test_any_optimiser_ends_certified():
    """Steps that are far too long leave the certified set, where the shrinking loop leads back."""
    solver = jc.AugmentedLagrangian(steps=3, decay=0.9)
    wild = quick_jit(
        lambda x: jc.nonuniform_radii(jc.crown(), linear, x, 0, solver=solver, optimizer=optax.sgd(30.0))
    )(jnp.asarray(X))
    assert bool(jc.is_certified(wild.margins))
    assert bool((wild.radius > 0).all())
    assert float(wild.average) > 0.1 * float(WEIGHTS @ X) / np.abs(WEIGHTS).sum()


def test_the_final_loop_goes_to_the_edge_from_either_side():
    solver = jc.AugmentedLagrangian(decay=0.5, slack=0.01)
    problem = nonuniform._Problem(lambda zeta: 1 - jnp.sum(zeta**2)[None], solver)
    yes, no = jnp.asarray(True), jnp.asarray(False)
    # Radii that sum to 12, halved until 1 - 12 / 2^n >= 0.005; and to 0.012, doubled while so.
    wide, small = jnp.full(3, 2.0), jnp.full(3, 0.004**0.5)
    assert np.asarray(problem.at_edge(wide, yes) ** 2) == pytest.approx(np.full(3, 4 / 16), rel=1e-5)
    assert np.asarray(problem.at_edge(small, yes) ** 2) == pytest.approx(np.full(3, 0.004 * 64), rel=1e-5)
    assert bool((problem.at_edge(wide, no) == 0).all())
    hopeless = nonuniform._Problem(lambda zeta: -jnp.ones(1), solver)
    assert bool((hopeless.at_edge(jnp.ones(3), yes) == 0).all())


def test_a_start_gives_a_direction():
    start = jnp.array([4.0, 1.0, 1.0, 1.0, 1.0])
    uniform = quick_jit(lambda x, s: jc.uniform_radii(jc.crown(), linear, x, 0, start=s, solver=SHORT))
    found = uniform(jnp.asarray(X), start)
    assert np.asarray(found.radius / found.radius[1]) == pytest.approx(np.asarray(start), rel=1e-5)
    exact = float(WEIGHTS @ X) / (np.abs(WEIGHTS) @ np.asarray(start))
    assert float(found.radius[1]) == pytest.approx(exact, rel=0.02)
    huge = uniform(jnp.asarray(X), 1e6 * start)
    assert np.asarray(huge.radius) == pytest.approx(np.asarray(found.radius), rel=0.02)


def test_bad_traced_input_has_no_radius():
    program = quick_jit(
        jax.vmap(lambda x, y, s: jc.nonuniform_radii(jc.ibp(), linear, x, y, start=s, solver=SHORT).radius)
    )
    good = jnp.asarray(X)
    xs = jnp.stack([good.at[0].set(jnp.nan), good, good, good, good])
    found = program(xs, jnp.array([0, 5, 0, 0, 0]), jnp.array([0.1, 0.1, jnp.nan, -0.1, 0.1]))
    assert not bool((found[:-1] > 0).any())
    assert bool((found[-1] > 0).all())


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: jc.nonuniform_radii(jc.ibp(), linear, X, 0, start=0.0), "positive"),
        (lambda: jc.nonuniform_radii(jc.ibp(), linear, X, 0, start=np.ones(3)), "shaped like x"),
        (lambda: jc.nonuniform_radii(jc.ibp(), linear, X, 2), "out of range"),
        (lambda: jc.AugmentedLagrangian(steps=0), "at least 1"),
        (lambda: jc.AugmentedLagrangian(decay=1.0), "decay"),
        (lambda: jc.AugmentedLagrangian(slack=0.0), "slack"),
    ],
)
def test_bad_input_is_named(call, says):
    with pytest.raises(jc.errors.InvalidInputError, match=says):
        call()
