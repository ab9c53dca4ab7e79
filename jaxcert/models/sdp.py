"""CNN-A and CNN-B, the networks of the first-order SDP verifier (theses/3 section 5)."""

from jaxcert.models.layers import ConvLayer
from jaxcert.models.network import ConvNet
from jaxcert.models.wong_kolter import CNNSmall


class CNNA(CNNSmall):
    """The layers of `CNNSmall` under their name in theses/3."""


class CNNB(ConvNet):
    """Convolutions 32 (5x5, stride 2) and 128 (4x4, stride 2), hidden layer 250.

    The first pads one row and column before the image and two after it. On 32x32x3: 2,118,856
    parameters, and 19,706 nodes counting inputs and hidden units ("20K nodes, 2M parameters").
    """

    convs: tuple[ConvLayer, ...] = (ConvLayer(32, 5, 2, ((1, 2), (1, 2))), ConvLayer(128, 4, 2, 1))
    widths: tuple[int, ...] = (250,)
