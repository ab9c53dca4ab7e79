"""The networks of box constraint propagation (BCP): theses/2 section 4, work 3.2.

"6C2F" means six convolutions and two dense layers, the logits included. Their convolutions start
from N(0, 2/(k^2 out)) with zero bias.
"""

from dataclasses import field

from jaxcert.models.initializers import OUT_CHANNELS_NORMAL, Initialization
from jaxcert.models.layers import ConvLayer
from jaxcert.models.network import ConvNet
from jaxcert.models.wong_kolter import CNNLarge


class Net4C3F(CNNLarge):
    """The layers of `CNNLarge` under BCP's name and initialisation.

    1,974,762 parameters on 28x28x1, 2,466,858 on 32x32x3.
    """

    initialization: Initialization = field(default=OUT_CHANNELS_NORMAL, kw_only=True)


class Net6C2F(ConvNet):
    """Six convolutions (32, 32, 32 strided; 64, 64, 64 strided), hidden layer 512.

    2,250,378 parameters on 32x32x3 with 10 classes.
    """

    convs: tuple[ConvLayer, ...] = (
        ConvLayer(32, 3, 1, 1),
        ConvLayer(32, 3, 1, 1),
        ConvLayer(32, 4, 2, 1),
        ConvLayer(64, 3, 1, 1),
        ConvLayer(64, 3, 1, 1),
        ConvLayer(64, 4, 2, 1),
    )
    widths: tuple[int, ...] = (512,)
    initialization: Initialization = field(default=OUT_CHANNELS_NORMAL, kw_only=True)


class Net8C2F(ConvNet):
    """Eight convolutions up to 256 features, hidden layer 256, for Tiny ImageNet.

    4,342,984 parameters on 64x64x3 with 200 classes. The strided convolutions have no padding,
    as the count shows: the flattened size is 9,216.
    """

    convs: tuple[ConvLayer, ...] = (
        ConvLayer(64, 3, 1, 1),
        ConvLayer(64, 3, 1, 1),
        ConvLayer(64, 4, 2),
        ConvLayer(128, 3, 1, 1),
        ConvLayer(128, 3, 1, 1),
        ConvLayer(128, 4, 2),
        ConvLayer(256, 3, 1, 1),
        ConvLayer(256, 4, 2),
    )
    widths: tuple[int, ...] = (256,)
    initialization: Initialization = field(default=OUT_CHANNELS_NORMAL, kw_only=True)
