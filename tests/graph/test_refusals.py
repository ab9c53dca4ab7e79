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
    "sign": jnp.sign,
    "tan": lambda x: jnp.tan(2.0 * x),
    "atan2": lambda x: jnp.arctan2(x, 2.0 + x),
    "lgamma": jax.lax.lgamma,
    "floor": jnp.floor,
    "round": jnp.round,
    "rem": lambda x: x % 0.3,
    "reduce_prod": jnp.prod,
    "cumprod": jnp.cumprod,
    "cummax": lax.cummax,
    "cumlogsumexp": lax.cumlogsumexp,
    "argmax": lambda x: jax.nn.one_hot(jnp.argmax(x), 3),
    "top_k": lambda x: lax.top_k(x, 2)[0],
    "bounded padding": lambda x: lax.pad(x, x[0], ((1, 0, 0),)),
    "bounded base and exponent": lambda x: (x + 2.0) ** x,
    "pow of a negative base": lambda x: jnp.array([-2.0, 2.0, 3.0]) ** x,
    "batch groups": lambda x: lax.conv_general_dilated(
        x.reshape(3, 1, 1), jnp.ones((3, 1, 1)), (1,), "SAME", batch_group_count=3
    ),
    "convolution with itself": lambda x: jnp.convolve(x, x),
    "window wholly in the padding": lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (2,), (1,), ((3, 0),)),
    "base dilation": lambda x: lax.reduce_window(
        x, -jnp.inf, lax.max, (2,), (1,), "VALID", base_dilation=(2,)
    ),
    "window product": lambda x: lax.reduce_window(x, 1.0, lax.mul, (2,), (1,), "VALID"),
    "max from another start": lambda x: lax.reduce_window(x, 0.0, lax.max, (2,), (1,), ((1, 0),)),
    "writes that collide": lambda x: jnp.zeros(2).at[jnp.array([1, 1, 0])].set(x),
    "scatter_min": lambda x: x.at[0].min(0.0),
    "bounded index": lambda x: x.at[x[0].astype(jnp.int32)].set(0.0),
    "complex": lambda x: jnp.fft.fft(x).real,
    "solve": lambda x: jnp.linalg.inv(jnp.eye(3) + x[None] * x[:, None]),
    "reduce_precision": lambda x: lax.reduce_precision(x, 5, 3),
    "scan of a floor": lambda x: lax.scan(lambda c, _: (jnp.floor(c), None), x, None, length=2)[0],
    "while": lambda x: lax.while_loop(lambda c: c[0] < 1.0, lambda c: c + 1.0, x),
    "step": lambda x: jnp.where(x > 0.1, 1.0, 0.0),
    "jump": lambda x: jnp.where(x > 0, x + 1.0, x),
    "heaviside": lambda x: jnp.heaviside(x, 0.5),
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
        return jnp.tan(hidden)

    line = user_function.__code__.co_firstlineno + 2
    with pytest.raises(jc.errors.UnsupportedPrimitiveError) as caught:
        method(user_function, REGION)
    message = str(caught.value)
    assert "'tan'" in message
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
        return jnp.tan(jnp.maximum(x, 0.0)) + 1.0

    found = jc.explain(fn, X)
    assert [(op.kind, op.primitive) for op in found.operations] == [
        ("relu", "max"),
        ("tan", "tan"),
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
