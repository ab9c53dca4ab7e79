"""Parameter counts: those that the works publish, and those that follow from the layers' strings."""

import math

import jax
import jax.numpy as jnp
import pytest

from jaxcert.errors import InvalidInputError
from jaxcert.models import MLP, MODELS, CAPResNet, CNNSmall, ConvLayer, ConvNet, LeNet, build
from tests.models.parameters import count, shapes

MNIST, CIFAR, TINY, DIGITS = (28, 28, 1), (32, 32, 3), (64, 64, 3), (8, 8, 1)

PUBLISHED = [
    # theses/2 section 4, work 3.2
    ("4c3f", MNIST, 10, 1_974_762),
    ("4c3f", CIFAR, 10, 2_466_858),
    ("6c2f", CIFAR, 10, 2_250_378),
    ("8c2f", TINY, 200, 4_342_984),
    ("cap-resnet", CIFAR, 10, 4_214_850),
    # theses/2 section 4, work 3.3
    ("dm-small-pad1", MNIST, 10, 550_406),
    ("dm-small-pad1", CIFAR, 10, 730_118),
    ("dm-small-star", MNIST, 10, 166_406),
    ("dm-small-star", CIFAR, 10, 214_918),
    ("dm-medium-pad1", CIFAR, 10, 2_466_858),
    ("dm-large-pad1", MNIST, 10, 13_257_290),
    ("dm-large-pad1", CIFAR, 10, 17_190_602),
    ("dm-large-star", MNIST, 10, 13_220_362),
    ("dm-large-star", CIFAR, 10, 17_153_674),
    # the published networks of the data folder
    ("cnn-small", MNIST, 10, 166_406),
    ("cnn-small", CIFAR, 10, 214_918),
    ("cnn-a", MNIST, 10, 166_406),
    ("cnn-a", CIFAR, 10, 214_918),
    ("mlp-256-256", MNIST, 10, 269_322),
    ("resnet-2b", CIFAR, 10, 112_006),
    # theses/1 section 4: the MNIST CNN is CAP's large network
    ("cnn-large", MNIST, 10, 1_974_762),
    # quick enough for the demo
    ("cnn-digits", DIGITS, 10, 21_546),
]

# Layers as the works write them: convolutions features x kernel / stride / padding, then dense widths.
LAYERS = [
    ("4c3f", MNIST, 10, "c32x3/1/1 c32x4/2/1 c64x3/1/1 c64x4/2/1 f512 f512 f10"),
    ("6c2f", MNIST, 10, "c32x3/1/1 c32x3/1/1 c32x4/2/1 c64x3/1/1 c64x3/1/1 c64x4/2/1 f512 f10"),
    ("8c2f", TINY, 200, "c64x3/1/1 c64x3/1/1 c64x4/2/0 c128x3/1/1 c128x3/1/1 c128x4/2/0 c256x3/1/1 "
                        "c256x4/2/0 f256 f200"),
    ("cnn-small", MNIST, 10, "c16x4/2/1 c32x4/2/1 f100 f10"),
    ("cnn-large", CIFAR, 10, "c32x3/1/1 c32x4/2/1 c64x3/1/1 c64x4/2/1 f512 f512 f10"),
    ("cnn-b", CIFAR, 10, "c32x5/2/1.5 c128x4/2/1 f250 f10"),
    ("cnn-digits", DIGITS, 10, "c16x3/1/1 c32x3/2/1 f32 f10"),
    ("dm-small", MNIST, 10, "c16x4/2/0 c32x4/1/0 f100 f10"),
    ("dm-medium", CIFAR, 10, "c32x3/1/0 c32x4/2/0 c64x3/1/0 c64x4/2/0 f512 f512 f10"),
    ("dm-large", MNIST, 10, "c64x3/1/0 c64x3/1/0 c128x3/2/0 c128x3/1/0 c128x3/1/0 f512 f10"),
    ("dm-large", CIFAR, 10, "c64x3/1/0 c64x3/1/0 c128x3/2/0 c128x3/1/0 c128x3/1/0 f512 f10"),
    ("dm-large-star", CIFAR, 10, "c64x3/1/1 c128x3/2/1 c128x3/1/1 c128x3/1/1 f512 f10"),
    ("linear", MNIST, 10, "f10"),
    ("mlp-10-10", (2,), 10, "f10 f10 f10"),
    ("mlp-100", (1000,), 2, "f100 f2"),
    ("mlp-1024", MNIST, 10, "f1024 f10"),
    ("mlp-500", MNIST, 10, "f500 f10"),
    ("mlp-200-100-50", MNIST, 10, "f200 f100 f50 f10"),
    ("mlp-100-100-100", MNIST, 2, "f100 f100 f100 f2"),
    ("mlp-300-300-300", MNIST, 10, "f300 f300 f300 f10"),
    ("mlp-500-500-500", MNIST, 10, "f500 f500 f500 f10"),
    ("mlp-1024-1024-1024", CIFAR, 10, "f1024 f1024 f1024 f10"),
]  # fmt: skip


def count_from_layers(layers: str, image_shape) -> int:
    """Weights and biases of a chain of layers, by arithmetic alone."""
    *size, channels = image_shape
    side, total, features = (size[0] if size else 1), 0, None
    for layer in layers.split():
        if layer[0] == "c":
            out, rest = layer[1:].split("x")
            kernel, stride, padding = (float(part) for part in rest.split("/"))
            total += int(kernel) ** 2 * channels * int(out) + int(out)
            side, channels = int((side + 2 * padding - kernel) // stride) + 1, int(out)
        else:
            if features is None:
                features = side * side * channels if size else channels
            total += features * int(layer[1:]) + int(layer[1:])
            features = int(layer[1:])
    return total


@pytest.mark.parametrize(("name", "image_shape", "classes", "expected"), PUBLISHED)
def test_published_count(name, image_shape, classes, expected):
    assert count(build(name, classes), image_shape) == expected


@pytest.mark.parametrize(("name", "image_shape", "classes", "layers"), LAYERS)
def test_count_follows_from_the_layers(name, image_shape, classes, layers):
    assert count(build(name, classes), image_shape) == count_from_layers(layers, image_shape)


@pytest.mark.parametrize(
    ("model", "image_shape", "expected"),
    [
        (CNNSmall(10, padding=0), MNIST, 89_606),  # eran_mnist_conv_small_nat
        (CNNSmall(10, padding=0), CIFAR, 125_318),  # eran_cifar_conv_small_pgd
        (ConvNet(10, (ConvLayer(8, 4, 2, 1), ConvLayer(16, 4, 2, 1)), (100,)), CIFAR, 105_966),  # oval base
        (ConvNet(10, (ConvLayer(8, 4, 2), ConvLayer(16, 4, 2)), (128, 64)), CIFAR, 85_218),  # marabou small
        (MLP((20,), 10), MNIST, 15_910),  # abcrown_mnist_2_20_toy
        (MLP((100,) * 5, 10), MNIST, 119_910),  # eran_mnist_6_100_nat
        (MLP((200,) * 6, 10), MNIST, 360_010),  # vnncomp_eran_mnist_sigmoid_6_200
    ],
)
def test_published_networks_outside_the_registry(model, image_shape, expected):
    assert count(model, image_shape) == expected


def test_every_name_has_a_size_that_is_tested():
    tested = {name for name, *_ in PUBLISHED + LAYERS} | {"lenet", "cnn7-bn"}
    assert tested == set(MODELS)


def test_cnn7_is_dm_large_with_batch_norm():
    variables = shapes(build("cnn7-bn", 10), CIFAR)
    norms = 2 * (64 + 64 + 3 * 128 + 512)
    size = lambda tree: sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))
    assert size(variables["params"]) == 17_190_602 + norms
    assert size(variables["batch_stats"]) == norms


def test_cnn_b_has_the_nodes_and_parameters_of_the_work():
    model = build("cnn-b", 10)
    outputs = jax.eval_shape(
        lambda x: model.init_with_output(jax.random.key(0), x, capture_intermediates=True)[1][
            "intermediates"
        ],
        jax.ShapeDtypeStruct(CIFAR, jnp.float32),
    )
    hidden = [outputs[name]["__call__"][0].shape for name in ("conv_0", "conv_1", "dense_0")]
    assert hidden == [(16, 16, 32), (8, 8, 128), (250,)]
    assert math.prod(CIFAR) + sum(math.prod(shape) for shape in hidden) == 19_706
    assert count(model, CIFAR) == 2_118_856


@pytest.mark.parametrize("width", [2, 4, 16])
def test_lenet_layers_scale_with_its_width(width):
    params = shapes(LeNet(10, width=width), MNIST)["params"]
    kernels = {name: layer["kernel"].shape for name, layer in params.items()}
    assert kernels == {
        "conv_0": (5, 5, 1, 2 * width),
        "conv_1": (5, 5, 2 * width, 4 * width),
        "dense_0": (196 * width, 64 * width),
        "logits": (64 * width, 10),
    }


def test_cap_resnet_blocks_and_factor():
    params = shapes(CAPResNet(10, blocks=2, factor=3), CIFAR)["params"]
    features = [params[f"block_{index}_skip"]["kernel"].shape for index in range(7)]
    small, medium, large = 48, 96, 192
    assert features == [
        (1, 1, 16, small), (1, 1, small, small), (1, 1, small, small),
        (2, 2, small, medium), (1, 1, medium, medium),
        (2, 2, medium, large), (1, 1, large, large),
    ]  # fmt: skip
    assert "block_7_skip" not in params
    assert params["dense_0"]["kernel"].shape == (8 * 8 * large, 1000)


def test_an_image_too_small_for_the_layers_is_an_error():
    with pytest.raises(InvalidInputError, match=r"DMLarge has no room left at conv_2.*larger images"):
        shapes(build("dm-large", 10), (6, 6, 1))
