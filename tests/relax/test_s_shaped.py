"""Sigmoid, tanh, arctan: tangency, convexity cases and the far tails."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcert.relax import ARCTAN, SIGMOID, TANH

RECORDS = (SIGMOID, TANH, ARCTAN)
ids = lambda record: record.name
RNG = np.random.default_rng(9)


def ends(low, high, count=200):
    drawn = np.sort(RNG.uniform(low, high, (count, 2)), axis=1)
    return jnp.asarray(drawn[:, 0]), jnp.asarray(drawn[:, 1])


@pytest.mark.parametrize("record", RECORDS, ids=ids)
def test_convex_side_has_the_chord_above_and_tangents_below(record, x64):
    lower, upper = ends(-5, 0)
    for alpha in (0.0, 0.3, 1.0):
        lines = record.lines(lower, upper, alpha)
        point = lower + alpha * (upper - lower)
        touch = record.fn(point)
        assert np.asarray(lines.lower_slope) == pytest.approx(np.asarray(record.derivative(point)), rel=1e-9)
        assert np.asarray(lines.lower_slope * point + lines.lower_offset) == pytest.approx(
            np.asarray(touch), rel=1e-9
        )
        for end in (lower, upper):
            met = lines.upper_slope * end + lines.upper_offset
            assert np.asarray(met) == pytest.approx(np.asarray(record.fn(end)), rel=1e-9)


@pytest.mark.parametrize("record", RECORDS, ids=ids)
def test_an_upper_line_mirrors_a_lower_line(record, x64):
    """f - f(0) is odd, so lines on [l, u] are those on [-u, -l] turned around."""
    lower, upper = ends(-5, 5)
    shift = 2 * float(record.fn(jnp.zeros(())))
    for build in (lambda low, high: record.lines(low, high, 0.6), record.parallel):
        ours, turned = build(lower, upper), build(-upper, -lower)
        assert np.asarray(ours.upper_slope) == pytest.approx(np.asarray(turned.lower_slope), rel=1e-10)
        assert np.asarray(ours.upper_offset) == pytest.approx(
            np.asarray(shift - turned.lower_offset), rel=1e-9
        )


@pytest.mark.parametrize("record", RECORDS, ids=ids)
def test_the_steepest_mixed_line_meets_f_at_the_far_end(record, x64):
    lower, upper = jnp.full(50, -6.0), jnp.linspace(0.05, 3.0, 50)
    lines = record.lines(lower, upper, 1.0)
    met = lines.lower_slope * upper + lines.lower_offset
    assert np.asarray(met) == pytest.approx(np.asarray(record.fn(upper)), abs=1e-9)
    assert bool((lines.lower_slope > record.derivative(lower)).all())
    flat = record.lines(lower, upper, 0.0)
    assert np.asarray(flat.lower_slope) == pytest.approx(np.asarray(record.derivative(lower)), rel=1e-9)


@pytest.mark.parametrize("record", RECORDS, ids=ids)
def test_every_line_touches_f_somewhere(record, x64):
    """A sound line that can be shifted towards f is not the best of its slope."""
    lower, upper = ends(-4, 4)
    x = np.asarray(lower)[None] + np.linspace(0, 1, 20001)[:, None] * np.asarray(upper - lower)[None]
    values = np.asarray(record.fn(jnp.asarray(x)))
    for lines in (
        record.lines(lower, upper, 0.5),
        record.lines(lower, upper, 1.0),
        record.parallel(lower, upper),
    ):
        below = (values - np.asarray(lines.lower_slope) * x - np.asarray(lines.lower_offset)).min(0)
        above = (np.asarray(lines.upper_slope) * x + np.asarray(lines.upper_offset) - values).min(0)
        assert below.max() < 1e-7
        assert above.max() < 1e-7
        assert min(below.min(), above.min()) > -1e-12


@pytest.mark.parametrize("record", RECORDS, ids=ids)
def test_parallel_slope_is_the_chord(record, x64):
    """theses/4a (3.5): both lines take the slope between the ends."""
    lower, upper = ends(-4, 4)
    slope = record.parallel(lower, upper).lower_slope
    chord = (record.fn(upper) - record.fn(lower)) / (upper - lower)
    apart = np.asarray(upper - lower) > 1e-4
    assert np.asarray(slope)[apart] == pytest.approx(np.asarray(chord)[apart], rel=1e-9)


@pytest.mark.parametrize("record", RECORDS, ids=ids)
def test_far_arguments_stay_finite_and_tight(record):
    pairs = []
    for far in (20.0, 50.0, 100.0, 1e4, 1e10, 1e18, 1e30):
        pairs += [(-far, far), (far, 2 * far), (-2 * far, -far), (-far, 1.0), (-1.0, far)]
        pairs += [(-far, 0.0), (0.0, far)]
    lower, upper = (jnp.array(column, jnp.float32) for column in zip(*pairs, strict=True))

    def lines_of(lower, upper):
        lines = [record.lines(lower, upper, a) for a in (0.0, 0.5, 1.0)] + [record.parallel(lower, upper)]
        return jnp.stack([jnp.stack(line) for line in lines])

    @jax.jit
    def lines_and_slopes(lower, upper):
        one, none = jnp.ones_like(lower), jnp.zeros_like(lower)
        push = lambda *tangents: jax.jvp(lines_of, (lower, upper), tangents)
        return jax.vmap(push)(jnp.stack([one, none]), jnp.stack([none, one]))

    lines, slopes = jax.tree.map(np.asarray, lines_and_slopes(lower, upper))
    assert np.isfinite(lines).all()
    bad = np.argwhere(~np.isfinite(slopes))
    assert not len(bad), [pairs[i] for *_, i in bad[:5]]
    ends_gap = lines[0, :, 0] * np.asarray(upper) + lines[0, :, 1] - np.asarray(record.fn(upper))
    assert (ends_gap <= 1e-5).all()
