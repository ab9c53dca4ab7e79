"""What no engine can bound is refused by name and line, with every entry point of every method."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import jaxcert as jc

X = jnp.array([0.5, -0.4, 0.3])
REGION = jc.linf_ball(X, 0.7)
METHODS = (jc.ibp(), jc.crown(), jc.crown_ibp())

UNSUPPORTED = {
    "sort": jnp.sort,
    "abs": jnp.abs,
    "sin": lambda x: jnp.sin(2.0 * x),
    "exp": lambda x: jnp.exp(x),
    "mul": lambda x: x * x,
    "div": lambda x: 1.0 / x,
    "dot_general": lambda x: x @ x,
    "floor": jnp.floor,
    "reduce_max": lambda x: x.max(),
    "max": lambda x: jnp.maximum(x, 2.0 * x),
    "reduce_precision": lambda x: lax.reduce_precision(x, 5, 3),
    "scan": lambda x: lax.scan(lambda c, _: (c * 2.0, None), x, None, length=2)[0],
    "bfloat16": lambda x: x.astype(jnp.bfloat16).astype(jnp.float32),
    "float16": lambda x: 2.0 * (x * 3.0).astype(jnp.float16).astype(jnp.float32),
    "int32": lambda x: x.astype(jnp.int32).astype(jnp.float32),
    "int32 reshaped": lambda x: x.astype(jnp.int32)[::-1].reshape(1, 3).astype(jnp.float32),
    "bool": lambda x: (x > 0).astype(jnp.float32),
    "argmax index": lambda x: x[jnp.argmax(x)],
    "rounded index": lambda x: lax.dynamic_slice(x, (x[0].astype(jnp.int32),), (2,)),
    "cond": lambda x: lax.cond(x[0] > 0, lambda v: v, lambda v: -v, x),
}


@pytest.mark.parametrize("how", ["bounds", "lower"])
@pytest.mark.parametrize("name", UNSUPPORTED)
def test_unsupported_operations_raise_in_every_method(name, how):
    fn = UNSUPPORTED[name]
    out = jax.eval_shape(fn, X)
    rows = jnp.eye(out.size).reshape(out.size, *out.shape)
    for method in METHODS:
        with pytest.raises(jc.errors.UnsupportedPrimitiveError, match="has no sound rule for"):
            method(fn, REGION) if how == "bounds" else method.lower(fn, REGION, rows)


@pytest.mark.parametrize("method", METHODS, ids=["ibp", "crown", "crown_ibp"])
def test_the_message_names_primitive_engine_and_the_users_line(method):
    def user_function(x):
        hidden = jnp.maximum(x, 0.0)
        return jnp.sin(hidden)

    line = user_function.__code__.co_firstlineno + 2
    with pytest.raises(jc.errors.UnsupportedPrimitiveError) as caught:
        method(user_function, REGION)
    message = str(caught.value)
    assert "'sin'" in message
    assert f"test_refusals.py:{line} " in message
    assert re.match("ibp|crown", message)
    assert "jaxcert.explain" in message
    assert "\n" not in message


def test_dead_unsupported_code_is_harmless():
    def fn(x):
        jnp.sort(x)
        unused = jnp.sin(x) * x.astype(jnp.int32).astype(jnp.float32)
        return (2.0 * x, unused)[0]

    for method in METHODS:
        assert np.asarray(method(fn, REGION).lower) == pytest.approx(np.asarray(2 * (X - 0.7)), abs=1e-5)


def test_explain_says_what_is_unsupported_and_where():
    def fn(x):
        return jnp.sin(jnp.maximum(x, 0.0)) + 1.0

    found = jc.explain(fn, X)
    assert [(op.kind, op.primitive) for op in found.operations] == [
        ("relu", "max"),
        ("sin", "sin"),
        ("shift", "add"),
    ]
    assert all("test_refusals.py" in op.where for op in found.operations)
    assert found.supported_by == ()
    text = str(found)
    assert "NO" in text
    assert text.splitlines()[-1] == "The whole function is supported by: no engine."
    supported = jc.explain(lambda x: jnp.tanh(x), X)
    assert supported.supported_by == ("ibp", "forward", "crown")
    assert "ibp, forward, crown" in str(supported).splitlines()[-1]
