"""Methods as values: shapes, specifications, linear forms, equality, pytrees, retracing, own rules."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import jaxcert as jc
from jaxcert.bounds import CROWN_RULES, IBP_RULES, Rules, ibp_structural
from tests.bounds.nets import HIDDEN, IN, OUT, X, apply, net, params

METHODS = {
    "ibp": jc.ibp(),
    "crown": jc.crown(),
    "crown_ibp": jc.crown_ibp(),
    "fast_lin": jc.fast_lin(),
    "zero": jc.crown(slope=jc.slopes.zero),
    "one": jc.crown_ibp(slope=jc.slopes.one),
}
BACKWARD = {name: method for name, method in METHODS.items() if name != "ibp"}
REGION = jc.linf_ball(X, 0.1, clip=(0.0, 1.0))
FN = net()

SHAPES = {
    "scalar": (lambda x: jax.nn.relu(x).sum(), ()),
    "vector": (FN, (OUT,)),
    "matrix": (lambda x: jax.nn.relu(x).reshape(2, 2) - 0.5, (2, 2)),
    "one entry": (lambda x: jax.nn.relu(x)[:1], (1,)),
    "input itself": (lambda x: x, (IN,)),
    "affine only": (lambda x: (2.0 * x - 1.0)[None], (1, IN)),
    "activation last": (lambda x: jnp.tanh(x * 3.0), (IN,)),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", METHODS)
def test_bounds_have_the_shape_of_the_output_and_hold(name, shape):
    fn, expected = SHAPES[shape]
    found = METHODS[name](fn, REGION)
    assert found.lower.shape == found.upper.shape == expected
    assert found.lower.dtype == found.upper.dtype == jnp.float32
    for corner in (X - 0.1, X + 0.1, X):
        value = fn(jnp.clip(corner, 0, 1))
        assert bool((found.lower <= value + 1e-6).all())
        assert bool((value <= found.upper + 1e-6).all())


@pytest.mark.parametrize("name", METHODS)
def test_the_identity_specification_gives_the_bounds(name):
    method = METHODS[name]
    found = method(FN, REGION)
    low = method.lower(FN, REGION, jnp.eye(OUT))
    high = -method.lower(FN, REGION, -jnp.eye(OUT))
    assert np.asarray(low) == pytest.approx(np.asarray(found.lower), abs=1e-5)
    assert np.asarray(high) == pytest.approx(np.asarray(found.upper), abs=1e-5)


@pytest.mark.parametrize("name", METHODS)
def test_offsets_add_and_scaling_scales(name):
    method, rng = METHODS[name], np.random.default_rng(0)
    coeffs, offset = jnp.asarray(rng.normal(size=(5, OUT)), jnp.float32), jnp.arange(5.0)
    plain = method.lower(FN, REGION, coeffs)
    assert plain.shape == (5,)
    assert np.asarray(method.lower(FN, REGION, coeffs, offset)) == pytest.approx(
        np.asarray(plain + offset), abs=1e-5
    )
    assert np.asarray(method.lower(FN, REGION, 2.0 * coeffs)) == pytest.approx(
        2 * np.asarray(plain), rel=1e-4
    )
    assert method.lower(FN, REGION, coeffs * 0).tolist() == [0.0] * 5


def test_specifications_of_outputs_with_more_axes():
    fn = SHAPES["matrix"][0]
    coeffs = jnp.asarray(np.random.default_rng(1).normal(size=(3, 2, 2)), jnp.float32)
    flat = lambda x: fn(x).reshape(-1)
    for method in METHODS.values():
        ours, theirs = method.lower(fn, REGION, coeffs), method.lower(flat, REGION, coeffs.reshape(3, 4))
        assert np.asarray(ours) == pytest.approx(np.asarray(theirs), abs=1e-6)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize(
    ("coeffs", "offset", "says"),
    [
        (jnp.ones(OUT), None, r"must be \[S, \*out\] with out = \(3,\), got \(3,\)"),
        (jnp.ones((2, OUT + 1)), None, r"got \(2, 4\)"),
        (jnp.ones((2, OUT, 1)), None, r"got \(2, 3, 1\)"),
        (jnp.ones(()), None, r"got \(\)"),
        (jnp.ones((2, OUT)), jnp.ones(3), r"offset must have shape \(2,\), got \(3,\)"),
        (jnp.ones((2, OUT)), jnp.ones(()), r"offset must have shape \(2,\), got \(\)"),
    ],
)
def test_bad_specifications_raise(name, coeffs, offset, says):
    with pytest.raises(jc.errors.InvalidInputError, match=says):
        METHODS[name].lower(FN, REGION, coeffs, offset)


@pytest.mark.parametrize("name", BACKWARD)
def test_linear_forms_enclose_and_concretise_to_the_bounds(name):
    for fn, shape in (SHAPES["vector"], SHAPES["matrix"], SHAPES["scalar"], SHAPES["input itself"]):
        forms = BACKWARD[name].linear(fn, REGION)
        for form in (forms.lower, forms.upper):
            assert form.coeffs.shape == (*shape, IN)
            assert form.offset.shape == shape
        found = BACKWARD[name](fn, REGION)
        low = jc.regions.minimize_linear(REGION, forms.lower.coeffs) + forms.lower.offset
        high = -jc.regions.minimize_linear(REGION, -forms.upper.coeffs) + forms.upper.offset
        assert np.asarray(low) == pytest.approx(np.asarray(found.lower), abs=1e-5)
        assert np.asarray(high) == pytest.approx(np.asarray(found.upper), abs=1e-5)
        rng = np.random.default_rng(0)
        for x in jnp.clip(X[None] + jnp.asarray(rng.uniform(-0.1, 0.1, (20, IN)), jnp.float32), 0, 1):
            value = fn(x)
            assert bool((forms.lower(x) <= value + 1e-5).all())
            assert bool((value <= forms.upper(x) + 1e-5).all())


def test_affine_functions_are_their_own_linear_bounds():
    matrix = jnp.asarray(np.random.default_rng(2).normal(size=(OUT, IN)), jnp.float32)
    for method in BACKWARD.values():
        forms = method.linear(lambda x: matrix @ x + 1.5, REGION)
        for form in (forms.lower, forms.upper):
            assert np.asarray(form.coeffs) == pytest.approx(np.asarray(matrix), rel=1e-6)
            assert form.offset.tolist() == [1.5] * OUT


def test_factories_and_equality():
    assert jc.crown_ibp() == jc.crown(intermediate=jc.ibp())
    assert jc.fast_lin() == jc.crown(slope=jc.slopes.parallel)
    assert jc.ibp() == jc.ibp()
    distinct = {jc.crown(), jc.crown_ibp(), jc.fast_lin(), METHODS["zero"], METHODS["one"], jc.ibp()}
    assert len(distinct) == 6
    for method in METHODS.values():
        assert not jax.tree.leaves(method)
        assert type(method).__name__ in repr(method)


def test_slopes_are_leaves_and_changing_them_does_not_retrace():
    traces = []

    @jax.jit
    def lower(method, p, region):
        traces.append(None)
        return method(lambda x: apply(p, x), region).lower

    results = []
    for alpha in (0.0, 0.3, 1.0):
        slopes = [jnp.full(HIDDEN, alpha), jnp.full(HIDDEN, 1 - alpha)]
        method = jc.crown(slope=slopes)
        assert len(jax.tree.leaves(method)) == 2
        results.append(lower(method, params(), REGION))
    assert len(traces) == 1
    assert not bool(jnp.allclose(results[0], results[2]))
    fixed = jc.crown(slope=[jnp.zeros(HIDDEN)] * 2)(FN, REGION)
    assert np.asarray(fixed.lower) == pytest.approx(np.asarray(METHODS["zero"](FN, REGION).lower), abs=1e-5)


def test_gradients_reach_the_slopes(x64):
    p = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), params())
    region = jc.linf_ball(jnp.asarray(X, jnp.float64), 0.5)

    @jax.jit
    def total(slopes):
        return jc.crown(slope=slopes)(lambda x: apply(p, x), region).lower.sum()

    at = [jnp.full(HIDDEN, 0.4), jnp.full(HIDDEN, 0.6)]
    slopes = jax.grad(total)(at)
    assert any(bool((jnp.abs(s) > 1e-6).any()) for s in slopes)
    for layer in range(2):
        for j in range(HIDDEN):
            push = [a.at[j].add(1e-6) if i == layer else a for i, a in enumerate(at)]
            pull = [a.at[j].add(-1e-6) if i == layer else a for i, a in enumerate(at)]
            assert float(slopes[layer][j]) == pytest.approx(float(total(push) - total(pull)) / 2e-6, abs=1e-6)


@pytest.mark.parametrize("name", METHODS)
def test_new_values_do_not_retrace(name):
    traces = []

    @jax.jit
    def certify(p, x, eps, label):
        traces.append(None)
        return jc.margins(METHODS[name], lambda v: apply(p, v), jc.linf_ball(x, eps, clip=(0.0, 1.0)), label)

    seen = {
        tuple(certify(params(s), X * (1 - 0.1 * s), jnp.asarray(0.01 * s), jnp.asarray(s)).tolist())
        for s in range(3)
    }
    assert len(traces) == 1
    assert len(seen) == 3


def increasing(node, x):
    """Ends map to ends."""
    return jc.Bounds(node.apply(node.consts, x.lower), node.apply(node.consts, x.upper))


def test_own_rules_extend_the_tables():
    with pytest.raises(jc.errors.UnsupportedPrimitiveError, match="sinh"):
        jc.ibp()(lax.sinh, REGION)
    extended = jc.ibp(rules=IBP_RULES | {"sinh": increasing})
    found = extended(lambda x: 2.0 * lax.sinh(x - 0.5), REGION)
    lower, upper = jc.regions.interval(REGION)
    assert np.asarray(found.lower) == pytest.approx(np.asarray(2 * jnp.sinh(lower - 0.5)), rel=1e-5)
    assert np.asarray(found.upper) == pytest.approx(np.asarray(2 * jnp.sinh(upper - 0.5)), rel=1e-5)
    # The affine layer after it is merged into the specification, the own kind before it stays.
    low = extended.lower(lambda x: 2.0 * lax.sinh(x), REGION, jnp.eye(IN))
    assert np.asarray(low) == pytest.approx(np.asarray(2 * jnp.sinh(lower)), rel=1e-5)
    assert "sinh" not in IBP_RULES


def test_own_rules_of_affine_kinds_are_asked_in_a_box_of_any_type():
    weights = jnp.asarray([[1.0, -2.0], [0.5, 3.0]])
    wide = lambda node, x: jax.tree.map(lambda end: end - 9.0, IBP_RULES["dot"](node, x))
    x, eps = jnp.asarray([0.2, -0.1]), 0.1
    for region in (jc.linf_ball(x, eps), jc.linf_ball(x, eps, clip=(-1.0, 1.0)), jc.box(x - eps, x + eps)):
        usual = jc.ibp()(lambda x: x @ weights, region)
        own = jc.ibp(rules=IBP_RULES | {"dot": wide})(lambda x: x @ weights, region)
        assert np.asarray(own.lower) == pytest.approx(np.asarray(usual.lower) - 9.0, rel=1e-5)


def test_rule_tables_are_frozen_hashable_mappings():
    extended = IBP_RULES | {"sort": ibp_structural}
    assert isinstance(extended, Rules)
    assert len(extended) == len(IBP_RULES) + 1
    assert extended == IBP_RULES | {"sort": ibp_structural}
    assert hash(extended) == hash(IBP_RULES | {"sort": ibp_structural})
    assert extended != IBP_RULES
    assert set(CROWN_RULES) == set(IBP_RULES), "the two engines support the same operations"
    with pytest.raises(TypeError):
        IBP_RULES["sort"] = ibp_structural
    with pytest.raises(AttributeError):
        jc.ibp().rules = extended


@pytest.mark.parametrize("name", METHODS)
def test_zero_radius_gives_the_value(name):
    found = METHODS[name](FN, jc.l2_ball(X, 0.0))
    assert np.asarray(found.lower) == pytest.approx(np.asarray(FN(X)), abs=1e-5)
    assert np.asarray(found.upper) == pytest.approx(np.asarray(FN(X)), abs=1e-5)


@pytest.mark.parametrize("build", [jc.linf_ball, jc.l2_ball, jc.l1_ball])
@pytest.mark.parametrize("name", ["ibp", "crown", "fast_lin"])
def test_one_affine_layer_is_exact_in_every_norm(name, build):
    matrix = np.random.default_rng(4).normal(size=(OUT, IN)).astype(np.float32)
    found = METHODS[name](lambda x: matrix @ x, build(X, 0.3))
    dual = {jc.linf_ball: 1, jc.l2_ball: 2, jc.l1_ball: np.inf}[build]
    reach = 0.3 * np.linalg.norm(matrix, dual, axis=1)
    assert np.asarray(found.lower) == pytest.approx(matrix @ np.asarray(X) - reach, rel=1e-5, abs=1e-6)
    assert np.asarray(found.upper) == pytest.approx(matrix @ np.asarray(X) + reach, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("order", ["affine first", "relu first"])
def test_affine_values_in_an_l2_ball_are_exact_wherever_they_occur(order):
    """A direct use of the input elsewhere must not switch the affine part to intervals."""
    matrix = jnp.asarray(np.random.default_rng(5).normal(size=(IN, IN)), jnp.float32)

    def fn(x):
        affine, other = x @ matrix, jax.nn.relu(x)
        return jnp.concatenate([affine, other] if order == "affine first" else [other, affine])

    region = jc.l2_ball(X, 0.3)
    alone = jc.ibp()(lambda x: x @ matrix, region)
    found = jc.ibp()(fn, region)
    part = slice(0, IN) if order == "affine first" else slice(IN, None)
    assert np.asarray(found.lower[part]) == pytest.approx(np.asarray(alone.lower), abs=1e-5)


def test_ibp_grows_with_the_region():
    """Interval arithmetic is inclusion-monotone; CROWN is not, so only IBP is held to it."""
    last = None
    for eps in (0.0, 0.01, 0.1, 1.0):
        found = jc.ibp()(FN, jc.linf_ball(X, eps))
        if last is not None:
            assert bool((found.lower <= last.lower + 1e-6).all())
            assert bool((found.upper >= last.upper - 1e-6).all())
        last = found


def test_smaller_norm_balls_give_no_looser_bounds():
    """l_1 ball inside l_2 ball inside l_inf ball, and IBP is inclusion-monotone."""
    found = [jc.ibp()(FN, jc.lp_ball(X, 0.2, norm)) for norm in (1, 2, np.inf)]
    for inner, outer in itertools.pairwise(found):
        assert bool((inner.lower >= outer.lower - 1e-6).all())
        assert bool((inner.upper <= outer.upper + 1e-6).all())
