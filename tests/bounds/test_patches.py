"""Windows against dense rows: every step that patches know, number by number."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import jaxcert as jc
from jaxcert.bounds import CROWN_RULES
from jaxcert.bounds.patch_steps import patch_step
from tests.common.compiling import quick_jit

# The patch pass implements the usual rules only: the same rules under other names go densely.
DENSE = CROWN_RULES | {
    kind: (lambda rule: lambda *args: rule(*args))(CROWN_RULES[kind]) for kind in CROWN_RULES
}
SHAPE = (11, 12, 2)


def conv(x, kernel, strides=(1, 1), padding="SAME"):
    return lax.conv_general_dilated(
        x[None], kernel, strides, padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )[0]


def tail(p, h):
    h = jax.nn.relu(conv(h, p["k1"], (1, 1), ((1, 0), (0, 1))))
    return jax.nn.relu(conv(h, p["k2"])).sum((0, 1))


def residual(p, x):
    h = jax.nn.relu(conv(x, p["k"], (2, 2)))
    h = jax.nn.relu(conv(jax.nn.relu(conv(h, p["k3"])), p["k3"]) + h)
    return tail(p, h + conv(x, p["k0"], (2, 2)))


def max_pool(p, x):
    h = jax.nn.relu(conv(x, p["k"]))
    return tail(p, lax.reduce_window(h, -np.inf, lax.max, (2, 2, 1), (2, 1, 1), "VALID"))


def average_pool(p, x):
    h = jax.nn.relu(conv(x, p["k"]))
    padding = ((1, 1), (0, 1), (0, 0))
    return tail(p, lax.reduce_window(h, np.zeros((), h.dtype), lax.add, (3, 2, 1), (2, 1, 1), padding) / 6)


def sliced(p, x):
    h = jax.nn.relu(conv(x, p["k"]))[1:, ::2]
    return tail(p, jnp.tanh(conv(h, p["k3"], (1, 1), "VALID"))[::2, 1:-1])


NETS = {"residual": residual, "max_pool": max_pool, "average_pool": average_pool, "sliced": sliced}
NEEDED = {"residual": "add", "max_pool": "maximum", "average_pool": "reduce_window_sum", "sliced": "slice"}


@pytest.mark.parametrize("name", NETS)
def test_patches_and_dense_rows_give_one_bound(name, x64, monkeypatch):
    rng = np.random.default_rng(0)
    shapes = {
        "k": (3, 3, 2, 3),
        "k0": (1, 1, 2, 3),
        "k1": (2, 2, 3, 2),
        "k2": (3, 3, 2, 2),
        "k3": (2, 2, 3, 3),
    }
    params = {key: jnp.asarray(rng.normal(size=shape)) / 3 for key, shape in shapes.items()}
    taken = []

    def watched(graph, index, *rest):
        step = patch_step(graph, index, *rest)
        taken.append((graph.nodes[index].kind, step is not None))
        return step

    monkeypatch.setattr("jaxcert.bounds.sweep.patch_step", watched)

    @quick_jit
    def run(p, x):
        region = jc.linf_ball(x, 0.05, clip=(0.0, 1.0))
        fn = lambda x: NETS[name](p, x)
        return jc.crown()(fn, region), jc.crown(rules=DENSE)(fn, region)

    by_patches, by_rows = run(params, jnp.asarray(rng.random(SHAPE)))
    assert (NEEDED[name], True) in taken
    assert np.asarray(by_patches.lower) == pytest.approx(np.asarray(by_rows.lower), rel=1e-10, abs=1e-10)
    assert np.asarray(by_patches.upper) == pytest.approx(np.asarray(by_rows.upper), rel=1e-10, abs=1e-10)
