"""Counts of active, dead and unstable neurons: by hand, by sampling, and what is not counted."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcert as jc
from tests.certify import nets
from tests.common.compiling import quick_jit
from tests.oracles import sampling, sets


def test_counts_by_hand():
    shift = jnp.array([-1.0, 0.5, 0.0, -0.5, 0.25])

    def fn(x):
        hidden = jax.nn.relu(x + shift)
        return jnp.tanh(jax.nn.leaky_relu(hidden - 10.0, 0.1)).sum()

    found = jc.neuron_statistics(jc.ibp(), fn, jc.linf_ball(jnp.zeros(5), 0.5))
    first, second = found.layers
    assert (first.kind, first.size, second.kind, second.size) == ("relu", 5, "leaky_relu", 5)
    assert (int(first.active), int(first.dead), int(first.unstable)) == (1, 2, 2)  # both ends at 0 are stable
    assert (int(second.active), int(second.dead), int(second.unstable)) == (0, 5, 0)
    assert (int(found.active), int(found.dead), int(found.unstable), found.size) == (1, 7, 2, 10)
    assert float(found.unstable_share) == pytest.approx(0.2)
    assert "test_neurons.py" in first.where


@pytest.mark.parametrize("method", [jc.ibp(), jc.crown()], ids=["ibp", "crown"])
def test_stable_neurons_are_stable_at_samples(method):
    count = 10
    params, xs, _ = nets.batch(51, count)
    eps = np.linspace(0.0, 0.3, count).astype(np.float32)
    statistics = quick_jit(
        jax.vmap(lambda p, x, e: jc.neuron_statistics(method, lambda x: nets.apply(p, x), jc.linf_ball(x, e)))
    )
    found = statistics(params, xs, eps)
    total = found.active + found.dead + found.unstable
    assert (np.asarray(total) == 2 * nets.HIDDEN).all()
    assert int(found.unstable[0]) == 0
    assert int(found.unstable[-1]) > int(found.unstable[1])
    rng = np.random.default_rng(1)
    for i in range(1, count):
        points = sampling.points(sets.ball(np.asarray(xs[i], np.float64), eps[i], np.inf), 500, rng)
        first = points @ params[0][i].T.astype(np.float64) + params[1][i]
        second = np.maximum(first, 0) @ params[2][i].T.astype(np.float64) + params[3][i]
        for layer, values in zip(found.layers, (first, second), strict=True):
            assert int(layer.active[i]) <= (values > -1e-5).all(0).sum()
            assert int(layer.dead[i]) <= (values < 1e-5).all(0).sum()


def test_tighter_intervals_leave_no_more_unstable():
    params, xs, _ = nets.batch(52, 10)
    unstable = quick_jit(
        jax.vmap(
            lambda p, x: [
                jc.neuron_statistics(m, lambda x: nets.apply(p, x), jc.linf_ball(x, 0.15)).unstable
                for m in (jc.ibp(), jc.crown())
            ]
        )
    )
    loose, tight = unstable(params, xs)
    assert int(tight.sum()) < int(loose.sum())


def test_nan_counts_as_unstable_and_other_activations_do_not_count():
    fn = lambda x: jax.nn.relu(jnp.tanh(x)).sum()
    found = jax.jit(lambda x: jc.neuron_statistics(jc.ibp(), fn, jc.linf_ball(x, 0.1)))(jnp.full(3, jnp.nan))
    assert int(found.unstable) == found.size == 3
    none = jc.neuron_statistics(jc.ibp(), lambda x: jnp.tanh(x).sum(), jc.linf_ball(jnp.ones(3), 0.1))
    assert (none.layers, none.size, int(none.unstable), float(none.unstable_share)) == ((), 0, 0, 0.0)


def test_a_method_without_ranges_is_named():
    with pytest.raises(jc.errors.InvalidInputError, match="needs a method with ranges"):
        jc.neuron_statistics(jc.margins, jnp.tanh, jc.linf_ball(jnp.ones(3), 0.1))
