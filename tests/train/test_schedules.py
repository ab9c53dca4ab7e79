import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcert.errors import ConfigError
from jaxcert.train import schedules

STEPS = jnp.arange(0, 140)
RAMPS = {
    "linear": lambda a, b, **steps: schedules.linear(a, b, **steps),
    "cosine": lambda a, b, **steps: schedules.cosine(a, b, **steps),
    "smoothed": lambda a, b, **steps: schedules.smoothed(a, b, **steps),
    "smoothed late": lambda a, b, **steps: schedules.smoothed(a, b, mid=0.4, **steps),
    "geometric": lambda a, b, **steps: schedules.geometric(a, b, **steps),
}


def values(schedule):
    return np.asarray(jax.vmap(schedule)(STEPS))


@pytest.mark.parametrize("name", RAMPS)
@pytest.mark.parametrize(("start", "end"), [(0.01, 0.3), (1.0, 0.003)])
def test_ramps_wait_move_monotonically_and_stay(name, start, end):
    got = values(RAMPS[name](start, end, warmup=20, rampup=100))
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got[:21], np.float32(start))
    np.testing.assert_array_equal(got[120:], np.float32(end))
    moves = np.diff(got[20:121]) * np.sign(end - start)
    assert np.all(moves >= 0.0)
    assert np.all(moves[25:75] > 0.0)


@pytest.mark.parametrize("name", RAMPS)
def test_ramp_of_no_steps_jumps_after_the_warm_up(name):
    schedule = RAMPS[name](0.5, 2.0, warmup=3, rampup=0)
    assert [float(schedule(step)) for step in range(5)] == [0.5, 0.5, 0.5, 2.0, 2.0]
    assert float(RAMPS[name](0.5, 2.0)(0)) == 2.0


def test_closed_forms():
    p = np.arange(101) / 100
    at = lambda schedule: np.asarray(jax.vmap(schedule)(jnp.arange(101)))
    np.testing.assert_allclose(at(schedules.linear(1.0, 3.0, rampup=100)), 1 + 2 * p, rtol=1e-6)
    np.testing.assert_allclose(
        at(schedules.cosine(0.0, 0.6, rampup=100)), 0.3 * (1 - np.cos(np.pi * p)), atol=1e-7
    )
    np.testing.assert_allclose(at(schedules.geometric(0.01, 0.1, rampup=100)), 10.0 ** (p - 2), rtol=1e-5)


@pytest.mark.parametrize("mid", [0.25, 0.4, 1.0])
def test_smoothed_is_a_fourth_power_then_its_tangent(mid):
    schedule = schedules.smoothed(0.0, 1.0, rampup=10_000, mid=mid)
    value = lambda p: float(schedule(round(10_000 * p)))
    assert math.isclose(value(mid / 2) * 16, value(mid) if mid < 1 else 1.0, rel_tol=1e-4)
    if mid < 1:
        end_slope = (1.0 - value(mid)) / (1.0 - mid)
        assert math.isclose(end_slope, 4 * value(mid) / mid, rel_tol=1e-4)
        middle = 0.5 * (1.0 + mid)
        assert math.isclose(value(middle), 0.5 * (1.0 + value(mid)), rel_tol=1e-5)


def test_budget_of_the_periodic_work_meets_its_target_where_its_formula_says():
    # theses/4b D4: cosine to 0.6 clipped at 0.4 meets it at arccos(1 - 2 * 0.4 / 0.6) / pi.
    period = 10_000
    schedule = schedules.clipped(schedules.cosine(0.0, 0.6, rampup=period), 0.0, 0.4)
    got = np.asarray(jax.vmap(schedule)(jnp.arange(period)))
    first = int(np.argmax(got >= np.float32(0.4)))
    assert abs(first / period - math.acos(1 - 2 * 0.4 / 0.6) / math.pi) < 1e-3
    assert got.max() == np.float32(0.4)


def test_doubling_budget_of_table_3_5():
    schedule = schedules.piecewise(0.0064, 2.0, (20, 40, 60, 80))
    got = [round(float(schedule(epoch)), 6) for epoch in (0, 19, 20, 99)]
    assert got == [0.0064, 0.0064, 0.0128, 0.1024]


def test_learning_rate_warm_up_and_decay():
    rate = schedules.with_linear_warmup(schedules.piecewise(0.1, 0.1, (6,)), 4)
    got = [float(rate(step)) for step in range(8)]
    np.testing.assert_allclose(got, [0.025, 0.05, 0.075, 0.1, 0.1, 0.1, 0.01, 0.01], rtol=1e-6)
    assert float(schedules.with_linear_warmup(schedules.constant(0.1), 0)(0)) == np.float32(0.1)


def test_one_trace_serves_all_steps():
    traces = 0
    schedule = schedules.clipped(schedules.smoothed(0.0, 1.0, warmup=2, rampup=7), 0.0, 0.5)

    @jax.jit
    def traced(step):
        nonlocal traces
        traces += 1
        return schedule(step)

    got = [float(traced(step)) for step in range(12)]
    assert traces == 1
    np.testing.assert_allclose(got, [float(schedule(step)) for step in range(12)], rtol=1e-6)


def test_double_precision_follows_the_setting(x64):
    assert schedules.linear(0.0, 1.0, rampup=3)(1).dtype == jnp.float64
    assert float(schedules.linear(0.0, 1.0, rampup=3)(1)) == pytest.approx(1 / 3, rel=1e-15)


@pytest.mark.parametrize(
    "build",
    [
        lambda: schedules.linear(0.0, math.nan, rampup=1),
        lambda: schedules.cosine(0.0, 1.0, warmup=-1),
        lambda: schedules.geometric(0.0, 1.0, rampup=3),
        lambda: schedules.geometric(0.1, 1.0, rampup=-3),
        lambda: schedules.smoothed(0.0, 1.0, rampup=3, mid=0.0),
        lambda: schedules.piecewise(1.0, 0.1, (3, 2)),
        lambda: schedules.piecewise(1.0, 0.1, (-1,)),
        lambda: schedules.clipped(schedules.constant(0.1), 1.0, 0.0),
        lambda: schedules.constant(math.inf),
        lambda: schedules.with_linear_warmup(schedules.constant(1.0), -2),
    ],
)
def test_impossible_schedules_are_refused(build):
    with pytest.raises(ConfigError):
        build()
