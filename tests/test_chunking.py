"""`map_examples` and `mean_gradient`: equal to vmap, within the budget by the compiler's own count."""

import re
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcert.chunking import examples as chunking
from jaxcert.chunking import map_examples, mean_gradient
from jaxcert.chunking import memory as estimates
from jaxcert.errors import InvalidInputError

WIDE = 4096


def wide(x, y):
    """Needs about 32 KiB an example: an outer product that no fusion removes, for it is sorted."""
    rows = jnp.sort(jnp.sin(x["a"][:, None] * jnp.arange(1.0, WIDE // 2 + 1)[None]), axis=1)
    return {"top": rows[:, -3:], "sum": (rows.sum() + y,)}


def batch(examples, seed=0):
    rng = np.random.default_rng(seed)
    return {"a": jnp.asarray(rng.normal(size=(examples, 4)), jnp.float32)}, jnp.arange(float(examples))


def same(found, expected):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), found, expected)


@pytest.mark.parametrize("examples", [1, 7, 12, 13])
@pytest.mark.parametrize("memory", ["80KiB", "200 kB", "1GiB", 100_000, None])
def test_equals_vmap_with_and_without_remainder(examples, memory):
    same(map_examples(wide, *batch(examples), memory=memory), jax.vmap(wide)(*batch(examples)))


@pytest.mark.parametrize("chunk", [1, 2, 3, 5, 6, 12, 40])
def test_every_chunk_size_gives_the_same_in_order(chunk):
    found = chunking._in_chunks(lambda x, y: (x["a"][0], y), chunk, batch(12))
    assert found[0].tolist() == batch(12)[0]["a"][:, 0].tolist()
    assert found[1].tolist() == list(range(12))


def working_memory(examples, memory):
    run = jax.jit(lambda *args: map_examples(wide, *args, memory=memory))
    return run.lower(*batch(examples)).compile().memory_analysis().temp_size_in_bytes


def test_the_compiled_program_stays_within_the_budget():
    """Also under jit, where only an estimate chooses the chunk: memory stops growing with the batch."""
    whole = jax.jit(jax.vmap(wide)).lower(*batch(64)).compile().memory_analysis().temp_size_in_bytes
    budget = whole // 6
    assert working_memory(64, budget) <= budget
    assert working_memory(192, budget) <= budget
    assert working_memory(64, 100 * whole) > budget, "a large budget is used"
    structure = jax.tree.structure(batch(64))
    kinds = tuple(
        chunking._Kind(leaf.shape, leaf.dtype, leaf.sharding) for leaf in jax.tree.leaves(batch(64))
    )
    program = chunking._compiled.__wrapped__(wide, structure, kinds, estimates.Limit(budget, True), ())
    used = program.memory_analysis().temp_size_in_bytes
    assert budget / 4 <= used <= budget


def test_the_estimate_counts_what_is_alive_at_once():
    def f(x):
        big = jnp.ones((100,)) * x  # 400 bytes
        other = jnp.cumsum(big)  # 400 more, big is still needed
        return big[0] + other[-1]

    peak = estimates.peak(jax.make_jaxpr(f)(1.0).jaxpr)
    assert 800 <= peak <= 1300
    looped = estimates.peak(
        jax.make_jaxpr(lambda x: jax.lax.fori_loop(0, 3, lambda _, y: f(y), x))(1.0).jaxpr
    )
    assert 800 <= looped <= 1400


def test_weights_are_not_counted_for_every_example():
    weight = jnp.ones((256, 256))
    need = estimates.Need.of(
        jax.vmap(lambda x: weight @ (2.0 * weight @ x)), (jnp.ones((8, 256)),), 8, estimates.Limit(1, True)
    )
    assert need.fixed >= 2 * weight.nbytes
    assert need.each <= 8 * 256 * 4


def test_traces_once_for_the_same_function():
    traces = 0

    def f(x):
        nonlocal traces
        traces += 1
        return jnp.sin(x).sum()

    first = map_examples(f, jnp.ones((50, 100)), memory=4000)
    seen = traces
    for value in (1.0, 2.0, 3.0):
        again = map_examples(f, jnp.full((50, 100), value), memory=4000)
        np.testing.assert_allclose(again, np.full(50, 100 * np.sin(value)), rtol=1e-5)
    assert traces == seen
    np.testing.assert_allclose(first, np.full(50, 100 * np.sin(1.0)), rtol=1e-5)


def test_under_jit_vmap_and_grad():
    x = jnp.asarray(np.random.default_rng(1).normal(size=(30, 100)), jnp.float32)
    total = lambda w, run: run(lambda x: jnp.tanh(w @ x), x).sum()
    chunked = lambda f, x: map_examples(f, x, memory=10_000)
    w = 0.01 * jnp.arange(100.0)
    same(jax.jit(lambda w: total(w, chunked))(w), total(w, lambda f, x: jax.vmap(f)(x)))
    expected = jax.grad(total)(w, lambda f, x: jax.vmap(f)(x))
    same(jax.grad(total)(w, chunked), expected)
    same(jax.jit(jax.grad(lambda w: total(w, chunked)))(w), expected)
    same(
        jax.vmap(lambda w: total(w, chunked))(jnp.stack([w, -w])),
        jnp.stack([total(w, chunked), total(-w, chunked)]),
    )


def test_reverse_mode_recomputes_chunks_instead_of_storing_them():
    x = batch(64)

    def loss(scale, memory):
        f = lambda x, y: wide({"a": scale * x["a"]}, y)["sum"][0]
        return map_examples(f, *x, memory=memory).sum()

    def used(memory):
        slope = jax.jit(jax.grad(lambda scale: loss(scale, memory)))
        return slope.lower(1.0).compile().memory_analysis().temp_size_in_bytes

    assert used("200KiB") < used("1GiB") / 4


def test_without_a_budget_chunks_stay_small_and_nothing_warns():
    """On CPU speed decides, not the memory that is free."""
    small, whole = (working_memory(2048, memory) for memory in (None, "100GiB"))
    assert small < whole / 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        huge = jnp.ones((2, 4)), jnp.ones((2, 8_000_000))
        assert map_examples(lambda x, y: jnp.sort(x[0] * y)[0], *huge).tolist() == [1.0, 1.0]


def test_an_empty_batch_gives_empty_results():
    empty = jnp.zeros((0, 3))
    for memory in (None, "1GiB"):
        run = lambda x, memory=memory: map_examples(lambda x: (x.sum(), x), x, memory=memory)
        same(run(empty), jax.vmap(lambda x: (x.sum(), x))(empty))
        same(jax.jit(run)(empty), jax.vmap(lambda x: (x.sum(), x))(empty))
        (loss, _), _ = mean_gradient(lambda w, x: ((w * x).sum(), ()), 1.0, empty, memory=memory)
        assert jnp.isnan(loss), "a mean of nothing"


def test_devices_count_only_where_they_share_the_batch():
    """Inside `shard_map` every device has a batch and a memory of its own."""
    alone = estimates.Limit.of(None)
    for kind, same_as_alone in (("Auto", False), ("Explicit", False), ("Manual", True)):
        types = (getattr(jax.sharding.AxisType, kind),)
        with jax.sharding.use_abstract_mesh(jax.sharding.AbstractMesh((4,), ("data",), axis_types=types)):
            assert (estimates.Limit.of(None) == alone) == same_as_alone


def test_where_memory_is_at_stake_a_chunk_that_was_estimated_too_small_grows(monkeypatch):
    """As on a GPU without a budget; where only caches are, the first program that fits is kept."""
    tried, run = [], chunking._in_chunks
    monkeypatch.setattr(chunking, "_in_chunks", lambda f, chunk, b: tried.append(chunk) or run(f, chunk, b))
    monkeypatch.setattr(estimates.Need, "chunk", lambda *_: 2)
    structure = jax.tree.structure(batch(16))
    kinds = tuple(chunking._Kind(x.shape, x.dtype, x.sharding) for x in jax.tree.leaves(batch(16)))
    for size, expected in ((estimates.budget(None), [2, 16]), (16 << 20, [2])):
        tried.clear()
        chunking._compiled.__wrapped__(wide, structure, kinds, estimates.Limit(size, False), ())
        assert tried == expected


def hinge(w, x, y):
    """A loss with an aux, whose gradient differs from example to example."""
    hidden = jnp.tanh(w["in"] @ x["a"])
    loss = jnp.maximum(hidden @ w["out"] - y, 0.0)
    return loss, {"loss": loss, "hidden": hidden}


@pytest.mark.parametrize("examples", [1, 6, 7, 13])
@pytest.mark.parametrize("memory", ["3kB", "6kB", None])
def test_mean_gradient_is_that_of_the_whole_batch(examples, memory):
    rng = np.random.default_rng(2)
    w = {"in": jnp.asarray(rng.normal(size=(50, 4)), jnp.float32), "out": jnp.linspace(-1.0, 1.0, 50)}
    x, y = batch(examples)

    def whole(w):
        loss, aux = jax.vmap(hinge, in_axes=(None, 0, 0))(w, x, -y)
        return loss.mean(), jax.tree.map(lambda leaf: leaf.mean(0), aux)

    run = jax.jit(lambda w: mean_gradient(hinge, w, x, -y, memory=memory))
    same(run(w), jax.value_and_grad(whole, has_aux=True)(w))
    looped = "while" in run.lower(w).as_text()
    assert looped == (memory is not None and examples > 1), "chunks were used"


def test_mean_gradient_can_be_differentiated():
    x = jnp.linspace(0.1, 1.0, 40).reshape(20, 2)
    f = lambda w, x: (jnp.sin(w * x).sum(), ())
    slope = lambda w: mean_gradient(f, w, x, memory=300)[1]
    np.testing.assert_allclose(jax.grad(slope)(2.0), -(x**2 * jnp.sin(2.0 * x)).sum(1).mean(), rtol=1e-5)
    assert "scan" in str(jax.make_jaxpr(slope)(2.0))


def test_keys_and_functions_that_cannot_be_hashed():
    class Noisy:
        __hash__ = None

        def __call__(self, key, x):
            return x + jax.random.normal(key)

    keys = jax.random.split(jax.random.key(0), 7)
    same(map_examples(Noisy(), keys, jnp.arange(7.0), memory=2000), jax.vmap(Noisy())(keys, jnp.arange(7.0)))


def test_one_example_beyond_the_budget_runs_and_warns():
    with pytest.warns(UserWarning, match=r"one example needs about .* more than the budget.*raise memory"):
        found = map_examples(lambda x, y: wide(x, y), *batch(3), memory=1000)
    same(found, jax.vmap(wide)(*batch(3)))
    with pytest.warns(UserWarning, match="one example"):
        jax.jit(lambda *args: map_examples(wide, *args, memory=1000))(*batch(3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        map_examples(wide, *batch(3), memory="10MiB")


@pytest.mark.parametrize(
    ("args", "memory", "says"),
    [
        ((), "1GiB", "one leading axis of examples"),
        ((jnp.ones((3, 2)), jnp.ones(4)), "1GiB", "same length in all, got shapes [(3, 2), (4,)]"),
        ((jnp.ones(()),), "1GiB", "one leading axis"),
        *(
            ((jnp.ones(3),), bad, "memory must be")
            for bad in ("2 gigs", "GiB", "-1GiB", "0MiB", 0, -5, 1.5, True)
        ),
    ],
)
def test_mistakes_raise(args, memory, says):
    with pytest.raises(InvalidInputError, match=re.escape(says)):
        map_examples(lambda *args: args[0], *args, memory=memory)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("1B", 1),
        ("2kB", 2000),
        ("2KiB", 2048),
        ("1.5 MiB", 1_572_864),
        ("2GiB", 2**31),
        ("1gb", 10**9),
        (77, 77),
    ],
)
def test_units(text, count):
    assert estimates.budget(text) == count


def test_detected_memory_is_asked_once_and_plausible():
    assert estimates.budget(None) == estimates.budget(None)
    assert 2**20 < estimates.budget(None) < 2**45
