"""`interval`: exact ends for every norm, and agreement with the oracle on random regions."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcert as jc
from tests.common.regions import KINDS, arrays, draw, rounded
from tests.oracles import sets


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_interval_equals_the_oracle(kind):
    rng = np.random.default_rng(3)
    drawn = [rounded(draw(kind, 4, rng), "float32") for _ in range(200)]
    enclose = jax.jit(jax.vmap(lambda parts: jc.regions.interval(kind.build(parts))))
    lower, upper = enclose(arrays(drawn, (2, 2), "float32"))
    assert lower.shape == upper.shape == (200, 2, 2)
    for i, region in enumerate(drawn):
        exact = sets.interval(region)
        assert np.asarray(lower[i]).reshape(-1) == pytest.approx(exact[0], rel=2e-7, abs=1e-9)
        assert np.asarray(upper[i]).reshape(-1) == pytest.approx(exact[1], rel=2e-7, abs=1e-9)


@pytest.mark.parametrize("norm", [1.0, 1.5, 2.0, 7.0, math.inf])
def test_one_coordinate_may_use_the_whole_radius(norm):
    eps = jnp.array([0.25, 0.0, 0.5])
    lower, upper = jc.regions.interval(jc.lp_ball(jnp.array([0.5, 0.5, 0.75]), eps, norm, (0.0, 1.0)))
    assert lower.tolist() == [0.25, 0.5, 0.25]
    assert upper.tolist() == [0.75, 0.5, 1.0]


def test_ends_of_a_box_come_back_unchanged():
    lower, upper = jnp.array([0.1, -3.0]), jnp.array([0.1, 1e9])
    found = jc.regions.interval(jc.box(lower, upper))
    assert found[0].tolist() == lower.tolist()
    assert found[1].tolist() == upper.tolist()


def test_gradients_of_the_ends_are_zero_where_clip_cuts():
    def upper(x, eps):
        return jc.regions.interval(jc.linf_ball(x, eps, clip=(0.0, 1.0)))[1].sum()

    by_x, by_eps = jax.grad(upper, argnums=(0, 1))(jnp.array([0.2, 0.95]), 0.1)
    assert by_x.tolist() == [1.0, 0.0]
    assert float(by_eps) == 1.0
