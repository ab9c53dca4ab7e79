import dataclasses
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.special import logsumexp

from jaxcert.attacks import fgsm_rs, pgd
from jaxcert.data import load, random_crop
from jaxcert.errors import ConfigError
from jaxcert.models import MLP
from jaxcert.train import (
    METRICS,
    Adversarial,
    CrownIbp,
    Ibp,
    Levels,
    Recipe,
    Standard,
    Threat,
    initial_state,
    make_step,
    schedules,
)
from jaxcert.train.objectives import cheapest

DIGITS = load("digits").train
IMAGES, LABELS = DIGITS.pixels(np.arange(48)), DIGITS.labels[:48]
MODEL = MLP((12,), 10)
LINF, L2 = Threat(), Threat(norm=2.0)
OBJECTIVES = {
    "standard": Standard(),
    "fgsm-rs": Adversarial(fgsm_rs(), LINF),
    "pgd": Adversarial(pgd(steps=3), LINF),
    "pgd l2": Adversarial(pgd(steps=3), L2),
    "ibp": Ibp(LINF),
    "crown-ibp": CrownIbp(LINF),
}


def recipe_of(objective, *, eps=0.02, kappa=0.25, beta=0.5, rate=0.05):
    fixed = schedules.constant
    return Recipe(objective, fixed(eps), fixed(kappa), fixed(beta), fixed(rate))


def start_of(model=MODEL, optimizer=None, seed=0):
    optimizer = optimizer or optax.sgd(0.05)
    return initial_state(model, optimizer, jnp.asarray(IMAGES[0]), key=jax.random.key(seed))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_each_objective_is_reduced_and_reported_in_full(name):
    optimizer = optax.adam(0.02)
    step = jax.jit(make_step(MODEL, recipe_of(OBJECTIVES[name]), optimizer))
    state, history = start_of(optimizer=optimizer), []
    for _ in range(20):
        state, metrics = step(state, IMAGES, LABELS)
        history.append({key: float(value) for key, value in metrics.items()})
    first, last = history[0], history[-1]
    assert set(first) == set(METRICS)
    assert all(np.isfinite(value) for value in last.values())
    assert last["loss"] < 0.8 * first["loss"]
    assert last["clean_error"] < first["clean_error"]
    assert int(state.step) == 20
    if name == "standard":
        assert last["robust_loss"] == last["clean_loss"]
    else:
        assert last["clean_loss"] < last["robust_loss"]
        assert last["clean_error"] <= last["robust_error"] <= 1.0
    assert [last[key] for key in ("eps", "kappa", "beta", "learning_rate")] == pytest.approx(
        [0.02, 0.25, 0.5, 0.05]
    )


def numpy_ibp_loss(params, eps, kappa):
    """Mean loss by interval arithmetic written out for one hidden layer, specification fused."""
    w1, b1 = params["dense_0"]["kernel"], params["dense_0"]["bias"]
    w2, b2 = params["logits"]["kernel"], params["logits"]["bias"]
    total = 0.0
    for image, label in zip(IMAGES.astype(np.float64), LABELS, strict=True):
        x = image.reshape(-1)
        low, high = np.maximum(x - eps, 0.0), np.minimum(x + eps, 1.0)
        middle, half = 0.5 * (low + high) @ w1 + b1, 0.5 * (high - low) @ np.abs(w1)
        low, high = np.maximum(middle - half, 0.0), np.maximum(middle + half, 0.0)
        spec = np.delete(w2[:, [label]] - w2, label, axis=1)
        offset = np.delete(b2[label] - b2, label)
        margins = np.where(spec > 0, spec, 0.0).T @ low + np.where(spec < 0, spec, 0.0).T @ high + offset
        logits = np.maximum(x @ w1 + b1, 0.0) @ w2 + b2
        robust = logsumexp(np.concatenate([[0.0], -margins]))
        total += kappa * (logsumexp(logits) - logits[label]) + (1.0 - kappa) * robust
    return total / len(LABELS)


def test_ibp_loss_and_gradient_are_those_of_interval_arithmetic():
    eps, kappa = 0.05, 0.25
    step = jax.jit(make_step(MODEL, recipe_of(Ibp(LINF), eps=eps, kappa=kappa), optax.sgd(1.0)))
    state = start_of(optimizer=optax.sgd(1.0))
    new, metrics = step(state, IMAGES, LABELS)
    before = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), state.params)
    move = jax.tree.map(
        lambda a, b: np.asarray(a, np.float64) - np.asarray(b, np.float64), new.params, state.params
    )
    along = lambda t: numpy_ibp_loss(jax.tree.map(lambda p, m: p + t * m, before, move), eps, kappa)
    assert float(metrics["loss"]) == pytest.approx(along(0.0), rel=1e-5)
    # With learning rate 1 the move is minus the gradient, so the slope along it is minus its square.
    slope = (along(1e-6) - along(-1e-6)) / 2e-6
    squares = sum(float(np.sum(leaf**2)) for leaf in jax.tree.leaves(move))
    assert slope == pytest.approx(-squares, rel=1e-3)
    assert float(metrics["gradient_norm"]) == pytest.approx(squares**0.5, rel=1e-4)


def test_crown_ibp_meets_ibp_at_beta_0_and_clean_training_at_kappa_1_and_eps_0():
    params = start_of().variables

    def losses(objective):
        def one(x, label, levels):
            return objective(MODEL.apply, params, x, label, levels, key=jax.random.key(0))

        batch = jax.jit(jax.vmap(one, in_axes=(0, 0, None)))
        return lambda *levels: batch(IMAGES, LABELS, Levels(*map(jnp.float32, levels)))

    crown, ibp, clean = losses(CrownIbp(LINF)), losses(Ibp(LINF)), losses(Standard())
    same = partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)
    jax.tree.map(same, crown(0.05, 0.5, 0.0), ibp(0.05, 0.5, 0.0))
    same(crown(0.05, 1.0, 1.0).loss, clean(0.0, 0.0, 0.0).loss)
    jax.tree.map(same, crown(0.0, 0.0, 1.0), clean(0.0, 0.0, 0.0))
    assert np.all(crown(0.05, 0.0, 1.0).loss > clean(0.0, 0.0, 0.0).loss)


@pytest.mark.parametrize(
    ("eps", "beta", "expected"),
    [(0.0, 1.0, Standard()), (0.1, 0.0, Ibp(LINF)), (0.1, 0.5, CrownIbp(LINF))],
)
def test_the_driver_picks_the_cheapest_objective_of_equal_value(eps, beta, expected):
    assert cheapest(CrownIbp(LINF), eps=eps, beta=beta) == expected


def test_moving_levels_do_not_retrace():
    traces = 0
    ramp = partial(schedules.smoothed, warmup=1, rampup=4)
    recipe = Recipe(
        CrownIbp(LINF), ramp(0.0, 0.1), ramp(1.0, 0.0), ramp(1.0, 0.0), schedules.piecewise(0.1, 0.1, (3,))
    )
    inner = make_step(MODEL, recipe, optax.sgd(0.1))

    @jax.jit
    def step(state, images, labels):
        nonlocal traces
        traces += 1
        return inner(state, images, labels)

    state, eps = start_of(), []
    for _ in range(6):
        state, metrics = step(state, IMAGES, LABELS)
        eps.append(float(metrics["eps"]))
    assert traces == 1
    assert eps[0] == eps[1] == 0.0 < eps[2] < eps[4] < eps[5] == np.float32(0.1)


def test_a_step_is_a_function_of_state_and_batch():
    recipe = recipe_of(Adversarial(fgsm_rs(), LINF), eps=0.1)
    step = jax.jit(make_step(MODEL, recipe, optax.sgd(0.05), augment=partial(random_crop, padding=1)))
    state = start_of()
    once, again = step(state, IMAGES, LABELS)[0], step(state, IMAGES, LABELS)[0]
    jax.tree.map(np.testing.assert_array_equal, once.params, again.params)
    later = dataclasses.replace(state, step=state.step + 1)
    other = step(later, IMAGES, LABELS)[0]
    assert not np.array_equal(once.params["logits"]["bias"], other.params["logits"]["bias"])


def test_bad_input_poisons_the_loss():
    step = jax.jit(make_step(MODEL, recipe_of(Ibp(LINF)), optax.sgd(0.05)))
    state = start_of()
    wrong_label, bright, missing = LABELS.copy(), IMAGES.copy(), IMAGES.copy()
    wrong_label[3], bright[3, 2, 2, 0], missing[3, 2, 2, 0] = 10, 1.5, np.nan
    assert np.isfinite(float(step(state, IMAGES, LABELS)[1]["loss"]))
    for images, labels in ((IMAGES, wrong_label), (bright, LABELS), (missing, LABELS)):
        assert np.isnan(float(step(state, images, labels)[1]["loss"]))


class NormalizedNet(nn.Module):
    use_running_average: bool = True
    momentum: float = 0.9

    @nn.compact
    def __call__(self, x):
        x = nn.Dense(6)(x.reshape(*x.shape[:-3], -1))
        x = nn.BatchNorm(use_running_average=self.use_running_average, momentum=self.momentum)(x)
        return nn.Dense(10)(nn.relu(x))


def batch_norm_loss(params, images):
    """Clean mean loss with the usual batch normalisation, written out."""
    hidden = images.reshape(len(images), -1) @ params["Dense_0"]["kernel"] + params["Dense_0"]["bias"][None]
    mean, var = hidden.mean(axis=0), hidden.var(axis=0)
    hidden = (hidden - mean[None]) / jnp.sqrt(var + 1e-5)[None]
    hidden = hidden * params["BatchNorm_0"]["scale"][None] + params["BatchNorm_0"]["bias"][None]
    logits = jax.nn.relu(hidden) @ params["Dense_1"]["kernel"] + params["Dense_1"]["bias"][None]
    picked = jnp.take_along_axis(jax.nn.log_softmax(logits), jnp.asarray(LABELS)[:, None], axis=1)
    return -picked.mean(), (mean, var)


@pytest.mark.parametrize("objective", [Standard(), Ibp(LINF)])
def test_batch_norm_uses_the_clean_batch_and_gradients_flow_through_its_statistics(objective):
    model, optimizer = NormalizedNet(), optax.sgd(1.0)
    state = start_of(model, optimizer)
    step = jax.jit(make_step(model, recipe_of(objective, eps=0.0, kappa=0.0), optimizer))
    new, metrics = step(state, IMAGES, LABELS)
    (loss, (mean, var)), gradient = jax.jit(jax.value_and_grad(batch_norm_loss, has_aux=True))(
        state.params, jnp.asarray(IMAGES)
    )
    assert float(metrics["loss"]) == pytest.approx(float(loss), rel=1e-5)
    stepped = jax.tree.map(lambda p, g: p - g, state.params, gradient)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-5), new.params, stepped)
    running = new.model_state["batch_stats"]["BatchNorm_0"]
    np.testing.assert_allclose(running["mean"], 0.1 * mean, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(running["var"], 0.9 + 0.1 * var, rtol=1e-4)


class StubbornNet(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(10)(nn.BatchNorm(use_running_average=True)(x.reshape(*x.shape[:-3], -1)))


def test_batch_norm_that_cannot_be_switched_is_refused():
    model = StubbornNet()
    step = make_step(model, recipe_of(Standard()), optax.sgd(0.05))
    with pytest.raises(ConfigError, match="use_running_average and momentum"):
        step(start_of(model), IMAGES, LABELS)
