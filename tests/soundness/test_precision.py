"""Every product inside an engine runs at the highest precision, whatever the user's operation asks for."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import jaxcert as jc
from tests.common.architectures import BY_NAME
from tests.common.cases import batch
from tests.common.methods import METHODS
from tests.common.regions import KINDS

PRODUCTS = ("dot_general", "conv_general_dilated", "jaxcert_conv")


def equations(jaxpr) -> Iterator:
    """Every equation of a jaxpr and of the jaxprs inside it."""
    for equation in jaxpr.eqns:
        yield equation
        for value in jax.tree.leaves(list(equation.params.values()), is_leaf=is_jaxpr):
            if is_jaxpr(value):
                yield from equations(getattr(value, "jaxpr", value))


def is_jaxpr(value) -> bool:
    return hasattr(value, "eqns") or hasattr(value, "jaxpr")


def products(fn, *args) -> list:
    found = equations(jax.make_jaxpr(fn)(*args).jaxpr)
    return [e for e in found if e.primitive.name.startswith(PRODUCTS)]


def is_highest(equation) -> bool:
    precision = equation.params["precision"]
    pair = precision if isinstance(precision, tuple) else (precision, precision)
    return all(p == lax.Precision.HIGHEST for p in pair)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("deep", KINDS[2]),
        ("conv_residual", KINDS[1]),
        ("global_average", KINDS[5]),
        ("conv_deep", KINDS[0]),
    ],
    ids=str,
)
def test_engines_run_at_the_highest_precision(name, kind):
    architecture = BY_NAME[name]
    drawn = batch(architecture, kind, np.random.default_rng(0), 1, "float32")
    params, parts = jax.tree.map(lambda leaf: leaf[0], (drawn.params, drawn.parts))
    for method_name, method in METHODS.items():

        def total(params, parts, method=method):
            return jc.margins(method, lambda x: architecture.apply(params, x), kind.build(parts), 0).sum()

        for fn in (total, jax.grad(total)):
            found = products(fn, params, parts)
            assert found
            assert all(is_highest(e) for e in found), (
                method_name,
                [str(e) for e in found if not is_highest(e)],
            )


def test_a_low_precision_request_of_the_user_is_overruled():
    weight = jnp.ones((3, 2))

    def fn(x):
        return jnp.maximum(jnp.dot(x, weight, precision=lax.Precision.DEFAULT), 0.0)

    region = jc.linf_ball(jnp.zeros(3), 0.1)
    assert not any(is_highest(e) for e in products(fn, jnp.zeros(3)))
    for method in METHODS.values():
        found = products(lambda w, m=method: m(fn, jc.linf_ball(w, 0.1)).lower, region.center)
        assert found
        assert all(is_highest(e) for e in found)
