"""alpha-CROWN: sound, never worse than its start, optimal where the optimum is known, differentiable."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxcert as jc
from tests.bounds.nets import OUT, X, apply, net, params
from tests.common.compiling import quick_jit
from tests.oracles import enumeration, nets
from tests.oracles.sets import box

ROWS = jnp.concatenate([jnp.eye(OUT), -jnp.eye(OUT)])
REGION = jc.linf_ball(X, 0.3, clip=(0.0, 1.0))
STARTS = {
    "full": (jc.alpha_crown(steps=8), jc.crown()),
    "ibp": (jc.alpha_crown(8, None, jc.ibp()), jc.crown_ibp()),
}


@pytest.mark.parametrize("name", STARTS)
def test_never_worse_than_its_start_and_never_above_the_exact_optimum(name, x64):
    method, start = STARTS[name]
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=shape) for shape in ((5, 3), (5, 5), (2, 5))]
    biases = [0.3 * rng.normal(size=len(w)) for w in weights]
    exact = nets.mlp(weights, biases)
    centers = rng.uniform(-1, 1, (4, 3))
    rows = np.array([[1.0, -1.0], [0.0, 1.0]])

    def fn(x):
        h = x
        for w, b in zip(weights[:-1], biases[:-1], strict=True):
            h = jax.nn.relu(jnp.asarray(w) @ h + b)
        return jnp.asarray(weights[-1]) @ h + biases[-1]

    @quick_jit
    @jax.vmap
    def both(center):
        region = jc.linf_ball(center, 0.4)
        return method.lower(fn, region, jnp.asarray(rows)), start.lower(fn, region, jnp.asarray(rows))

    ours, theirs = map(np.asarray, both(jnp.asarray(centers)))
    assert (ours >= theirs).all()
    assert (ours > theirs + 1e-3).any()
    for center, found in zip(centers, ours, strict=True):
        least = [enumeration.minimum(exact, box(center - 0.4, center + 0.4), row) for row in rows]
        assert (found <= np.array(least) + 1e-8).all()


def test_one_hidden_layer_reaches_the_best_slopes(x64):
    """With one layer every row is a linear program in the slopes: no corner of [0, 1]^n beats the optimum."""
    rng = np.random.default_rng(1)
    w, v = jnp.asarray(rng.normal(size=(4, 3))), jnp.asarray(rng.normal(size=(1, 4)))
    fn, region = (lambda x: v @ jax.nn.relu(w @ x)), jc.l2_ball(jnp.asarray(rng.normal(size=3)), 0.8)
    corners = jnp.stack(jnp.meshgrid(*[jnp.array([0.0, 0.5, 1.0])] * 4), -1).reshape(-1, 4)
    best = jax.vmap(lambda a: jc.crown(slope=[a]).lower(fn, region, jnp.eye(1)))(corners).max()
    found = quick_jit(lambda: jc.alpha_crown(steps=60).lower(fn, region, jnp.eye(1)))()
    assert float(found[0]) >= float(best) - 1e-3


def test_bounds_specifications_and_linear_forms_agree():
    method, fn = jc.alpha_crown(steps=4), net()

    @quick_jit
    def everything(x):
        region = jc.linf_ball(x, 0.3, clip=(0.0, 1.0))
        form = method.linear_lower(fn, region, ROWS)
        again = jc.crown(slope=method.slopes(fn, region, ROWS)).lower(fn, region, ROWS)
        least = jc.regions.minimize_linear(region, form.coeffs) + form.offset
        return method(fn, region), method.lower(fn, region, ROWS), least, again

    bounds, lower, form, again = jax.tree.map(np.asarray, everything(X))
    assert np.concatenate([bounds.lower, -bounds.upper]) == pytest.approx(lower, abs=1e-5)
    # The form uses one set of intermediate slopes for all rows: valid, and close.
    assert (form <= lower + 1e-5).all()
    assert (again <= lower + 1e-5).all()
    assert again == pytest.approx(lower, rel=0.1, abs=0.1)


def test_a_step_that_leaps_away_keeps_the_start():
    fn = net(3)
    wild = jc.alpha_crown(steps=2, optimizer=optax.sgd(1e6))
    start = jc.crown().lower(fn, REGION, ROWS)
    assert bool((wild.lower(fn, REGION, ROWS) >= start - 1e-6).all())


def test_gradients_are_those_of_the_last_evaluation():
    """Slopes held fixed: equal to CROWN's gradient at the slopes found, and finite."""
    method = jc.alpha_crown(steps=3, intermediate=jc.ibp())

    @quick_jit
    def gradients(p):
        fn = lambda q: lambda x: apply(q, x)
        fixed = jc.crown(slope=method.slopes(fn(p), REGION, ROWS), intermediate=jc.ibp())
        ours = jax.grad(lambda q: method.lower(fn(q), REGION, ROWS).sum())(p)
        return ours, jax.grad(lambda q: fixed.lower(fn(q), REGION, ROWS).sum())(p)

    ours, theirs = gradients(params())
    for name, part in ours.items():
        assert np.asarray(part) == pytest.approx(np.asarray(theirs[name]), rel=1e-4, abs=1e-5), name


def test_smooth_activations_improve_and_stay_below_samples():
    w = jnp.asarray(np.random.default_rng(5).normal(size=(6, 4)), jnp.float32)
    fn = lambda x: (w.T @ jnp.tanh(2 * (w @ jax.nn.sigmoid(2 * x[:4]))))[:2]
    rows = jnp.array([[1.0, -1.0], [1.0, 0.0]])

    @quick_jit
    def run(x):
        region = jc.linf_ball(x, 0.5)
        return jc.alpha_crown(8).lower(fn, region, rows), jc.crown().lower(fn, region, rows)

    ours, start = run(X)
    points = X[None] + 0.5 * jax.random.uniform(jax.random.key(0), (500, 4), minval=-1, maxval=1)
    values = jax.vmap(fn)(points) @ rows.T
    assert bool((ours >= start - 1e-5).all())
    assert bool((ours > start + 1e-4).any())
    assert bool((ours <= values.min(0) + 1e-5).all())


def test_nan_never_certifies_and_wrong_arguments_say_so():
    margins = jc.margins(jc.alpha_crown(2, None, jc.ibp()), net(), jc.LpBall(X * jnp.nan, jnp.array(0.1)), 0)
    assert not bool(jc.is_certified(margins))
    for build, says in (
        (lambda: jc.alpha_crown(steps=0), "steps must be at least 1"),
        (lambda: jc.alpha_crown(intermediate="crown"), "intermediate must be"),
        (
            lambda: jc.crown(slope=jc.slopes.PerRow({})).lower(net(), REGION, ROWS),
            "per-row slopes have no array",
        ),
    ):
        with pytest.raises(jc.errors.InvalidInputError, match=says):
            build()


def test_parameters_of_activations_follow_the_windows():
    """A clip with its own ends at every pixel, met by windows of a convolution behind it."""
    rng = np.random.default_rng(6)
    kernel = jnp.asarray(rng.normal(size=(3, 3, 2, 2)) / 3, jnp.float32)
    ends = rng.uniform(0.1, 0.6, (6, 6, 2)).astype(np.float32)
    conv = lambda x: jax.lax.conv_general_dilated(
        x[None], kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )[0]
    fn = lambda x: jnp.tanh(conv(jnp.clip(conv(x), -ends, ends))).sum((0, 1))
    rows = jnp.array([[1.0, -1.0]])

    @quick_jit
    def run(x):
        region = jc.linf_ball(x, 0.2)
        return jc.alpha_crown(2).lower(fn, region, rows), jc.crown().lower(fn, region, rows)

    x = jnp.asarray(rng.random((6, 6, 2)), jnp.float32)
    ours, start = run(x)
    points = x[None] + 0.2 * jax.random.uniform(jax.random.key(0), (300, 6, 6, 2), minval=-1, maxval=1)
    assert float(ours[0]) >= float(start[0]) - 1e-4
    assert float(ours[0]) <= float((jax.vmap(fn)(points) @ rows[0]).min()) + 1e-4
