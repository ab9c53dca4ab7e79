"""A small convolutional network for the 8x8 digits images of the demo."""

from jaxcert.models.layers import ConvLayer
from jaxcert.models.network import ConvNet


class CNNDigits(ConvNet):
    """Convolutions 16 (3x3) and 32 (3x3, stride 2), hidden layer 32, for images of 8x8x1.

    21,546 parameters with 10 classes, 1,568 hidden units.
    """

    convs: tuple[ConvLayer, ...] = (ConvLayer(16, 3, 1, 1), ConvLayer(32, 3, 2, 1))
    widths: tuple[int, ...] = (32,)
