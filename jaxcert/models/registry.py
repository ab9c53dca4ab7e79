"""The networks by the names that configurations and the command line use."""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

from jaxcert.errors import ConfigError
from jaxcert.models.bcp import Net4C3F, Net6C2F, Net8C2F
from jaxcert.models.cap_resnet import CAPResNet
from jaxcert.models.cnn7 import CNN7
from jaxcert.models.digits import CNNDigits
from jaxcert.models.dm import DMLarge, DMMedium, DMSmall, LargeStar
from jaxcert.models.layers import Statistics
from jaxcert.models.lenet import LeNet
from jaxcert.models.mlp import MLP
from jaxcert.models.network import Classifier
from jaxcert.models.resnet_2b import ResNet2B
from jaxcert.models.sdp import CNNA, CNNB
from jaxcert.models.wong_kolter import CNNLarge, CNNSmall

MODELS: Mapping[str, Callable[..., Classifier]] = MappingProxyType(
    {
        "4c3f": Net4C3F,
        "6c2f": Net6C2F,
        "8c2f": Net8C2F,
        "cap-resnet": CAPResNet,
        "cnn-a": CNNA,
        "cnn-b": CNNB,
        "cnn-digits": CNNDigits,
        "cnn-large": CNNLarge,
        "cnn-small": CNNSmall,
        "cnn7-bn": CNN7,
        "dm-large": DMLarge,
        "dm-large-pad1": partial(DMLarge, padding=1),
        "dm-large-star": LargeStar,
        "dm-medium": DMMedium,
        "dm-medium-pad1": partial(DMMedium, padding=1),
        "dm-small": DMSmall,
        "dm-small-pad1": partial(DMSmall, padding=1),
        "dm-small-star": CNNSmall,
        "lenet": LeNet,
        "linear": partial(MLP, ()),
        "mlp-10-10": partial(MLP, (10, 10)),
        "mlp-100": partial(MLP, (100,)),
        "mlp-100-100-100": partial(MLP, (100, 100, 100)),
        "mlp-1024": partial(MLP, (1024,)),
        "mlp-1024-1024-1024": partial(MLP, (1024, 1024, 1024)),
        "mlp-200-100-50": partial(MLP, (200, 100, 50)),
        "mlp-256-256": partial(MLP, (256, 256)),
        "mlp-300-300-300": partial(MLP, (300, 300, 300)),
        "mlp-500": partial(MLP, (500,)),
        "mlp-500-500-500": partial(MLP, (500, 500, 500)),
        "resnet-2b": ResNet2B,
    }
)
"""Name -> constructor; every constructor takes `num_classes` and the options of `Classifier` by name."""


def build(name: str, num_classes: int, *, normalize: Statistics | None = None) -> Classifier:
    """The network `name` of `MODELS` with `num_classes` logits, its other options as the work has them.

    Args:
      name: a key of `MODELS`.
      num_classes: at least 2.
      normalize: None, or (mean, std) per channel in input units for a first normalisation layer.

    Returns: a module without parameters; `module.init(key, image)` makes them, and
    `module.clone(activation=...)` changes an option.
    Raises: ConfigError for an unknown name (it lists the known ones) or a bad class number.

    >>> build("cnn-digits", 10).num_classes
    10
    """
    if name not in MODELS:
        raise ConfigError(f"There is no network named {name!r}: choose one of {', '.join(MODELS)}.")
    if num_classes < 2:
        raise ConfigError(f"A classifier needs at least 2 classes, got {num_classes}.")
    return MODELS[name](num_classes=num_classes, normalize=normalize)
