"""Architectures of curved functions, products, maxima, normalisers, loops and indices: few weights each."""

import jax
import jax.numpy as jnp
import numpy as np
from flax.linen import avg_pool, max_pool
from jax import lax

from tests.common.architecture import (
    Architecture,
    conv,
    conv_shapes,
    dense_shapes,
    head,
    head_shapes,
    several_shapes,
)


def max_pooled(p, x):
    """Windows that overlap, and that reach into the padding."""
    h = conv(x, p["k"], p["b"])
    return head(p, jax.nn.relu(max_pool(h, (3, 2), strides=(2, 1), padding=((1, 1), (0, 1)))))


def extremes(p, x):
    """Largest and smallest entries over an axis. (JAX differentiates no dilated window in reverse.)"""
    h = jax.nn.relu(x.reshape(2, 2) @ p["w"] + p["b"][None])
    return head(p, jnp.concatenate([h.max(axis=0), h.min(axis=0)]))


def average_pool_inside(p, x):
    """Averages over the entries inside the image: padding is not counted."""
    h = avg_pool(jax.nn.relu(conv(x, p["k"], p["b"])), (2, 2), padding="SAME", count_include_pad=False)
    return head(p, jnp.cumsum(h, axis=0))


def logits(p, x):
    return head(p, jax.nn.relu(x @ p["w"] + p["b"]))


def softmax_head(p, x):
    return jax.nn.softmax(logits(p, x))


def log_softmax_head(p, x):
    out = logits(p, x)
    return jax.nn.log_softmax(out) + 0.5 * jax.nn.logsumexp(out * p["w_scale"])


def attention(p, x):
    """One head on three tokens, a residual connection, and the mean of the tokens."""
    query, key, value = (x @ p[name] for name in ("w_query", "w_key", "w_value"))
    h = x + jax.nn.softmax(query @ key.T / np.sqrt(2).astype(x.dtype), axis=-1) @ value
    return head(p, jnp.mean(h, axis=0))


def layer_norm(p, x):
    """As flax writes it: the mean of squares less the square of the mean, clipped at 0."""
    h = jax.nn.relu(x @ p["w"] + p["b"])
    mean, squares = h.mean(keepdims=True), jnp.square(h).mean(keepdims=True)
    variance = jnp.maximum(squares - jnp.square(mean), 0.0)
    return head(p, (h - mean) * lax.rsqrt(variance + 0.1) * p["w_scale"])


def rms_norm(p, x):
    h = x @ p["w"] + p["b"]
    return head(p, h / jnp.sqrt(jnp.mean(h * h, keepdims=True) + 0.1))


def gated(p, x):
    h = x @ p["w"] + p["b"]
    parts = [jax.nn.gelu(h), jax.nn.gelu(h, approximate=False), jax.nn.silu(h), jax.nn.mish(h)]
    return head(p, jnp.concatenate(parts))


def exponential_units(p, x):
    h = x @ p["w"] + p["b"]
    parts = [jax.nn.elu(h), jax.nn.selu(h), jax.nn.celu(h, 0.7), jax.nn.softplus(h), jax.nn.log_sigmoid(h)]
    return head(p, jnp.concatenate(parts))


def bent(p, x):
    h = x @ p["w"] + p["b"]
    parts = [jax.nn.hard_tanh(h), jax.nn.relu6(h), jax.nn.hard_swish(h), jnp.abs(h), jax.nn.soft_sign(h)]
    return head(p, jnp.concatenate([*parts, jnp.where(h >= 0, h, p["w_scale"] * h)]))


def products(p, x):
    h = x @ p["w"] + p["b"]
    left, right = jnp.split(h, 2)
    parts = [left * right, left / (1.0 + right * right), jnp.maximum(left, right), left**3]
    return head(p, jnp.concatenate([*parts, jnp.minimum(left, jnp.tanh(right))]))


def curved(p, x):
    h = jnp.tanh(x @ p["w"] + p["b"])
    parts = [jnp.exp(h), jnp.expm1(h), jnp.log(h + 1.5), jnp.log1p(0.5 * h), jnp.sqrt(h + 1.5), 1 / (h + 2.0)]
    return head(p, jnp.concatenate([*parts, lax.rsqrt(h + 1.5), lax.erf(h), (h + 2.0) ** 0.3]))


def out_of_domain(p, x):
    """Where a region is large, the arguments leave the domains."""
    h = 0.1 * (x @ p["w"]) + 4.0
    return head(p, jnp.concatenate([jnp.log(h), 1 / h, jnp.sqrt(h), lax.rsqrt(h)]))


def waves(p, x):
    """Periodic functions, turned around and picked."""
    h = x @ p["w"] + p["b"]
    h = jnp.concatenate([jnp.sin(2.0 * h), jnp.flip(jnp.cos(h))])
    return head(p, lax.dynamic_slice(h, (1,), (6,)))


def recurrent(p, x):
    """Steps over two tokens, forwards and backwards."""

    def step(carry, token):
        carry = jnp.tanh(carry @ p["w"] + token)
        return carry, carry * p["w_scale"]

    last, outputs = lax.scan(step, jnp.zeros(2, x.dtype), x)
    first, _ = lax.scan(step, last, outputs, reverse=True)
    return head(p, jnp.concatenate([first, outputs[1]]))


def indexed(p, x):
    """A table of constants, gathers, and writes into arrays."""
    table = p["w_scale"][jnp.array([1, 0, 1, 2])]
    h = jax.nn.relu(x * table + p["b"])
    h = h.at[1].add(h[3]).at[jnp.array([0, 2])].set(2.0 * h[jnp.array([3, 3])])
    return head(
        p, lax.dynamic_update_slice(h, jnp.ones(1, x.dtype), (3,)) + jnp.where(jnp.arange(4) < 2, x, 0.0)
    )


def bounded_kernel(p, x):
    """The input is a kernel: what perturbed weights look like."""
    out = lax.conv_general_dilated(
        p["w_image"], x, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"), precision="highest"
    )
    return head(p, jax.nn.relu(out))


_ATTENTION = {"w_query": (2, 2), "w_key": (2, 2), "w_value": (2, 2), **head_shapes(2)}

_KERNEL = {"w_image": (1, 3, 3, 1), **head_shapes(18)}
_SCALED = {**dense_shapes(5), "w_scale": (3,)}
CURVED: tuple[Architecture, ...] = (
    Architecture("max_pool", (4, 4, 1), conv_shapes(6, k=(2, 2, 1, 1)), max_pooled, relu_only=False),
    Architecture("extremes", (4,), {"w": (2, 3), "b": (3,), **head_shapes(6)}, extremes, relu_only=False),
    Architecture("average_pool_inside", (4, 4, 1), conv_shapes(18, k=(2, 2, 1, 2)), average_pool_inside),
    Architecture("softmax_head", (4,), dense_shapes(5), softmax_head, False, True),
    Architecture("log_softmax_head", (4,), _SCALED, log_softmax_head, False, True),
    Architecture("attention", (3, 2), _ATTENTION, attention, False, True),
    Architecture("layer_norm", (4,), {**dense_shapes(4), "w_scale": (4,)}, layer_norm, False, True),
    Architecture("rms_norm", (4,), dense_shapes(4), rms_norm, False, True),
    Architecture("gated", (4,), several_shapes(2, 4), gated, relu_only=False),
    Architecture("exponential_units", (4,), several_shapes(2, 5), exponential_units, relu_only=False),
    Architecture("bent", (4,), {**several_shapes(2, 6), "w_scale": (2,)}, bent, False, True),
    Architecture("products", (4,), {**several_shapes(4, 2), **head_shapes(10)}, products, False, True),
    Architecture("curved", (4,), several_shapes(2, 9), curved, False, True),
    Architecture("out_of_domain", (4,), several_shapes(2, 4), out_of_domain, False, True),
    Architecture(
        "recurrent", (2, 2), {"w": (2, 2), "w_scale": (2,), **head_shapes(4)}, recurrent, relu_only=False
    ),
    Architecture("indexed", (4,), {"w_scale": (3,), "b": (4,), **head_shapes(4)}, indexed),
    Architecture("waves", (4,), {"w": (4, 4), "b": (4,), **head_shapes(6)}, waves, relu_only=False),
    Architecture("bounded_kernel", (2, 2, 1, 2), _KERNEL, bounded_kernel),
)
