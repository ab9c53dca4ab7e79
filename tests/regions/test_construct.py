"""Constructors: concrete bad input raises one sentence, traced bad input poisons, good input passes."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcert as jc

X = jnp.array([0.2, 0.5, 0.9])


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda: jc.linf_ball(X, -0.1), r"eps must be finite and >= 0, got -0.1: give the radius"),
        (lambda: jc.l2_ball(X, float("nan")), r"eps must be finite.*got nan"),
        (lambda: jc.l1_ball(X, jnp.inf), r"eps must be finite.*got inf"),
        (lambda: jc.linf_ball(X, jnp.array([0.1, -0.2, 0.3])), r"minimum -0.2 and maximum 0.3"),
        (lambda: jc.linf_ball(X, jnp.array([0.1, jnp.nan, 0.3])), "eps must be finite"),
        (lambda: jc.linf_ball(X, jnp.ones(2)), r"eps must be a scalar or shaped like x \(3,\), got \(2,\)"),
        (lambda: jc.linf_ball(X, jnp.ones(1)), r"eps must be a scalar or shaped like x"),
        (lambda: jc.linf_ball(X.at[1].set(jnp.nan), 0.1), "x contains NaN or inf: clean the data"),
        (lambda: jc.linf_ball(X.at[1].set(-jnp.inf), 0.1), "x contains NaN or inf"),
        (lambda: jc.linf_ball(jnp.arange(3), 0.1), r"x must be a floating-point array, got int32: convert"),
        (lambda: jc.linf_ball(X > 0.3, 0.1), "x must be a floating-point array, got bool"),
        (lambda: jc.linf_ball(255 * X, 2.0, clip=(0.0, 1.0)), r"span \[51, 229.5\] but clip allows \[0, 1\]"),
        (lambda: jc.l2_ball(X, 0.1, clip=(0.3, 1.0)), "x leaves the clip range.*scale the input or widen"),
        (lambda: jc.linf_ball(X, 0.1, clip=(1.0, 0.0)), "clip is empty: its low end"),
        (lambda: jc.linf_ball(X, 0.1, clip=(jnp.zeros(2), 1.0)), r"clip\[0\] must be a scalar or shaped"),
        (lambda: jc.linf_ball(X, 0.1, clip=(0.0, jnp.ones((3, 1)))), r"clip\[1\] must be a scalar or shaped"),
        (lambda: jc.linf_ball(X, 0.1, clip=(jnp.nan, 1.0)), "clip"),
        (lambda: jc.linf_ball(X, 0.1, clip=(0.0, jnp.nan)), "clip"),
        (lambda: jc.lp_ball(X, 0.1, 0.5), r"norm must be a number >= 1 .*got 0.5"),
        (lambda: jc.lp_ball(X, 0.1, math.nan), "norm must be a number >= 1"),
        (lambda: jc.lp_ball(X, 0.1, "inf"), "norm must be a number >= 1.*'inf'"),
        (lambda: jc.lp_ball(X, 0.1, -math.inf), "norm must be a number >= 1"),
        (lambda: jc.box(X, X - 0.1), "lower <= upper everywhere: swap or mend"),
        (lambda: jc.box(X, X.at[0].set(0.1)), "lower <= upper"),
        (lambda: jc.box(X.at[0].set(jnp.nan), X), "finite ends"),
        (lambda: jc.box(X, X.at[2].set(jnp.inf)), "finite ends"),
        (lambda: jc.box(X, jnp.ones(2)), r"one shape, got \(3,\) and \(2,\)"),
        (lambda: jc.box(jnp.zeros(2, jnp.int32), jnp.ones(2)), "lower must be a floating-point"),
        (lambda: jc.regions.scaled(jc.box(X, X), 0.5), "only an l_p ball has a radius"),
    ],
)
def test_concrete_mistakes_raise_and_say_what_to_do(build, says):
    with pytest.raises(jc.errors.InvalidInputError, match=says) as caught:
        build()
    assert "\n" not in str(caught.value)


def ball_of(norm, clipped):
    def build(x, eps, low, high):
        return jc.lp_ball(x, eps, norm, (low, high) if clipped else None)

    return build


GOOD = (X, jnp.asarray(0.1), jnp.zeros(3), jnp.ones(3))
BAD_BALLS = {
    "eps negative": (X, jnp.asarray(-0.1), jnp.zeros(3), jnp.ones(3)),
    "eps NaN": (X, jnp.asarray(jnp.nan), jnp.zeros(3), jnp.ones(3)),
    "eps inf": (X, jnp.asarray(jnp.inf), jnp.zeros(3), jnp.ones(3)),
    "x NaN": (X.at[0].set(jnp.nan), jnp.asarray(0.1), jnp.zeros(3), jnp.ones(3)),
    "x inf": (X.at[0].set(jnp.inf), jnp.asarray(0.1), jnp.zeros(3), jnp.full(3, jnp.inf)),
}
BAD_CLIPS = {
    "x below": (X.at[2].set(-0.01), jnp.asarray(0.1), jnp.zeros(3), jnp.ones(3)),
    "x above": (X.at[2].set(1.01), jnp.asarray(0.1), jnp.zeros(3), jnp.ones(3)),
    "clip empty": (X, jnp.asarray(0.1), jnp.ones(3), jnp.zeros(3)),
    "low NaN": (X, jnp.asarray(0.1), jnp.zeros(3).at[1].set(jnp.nan), jnp.ones(3)),
    "high NaN": (X, jnp.asarray(0.1), jnp.zeros(3), jnp.ones(3).at[1].set(jnp.nan)),
}


@pytest.mark.parametrize(
    ("norm", "clipped"),
    [(1.0, True), (2.0, False), (2.0, True), (3.0, False), (3.0, True), (math.inf, False), (math.inf, True)],
)
def test_traced_mistakes_poison_every_number_and_never_certify(norm, clipped):
    cases = BAD_BALLS | (BAD_CLIPS if clipped else {})
    build = ball_of(norm, clipped)

    def numbers(*parts):
        region = build(*parts)
        lower, upper = jc.regions.interval(region)
        fn = lambda x: jnp.stack([10.0 + x[0], x[1], -x[2]])
        margins = jc.margins(jc.crown(), fn, region, 0)
        low, high = jc.regions.linear_range(region, jnp.eye(3)[0])
        return lower, upper, margins, low[None], high[None]

    jitted, batched = jax.jit(numbers), jax.jit(jax.vmap(numbers))
    assert all(bool(jnp.isfinite(v).all()) for v in jitted(*GOOD))
    stacked = [jnp.stack(parts) for parts in zip(*cases.values(), GOOD, strict=True)]
    together = batched(*stacked)
    for i, (name, parts) in enumerate(cases.items()):
        for found in (jitted(*parts), tuple(v[i] for v in together)):
            assert all(bool(jnp.isnan(v).all()) for v in found), name
            assert not bool(jc.is_certified(found[2])), name
    assert all(bool(jnp.isfinite(v[-1]).all()) for v in together), "the good example next to bad ones"


def test_traced_boxes_poison():
    bad = [(X, X - 0.1), (X.at[0].set(jnp.nan), X), (X, X.at[1].set(jnp.inf)), (X, X.at[2].set(0.0))]

    def ends(lower, upper):
        return jc.regions.interval(jc.box(lower, upper))

    for lower, upper in bad:
        assert all(bool(jnp.isnan(v).all()) for v in jax.jit(ends)(lower, upper))
    stacked = [jnp.stack(parts) for parts in zip(*bad, (X, X + 1), strict=True)]
    together = jax.jit(jax.vmap(ends))(*stacked)
    assert all(bool(jnp.isnan(v[:-1]).all()) and bool(jnp.isfinite(v[-1]).all()) for v in together)


def test_inside_jit_known_mistakes_still_raise():
    """What is known at trace time is checked then, whatever else is traced."""
    with pytest.raises(jc.errors.InvalidInputError, match="eps must be finite and >= 0"):
        jax.jit(lambda x: jc.linf_ball(x, -0.1))(X)
    with pytest.raises(jc.errors.InvalidInputError, match="shaped like x"):
        jax.jit(lambda x: jc.linf_ball(x, jnp.ones(2)))(X)
    with pytest.raises(jc.errors.InvalidInputError, match="norm"):
        jax.jit(lambda x: jc.lp_ball(x, 0.1, 0.5))(X)


def test_concrete_arrays_closed_over_by_jit_are_fine():
    """The usual way to scan eps for one image: the image is concrete, eps is traced."""
    low, high = jnp.zeros(3), jnp.ones(3)
    upper = jax.jit(lambda eps: jc.regions.interval(jc.linf_ball(X, eps, clip=(low, high)))[1])
    assert upper(0.2).tolist() == pytest.approx([0.4, 0.7, 1.0])
    ends = jax.vmap(lambda lower: jc.box(lower, high).lower)(jnp.stack([low, low + 2]))
    assert ends[0].tolist() == [0.0, 0.0, 0.0]
    assert np.isnan(ends[1]).all()


def test_values_shapes_and_pytree():
    eps = jnp.array([0.1, 0.0, 0.2])
    region = jc.l2_ball(X, eps, clip=(0.0, 1.0))
    assert (region.shape, region.dtype, region.norm) == ((3,), jnp.float32, 2.0)
    assert bool(jnp.array_equal(region.center, X))
    assert bool(jnp.array_equal(region.radius, eps))
    assert [end.shape for end in region.clip] == [(), ()]
    leaves, structure = jax.tree.flatten(region)
    assert len(leaves) == 4
    again = jax.tree.unflatten(structure, leaves)
    assert again.norm == 2.0
    assert again.shape == (3,)
    assert structure != jax.tree.structure(jc.l1_ball(X, eps, clip=(0.0, 1.0))), "the norm is static"
    with pytest.raises(AttributeError):
        region.radius = eps


def test_scalar_inputs_zero_radius_and_single_point_clip():
    lower, upper = jc.regions.interval(jc.linf_ball(0.5, 0.0, clip=(0.5, 0.5)))
    assert float(lower) == float(upper) == 0.5
    assert jc.box(jnp.zeros(()), jnp.zeros(())).shape == ()
    assert jc.lp_ball(X, 0, 2).norm == 2.0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_centre_sets_the_dtype(dtype):
    with jax.enable_x64(True):
        x = jnp.asarray(np.asarray(X), dtype)
        region = jc.linf_ball(x, np.float64(0.1), clip=(np.float64(0.0), 1))
        assert {leaf.dtype for leaf in jax.tree.leaves(region)} == {jnp.dtype(dtype)}
        mixed = jc.box(x, np.asarray(X, np.float64) + 1)
        assert mixed.lower.dtype == mixed.upper.dtype == jnp.dtype(dtype)


def test_scaled_multiplies_the_radius_under_tracing():
    region = jc.l2_ball(X, jnp.array([0.1, 0.0, 0.2]), clip=(0.0, 1.0))
    half = jax.jit(jc.regions.scaled)(region, 0.5)
    assert half.radius.tolist() == pytest.approx([0.05, 0.0, 0.1])
    assert half.norm == 2.0
    assert half.clip is not None
    poisoned = jax.jit(lambda f: jc.regions.interval(jc.regions.scaled(region, f)))(jnp.nan)
    assert all(bool(jnp.isnan(v).any()) for v in poisoned)
