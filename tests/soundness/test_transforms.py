"""Bounds mean the same eagerly, under jit, vmap and scan, and new numbers never trace again."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import jaxcert as jc
from tests.common.architectures import BY_NAME
from tests.common.cases import batch
from tests.common.compiling import quick_jit
from tests.common.methods import FEWER, METHODS
from tests.common.regions import KINDS

COUNT = 3


def certify(architecture, kind, methods=METHODS):
    """The margins of every method, as one function."""

    def margins(params, parts, label):
        fn, region = (lambda x: architecture.apply(params, x)), kind.build(parts)
        return {name: jc.margins(method, fn, region, label) for name, method in methods.items()}

    return margins


def assert_close(first, second):
    assert first.keys() == second.keys()
    for name in first:
        assert np.asarray(first[name]) == pytest.approx(np.asarray(second[name]), rel=1e-4, abs=1e-5), name


def one(tree, i):
    return jax.tree.map(lambda leaf: leaf[i], tree)


@pytest.mark.parametrize(
    ("name", "kind", "methods"),
    [("conv_grouped", KINDS[1], METHODS), ("mixed", KINDS[3], FEWER)],
    ids=["conv_grouped", "mixed"],
)
def test_jit_vmap_and_scan_agree(name, kind, methods):
    architecture = BY_NAME[name]
    drawn = batch(architecture, kind, np.random.default_rng(1), COUNT, "float32", (0.03, 0.3))
    labels = jnp.arange(COUNT)
    margins = certify(architecture, kind, methods)
    batched = quick_jit(jax.vmap(margins))(drawn.params, drawn.parts, labels)
    jitted = quick_jit(margins)
    for i in range(COUNT):
        assert_close(jitted(one(drawn.params, i), one(drawn.parts, i), labels[i]), one(batched, i))
    scan = quick_jit(lambda xs: lax.scan(lambda carry, x: (carry, margins(*x)), 0, xs)[1])
    assert_close(scan((drawn.params, drawn.parts, labels)), batched)


def test_eager_agrees_with_jit():
    architecture, kind = BY_NAME["dense"], KINDS[1]
    drawn = batch(architecture, kind, np.random.default_rng(2), 1, "float32", (0.3,))
    margins, args = certify(architecture, kind), (one(drawn.params, 0), one(drawn.parts, 0), 2)
    assert_close(margins(*args), quick_jit(margins)(*args))


def test_new_eps_params_labels_and_inputs_do_not_retrace():
    architecture, kind = BY_NAME["deep"], KINDS[1]
    traces = []

    @quick_jit
    @jax.vmap
    def margins(params, parts, label):
        traces.append(None)
        return certify(architecture, kind)(params, parts, label)

    results = []
    for seed in range(3):
        drawn = batch(architecture, kind, np.random.default_rng(seed), COUNT, "float32", (0.1 * seed,))
        results.append(margins(drawn.params, drawn.parts, jnp.full(COUNT, seed)))
    assert len(traces) == 1
    assert not any(bool(jnp.allclose(results[0][name], results[1][name])) for name in METHODS)


def test_methods_are_pytrees_and_static_arguments():
    architecture, kind = BY_NAME["dense"], KINDS[1]
    drawn = batch(architecture, kind, np.random.default_rng(3), COUNT, "float32", (0.1,))
    params, parts = one(drawn.params, 0), one(drawn.parts, 0)

    def lower(method, params, parts):
        return method(lambda x: architecture.apply(params, x), kind.build(parts)).lower

    for method_name, method in METHODS.items():
        assert not jax.tree.leaves(method), method_name
        assert hash(method) == hash(jax.tree.unflatten(jax.tree.structure(method), []))
        as_tree = jax.jit(lower)(method, params, parts)
        as_static = jax.jit(lower, static_argnums=0)(method, params, parts)
        assert bool(jnp.array_equal(as_tree, as_static)), method_name


def test_float64_differs_from_float32_only_by_rounding():
    architecture, kind = BY_NAME["conv_residual"], KINDS[1]
    drawn = batch(architecture, kind, np.random.default_rng(4), COUNT, "float32", (0.1,))
    labels = jnp.arange(COUNT)
    run = quick_jit(jax.vmap(certify(architecture, kind)))
    single = run(drawn.params, drawn.parts, labels)
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), (drawn.params, drawn.parts))
        double = run(*wide, labels)
    assert_close(single, double)
    for name in METHODS:
        assert single[name].dtype == np.float32
        assert double[name].dtype == np.float64
        assert not np.array_equal(np.asarray(single[name]), np.asarray(double[name])), name
