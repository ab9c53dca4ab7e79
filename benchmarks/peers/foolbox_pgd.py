"""foolbox: its PGD, with the steps, the start and the clipping of `benchmarks.work`."""

from collections.abc import Sequence

import foolbox
import numpy as np
import torch

from benchmarks.contender import Prepared
from benchmarks.peers.settings import torch_channels_last
from benchmarks.peers.torch_networks import build, images_to_torch, labels_to_torch
from benchmarks.peers.torch_pgd import judged
from benchmarks.work import PGD_STEPS, Work


class Foolbox:
    name = "foolbox"

    def version(self) -> str:
        return f"foolbox {foolbox.__version__}, torch {torch.__version__}"

    def refuses(self, work: Work) -> str | None:
        return None if work.operation == "pgd" else "foolbox attacks only"

    def prepare(
        self, work: Work, weights: Sequence[np.ndarray], images: np.ndarray, labels: np.ndarray
    ) -> Prepared:
        chosen = torch_channels_last(work)
        module = build(work.network, weights, chosen).module
        # Nobody needs the weights' gradients; left on, foolbox would compute them in every step.
        module.requires_grad_(False)
        x, target = images_to_torch(images, chosen), labels_to_torch(labels)
        model = foolbox.PyTorchModel(module, bounds=(0, 1), device="cpu")
        attack = foolbox.attacks.LinfPGD(rel_stepsize=2.5 / PGD_STEPS, steps=PGD_STEPS, random_start=True)
        torch.manual_seed(0)

        def call() -> tuple[float, float]:
            _, point, _ = attack(model, x, target, epsilons=work.eps)
            with torch.inference_mode():
                return judged(module(point), target)

        return Prepared(call, np.array, note="channels last" if chosen else "NCHW")


CONTENDER = Foolbox()
