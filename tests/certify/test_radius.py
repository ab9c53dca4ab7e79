"""The certified radius: closed forms on linear models, what the bracket promises, bad input."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcert as jc

RNG = np.random.default_rng(0)
MATRIX = RNG.normal(size=(3, 5)).astype(np.float32)
BIAS = np.array([2.0, 0.1, -0.3], np.float32)
X = np.array([0.3, -0.2, 0.5, 0.1, 0.4], np.float32)
LABEL = int(np.argmax(MATRIX @ X + BIAS))
DUAL = {1.0: math.inf, 2.0: 2.0, math.inf: 1.0}


def linear(x):
    return MATRIX @ x + BIAS


def closed_form(norm, weights=1.0):
    """min over j of margin_j / ||(row_label - row_j) * weights||_q."""
    logits = MATRIX @ X + BIAS
    others = [j for j in range(3) if j != LABEL]
    norms = [np.linalg.norm((MATRIX[LABEL] - MATRIX[j]) * weights, DUAL[norm]) for j in others]
    return min((logits[LABEL] - logits[j]) / n for j, n in zip(others, norms, strict=True))


@pytest.mark.parametrize("method", [jc.ibp(), jc.crown()], ids=["ibp", "crown"])
@pytest.mark.parametrize("norm", [1.0, 2.0, math.inf])
def test_linear_models_have_the_dual_norm_radius(norm, method):
    exact = closed_form(norm)
    region = jc.lp_ball(X, 2 * exact, norm)
    found = jax.jit(lambda r: jc.certified_radius(method, linear, r, LABEL, search=jc.bisection(18)))(region)
    assert float(found.lower) <= exact * (1 + 1e-5)
    assert float(found.upper) >= exact * (1 - 1e-5)
    assert float(found.upper - found.lower) <= 2 * exact / 2**18 * 1.01 + 1e-6


@pytest.mark.parametrize("norm", [1.0, 2.0, math.inf])
def test_an_eps_array_gives_its_multiplier(norm):
    weights = np.array([1.0, 0.0, 2.0, 0.5, 1.0], np.float32)
    exact = closed_form(norm, weights)
    region = jc.lp_ball(X, 3 * exact * weights, norm)
    found = jax.jit(lambda r: jc.certified_radius(jc.crown(), linear, r, LABEL))(region)
    assert float(found.lower) == pytest.approx(1 / 3, rel=1e-4)
    assert float(found.lower) <= float(found.upper) <= 1.0


def net(x):
    hidden = jax.nn.relu(jnp.asarray(RNG_W) @ x)
    return jnp.asarray(RNG_V) @ hidden + jnp.array([1.0, 0.0, 0.0])


RNG_W = RNG.normal(size=(6, 5)).astype(np.float32)
RNG_V = 0.4 * RNG.normal(size=(3, 6)).astype(np.float32)
NET_LABEL = int(np.argmax(np.asarray(RNG_V @ np.maximum(RNG_W @ X, 0) + np.array([1.0, 0, 0]))))


@pytest.mark.parametrize("norm", [2.0, math.inf])
def test_the_lower_end_is_certified_by_margins_and_the_upper_is_not(norm):
    method = jc.crown()

    @jax.jit
    def verdicts(region):
        found = jc.certified_radius(method, net, region, NET_LABEL)
        at = lambda eps: jc.is_certified(
            jc.margins(method, net, jc.lp_ball(jnp.asarray(X), eps, norm, (-1.0, 1.0)), NET_LABEL)
        )
        return found, at(found.lower), at(found.upper)

    found, lower, upper = verdicts(jc.lp_ball(jnp.asarray(X), 3.0, norm, (-1.0, 1.0)))
    assert 0 < float(found.lower) < float(found.upper) < 3.0
    assert bool(lower)
    assert not bool(upper)


def test_a_region_certified_whole_returns_its_own_eps_twice():
    exact = closed_form(2.0)
    found = jc.certified_radius(jc.crown(), linear, jc.l2_ball(X, 0.5 * exact), LABEL, search=jc.bisection(4))
    assert float(found.lower) == float(found.upper) == float(np.float32(0.5 * exact))
    array = jc.certified_radius(
        jc.crown(), linear, jc.l2_ball(X, np.full(5, 0.5 * exact, np.float32)), LABEL, search=jc.bisection(4)
    )
    assert float(array.lower) == float(array.upper) == 1.0


@pytest.mark.parametrize("eps", [0.0, 0.5, 100.0])
def test_a_misclassified_centre_has_no_radius(eps):
    wrong = (LABEL + 1) % 3
    found = jc.certified_radius(jc.crown(), linear, jc.linf_ball(X, eps), wrong, search=jc.bisection(3))
    assert float(found.lower) == float(found.upper) == 0.0


def test_clip_widens_the_radius_and_more_steps_narrow_the_bracket():
    plain = jc.linf_ball(jnp.asarray(X), 2.0)
    tight = jc.linf_ball(jnp.asarray(X), 2.0, clip=(-0.25, 0.55))
    radius = jax.jit(lambda r: jc.certified_radius(jc.ibp(), linear, r, LABEL))
    assert float(radius(tight).lower) >= float(radius(plain).lower)
    few = jc.certified_radius(jc.ibp(), linear, plain, LABEL, search=jc.bisection(3))
    assert float(few.upper - few.lower) == pytest.approx(2.0 / 2**3, rel=1e-5)
    many = radius(plain)
    assert float(few.lower) <= float(many.lower) <= float(many.upper) <= float(few.upper)


def test_batches_equal_single_calls_and_do_not_retrace():
    traces = []

    def radius(x, eps, label):
        traces.append(None)
        return jc.certified_radius(jc.crown(), net, jc.linf_ball(x, eps), label, search=jc.bisection(12))

    batched = jax.jit(jax.vmap(radius))
    xs = jnp.stack([jnp.asarray(X), 0.5 * jnp.asarray(X), -jnp.asarray(X)])
    labels = jnp.argmax(jax.vmap(net)(xs), axis=-1)
    many = batched(xs, jnp.array([1.0, 2.0, 3.0]), labels)
    batched(xs + 0.1, jnp.array([2.0, 1.0, 0.0]), labels)
    assert len(traces) == 1
    single = jax.jit(radius)
    for i, eps in enumerate((1.0, 2.0, 3.0)):
        one = single(xs[i], jnp.asarray(eps), labels[i])
        assert float(one.lower) == pytest.approx(float(many.lower[i]), rel=1e-3, abs=1e-6)
        assert float(one.upper) == pytest.approx(float(many.upper[i]), rel=1e-3, abs=1e-6)


def test_traced_bad_input_never_has_a_radius():
    radius = jax.jit(
        jax.vmap(
            lambda x, eps, y: jc.certified_radius(
                jc.ibp(), linear, jc.linf_ball(x, eps), y, search=jc.bisection(3)
            )
        )
    )
    good = jnp.asarray(X)
    xs = jnp.stack([good, good, good.at[0].set(jnp.nan), good, good, good])
    eps = jnp.array([-0.1, jnp.nan, 0.1, jnp.inf, 0.1, 0.01])
    labels = jnp.array([LABEL, LABEL, LABEL, LABEL, 7, LABEL])
    found = radius(xs, eps, labels)
    assert not bool((found.lower[:-1] > 0).any())
    assert not bool((found.upper[:-1] > 0).any())
    assert float(found.lower[-1]) == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (
            lambda: jc.certified_radius(jc.ibp(), linear, jc.box(X, X + 1), LABEL),
            "needs an l_p ball: build one",
        ),
        (
            lambda: jc.certified_radius(
                jc.ibp(), linear, jc.linf_ball(X, 0.1), LABEL, search=jc.bisection(0)
            ),
            "at least 1, got 0",
        ),
        (lambda: jc.certified_radius(jc.ibp(), linear, jc.linf_ball(X, 0.1), 3), "label 3 is out of range"),
        (
            lambda: jc.certified_radius(jc.ibp(), linear, jc.linf_ball(X, 0.1), 0.0),
            "label must be one integer",
        ),
        (lambda: jc.certified_radius(jc.ibp(), jnp.sum, jc.linf_ball(X, 0.1), 0), r"logits of shape \[K\]"),
    ],
)
def test_bad_input_raises(call, says):
    with pytest.raises(jc.errors.InvalidInputError, match=says):
        call()
