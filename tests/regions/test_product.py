"""Products of regions: every operation part by part, packing, and bounds over several inputs."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcert as jc
from jaxcert import regions
from jaxcert.errors import InvalidInputError
from tests.common.compiling import quick_jit
from tests.oracles import linear_min, sets

METHODS = {"ibp": jc.ibp(), "crown": jc.crown(), "fast_lin": jc.fast_lin(), "crown_ibp": jc.crown_ibp()}


def parts(rng, dtype=jnp.float32):
    """An l_2 ball of matrices, a clipped l_inf ball, a box of one number, and a clipped l_3 ball."""
    draw = lambda *shape: jnp.asarray(rng.uniform(0.2, 0.8, shape), dtype)
    low = draw()
    return {
        "w": jc.l2_ball(draw(3, 2), 0.3),
        "x": (jc.linf_ball(draw(2), draw(2), clip=(0.0, 1.0)), jc.box(low, low + 0.5)),
        "z": jc.lp_ball(draw(4), 0.5, 3.0, clip=(0.0, 1.0)),
    }


def as_oracle(part):
    if isinstance(part, jc.Box):
        return sets.box(np.ravel(part.lower), np.ravel(part.upper))
    clip = None if part.clip is None else (0.0, 1.0)
    radius = np.broadcast_to(np.asarray(part.radius, float), part.shape)
    return sets.ball(np.ravel(part.center), radius.ravel(), part.norm, clip)


def test_packs_and_unpacks_in_the_order_of_tree_leaves():
    region = jc.product(parts(np.random.default_rng(0)))
    assert (region.shape, region.dtype) == ((13,), jnp.float32)
    values = {
        "w": jnp.arange(6.0).reshape(3, 2),
        "x": (jnp.array([6.0, 7.0]), jnp.array(8.0)),
        "z": jnp.arange(9.0, 13.0),
    }
    flat = regions.pack(region, values)
    assert flat.tolist() == list(range(13))
    back = regions.unpack(region, flat)
    assert jax.tree.structure(back) == jax.tree.structure(values)
    assert all(jax.tree.leaves(jax.tree.map(lambda a, b: bool((a == b).all()), back, values)))
    assert regions.unpack(region, jnp.zeros((5, 13)))["x"][1].shape == (5,)
    assert regions.pack(region, jax.tree.map(lambda v: jnp.stack([v, v]), values)).shape == (2, 13)
    assert region.center.shape == (13,)


def test_every_operation_is_the_one_of_the_parts(x64):
    rng = np.random.default_rng(1)
    region = jc.product(parts(rng, jnp.float64))
    coeffs, far = rng.normal(size=(3, 4, 13)), np.asarray(region.center) + 3 * rng.normal(size=13)

    @quick_jit
    def everything(region, coeffs, far, keys):
        near = regions.project(region, far)
        draws = [regions.sample(region, key=keys[0]), regions.corner(region, key=keys[1])]
        inside = [regions.contains(region, x) for x in (near, *draws, far)]
        least = regions.minimize_linear(region, coeffs)
        return regions.interval(region), least, regions.linear_range(region, coeffs), (near, *draws), inside

    keys = jax.random.split(jax.random.key(0))
    ends, least, (low, high), points, inside = everything(region, coeffs, far, keys)
    oracles = [as_oracle(part) for part in region.members]
    cuts = np.cumsum([len(o.center) for o in oracles])[:-1]
    for found, exact in zip(ends, zip(*map(sets.interval, oracles), strict=True), strict=True):
        np.testing.assert_allclose(found, np.concatenate(exact), rtol=1e-12)
    for index in np.ndindex(3, 4):
        for values, sign in ((least, 1), (low, 1), (-high, -1)):
            pairs = zip(oracles, np.split(sign * coeffs[index], cuts), strict=True)
            assert float(values[index]) == pytest.approx(
                sum(linear_min.minimize(*p) for p in pairs), rel=1e-11
            )
    for point in points:
        pieces = np.split(np.asarray(point), cuts)
        assert all(sets.contains(o, piece) for o, piece in zip(oracles, pieces, strict=True))
    assert [bool(v) for v in inside] == [True, True, True, False]
    first = regions.project(region.members[0], far[:6].reshape(3, 2))
    np.testing.assert_allclose(np.ravel(first), points[0][:6], rtol=1e-12)


def test_scaled_and_is_box():
    x = jnp.full(2, 0.5)
    balls = jc.product((jc.linf_ball(x, 0.2, clip=(0.0, 1.0)), jc.linf_ball(x, 0.4)))
    half = jax.jit(regions.scaled)(balls, 0.5)
    assert [part.radius.tolist() for part in half.members] == pytest.approx([0.1, 0.2])
    assert regions.is_box(balls)
    assert regions.is_box(jc.product((balls.members[0], jc.box(x, x))))
    assert not regions.is_box(jc.product((balls.members[0], jc.l2_ball(x, 0.1))))
    with pytest.raises(InvalidInputError, match="only an l_p ball has a radius"):
        regions.scaled(jc.product((balls.members[0], jc.box(x, x))), 0.5)


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda x: jc.product(()), "at least one region"),
        (lambda x: jc.product((jc.linf_ball(x, 0.1), x)), "a product needs regions, got"),
        (lambda x: jc.product((jc.product((jc.linf_ball(x, 0.1),)),)), "got Product.*nest trees"),
        (lambda x: regions.unpack(jc.product((jc.linf_ball(x, 0.1),)), jnp.zeros(3)), "packs 2 entries"),
        (lambda x: regions.pack(jc.product((jc.linf_ball(x, 0.1),)), {"a": x}), "structure"),
        (lambda x: regions.pack(jc.product((jc.linf_ball(x, 0.1),)), (x[:1],)), r"end with shape \(2,\)"),
        (lambda x: jc.ibp()(lambda t: t[0], (jc.linf_ball(x, 0.1), jc.linf_ball(x, 0.1))), "with product"),
        (
            lambda x: regions.minimize_linear(jc.product((jc.linf_ball(x, 0.1),)), jnp.ones(3)),
            "region's shape",
        ),
    ],
)
def test_mistakes_raise_and_say_what_to_do(build, says):
    with pytest.raises(InvalidInputError, match=says):
        build(jnp.full(2, 0.5))


def test_different_dtypes_are_refused(x64):
    with pytest.raises(InvalidInputError, match=r"one dtype for all, got \['float32', 'float64'\]"):
        jc.product((jc.linf_ball(jnp.zeros(2, jnp.float32), 0.1), jc.linf_ball(jnp.zeros(2), 0.1)))


def network(inputs):
    """Three inputs joined by affine maps and a ReLU."""
    first = jnp.array([[1.0, -2.0], [0.5, 1.0], [-1.0, 1.0]]) @ inputs["x"][0] + inputs["w"].sum(1)
    hidden = jnp.maximum(first - inputs["x"][1][0], 0.0)
    return jnp.array([[1.0, -1.0, 0.5], [0.3, 1.0, -1.0]]) @ hidden + inputs["x"][1][:2]


def test_no_point_leaves_the_bounds():
    @quick_jit
    def gaps(scale, keys):
        balls = parts(np.random.default_rng(2))
        region = regions.scaled(jc.product({"w": balls["w"], "x": (balls["x"][0], balls["z"])}), scale)
        points = jax.vmap(lambda k: regions.sample(region, key=k))(keys)
        values = jax.vmap(lambda x: network(regions.unpack(region, x)))(points)
        bounds = {name: method(network, region) for name, method in METHODS.items()}
        return {n: jnp.minimum(values - b.lower[None], b.upper[None] - values) for n, b in bounds.items()}

    for index, scale in enumerate((0.0, 0.1, 1.0, 3.0)):
        for name, gap in gaps(scale, jax.random.split(jax.random.key(index), 200)).items():
            assert bool((gap >= -1e-5).all()), name
            assert bool(gap.max() < 10 * (scale + 1e-6)), name


def test_bounds_of_affine_functions_of_several_inputs_are_exact(x64):
    rng = np.random.default_rng(3)
    region = jc.product(parts(rng, jnp.float64))
    weight = jnp.asarray(rng.normal(size=(2, 13)))
    affine = lambda inputs: weight @ regions.pack(region, inputs)

    @quick_jit
    def bound(region):
        found = {name: METHODS[name](affine, region) for name in ("ibp", "crown")}
        return regions.linear_range(region, weight), found

    (low, high), found = bound(region)
    for name, bounds in found.items():
        np.testing.assert_allclose(bounds.lower, low, rtol=1e-10, err_msg=name)
        np.testing.assert_allclose(bounds.upper, high, rtol=1e-10, err_msg=name)


def test_one_part_equals_the_region_alone():
    """Also through a convolution, whose windows a flat input does not have."""
    kernel = jnp.asarray(np.random.default_rng(4).normal(size=(2, 2, 1, 2)), jnp.float32)

    def conv(x):
        out = jax.lax.conv_general_dilated(
            x[None], kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        return jnp.maximum(out, 0.0).sum((0, 1, 2))

    @quick_jit
    def both(ball):
        alone = {name: method(conv, ball) for name, method in METHODS.items()}
        region = jc.product({"image": ball})
        return alone, {n: method(lambda t: conv(t["image"]), region) for n, method in METHODS.items()}

    for ball in (jc.linf_ball(jnp.full((3, 3, 1), 0.3), 0.1), jc.l2_ball(jnp.full((3, 3, 1), 0.3), 0.1)):
        alone, packed = both(ball)
        for name in METHODS:
            np.testing.assert_allclose(packed[name].lower, alone[name].lower, rtol=1e-5, err_msg=name)
            np.testing.assert_allclose(packed[name].upper, alone[name].upper, rtol=1e-5, err_msg=name)


def test_margins_radius_and_attack_over_two_inputs():
    """Logits x - w against w - x at x = 0.6, w = 0.2: they meet where both have moved by 0.2."""
    region = jc.product((jc.linf_ball(jnp.array(0.6), 1.0), jc.linf_ball(jnp.array(0.2), 1.0)))
    logits = lambda inputs: jnp.stack([inputs[0] - inputs[1], inputs[1] - inputs[0]])
    small = regions.scaled(region, 0.1)
    assert jc.margins(jc.crown(), logits, small, 0).tolist() == pytest.approx([0.4], abs=1e-6)
    result = jc.pgd(steps=5)(logits, small, 0, key=jax.random.key(0))
    assert float(result.margin) == pytest.approx(0.4, abs=1e-6)
    x, w = regions.unpack(small, result.x)
    assert (float(x), float(w)) == (pytest.approx(0.5), pytest.approx(0.3))
    broken = jc.fgsm()(logits, regions.scaled(region, 0.3), 0, key=jax.random.key(0))
    assert bool(broken.success)


def test_radii_of_all_parts_grow_together():
    """Both inputs may move by 0.2 before the logits meet: a fifth of what the region allows."""
    region = jc.product((jc.linf_ball(jnp.array(0.6), 1.0), jc.linf_ball(jnp.array(0.2), 1.0)))
    logits = lambda inputs: jnp.stack([inputs[0] - inputs[1], inputs[1] - inputs[0]])
    found = jax.jit(lambda r: jc.certified_radius(jc.crown(), logits, r, 0))(region)
    assert float(found.lower) <= 0.2 <= float(found.upper)
    assert float(found.upper - found.lower) < 1e-5
    with pytest.raises(InvalidInputError, match="or for bisection a product"):
        jc.certified_radius(jc.crown(), logits, region, 0, search=jc.pec())
    mixed = jc.product((region.members[0], jc.box(jnp.array(0.0), jnp.array(1.0))))
    with pytest.raises(InvalidInputError, match="only an l_p ball has a radius"):
        jc.certified_radius(jc.crown(), logits, mixed, 0)


def test_perturbed_weights():
    """fn(x, W) = V relu(W x) with both x and W in a ball: products of bounded values."""
    head = jnp.array([[1.0, -1.0, 0.5], [-0.5, 1.0, 1.0]])
    fn = lambda inputs: head @ jnp.maximum(inputs["W"] @ inputs["x"], 0.0)

    @quick_jit
    def gaps(eps, seed):
        key, x_key, w_key = jax.random.split(jax.random.key(seed), 3)
        x, w = jax.random.normal(x_key, (2,)), jax.random.normal(w_key, (3, 2))
        region = jc.product({"x": jc.linf_ball(x, eps), "W": jc.l2_ball(w, eps)})
        draw = lambda k: jnp.stack([regions.sample(region, key=k), regions.corner(region, key=k)])
        points = jax.vmap(draw)(jax.random.split(key, 200)).reshape(-1, 8)
        values = jax.vmap(lambda point: fn(regions.unpack(region, point)))(points)
        bounds = {name: METHODS[name](fn, region) for name in ("ibp", "crown")}
        return {n: jnp.minimum(values - b.lower[None], b.upper[None] - values) for n, b in bounds.items()}

    for seed, eps in enumerate((0.0, 1e-3, 0.1, 0.5, 2.0)):
        for name, gap in gaps(eps, seed).items():
            assert bool((gap >= -1e-5).all()), name
            assert bool(gap.max() <= 30 * (eps + eps**2) + 1e-5), name


def test_errors_point_at_the_users_line():
    region = jc.product((jc.linf_ball(jnp.ones(2), 0.1), jc.linf_ball(jnp.ones(2), 0.1)))
    with pytest.raises(jc.errors.UnsupportedPrimitiveError, match=r"test_product\.py"):
        jc.ibp()(lambda inputs: jnp.fft.fft(inputs[0] + inputs[1]).real, region)


def test_traced_bad_parts_poison_everything():
    def numbers(eps):
        region = jc.product((jc.linf_ball(jnp.zeros(2), 0.1), jc.l2_ball(jnp.zeros(2), eps)))
        bounds = jc.crown()(lambda t: jnp.maximum(t[0] + t[1], 0.0), region)
        return (
            bounds.lower,
            regions.sample(region, key=jax.random.key(0)),
            regions.project(region, jnp.ones(4)),
        )

    assert all(bool(jnp.isnan(v).all()) for v in jax.jit(numbers)(-0.1))
    assert all(bool(jnp.isfinite(v).all()) for v in jax.jit(numbers)(0.1))


def test_batched_by_vmap_and_not_retraced():
    traces = 0

    @jax.jit
    @jax.vmap
    def lower(x, w, eps):
        nonlocal traces
        traces += 1
        region = jc.product({"x": jc.linf_ball(x, eps), "w": jc.l1_ball(w, eps)})
        return jc.crown()(lambda t: jnp.maximum(t["x"] + 2.0 * t["w"], 0.0), region).lower

    x, w = jnp.ones((3, 2)), jnp.ones((3, 2))
    for eps in (0.1, 0.2):
        found = lower(x, w, jnp.full(3, eps))
        np.testing.assert_allclose(found, 3 - 3 * eps, rtol=1e-5)
    assert traces == 1


def test_derivatives_reach_every_part():
    def value(x, w, eps):
        region = jc.product((jc.linf_ball(x, eps), jc.lp_ball(w, 2 * eps, math.inf)))
        return jc.ibp()(lambda t: (t[0] * 3.0 - t[1]).sum(), region).lower

    slopes = jax.grad(value, argnums=(0, 1, 2))(jnp.ones(2), jnp.ones(2), 0.1)
    assert slopes[0].tolist() == [3.0, 3.0]
    assert slopes[1].tolist() == [-1.0, -1.0]
    assert float(slopes[2]) == pytest.approx(-10.0)
