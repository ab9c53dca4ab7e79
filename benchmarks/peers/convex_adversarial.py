"""convex_adversarial: the bound of Wong and Kolter (Fast-Lin's), by its dual network."""

import math
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import torch
from convex_adversarial import DualNetwork

from benchmarks import networks
from benchmarks.contender import Prepared
from benchmarks.networks import Layer
from benchmarks.peers.torch_networks import build, images_to_torch, labels_to_torch, margin_rows
from benchmarks.work import Work

MOST_BYTES = 2**34
LAYERS = (networks.Dense, networks.Conv, networks.Flatten, networks.Relu)


class ConvexAdversarial:
    """Exact l_inf bounds; its random projections for large networks are another, looser bound."""

    name = "convex_adversarial"

    def version(self) -> str:
        try:
            found = version("convex_adversarial")
        except PackageNotFoundError:
            found = "from source"
        return f"convex_adversarial {found}, torch {torch.__version__}"

    def refuses(self, work: Work) -> str | None:
        if work.operation != "fast-lin":
            return "convex_adversarial computes the dual bound (fast-lin) only"
        net = networks.network(work.network)
        if not all(isinstance(layer, LAYERS) for layer in net.layers):
            return "its network would be another module (Dense with skip connections)"
        if _bytes(net.layers, net.shape, work.batch) > MOST_BYTES:
            return "it keeps one dense column per unstable neuron and image, more than 16 GiB here"
        return None

    def prepare(
        self, work: Work, weights: Sequence[np.ndarray], images: np.ndarray, labels: np.ndarray
    ) -> Prepared:
        module = build(work.network, weights).module
        x, target = images_to_torch(images), labels_to_torch(labels)
        rows = margin_rows(target, networks.network(work.network).classes)

        @torch.no_grad()
        def call() -> torch.Tensor:
            return DualNetwork(module, x, work.eps)(rows)

        return Prepared(call, torch.Tensor.numpy, note="NCHW")


CONTENDER = ConvexAdversarial()


def _bytes(layers: Sequence[Layer], shape: tuple[int, ...], batch: int) -> int:
    """Of the columns of the widest ReLU layer, were all of its neurons unstable."""
    widest = 0
    for layer in layers:
        if isinstance(layer, networks.Relu):
            widest = max(widest, math.prod(shape))
        shape = networks.shape_after(layer, shape)
    return 4 * batch * widest * widest
