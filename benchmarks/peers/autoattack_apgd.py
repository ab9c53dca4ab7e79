"""AutoAttack: APGD on the cross-entropy, as many steps as PGD has: another attack, with adaptive steps."""

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import torch
from autoattack.autopgd_base import APGDAttack

from benchmarks.contender import Prepared
from benchmarks.peers.settings import torch_channels_last
from benchmarks.peers.torch_networks import build, images_to_torch, labels_to_torch
from benchmarks.peers.torch_pgd import judged
from benchmarks.work import PGD_STEPS, Work


class AutoAttack:
    name = "autoattack"

    def version(self) -> str:
        try:
            found = version("autoattack")
        except PackageNotFoundError:
            found = "from source"
        return f"autoattack {found}, torch {torch.__version__}"

    def refuses(self, work: Work) -> str | None:
        return None if work.operation == "pgd" else "autoattack attacks only"

    def prepare(
        self, work: Work, weights: Sequence[np.ndarray], images: np.ndarray, labels: np.ndarray
    ) -> Prepared:
        chosen = torch_channels_last(work)
        module = build(work.network, weights, chosen).module.requires_grad_(False)
        x, target = images_to_torch(images, chosen), labels_to_torch(labels)
        attack = APGDAttack(module, n_iter=PGD_STEPS, eps=work.eps, loss="ce", device="cpu")

        def call() -> tuple[float, float]:
            point = attack.perturb(x, target)
            with torch.inference_mode():
                return judged(module(point), target)

        return Prepared(call, np.array, note=f"APGD-CE, {'channels last' if chosen else 'NCHW'}")


CONTENDER = AutoAttack()
