"""Transfer matrices and ensembles against a Python loop over networks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcert.attacks import expectation, mean_logits, mean_probability, pgd
from jaxcert.attacks.ensemble import ensemble
from jaxcert.attacks.linear import linear_attack
from jaxcert.attacks.transfer import transfer_matrix
from jaxcert.regions import l2_ball, linf_ball
from jaxcert.regions.contain import contains

KEY, SIZE, CLASSES = jax.random.key(0), 4, 3


def apply(parameters, x):
    return jnp.tanh(parameters["w1"] @ x) @ parameters["w2"]


def networks(seed, count):
    rng = np.random.default_rng(seed)
    draw = lambda *shape: jnp.asarray(rng.normal(size=(count, *shape)), jnp.float32)
    return {"w1": draw(6, SIZE), "w2": draw(6, CLASSES)}


def nth(parameters, index):
    return jax.tree.map(lambda leaf: leaf[index], parameters)


def test_is_the_loop_over_sources_and_targets():
    sources, targets, centers = (
        networks(0, 3),
        networks(1, 4),
        jnp.linspace(0.0, 1.0, 2 * SIZE).reshape(2, SIZE),
    )
    attack, labels, traces = pgd(3), jnp.array([0, 2]), 0

    def counted(parameters, x):
        nonlocal traces
        traces += 1
        return apply(parameters, x)

    def one(x, label):
        return transfer_matrix(attack, counted, sources, targets, linf_ball(x, 0.3), label, key=KEY)

    found = jax.jit(jax.vmap(one))(centers, labels)
    assert found.success.shape == found.margin.shape == (2, 3, 4)
    assert found.x.shape == (2, 3, SIZE)
    assert traces < 20  # a loop over the networks in Python would trace the network hundreds of times
    alone = jax.jit(
        lambda parameters, x, label, key: attack(
            lambda z: apply(parameters, z), linf_ball(x, 0.3), label, key=key
        )
    )
    keys = jax.random.split(KEY, 3)
    for i, label in enumerate((0, 2)):
        for s in range(3):
            x = alone(nth(sources, s), centers[i], label, keys[s]).x
            np.testing.assert_allclose(found.x[i, s], x, atol=1e-5)
            assert bool(contains(linf_ball(centers[i], 0.3), found.x[i, s]))
            for t in range(4):
                logits = np.asarray(apply(nth(targets, t), found.x[i, s]))
                margin = logits[label] - np.delete(logits, label).max()
                np.testing.assert_allclose(found.margin[i, s, t], margin, rtol=1e-4, atol=1e-5)
                assert bool(found.success[i, s, t]) == (margin < 0)


def test_the_diagonal_is_the_attack_itself_and_the_strongest_for_linear_networks():
    weights = jnp.asarray(np.random.default_rng(2).normal(size=(5, 3, SIZE)), jnp.float32)
    linear = lambda weight, x: weight @ x
    region = l2_ball(jnp.zeros(SIZE), 0.5)
    run = jax.jit(
        lambda weights: transfer_matrix(linear_attack(), linear, weights, weights, region, 1, key=KEY)
    )
    margin = np.asarray(run(weights).margin)
    assert (margin.diagonal()[None] <= margin + 1e-5).all()


def test_no_gradient_and_bad_input():
    sources, region = networks(0, 2), linf_ball(jnp.zeros(SIZE), 0.1)

    def run(sources, label):
        return transfer_matrix(pgd(2), apply, sources, sources, region, label, key=KEY)

    total = lambda sources: jnp.sum(run(sources, 0).margin) + jnp.sum(run(sources, 0).x)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(jax.jit(jax.grad(total))(sources)))
    for label in (-1, CLASSES):
        found = jax.jit(run)(sources, label)
        assert bool(jnp.all(found.success))
        assert bool(jnp.all(jnp.isnan(found.margin)))
    for bad in ({"w1": sources["w1"], "w2": sources["w2"][:1]}, {"w1": jnp.float32(1.0)}, {}):
        with pytest.raises(ValueError, match="stacked along a common"):
            run(bad, 0)
    with pytest.raises(ValueError, match="classes 0 to 2"):
        run(sources, CLASSES)


def test_ensemble_is_the_mean_softmax():
    rng = np.random.default_rng(3)
    weights = jnp.asarray(rng.normal(size=(3, CLASSES, SIZE)) * 3, jnp.float32)
    x = jnp.asarray(rng.normal(size=SIZE), jnp.float32)
    fns = [lambda z, weight=weight: weight @ z for weight in weights]
    mean = np.mean([jax.nn.softmax(fn(x)) for fn in fns], axis=0)
    both = ensemble(fns)
    np.testing.assert_allclose(jax.nn.softmax(both(x)), mean, rtol=1e-5)
    np.testing.assert_allclose(mean_probability(weights @ x), np.log(mean), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(mean_logits(weights @ x), np.mean(weights @ x, axis=0), rtol=1e-5, atol=1e-6)
    result = jax.jit(lambda x: pgd(3)(both, linf_ball(x, 0.2), 1, key=KEY))(x)
    mean = np.mean([jax.nn.softmax(fn(result.x)) for fn in fns], axis=0)
    np.testing.assert_allclose(result.loss, -np.log(mean[1]), rtol=1e-4)
    # The same networks as draws of a randomised one are judged alike.
    drawn = expectation(lambda z, key: weights[0] @ z, 2)
    same = jax.jit(lambda x: pgd(2)(drawn, linf_ball(x, 0.2), 1, key=KEY))(x)
    single = jax.nn.log_softmax(weights[0] @ same.x)
    np.testing.assert_allclose(same.margin, single[1] - np.delete(single, 1).max(), rtol=1e-4, atol=1e-5)


def test_ensembles_without_networks_or_with_other_classes_are_refused():
    with pytest.raises(ValueError, match="at least one network"):
        ensemble([])
    with pytest.raises(ValueError, match="same classes"):
        ensemble([lambda x: x[:2], lambda x: x[:3]])(jnp.zeros(3))
