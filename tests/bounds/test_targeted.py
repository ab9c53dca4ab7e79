"""Targeted margins are the rows of the margins, and bad targets never certify."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcert as jc

RNG = np.random.default_rng(0)
FIRST, SECOND = RNG.normal(size=(6, 5)).astype(np.float32), RNG.normal(size=(4, 6)).astype(np.float32)
X = RNG.normal(size=5).astype(np.float32)
REGION = jc.linf_ball(X, 0.05)


def net(x):
    return SECOND @ jax.nn.relu(FIRST @ x)


@pytest.mark.parametrize("method", [jc.ibp(), jc.crown()], ids=["ibp", "crown"])
@pytest.mark.parametrize("label", [0, 2, 3])
def test_they_are_rows_of_the_margins(method, label):
    others = [j for j in range(4) if j != label]
    every = np.asarray(jc.margins(method, net, REGION, label))
    chosen = [others[2], others[0]]
    found = jc.targeted_margins(method, net, REGION, label, chosen)
    assert np.asarray(found) == pytest.approx(every[[2, 0]], rel=1e-5, abs=1e-6)


def test_a_linear_specification_is_below_samples():
    coeffs = RNG.normal(size=(3, 4)).astype(np.float32)
    offset = RNG.normal(size=3).astype(np.float32)
    lower = np.asarray(jc.crown().lower(net, REGION, coeffs, offset))
    points = X + 0.05 * RNG.uniform(-1, 1, (500, 5))
    values = np.maximum(points @ FIRST.T.astype(np.float64), 0) @ SECOND.T @ coeffs.T + offset
    assert (lower <= values.min(0) + 1e-5).all()


def test_traced_bad_targets_give_nan():
    found = jax.jit(lambda label, targets: jc.targeted_margins(jc.ibp(), net, REGION, label, targets))(
        1, jnp.array([0, 1, 7, -1, 3])
    )
    assert np.isnan(found).tolist() == [False, True, True, True, False]
    wrong = jax.jit(lambda label: jc.targeted_margins(jc.ibp(), net, REGION, label, [0, 2]))(9)
    assert np.isnan(wrong).all()


@pytest.mark.parametrize(
    ("label", "targets", "says"),
    [
        (1, [0, 1], "differ from the label"),
        (1, [0, 4], "out of range"),
        (1, [-1], "out of range"),
        (4, [0], "out of range"),
        (1, 0, "a list of classes"),
        (1, [], "a list of classes"),
        (1, [0.5], "must be integers"),
    ],
)
def test_concrete_bad_targets_raise(label, targets, says):
    with pytest.raises(jc.errors.InvalidInputError, match=says):
        jc.targeted_margins(jc.ibp(), net, REGION, label, targets)
