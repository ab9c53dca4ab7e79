"""Small fixed architectures: compiled once, fed thousands of drawn weights.

`init(rng)` draws float64 weights, `apply(params, x)` maps one example to three outputs. Every operation
that the engines promise to handle occurs in at least one of them.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from tests.common.architecture import (
    IMAGE,
    Architecture,
    conv,
    conv_shapes,
    dense_shapes,
    head,
    head_shapes,
    two_shapes,
)
from tests.common.curved import CURVED


def window_sum(x, window, strides, padding):
    return lax.reduce_window(x, np.zeros((), x.dtype), lax.add, window, strides, padding)


def affine(p, x):
    return x @ p["w"] + p["b"]


def dense(p, x):
    return head(p, jax.nn.relu(x @ p["w"] + p["b"]))


def deep(p, x):
    h = x
    for i in range(3):
        h = jax.nn.relu(h @ p[f"w{i}"] + p[f"b{i}"])
    return head(p, h)


def weight_on_the_left(p, x):
    h = jnp.maximum(jnp.dot(p["w"], x) + p["b"], 0.0)
    return jnp.einsum("io,i->o", p["w_out"], h) - p["b_out"]


def ends_in_relu(p, x):
    return jax.nn.relu(dense(p, x))


def activation_first(p, x):
    return head(p, jax.nn.relu(x - 0.5))


def leaky(p, x):
    h = jax.nn.leaky_relu(x @ p["w"] + p["b"], 0.1)
    return head(p, jax.nn.leaky_relu(h @ p["w1"] + p["b1"], 0.3))


def smooth(activation):
    def apply(p, x):
        h = activation(x @ p["w"] + p["b"])
        return head(p, activation(h @ p["w1"] + p["b1"]))

    return apply


def mixed(p, x):
    h = jax.nn.relu(x @ p["w"] + p["b"])
    return head(p, jnp.tanh(h @ p["w1"] + p["b1"]) + jax.nn.sigmoid(h))


def skip(p, x):
    h = jax.nn.relu(x @ p["w"] + p["b"])
    return head(p, jax.nn.relu(h + jax.nn.relu(h @ p["w1"] + p["b1"])))


def reused_input(p, x):
    h = jax.nn.relu(2.0 * x - x @ p["w"] + p["b"])
    return head(p, h - 0.5 * x) + jnp.sum(x) * p["b_mix"]


def constant_branch(p, x):
    h = jax.nn.relu(x @ p["w"] + p["b"]) + jax.nn.relu(p["b1"])
    return head(p, h)


def normalised(p, x):
    return dense(p, (x - p["b_mean"]) / jnp.sqrt(p["var"]))


def conv_valid(p, x):
    h = jax.nn.relu(conv(x, p["k"], p["b"]))
    return head(p, jax.nn.relu(conv(h, p["k1"], p["b1"])))


def conv_same(p, x):
    return head(p, jax.nn.relu(conv(x, p["k"], p["b"], padding="SAME")))


def conv_strided(p, x):
    h = jax.nn.relu(conv(x, p["k"], p["b"], (2, 1), ((1, 0), (0, 2))))
    return head(p, jax.nn.relu(conv(h, p["k1"], p["b1"], (2, 2), ((1, 1), (1, 1)))))


def conv_deep(p, x):
    """Windows stay smaller than the image all the way down, so that patch-wise passes are taken."""
    h = jax.nn.relu(conv(x, p["k"], p["b"], padding=((1, 0), (0, 1))))
    h = jax.nn.relu(conv(h, p["k1"], p["b1"], (2, 2), ((0, 1), (1, 0)), groups=2))
    return head(p, jax.nn.relu(conv(h, p["k2"], p["b2"], padding=((1, 1), (0, 0)), dilation=(2, 1))))


def conv_grouped(p, x):
    h = jax.nn.relu(conv(x, p["k"], p["b"], groups=2))
    return head(p, jax.nn.relu(conv(h, p["k1"], p["b1"], groups=4)))


def conv_dilated(p, x):
    h = jax.nn.relu(conv(x, p["k"], p["b"], padding=((2, 2), (1, 1)), dilation=(2, 1)))
    return head(p, jax.nn.relu(conv(h, p["k1"], p["b1"], (1, 2), dilation=(2, 2))))


def conv_transposed(p, x):
    h = jax.nn.relu(conv(x, p["k"], p["b"], padding=((1, 1), (1, 1)), input_dilation=(2, 2)))
    return head(p, h)


def conv_one_dimensional(p, x):
    h = lax.conv_general_dilated(x[None], p["k"], (2,), ((1, 1),), dimension_numbers=("NWC", "WIO", "NWC"))[0]
    return head(p, jax.nn.relu(h + p["b"][None]))


def conv_residual(p, x):
    h = jax.nn.relu(conv(x, p["k"], p["b"], padding="SAME"))
    body = conv(jax.nn.relu(conv(h, p["k1"], p["b1"], (2, 2), "SAME")), p["k2"], p["b2"], padding="SAME")
    return head(p, jax.nn.relu(body + conv(h, p["k3"], p["b3"], (2, 2))))


def batch_norm(p, x):
    h = conv(x, p["k"], p["b"])
    scale = p["w_scale"] * lax.rsqrt(p["var"] + 1e-5)
    h = (h - p["b_mean"][None, None]) * scale[None, None] + p["b_shift"][None, None]
    return head(p, jax.nn.relu(h))


def average_pool(p, x):
    h = jax.nn.relu(conv(x, p["k"], p["b"]))
    return head(p, window_sum(h, (2, 2, 1), (2, 2, 1), "VALID") / 4.0)


def average_pool_overlapping(p, x):
    h = window_sum(x, (3, 2, 1), (2, 1, 1), ((1, 1), (0, 1), (0, 0))) * (1 / 6)
    return head(p, jax.nn.relu(conv(h, p["k"], p["b"])))


def global_average(p, x):
    h = jax.nn.relu(conv(x, p["k"], p["b"], padding="SAME"))
    return jnp.mean(h, axis=(0, 1)) @ p["w_out"] + p["b_out"]


def concatenated(p, x):
    h = jax.nn.relu(conv(x, p["k"], p["b"], padding="SAME"))
    h = jnp.concatenate([x, h], axis=-1)
    return head(p, jax.nn.relu(conv(h, p["k1"], p["b1"])))


def shuffled(p, x):
    h = jnp.transpose(x, (1, 0, 2))[1:, ::2]
    h = jnp.pad(h, ((0, 1), (1, 0), (0, 0)), constant_values=0.25)
    h = jnp.squeeze(jnp.expand_dims(h.reshape(-1), 0), 0)
    return head(p, jax.nn.relu(h * p["w_scale"] + p["b"]))


def split_and_stack(p, x):
    left, right = jnp.split(jax.nn.relu(x @ p["w"] + p["b"]), 2)
    h = jnp.stack([left - right, left + right, -left])
    return head(p, jax.nn.relu(jnp.sum(h, axis=0)))


def conv_smooth(p, x):
    h = jnp.tanh(conv(x, p["k"], p["b"]))
    return head(p, jax.nn.sigmoid(conv(h, p["k1"], p["b1"])))


_LEFT = {"w": (6, 4), "b": (6,), **head_shapes(6)}
_DEEP = {"w0": (4, 5), "b0": (5,), "w1": (5, 6), "b1": (6,), "w2": (6, 4), "b2": (4,), **head_shapes(4)}

ARCHITECTURES: tuple[Architecture, ...] = (
    Architecture("affine", (4,), {"w": (4, 3), "b": (3,)}, affine),
    Architecture("dense", (4,), dense_shapes(6), dense),
    Architecture("deep", (4,), _DEEP, deep),
    Architecture("weight_on_the_left", (4,), _LEFT, weight_on_the_left),
    Architecture("ends_in_relu", (4,), dense_shapes(6), ends_in_relu),
    Architecture("activation_first", (4,), head_shapes(4), activation_first),
    Architecture("leaky", (4,), two_shapes(5), leaky),
    Architecture("sigmoid", (4,), two_shapes(5), smooth(jax.nn.sigmoid), relu_only=False),
    Architecture("tanh", (4,), two_shapes(5), smooth(jnp.tanh), relu_only=False),
    Architecture("arctan", (4,), two_shapes(5), smooth(jnp.arctan), relu_only=False),
    Architecture("mixed", (4,), two_shapes(5), mixed, relu_only=False),
    Architecture("skip", (4,), two_shapes(5), skip),
    Architecture("reused_input", (4,), {**dense_shapes(4), "b_mix": (3,)}, reused_input),
    Architecture("constant_branch", (4,), {**dense_shapes(5), "b1": (5,)}, constant_branch),
    Architecture("normalised", (4,), {**dense_shapes(5), "b_mean": (4,), "var": (4,)}, normalised),
    Architecture("conv_valid", IMAGE, conv_shapes(12, k=(2, 2, 2, 3), k1=(2, 2, 3, 3)), conv_valid),
    Architecture("conv_same", IMAGE, conv_shapes(48, k=(3, 3, 2, 3)), conv_same),
    Architecture("conv_strided", IMAGE, conv_shapes(12, k=(3, 3, 2, 2), k1=(2, 3, 2, 3)), conv_strided),
    Architecture(
        "conv_deep", (7, 6, 2), conv_shapes(16, k=(2, 2, 2, 2), k1=(2, 2, 1, 4), k2=(2, 2, 4, 2)), conv_deep
    ),
    Architecture("conv_grouped", IMAGE, conv_shapes(16, k=(2, 2, 1, 4), k1=(2, 2, 1, 4)), conv_grouped),
    Architecture("conv_dilated", IMAGE, conv_shapes(8, k=(2, 3, 2, 2), k1=(2, 2, 2, 2)), conv_dilated),
    Architecture("conv_transposed", (3, 3, 2), conv_shapes(50, k=(3, 3, 2, 2)), conv_transposed),
    Architecture("conv_one_dimensional", (7, 2), conv_shapes(12, k=(3, 2, 3)), conv_one_dimensional),
    Architecture(
        "conv_residual",
        IMAGE,
        conv_shapes(12, k=(3, 3, 2, 2), k1=(2, 2, 2, 3), k2=(3, 3, 3, 3), k3=(1, 1, 2, 3)),
        conv_residual,
    ),
    Architecture(
        "batch_norm",
        IMAGE,
        {**conv_shapes(18, k=(2, 2, 2, 2)), "w_scale": (2,), "b_mean": (2,), "b_shift": (2,), "var": (2,)},
        batch_norm,
    ),
    Architecture("average_pool", (5, 5, 1), conv_shapes(12, k=(2, 2, 1, 3)), average_pool),
    Architecture("average_pool_overlapping", IMAGE, conv_shapes(6, k=(2, 2, 2, 2)), average_pool_overlapping),
    Architecture("global_average", IMAGE, conv_shapes(3, k=(3, 3, 2, 3)), global_average),
    Architecture("concatenated", IMAGE, conv_shapes(18, k=(3, 3, 2, 2), k1=(2, 2, 4, 2)), concatenated),
    Architecture("shuffled", IMAGE, {**head_shapes(24), "w_scale": (24,), "b": (24,)}, shuffled),
    Architecture("split_and_stack", (4,), {"w": (4, 6), "b": (6,), **head_shapes(3)}, split_and_stack),
    Architecture(
        "conv_smooth", IMAGE, conv_shapes(8, k=(2, 2, 2, 2), k1=(2, 2, 2, 2)), conv_smooth, relu_only=False
    ),
    *CURVED,
)
BY_NAME = {architecture.name: architecture for architecture in ARCHITECTURES}
