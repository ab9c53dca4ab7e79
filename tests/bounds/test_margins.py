"""Margins and the verdict: labels, order of the classes, elision, refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcert as jc
from tests.bounds.nets import OUT, X, net

METHODS = {"ibp": jc.ibp(), "crown": jc.crown(), "crown_ibp": jc.crown_ibp(), "fast_lin": jc.fast_lin()}
REGION = jc.linf_ball(X, 0.05)
FN = net()


@pytest.mark.parametrize("label", range(OUT))
@pytest.mark.parametrize("name", METHODS)
def test_margins_list_the_other_classes_in_order(name, label):
    """With radius 0 every bound is the value itself, so the order shows."""
    point = jc.linf_ball(X, 0.0)
    logits = np.asarray(FN(X))
    expected = [logits[label] - logits[j] for j in range(OUT) if j != label]
    assert np.asarray(jc.margins(METHODS[name], FN, point, label)) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("name", METHODS)
def test_elision_is_never_looser_than_the_difference_of_bounds(name):
    bounds = METHODS[name](FN, REGION)
    for label in range(OUT):
        merged = np.asarray(jc.margins(METHODS[name], FN, REGION, label))
        apart = [float(bounds.lower[label] - bounds.upper[j]) for j in range(OUT) if j != label]
        assert (merged >= np.array(apart) - 1e-5).all()
    assert (merged > np.array(apart) + 1e-4).any()


def test_ibp_elision_equals_the_manual_merge():
    """theses/1 (2.27): the last matrix becomes its row differences before intervals enter."""
    p = jc.ibp()(lambda x: jax.nn.relu(x), REGION)  # the layer before the last affine map
    matrix = jnp.asarray(np.random.default_rng(1).normal(size=(4, OUT)), jnp.float32)
    found = jc.margins(jc.ibp(), lambda x: jax.nn.relu(x) @ matrix, REGION, 1)
    rows = (matrix[:, 1:2] - matrix[:, jnp.array([0, 2])]).T
    expected = jnp.where(rows > 0, rows * p.lower[None], rows * p.upper[None]).sum(1)
    assert np.asarray(found) == pytest.approx(np.asarray(expected), rel=1e-5)


def test_margins_equal_lower_of_the_margin_matrix():
    coeffs = jc.bounds.margin_coeffs(1, OUT, jnp.float32)
    assert coeffs.tolist() == [[-1.0, 1.0, 0.0], [0.0, 1.0, -1.0]]
    for method in METHODS.values():
        direct = method.lower(FN, REGION, coeffs)
        assert bool(jnp.array_equal(direct, jc.margins(method, FN, REGION, 1)))


@pytest.mark.parametrize("dtype", [jnp.uint8, jnp.int8, jnp.int32, jnp.uint32, np.int64])
def test_integer_labels_of_every_width(dtype):
    label = np.asarray(2, dtype)
    expected = jc.margins(jc.ibp(), FN, REGION, 2)
    assert bool(jnp.array_equal(jc.margins(jc.ibp(), FN, REGION, label), expected))
    traced = jax.jit(lambda y: jc.margins(jc.ibp(), FN, REGION, y))(jnp.asarray(label))
    assert np.asarray(traced) == pytest.approx(np.asarray(expected), rel=1e-5)


@pytest.mark.parametrize("label", [-1, OUT, 10**6, np.uint8(200), np.int64(-3)])
def test_concrete_labels_out_of_range_raise(label):
    with pytest.raises(jc.errors.InvalidInputError, match="out of range: the network has 3 classes"):
        jc.margins(jc.crown(), FN, REGION, label)


@pytest.mark.parametrize("label", [0.0, 1.5, True, np.array([0, 1]), jnp.zeros(3)])
def test_labels_that_are_not_one_integer_raise(label):
    with pytest.raises(jc.errors.InvalidInputError, match="label must be one integer"):
        jc.margins(jc.crown(), FN, REGION, label)


def test_traced_labels_out_of_range_give_nan_and_leave_their_neighbours_alone():
    batched = jax.jit(jax.vmap(lambda y: jc.margins(jc.ibp(), FN, REGION, y)))
    for labels in (jnp.array([-1, 0, OUT, 1, -(2**31), 2**31 - 1]), jnp.array([255, 1, 3, 0], jnp.uint8)):
        found = batched(labels)
        good = (labels >= 0) & (labels < OUT)
        assert bool((jnp.isnan(found).all(-1) == ~good).all())
        assert bool(jnp.isfinite(found[good]).all())
        assert not bool(jc.is_certified(found)[~good].any())


def test_wide_integers_do_not_wrap_into_range(x64):
    fn = lambda x: jnp.stack([x.sum() + 9.0, x[0]])
    region = jc.linf_ball(jnp.zeros(2), 0.1)
    found = jax.jit(lambda y: jc.margins(jc.ibp(), fn, region, y))(jnp.asarray(2**32, jnp.int64))
    assert bool(jnp.isnan(found).all())
    wrapped = jax.jit(lambda y: jc.margins(jc.ibp(), fn, region, y))(jnp.asarray(2**32 - 1, jnp.uint32))
    assert bool(jnp.isnan(wrapped).all())


def test_two_classes_give_one_margin():
    fn = net(3, classes=2)
    both = [jc.margins(jc.crown(), fn, REGION, label) for label in (0, 1)]
    assert [m.shape for m in both] == [(1,), (1,)]
    gap = float(fn(X)[0] - fn(X)[1])
    assert float(both[0][0]) <= gap <= -float(both[1][0])


@pytest.mark.parametrize(
    "fn", [lambda x: x.sum(), lambda x: x[:1], lambda x: x.reshape(2, 2), lambda x: x[None]]
)
def test_logits_of_other_shapes_raise(fn):
    with pytest.raises(jc.errors.InvalidInputError, match=r"logits of shape \[K\] with K >= 2"):
        jc.margins(jc.ibp(), fn, REGION, 0)


def test_the_verdict_needs_every_margin_positive_and_finite():
    cases = {
        (1.0, 2.0): True,
        (1e-30, 1.0): True,
        (0.0, 1.0): False,
        (-1.0, 1.0): False,
        (jnp.nan, 1.0): False,
        (jnp.inf, 1.0): False,
        (1.0, -jnp.inf): False,
        (jnp.inf, jnp.inf): False,
    }
    stacked = jnp.array(list(cases))
    expected = list(cases.values())
    assert jc.is_certified(stacked).tolist() == expected
    assert jax.jit(jc.is_certified)(stacked).tolist() == expected
    assert jax.vmap(jc.is_certified)(stacked).tolist() == expected
    assert jc.is_certified(stacked[0]).shape == ()


def test_only_arrays_certify():
    for other in (jc.ibp()(FN, REGION), "yes", None, True):
        with pytest.raises(jc.errors.InvalidInputError, match="only bounds certify"):
            jc.is_certified(other)
