"""Square against the exact worst case of linear networks, its windows, and what no attack may break."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcert.attacks.expectation import expectation, mean_logits
from jaxcert.attacks.objectives import cross_entropy, kl_divergence
from jaxcert.attacks.square import square
from jaxcert.attacks.square_bumps import Bumps
from jaxcert.attacks.square_corners import interval_mask
from jaxcert.attacks.square_schedule import schedule
from jaxcert.regions import LpBall, box, lp_ball, product
from jaxcert.regions.contain import contains
from tests.oracles import linear_min, sets

KEY = jax.random.key(0)


def two_classes(weight):
    """A linear network whose margin for class 0 is `<weight, x>`."""
    return lambda x: jnp.stack([jnp.sum(weight * x), jnp.zeros((), x.dtype)])


@jax.jit
def attack_linear(attack, weight, region, key):
    result = attack(two_classes(weight), region, 0, key=key)
    return result, contains(region, result.x)


def draw(seed, norm, shape, clipped, radius_kind):
    rng = np.random.default_rng(seed)
    center, weight = rng.random(shape).astype(np.float32), rng.normal(size=shape).astype(np.float32)
    center.reshape(-1)[0] = 1.0
    radius = {1.0: 2.0, 2.0: 0.5, math.inf: 0.4}[norm]
    if radius_kind == "array":
        radius = (radius * rng.uniform(0.5, 1.5, shape) * (rng.random(shape) > 0.2)).astype(np.float32)
    ball = lp_ball(jnp.asarray(center), jnp.asarray(radius), norm, (0.0, 1.0) if clipped else None)
    flat = sets.ball(
        center.reshape(-1),
        np.broadcast_to(radius, shape).reshape(-1),
        norm,
        (0.0, 1.0) if clipped else None,
    )
    best = linear_min.minimize(flat, weight.reshape(-1))
    return ball, weight, best, float((weight * center).sum())


@pytest.mark.parametrize(
    ("shape", "axis"),
    [((3, 5), -1), ((2, 3, 2), -1), ((2, 3, 2), 0), ((7,), -1), ((2, 2, 2, 1), -1), ((), -1)],
)
def test_reaches_the_exact_worst_case_of_a_linear_network(shape, axis):
    attack = square(queries=300, horizon=100, channel_axis=axis, early_stop=False)
    for seed, (clipped, radius_kind) in enumerate([(True, "array"), (True, "array"), (True, "array")]):
        ball, weight, best, clean = draw(seed, math.inf, shape, clipped, radius_kind)
        result, inside = attack_linear(attack, weight, ball, jax.random.key(seed))
        room = clean - best
        assert best - 1e-5 * (1 + room) <= float(result.margin) <= best + 0.02 * room + 1e-5
        assert bool(inside)
        assert bool(result.success) == (float(result.margin) < 0)


@pytest.mark.parametrize(
    ("norm", "radius_kind", "shape", "share"),
    [
        (1.0, "array", (6, 6), 0.6),
        (1.0, "scalar", (12,), 0.7),
        (2.0, "array", (6, 6), 0.6),
        (2.0, "scalar", (4, 7, 2), 0.5),
        (2.0, "array", (12,), 0.7),
    ],
)
def test_finds_a_large_share_of_the_worst_case_in_other_norms(norm, radius_kind, shape, share):
    attack = square(queries=400, horizon=400, early_stop=False)
    for seed in range(3):
        ball, weight, best, clean = draw(seed, norm, shape, True, radius_kind)
        result, inside = attack_linear(attack, weight, ball, jax.random.key(seed))
        assert best - 1e-5 * (1 + clean - best) <= float(result.margin) <= clean - share * (clean - best)
        assert bool(inside)


@pytest.mark.parametrize(("norm", "more"), [(2.0, (20, 3)), (math.inf, (60,))])
def test_more_queries_and_restarts_never_do_worse(norm, more):
    ball, weight, _, _ = draw(3, norm, (6, 5), True, "array")
    keys = jax.random.split(KEY, 6)

    def run(*counts):
        attack = square(*counts, horizon=100, early_stop=False)
        return jax.vmap(lambda key: attack_linear(attack, weight, ball, key)[0].margin)(keys)

    few, many = run(20), run(*more)
    assert bool(jnp.all(many < few + 1e-4))
    assert bool(jnp.any(many < few - 1e-2))


def nested_squares(rows, columns, power):
    """Squares of radius 0, 1, ... around the middle, cut to the rectangle, weighted and summed."""
    middle = rows // 2, columns // 2
    total = np.zeros((rows, columns))
    for k in range(max(middle) + 1):
        first, second = (slice(max(m - k, 0), m + k + 1) for m in middle)
        total[first, second] += (k + 1.0) ** -power
    return total


def reference_bump(rows, columns, cut, norm):
    power, measure = (2, np.linalg.norm) if norm == 2 else (4, lambda v: np.abs(v).sum())
    halves = (rows // 2, rows - rows // 2) if cut == 0 else (columns // 2, columns - columns // 2)
    parts = [nested_squares(*((n, columns) if cut == 0 else (rows, n)), power) for n in halves]
    parts = [
        sign * part / measure(part.reshape(-1)) if part.size else part
        for sign, part in zip((1, -1), parts, strict=True)
    ]
    joined = np.concatenate(parts, axis=cut)
    return joined / measure(joined.reshape(-1))


@pytest.mark.parametrize("norm", [1.0, 2.0])
@pytest.mark.parametrize("shape", [(11, 11), (4, 9), (1, 20)])
def test_bumps_are_sums_of_nested_squares(norm, shape):
    ball = LpBall(jnp.zeros((*shape, 1)), jnp.ones(()), norm=norm)
    stages = schedule(shape, 0.8, 100, 100, 3, True)
    bumps = Bumps(ball, stages)
    place = jax.jit(bumps.placed_bump)
    assert len(stages.rows) > 1
    for stage, (rows, columns) in enumerate(zip(stages.rows, stages.columns, strict=True)):
        for draws in ((0.0, 0.0, 0.1), (0.999, 0.999, 0.9)):
            bump, window = place(jnp.array(draws), jnp.int32(stage), jnp.array([rows, columns]))
            cut = 1 if rows == 1 or (columns > 1 and draws[2] >= 0.5) else 0
            expected = np.zeros(shape)
            corner = (slice(0, rows), slice(0, columns))
            if draws[0] > 0:
                corner = (slice(shape[0] - rows, None), slice(shape[1] - columns, None))
            expected[corner] = reference_bump(rows, columns, cut, norm)
            np.testing.assert_allclose(np.where(window, bump, 0)[..., 0], expected, atol=2e-5)


def test_bumps_that_cannot_be_cut_are_of_one_sign():
    bumps = Bumps(LpBall(jnp.zeros((3, 3, 1)), jnp.ones(()), norm=2.0), schedule((3, 3), 0.8, 9, 9))
    np.testing.assert_allclose(bumps.bump(1, 1, 0), [[-1.0]])
    uncut = bumps.bump(1, 2, 0)
    assert (uncut < 0).all()
    np.testing.assert_allclose(np.linalg.norm(uncut), 1.0)


def test_windows_reach_every_place():
    mask = jax.jit(jax.vmap(lambda draw, length: interval_mask(draw, length, 5, 0)[:, 0, 0], (0, None)))
    draws = jnp.linspace(0, 1 - 2**-23, 100, dtype=jnp.float32)
    for length in (1, 3, 5):
        found, counts = np.unique(mask(draws, jnp.int32(length)), axis=0, return_counts=True)
        assert len(found) == 6 - length
        assert (found.sum(axis=1) == length).all()
        assert found.any(axis=0).all()
        assert np.ptp(counts) <= 1


def test_schedule_halves_the_share_of_the_window():
    published = schedule((28, 28), 0.8, 10_000, 10_000)
    assert published.first == (0, 11, 51, 201, 501, 1001, 2001, 4001, 8001)
    assert published.rows == published.columns == (25, 18, 13, 9, 6, 4, 3, 2, 1)
    assert schedule((28, 28), 0.8, 10_000, 600).rows == (25, 18, 13, 9, 6)
    assert schedule((28, 28), 0.8, 10_000, 10_000, 3, True).rows == (25, 19, 13, 9, 7, 5, 3)
    assert schedule((28, 28), 0.8, 1000, 1000).first[1] == 2
    wide = schedule((4, 100), 0.8, 10_000, 12)
    assert (wide.rows, wide.columns) == ((4, 4), (80, 40))
    assert schedule((1, 50), 0.8, 10_000, 10_000).columns == (40, 20, 10, 5, 2, 1)
    assert jax.vmap(published.stage)(jnp.array([0, 10, 11, 9999])).tolist() == [0, 0, 1, 8]


def test_stops_as_soon_as_the_network_is_wrong():
    """After the first error nothing changes any more, whatever the number of queries."""
    ball, weight, best, clean = draw(0, math.inf, (4, 4), True, "scalar")
    shift = -best - 0.4 * (clean - best)
    fn = lambda x: two_classes(weight)(x) + jnp.array([shift, 0.0])
    run = lambda **options: jax.jit(lambda key: square(horizon=60, **options)(fn, ball, 0, key=key))(KEY)
    short, long, on = run(queries=60), run(queries=90), run(queries=90, early_stop=False)
    assert bool(short.success)
    np.testing.assert_array_equal(short.x, long.x)
    assert float(on.margin) < float(long.margin) < 0


def test_boxes_and_products():
    region = box(jnp.array([0.0, -2.0, 1.0]), jnp.array([1.0, 3.0, 1.0]))
    result, _ = attack_linear(
        square(60, horizon=30, early_stop=False), jnp.array([1.0, -1.0, 2.0]), region, KEY
    )
    np.testing.assert_array_equal(result.x, [0.0, 3.0, 1.0])
    both = product({"a": lp_ball(jnp.zeros((2, 2)), 0.5, math.inf), "b": box(jnp.zeros(1), jnp.ones(1))})
    fn = lambda v: jnp.stack([3 + jnp.sum(v["a"]) - v["b"][0], jnp.zeros(())])
    result = jax.jit(lambda key: square(60, horizon=30)(fn, both, 0, key=key))(KEY)
    np.testing.assert_array_equal(result.x, [-0.5, -0.5, -0.5, -0.5, 1.0])
    assert bool(contains(both, result.x))


@pytest.mark.parametrize("norm", [1.0, 2.0, math.inf])
def test_zero_radius_gives_the_clean_point(norm):
    center = jnp.linspace(0.0, 1.0, 6).reshape(2, 3)
    ball = lp_ball(center, 0.0 if norm == 1 else jnp.zeros((2, 3)), norm, clip=(0.0, 1.0))
    result, inside = attack_linear(square(3), jnp.ones((2, 3)), ball, KEY)
    np.testing.assert_array_equal(result.x, center)
    assert bool(inside)


@pytest.mark.parametrize("norm", [2.0, math.inf])
def test_jit_and_vmap_equal_the_loop_without_retracing(norm):
    traces = 0
    attack = square(queries=25, restarts=2)

    def one(x, eps, key):
        nonlocal traces
        traces += 1
        fn = lambda x: jnp.stack([1 + 4 * x[0, 0] - x[1, 1] * x[2, 1], jnp.sum(x), x[1, 0] - x[2, 0]])
        return attack(fn, lp_ball(x, eps, norm, clip=(0.0, 1.0)), 0, key=key)

    rng = np.random.default_rng(0)
    batch = (
        jnp.asarray(rng.random((4, 3, 2)), jnp.float32),
        jnp.array([0.0, 0.1, 0.2, 0.5]),
        jax.random.split(KEY, 4),
    )
    jitted = jax.jit(one)
    looped = [jitted(*(leaf[i] for leaf in batch)) for i in range(4)]
    assert traces == 1
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *looped)
    batched = jax.jit(jax.vmap(one))(*batch)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), batched, stacked)
    again = jitted(batch[0][3], batch[1][3], batch[2][0])
    assert bool(jnp.any(again.x != looped[3].x))


def test_a_constant_network_is_left_alone_and_a_broken_one_fails():
    ball = lp_ball(jnp.full((3, 3), 0.5), 0.1, math.inf)
    constant = jax.jit(
        jax.vmap(lambda label: square(3)(lambda x: jnp.array([1.0, 2.0, 0.0]), ball, label, key=KEY))
    )
    results = constant(jnp.array([0, 1, 2, -1, 3]))
    assert results.success.tolist() == [True, False, True, True, True]
    assert bool(jnp.all(jnp.isfinite(results.x)))
    assert jnp.isnan(results.margin).tolist() == [False, False, False, True, True]
    ball = lp_ball(jnp.full((3, 3), 0.5), 0.1, 1.0)
    broken = jax.jit(
        lambda key: square(3)(lambda x: jnp.stack([jnp.log(-1 - x[0, 0]), x[1, 1]]), ball, 0, key=key)
    )(KEY)
    assert bool(broken.success)
    assert bool(contains(ball, broken.x))


@pytest.mark.parametrize("norm", [2.0, math.inf])
def test_a_traced_bad_region_counts_as_an_error(norm):
    constant = lambda x: jnp.array([1.0, 0.0]) + 0 * jnp.nan_to_num(x[0])
    run = lambda center, eps: square(2)(constant, lp_ball(center, eps, norm, (0.0, 1.0)), 0, key=KEY)
    good = jnp.full(3, 0.5)
    centers = jnp.stack([good, good, good.at[0].set(jnp.nan), good.at[1].set(1.5)])
    result = jax.jit(jax.vmap(run))(centers, jnp.array([-0.1, jnp.nan, 0.1, 0.1]))
    assert bool(jnp.all(result.success))
    assert bool(jnp.all(jnp.isnan(result.margin) & jnp.isnan(result.loss)))
    assert bool(jnp.all(jnp.isnan(result.x)))


def test_other_objectives_and_randomised_networks():
    ball = lp_ball(jnp.full((2, 2), 0.5), 0.3, math.inf)
    fn = lambda x: jnp.stack([2 + jnp.sum(x), x[0, 0], -x[1, 1]])
    for loss in (cross_entropy, kl_divergence()):
        result = jax.jit(lambda key, loss=loss: square(60, horizon=40, loss=loss)(fn, ball, 0, key=key))(KEY)
        np.testing.assert_allclose(result.margin, 2.6 if loss is cross_entropy else result.margin, atol=0.7)
    noisy = expectation(lambda x, key: fn(x) + 9 * jax.random.normal(key, (3,)), 4, mean_logits)
    result = jax.jit(lambda key: square(40, early_stop=False)(noisy, ball, 0, key=key))(KEY)
    np.testing.assert_allclose(result.loss, -result.margin)
    assert bool(result.success)


@pytest.mark.parametrize("norm", [1.0, 2.0, math.inf])
def test_double_precision(norm, x64):
    ball = lp_ball(jnp.full((4, 4), 0.5), jnp.linspace(0.1, 0.4, 16).reshape(4, 4), norm, clip=(0.0, 1.0))
    result, inside = attack_linear(square(10), jnp.ones((4, 4)), ball, jax.random.key(0))
    assert result.x.dtype == jnp.float64
    assert bool(inside)


@pytest.mark.parametrize(
    ("message", "call"),
    [
        ("classes 0 to 1", lambda: square(2)(two_classes(1.0), BALL, 2, key=KEY)),
        ("returned shape", lambda: square(2)(lambda x: x, BALL, 0, key=KEY)),
        ("scalar per example", lambda: square(2, loss=lambda z, y: z)(two_classes(1.0), BALL, 0, key=KEY)),
        ("queries", lambda: square(0)),
        ("restarts", lambda: square(restarts=0)),
        ("horizon", lambda: square(horizon=0)),
        ("p_init", lambda: square(p_init=0.0)),
        ("p_init", lambda: square(p_init=math.nan)),
        ("channel_axis", lambda: square(channel_axis=3)),
        ("norm", lambda: square(2)(two_classes(1.0), lp_ball(jnp.zeros(3), 0.1, 3.0), 0, key=KEY)),
        (
            "parts of norm",
            lambda: square(2)(lambda v: v[0], product((lp_ball(jnp.zeros(3), 0.1, 2.0), BALL)), 0, key=KEY),
        ),
    ],
)
def test_bad_input_is_refused(message, call):
    with pytest.raises(ValueError, match=message):
        call()


BALL = lp_ball(jnp.full((2, 2), 0.5), 0.1, math.inf)
