"""What no network may turn into robustness: invalid regions and images, starts outside, hidden slopes."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcert.attacks import (
    Stage,
    apgd,
    autoattack,
    deepfool,
    fab,
    fgsm,
    linear_attack,
    minimal_norm,
    multi_targeted,
    pgd,
    square,
    start_at,
    targeted_margin,
)
from jaxcert.regions import LpBall, l2_ball, linf_ball
from jaxcert.regions.contain import contains

KEY = jax.random.key(0)
CENTER = jnp.array([0.5, 0.4, 0.6])
ATTACKS = {
    "fgsm": fgsm(),
    "pgd": pgd(2),
    "apgd": apgd(2),
    "multi_targeted": multi_targeted(apgd(2), targeted_margin),
    "fab": fab(2),
    "deepfool": deepfool(2),
    "square": square(3),
    "linear_attack": linear_attack(),
    "autoattack": autoattack((Stage("apgd", apgd(2)),)),
}


def swallows_nan(x):
    """A network that answers the same, and class 0, wherever a pixel is NaN."""
    return jnp.stack([1.0 + jnp.where(x > 0, x, 0.0).sum(), jnp.zeros(()), -jnp.ones(())])


@pytest.mark.parametrize("name", ATTACKS)
def test_an_invalid_region_is_an_error_whatever_the_network_does_with_nan(name):
    def run(center, radius):
        region = LpBall(center, radius, (jnp.zeros(()), jnp.ones(())))
        return ATTACKS[name](swallows_nan, region, 0, key=KEY)

    centers = jnp.stack([CENTER, CENTER, CENTER.at[1].set(jnp.nan), CENTER.at[1].set(1.5)])
    found = jax.jit(jax.vmap(run))(centers, jnp.array([0.1, -0.1, 0.1, 0.1]))
    assert found.success.tolist() == [False, True, True, True]
    assert bool(jnp.all(jnp.isnan(found.margin[1:])))


def test_an_invalid_region_has_the_distance_zero():
    def run(radius):
        region = LpBall(CENTER, radius)
        return [a.nearest(swallows_nan, region, 0, key=KEY) for a in (fab(2), minimal_norm(pgd(2), 2))]

    for nearest in jax.jit(run)(jnp.asarray(-0.1)):
        assert bool(nearest.found)
        assert float(nearest.distance) == 0.0


@pytest.mark.parametrize("attack", [pgd(2), apgd(2), pgd(2, keep_best=False)])
def test_a_start_outside_is_moved_in(attack):
    class Far:
        def __call__(self, region, *, key):
            return region.center - 10

    region = linf_ball(CENTER, 0.1)
    fn = lambda x: jnp.stack([x.sum(), jnp.zeros(())])
    found = replace(attack, start=Far())(fn, region, 0, key=KEY)
    assert bool(contains(region, found.x))


def test_no_gradient_flows_through_starts_and_options():
    fn = lambda x: jnp.stack([x[0], x[1] * x[2]])

    def loss(start, size):
        ball = l2_ball(CENTER, 0.2, clip=(0.0, 1.0))
        attacks = pgd(2, step_size=size, start=start_at(start)), apgd(2, start=start_at(start))
        return sum(attack(fn, ball, 0, key=KEY).x.sum() for attack in attacks)

    slopes = jax.jit(jax.grad(loss, argnums=(0, 1)))(CENTER, jnp.asarray(0.3))
    assert not any(np.any(leaf) for leaf in slopes)
