"""ReLU and its kind: what theory says about the lines."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxcert.relax import LEAKY_RELU, RELU

RNG = np.random.default_rng(5)
L = jnp.asarray(-RNG.uniform(0.01, 3, 300), jnp.float32)
U = jnp.asarray(RNG.uniform(0.01, 3, 300), jnp.float32)


def area(lines):
    """Between the lines over [L, U]: for straight lines, the width times the gap at the midpoint."""
    middle = 0.5 * (L + U)
    gap = (lines.upper_slope - lines.lower_slope) * middle + lines.upper_offset - lines.lower_offset
    return np.asarray(gap * (U - L), np.float64)


def test_the_upper_line_of_an_unstable_relu_is_the_chord():
    for lines in (RELU.lines(L, U, 0.3), RELU.parallel(L, U)):
        assert np.asarray(lines.upper_slope) == pytest.approx(np.asarray(U / (U - L)), rel=1e-6)
        assert np.asarray(lines.upper_offset) == pytest.approx(np.asarray(-L * U / (U - L)), rel=1e-6)
    # Fast-Lin's parallel lines are -l u / (u - l) apart (theses/1 (2.15), theses/4a (3.4)).
    parallel = RELU.parallel(L, U)
    assert np.asarray(parallel.lower_offset) == pytest.approx(0)


def test_adaptive_is_the_least_area_and_flips_where_u_exceeds_minus_l():
    chosen = area(RELU.lines(L, U, RELU.adaptive(L, U)))
    for alpha in np.linspace(0, 1, 11):
        assert (chosen <= area(RELU.lines(L, U, float(alpha))) + 1e-5).all()
    assert (chosen <= area(RELU.parallel(L, U)) + 1e-5).all()
    assert np.array_equal(np.asarray(RELU.adaptive(L, U)), np.asarray(U > -L, np.float32))
    assert float(RELU.adaptive(jnp.array(-1.0), jnp.array(1.0))) == 0.0


@pytest.mark.parametrize("ends", [(0.0, 2.0), (0.5, 2.0), (3.0, 3.0)])
def test_an_active_relu_is_the_identity(ends):
    lower, upper = jnp.array(ends[0]), jnp.array(ends[1])
    for lines in (RELU.lines(lower, upper, 0.0), RELU.lines(lower, upper, 1.0), RELU.parallel(lower, upper)):
        assert [float(part) for part in lines] == [1.0, 0.0, 1.0, 0.0]


@pytest.mark.parametrize("ends", [(-2.0, 0.0), (-2.0, -0.5), (-3.0, -3.0), (0.0, 0.0)])
def test_an_inactive_relu_is_zero(ends):
    lower, upper = jnp.array(ends[0]), jnp.array(ends[1])
    for lines in (RELU.lines(lower, upper, 0.0), RELU.lines(lower, upper, 1.0), RELU.parallel(lower, upper)):
        assert [float(part) for part in lines] == [0.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize(("neg", "pos"), [(0.1, 1.0), (-1.0, 1.0), (1.0, 0.2), (-0.5, -2.0)])
def test_alpha_moves_the_free_line_from_one_piece_to_the_other(neg, pos):
    for alpha, slope in ((0.0, neg), (1.0, pos), (0.25, neg + 0.25 * (pos - neg))):
        lines = LEAKY_RELU.lines(L, U, alpha, neg, pos)
        free = lines.lower_slope if pos >= neg else lines.upper_slope
        offset = lines.lower_offset if pos >= neg else lines.upper_offset
        assert np.asarray(free) == pytest.approx(slope, rel=1e-6)
        assert np.asarray(offset) == pytest.approx(0)


def test_relu_is_the_leaky_relu_of_slope_zero():
    for ours, theirs in zip(RELU.lines(L, U, 0.7), LEAKY_RELU.lines(L, U, 0.7, 0.0, 1.0), strict=True):
        assert bool(jnp.array_equal(ours, theirs))


def test_slopes_may_differ_entry_by_entry():
    neg, pos = jnp.linspace(-1, 2, 300), jnp.linspace(1, -1, 300)
    lines = LEAKY_RELU.lines(L, U, 0.5, neg, pos)
    single = LEAKY_RELU.lines(L[7], U[7], 0.5, neg[7], pos[7])
    assert [float(part[7]) for part in lines] == pytest.approx([float(part) for part in single], rel=1e-6)
