"""The small, medium and large networks of the IBP paper ("DM" networks).

The IBP paper pads nothing, which is the default here. theses/2 section 4 lists the same layers for
its loss-landscape study (Small, Medium, Large and the starred Large*; its Small* is `CNNSmall`)
without their padding; the known parameter counts are those of padding 1: `padding=1` gives them.
"""

from jaxcert.models.layers import ConvLayer
from jaxcert.models.network import ConvNet


class DMSmall(ConvNet):
    """Convolutions 16 (4x4, stride 2), 32 (4x4, stride 1), hidden layer 100.

    With padding 1 (Small of theses/2): 550,406 parameters on 28x28x1, 730,118 on 32x32x3.
    """

    convs: tuple[ConvLayer, ...] = (ConvLayer(16, 4, 2), ConvLayer(32, 4, 1))
    widths: tuple[int, ...] = (100,)


class DMMedium(ConvNet):
    """Two pairs of a 3x3 and a strided 4x4 convolution (32, 32, 64, 64), hidden layers 512, 512.

    With padding 1 (Medium of theses/2) it is `CNNLarge`: 2,466,858 parameters on 32x32x3.
    """

    convs: tuple[ConvLayer, ...] = (
        ConvLayer(32, 3, 1),
        ConvLayer(32, 4, 2),
        ConvLayer(64, 3, 1),
        ConvLayer(64, 4, 2),
    )
    widths: tuple[int, ...] = (512, 512)


class DMLarge(ConvNet):
    """Five 3x3 convolutions (64, 64, 128 with stride 2, 128, 128), hidden layer 512.

    With padding 1 (Large of theses/2): 13,257,290 parameters on 28x28x1, 17,190,602 on 32x32x3.
    """

    convs: tuple[ConvLayer, ...] = (
        ConvLayer(64, 3, 1),
        ConvLayer(64, 3, 1),
        ConvLayer(128, 3, 2),
        ConvLayer(128, 3, 1),
        ConvLayer(128, 3, 1),
    )
    widths: tuple[int, ...] = (512,)


class LargeStar(ConvNet):
    """Large* of theses/2 section 4: `DMLarge` without its second convolution, padding 1.

    13,220,362 parameters on 28x28x1, 17,153,674 on 32x32x3.
    """

    convs: tuple[ConvLayer, ...] = (
        ConvLayer(64, 3, 1, 1),
        ConvLayer(128, 3, 2, 1),
        ConvLayer(128, 3, 1, 1),
        ConvLayer(128, 3, 1, 1),
    )
    widths: tuple[int, ...] = (512,)
