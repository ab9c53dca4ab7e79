"""The published image sets that `load` knows, with their files and checksums."""

from collections.abc import Mapping
from types import MappingProxyType

from jaxcert.data.cifar_binary import read_cifar_folder
from jaxcert.data.idx import read_idx_folder
from jaxcert.data.spec import DatasetSpec, Source

_MNIST = "https://storage.googleapis.com/cvdf-datasets/mnist/"
_FASHION = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"

MNIST = DatasetSpec(
    name="mnist",
    version="3.0.1",
    shape=(28, 28, 1),
    num_classes=10,
    read_raw=read_idx_folder,
    sources=(
        Source(
            _MNIST + "train-images-idx3-ubyte.gz",
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        ),
        Source(
            _MNIST + "train-labels-idx1-ubyte.gz",
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        ),
        Source(
            _MNIST + "t10k-images-idx3-ubyte.gz",
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        ),
        Source(
            _MNIST + "t10k-labels-idx1-ubyte.gz",
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        ),
    ),
)

FASHION_MNIST = DatasetSpec(
    name="fashion_mnist",
    version="3.0.1",
    shape=(28, 28, 1),
    num_classes=10,
    read_raw=read_idx_folder,
    sources=(
        Source(
            _FASHION + "train-images-idx3-ubyte.gz",
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        ),
        Source(
            _FASHION + "train-labels-idx1-ubyte.gz",
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        ),
        Source(
            _FASHION + "t10k-images-idx3-ubyte.gz",
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        ),
        Source(
            _FASHION + "t10k-labels-idx1-ubyte.gz",
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        ),
    ),
)

CIFAR10 = DatasetSpec(
    name="cifar10",
    version="3.0.2",
    shape=(32, 32, 3),
    num_classes=10,
    read_raw=read_cifar_folder,
    sources=(
        Source(
            "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
            "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        ),
    ),
)

CATALOG: Mapping[str, DatasetSpec] = MappingProxyType(
    {"mnist": MNIST, "fashion_mnist": FASHION_MNIST, "cifar10": CIFAR10}
)
