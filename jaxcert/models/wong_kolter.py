"""The small and the large convolutional networks of Wong and Kolter (CAP)."""

from jaxcert.models.layers import ConvLayer
from jaxcert.models.network import ConvNet


class CNNSmall(ConvNet):
    """Two strided 4x4 convolutions and a hidden layer of 100: the small network of CAP.

    166,406 parameters on 28x28x1, 214,918 on 32x32x3. The same network is the "CNN" of theses/4a
    section 4, CNN-A of theses/3 and, with padding 1, Small* of theses/2 section 4.

    >>> import jax, jax.numpy as jnp
    >>> net = CNNSmall(10)
    >>> variables = jax.eval_shape(net.init, jax.random.key(0), jnp.zeros((28, 28, 1)))
    >>> variables["params"]["dense_0"]["kernel"].shape
    (1568, 100)
    """

    convs: tuple[ConvLayer, ...] = (ConvLayer(16, 4, 2, 1), ConvLayer(32, 4, 2, 1))
    widths: tuple[int, ...] = (100,)


class CNNLarge(ConvNet):
    """Two pairs of a 3x3 and a strided 4x4 convolution, two hidden layers of 512: CAP's large network.

    1,974,762 parameters on 28x28x1, 2,466,858 on 32x32x3. The same network is the MNIST CNN of
    theses/1 section 4, 4C3F of theses/2 (BCP) and, with padding 1, Medium of its section 3.3.
    """

    convs: tuple[ConvLayer, ...] = (
        ConvLayer(32, 3, 1, 1),
        ConvLayer(32, 4, 2, 1),
        ConvLayer(64, 3, 1, 1),
        ConvLayer(64, 4, 2, 1),
    )
    widths: tuple[int, ...] = (512, 512)
