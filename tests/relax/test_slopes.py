"""Slopes are values: what each choice does to the lines, and bad choices raise or are clipped."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcert as jc
from jaxcert.relax import LEAKY_RELU, RELU, TANH, Lines

LOWER, UPPER = jnp.array([-1.0, -2.0, 0.5]), jnp.array([2.0, 1.0, 1.0])


def lines(slope, record=RELU, params=()):
    found = slope.planes(record, 0, (LOWER,), (UPPER,), params)
    return Lines(found.lower_slopes[0], found.lower_offset, found.upper_slopes[0], found.upper_offset)


def test_each_choice_places_the_free_line():
    assert lines(jc.slopes.adaptive).lower_slope.tolist() == [1.0, 0.0, 1.0]
    assert lines(jc.slopes.zero).lower_slope.tolist() == [0.0, 0.0, 1.0]
    assert lines(jc.slopes.one).lower_slope.tolist() == [1.0, 1.0, 1.0]
    shared = lines(jc.slopes.parallel)
    assert shared.lower_slope.tolist() == shared.upper_slope.tolist() == pytest.approx([2 / 3, 1 / 3, 1.0])
    given = lines(jc.slopes.given([jnp.array([0.25, 0.75, 0.0])]))
    assert given.lower_slope.tolist() == [0.25, 0.75, 1.0]


def test_only_parallel_shares_slopes():
    shared = [s.shared for s in (jc.slopes.adaptive, jc.slopes.zero, jc.slopes.one, jc.slopes.given([LOWER]))]
    assert not any(shared)
    assert jc.slopes.parallel.shared


def test_given_values_outside_the_unit_interval_are_clipped_and_nan_poisons():
    wild = lines(jc.slopes.given([jnp.array([-3.0, 9.0, 0.5])]))
    assert wild.lower_slope.tolist() == [0.0, 1.0, 1.0]
    assert np.isnan(lines(jc.slopes.given([jnp.array([jnp.nan, 0.5, 0.5])])).lower_slope[0])


def test_no_public_slope_can_leave_the_sound_range():
    """A position outside [0, 1] is not a valid line; whoever builds one gets an error or a clipped value."""
    for alpha in (-1.0, 2.0):
        try:
            wild = lines(jc.slopes.Fixed(alpha))
        except jc.errors.InvalidInputError:
            continue
        assert bool(((wild.lower_slope >= 0) & (wild.lower_slope <= 1)).all()), alpha


def test_wrong_arrays_raise():
    fn = lambda x: jnp.maximum(jnp.maximum(x, 0.0) - 0.5, 0.0)
    region = jc.linf_ball(jnp.zeros(3), 1.0)
    with pytest.raises(jc.errors.InvalidInputError, match="hold 1 arrays but the network has 2"):
        jc.crown(slope=[jnp.ones(3)])(fn, region)
    with pytest.raises(jc.errors.InvalidInputError, match=r"slope array 1 has shape \(2,\).*\(3,\)"):
        jc.crown(slope=[jnp.ones(3), jnp.ones(2)])(fn, region)


def test_slopes_are_pytrees_with_leaves_only_where_given():
    for slope in (jc.slopes.adaptive, jc.slopes.parallel, jc.slopes.zero, jc.slopes.one):
        assert not jax.tree.leaves(slope)
        assert hash(slope) == hash(
            type(slope)(*([slope.alpha] if slope in (jc.slopes.zero, jc.slopes.one) else []))
        )
    assert jc.slopes.zero != jc.slopes.one
    assert len(jax.tree.leaves(jc.slopes.given([LOWER, UPPER]))) == 2


@pytest.mark.parametrize(("record", "params"), [(RELU, ()), (TANH, ()), (LEAKY_RELU, (0.1, 1.0))])
def test_given_adaptive_positions_equal_adaptive(record, params):
    given = jc.slopes.given([record.adaptive(LOWER, UPPER, *params)])
    for ours, theirs in zip(
        lines(given, record, params), lines(jc.slopes.adaptive, record, params), strict=True
    ):
        assert np.asarray(ours) == pytest.approx(np.asarray(theirs), rel=1e-6)
