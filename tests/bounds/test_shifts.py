"""Which constants go into the planes of the activations behind them, and that bounds stay what they were."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcert as jc
from jaxcert.bounds import CROWN_RULES
from jaxcert.bounds.shifts import shifts_before_activations
from jaxcert.graph import trace

RNG = np.random.default_rng(3)
W1, W2 = (jnp.asarray(RNG.standard_normal(shape), jnp.float32) for shape in ((4, 6), (6, 3)))
B = jnp.asarray(RNG.standard_normal(6), jnp.float32)
KEPT = {
    "direct": (lambda x: jax.nn.relu(x @ W1 + B) @ W2, 1),
    "renamed, two activations": (
        lambda x: (jax.nn.relu(x @ W1 + B) + jnp.tanh((x @ W1 + B).reshape(2, 3)).reshape(6)) @ W2,
        1,
    ),
    "used otherwise too": (lambda x: jax.nn.relu(x @ W1 + B) @ W2 + (x @ W1 + B)[:3], 0),
    "behind a sum": (lambda x: jax.nn.relu((x @ W1 + B).sum()), 0),
    "no activation": (lambda x: x @ W1 + B, 0),
}


@pytest.mark.parametrize("name", KEPT)
def test_a_constant_is_taken_in_where_only_activations_see_it(name):
    fn, expected = KEPT[name]
    graph = trace(fn, jc.linf_ball(jnp.zeros(4), 0.1))
    found = shifts_before_activations(graph, CROWN_RULES)
    assert len(found.until) == expected
    assert {graph.nodes[i].kind for i in found.until} <= {"shift"}
    other = CROWN_RULES | {"shift": lambda *_: None}
    assert not shifts_before_activations(graph, other).until, "rules of one's own are not gone around"


@pytest.mark.parametrize("name", KEPT)
@pytest.mark.parametrize("method", [jc.crown(), jc.fast_lin()], ids=["crown", "fast_lin"])
def test_bounds_equal_those_of_passes_that_meet_the_constant(name, method):
    """A shift rule of one's own, here the usual one in other clothes, is always asked."""
    fn, _ = KEPT[name]
    region = jc.linf_ball(jnp.asarray([0.1, -0.4, 0.3, 0.8]), 0.2)
    own = CROWN_RULES | {"shift": lambda *arguments: CROWN_RULES["shift"](*arguments)}
    plain = jc.crown(method.slope, method.intermediate, rules=own)
    found, expected = method(fn, region), plain(fn, region)
    np.testing.assert_allclose(found.lower, expected.lower, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found.upper, expected.upper, rtol=1e-5, atol=1e-5)
