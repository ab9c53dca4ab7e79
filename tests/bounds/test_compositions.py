"""Methods made of methods: tightest, intermediate bounds from any method, rows in blocks of memory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcert as jc
from tests.bounds.nets import OUT, X, net
from tests.common.architectures import BY_NAME
from tests.common.cases import batch
from tests.common.compiling import quick_jit
from tests.common.regions import KINDS

FN, REGION = net(), jc.linf_ball(X, 0.2)
ROWS = jnp.array([[1.0, -1.0, 0.0], [0.0, 1.0, -1.0]])


def test_tightest_is_the_intersection():
    parts = jc.ibp(), jc.crown(), jc.forward()
    both = jc.tightest(*parts)
    found, each = both(FN, REGION), [method(FN, REGION) for method in parts]
    assert found.lower.tolist() == jnp.stack([b.lower for b in each]).max(0).tolist()
    assert found.upper.tolist() == jnp.stack([b.upper for b in each]).min(0).tolist()
    lower = jnp.stack([method.lower(FN, REGION, ROWS) for method in parts]).max(0)
    assert both.lower(FN, REGION, ROWS).tolist() == lower.tolist()


def test_tightest_survives_one_method_without_an_answer():
    class Broken:
        def __call__(self, fn, region):
            return jc.Bounds(jnp.full(OUT, jnp.nan), jnp.full(OUT, jnp.nan))

        def lower(self, fn, region, coeffs, offset=None):
            return jnp.full(len(coeffs), jnp.nan)

    found = jc.tightest(jc.ibp(), Broken())(FN, REGION)
    assert found.lower.tolist() == jc.ibp()(FN, REGION).lower.tolist()
    poisoned = jc.LpBall(X * jnp.nan, jnp.array(0.1))
    assert not bool(jc.is_certified(jc.margins(jc.tightest(jc.ibp(), jc.crown()), FN, poisoned, 0)))


def test_intersected_intermediate_bounds_are_never_looser_intervals():
    graph_bounds = {}
    for name, method in {"crown": jc.crown(), "both": jc.tightest(jc.ibp(), jc.crown())}.items():
        graph = jc.bounds.specification.graph_of(FN, REGION)
        relus = tuple(n.inputs[0] for n in graph.nodes if n.kind == "relu")
        graph_bounds[name] = method.ranges(graph, REGION, relus)
    for index, wide in graph_bounds["crown"].items():
        if index in graph_bounds["both"]:
            narrow = graph_bounds["both"][index]
            assert bool(((narrow.lower >= wide.lower) & (narrow.upper <= wide.upper)).all())


@pytest.mark.parametrize("source", [jc.forward(), jc.tightest(jc.ibp(), jc.crown()), jc.fast_lin()], ids=repr)
def test_intermediate_bounds_of_any_method_are_sound(source):
    method = jc.crown(intermediate=source)
    found = method(FN, REGION)
    points = X[None] + 0.2 * jax.random.uniform(jax.random.key(1), (500, 4), minval=-1, maxval=1)
    values = jax.vmap(FN)(points)
    assert bool((found.lower <= values.min(0) + 1e-6).all())
    assert bool((found.upper >= values.max(0) - 1e-6).all())


@pytest.mark.parametrize(
    ("name", "kind"), [("deep", 1), ("conv_deep", 3), ("conv_residual", 1)], ids=lambda v: str(v)
)
def test_rows_in_blocks_give_the_same_bounds(name, kind):
    """A budget for a few rows at a time, down to a single one, changes nothing."""
    architecture, kind = BY_NAME[name], KINDS[kind]
    drawn = batch(architecture, kind, np.random.default_rng(5), 2, "float32", (0.1,))

    @quick_jit
    @jax.vmap
    def run(params, parts):
        fn, region = (lambda x: architecture.apply(params, x)), kind.build(parts)
        return [jc.crown(memory=size)(fn, region) for size in ("2GiB", "2KiB", 1)]

    whole, some, single = run(drawn.params, drawn.parts)
    for part in (some, single):
        assert np.asarray(part.lower) == pytest.approx(np.asarray(whole.lower), rel=1e-5, abs=1e-5)
        assert np.asarray(part.upper) == pytest.approx(np.asarray(whole.upper), rel=1e-5, abs=1e-5)


def test_forward_and_its_linear_bounds_agree():
    bounds, lines = jc.forward()(FN, REGION), jc.forward().linear(FN, REGION)
    low = jc.regions.minimize_linear(REGION, lines.lower.coeffs) + lines.lower.offset
    high = -jc.regions.minimize_linear(REGION, -lines.upper.coeffs) + lines.upper.offset
    assert np.asarray(low) == pytest.approx(np.asarray(bounds.lower), abs=1e-5)
    assert np.asarray(high) == pytest.approx(np.asarray(bounds.upper), abs=1e-5)
    form = jc.forward().linear_lower(FN, REGION, ROWS)
    assert form(X).shape == (2,)
    assert bool((form(X) <= FN(X) @ ROWS.T + 1e-6).all())


def test_wrong_arguments_say_so():
    for build, says in (
        (lambda: jc.tightest(), "tightest takes bounding methods"),
        (lambda: jc.tightest("ibp"), "tightest takes bounding methods"),
        (lambda: jc.forward(slope="adaptive"), "slope must be"),
        (
            lambda: jc.forward(slope=jc.slopes.given([jnp.ones(2)] * 3))(FN, REGION),
            "3 arrays but the network has 2",
        ),
        (lambda: jc.crown(memory="lots"), "memory must be"),
    ):
        with pytest.raises(jc.errors.InvalidInputError, match=says):
            build()


def test_a_function_without_activations_needs_no_intermediate_bounds():
    found = jc.crown(intermediate=jc.forward())(lambda x: 2.0 * x - 1.0, REGION)
    assert np.asarray(found.lower) == pytest.approx(np.asarray(2 * (X - 0.2) - 1), abs=1e-6)
