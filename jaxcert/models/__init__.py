"""Flax (linen) networks of the works that jaxcert follows, by their names.

Every network is a function of one image [H, W, C] or of a batch [B, H, W, C] to logits
[num_classes] or [B, num_classes]; see `MODELS` for the names and `Classifier` for the options.

>>> import jax, jax.numpy as jnp
>>> net = build("cnn-digits", num_classes=10, normalize=((0.3,), (0.4,)))
>>> variables = net.init(jax.random.key(0), jnp.zeros((8, 8, 1)))
>>> net.apply(variables, jnp.zeros((3, 8, 8, 1))).shape
(3, 10)
"""

from jaxcert.models.bcp import Net4C3F, Net6C2F, Net8C2F
from jaxcert.models.cap_resnet import CAPResNet
from jaxcert.models.cnn7 import CNN7
from jaxcert.models.digits import CNNDigits
from jaxcert.models.dm import DMLarge, DMMedium, DMSmall, LargeStar
from jaxcert.models.initializers import (
    FAN_IN_UNIFORM,
    INITIALIZATIONS,
    OUT_CHANNELS_NORMAL,
    TRUNCATED_HE,
    Initialization,
)
from jaxcert.models.layers import ConvLayer, Normalize, flatten
from jaxcert.models.lenet import LeNet
from jaxcert.models.mlp import MLP, LeakyReLU, arctan, relu, sigmoid, tanh
from jaxcert.models.network import Classifier, ConvNet
from jaxcert.models.registry import MODELS, build
from jaxcert.models.resnet_2b import ResNet2B
from jaxcert.models.sdp import CNNA, CNNB
from jaxcert.models.wong_kolter import CNNLarge, CNNSmall

__all__ = [
    "CNN7",
    "CNNA",
    "CNNB",
    "FAN_IN_UNIFORM",
    "INITIALIZATIONS",
    "MLP",
    "MODELS",
    "OUT_CHANNELS_NORMAL",
    "TRUNCATED_HE",
    "CAPResNet",
    "CNNDigits",
    "CNNLarge",
    "CNNSmall",
    "Classifier",
    "ConvLayer",
    "ConvNet",
    "DMLarge",
    "DMMedium",
    "DMSmall",
    "Initialization",
    "LargeStar",
    "LeNet",
    "LeakyReLU",
    "Net4C3F",
    "Net6C2F",
    "Net8C2F",
    "Normalize",
    "ResNet2B",
    "arctan",
    "build",
    "flatten",
    "relu",
    "sigmoid",
    "tanh",
]
