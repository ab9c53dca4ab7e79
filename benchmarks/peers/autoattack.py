"""AutoAttack by its authors: the standard ensemble.

Beside PGD its Auto-PGD on the cross-entropy with as many steps: another attack, with adaptive steps.
"""

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

import autoattack
import numpy as np
import torch
from autoattack.autopgd_base import APGDAttack

from benchmarks.contender import Prepared
from benchmarks.peers.autoattack_log import Log
from benchmarks.peers.settings import torch_channels_last
from benchmarks.peers.torch_networks import build, images_to_torch, labels_to_torch
from benchmarks.peers.torch_pgd import judged
from benchmarks.survivors import Survivors
from benchmarks.work import ATTACKS, PGD_STEPS, Work

SEED = 0


class AutoAttack:
    name = "autoattack"

    def version(self) -> str:
        try:
            found = version("autoattack")
        except PackageNotFoundError:
            found = "from source"
        return f"autoattack {found}, torch {torch.__version__}"

    def refuses(self, work: Work) -> str | None:
        return None if work.operation in ATTACKS else "autoattack attacks only"

    def prepare(
        self, work: Work, weights: Sequence[np.ndarray], images: np.ndarray, labels: np.ndarray
    ) -> Prepared:
        chosen = torch_channels_last(work)
        # Without its weights' gradients, which attacks do not need.
        module = build(work.network, weights, chosen).module.requires_grad_(False)
        target, order = labels_to_torch(labels), "channels last" if chosen else "NCHW"
        if work.operation == "autoattack":
            # The ensemble takes views of images as vectors, which other orders in memory do not allow.
            return _ensemble(module, images_to_torch(images), target, work.eps, order)
        x = images_to_torch(images, chosen)
        attack = APGDAttack(module, n_iter=PGD_STEPS, eps=work.eps, loss="ce", device="cpu")

        def call() -> tuple[float, float]:
            point = attack.perturb(x, target)
            with torch.inference_mode():
                return judged(module(point), target)

        return Prepared(call, np.array, note=f"APGD-CE, {order}")


def _ensemble(
    module: torch.nn.Module, x: torch.Tensor, labels: torch.Tensor, eps: float, order: str
) -> Prepared:
    """All images at once, which was faster than 64 or 128 at a time; so were channels last."""
    told = ""

    def call() -> Survivors:
        nonlocal told
        attack = autoattack.AutoAttack(
            module, norm="Linf", eps=eps, seed=SEED, version="standard", device="cpu"
        )
        attack.logger = log = Log(len(labels))
        attack.run_standard_evaluation(x, labels, bs=len(labels))
        found = log.survivors()
        told = found.text
        return found

    return Prepared(call, lambda found: found.counts, note=f"{order}, seed {SEED}", told=lambda: told)


CONTENDER = AutoAttack()
