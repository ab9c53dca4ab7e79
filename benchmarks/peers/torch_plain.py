"""torch without any library on top: forward, interval bounds written by hand, attacks and training steps."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from benchmarks import networks
from benchmarks.contender import Prepared
from benchmarks.peers import torch_ibp
from benchmarks.peers.settings import torch_channels_last
from benchmarks.peers.torch_networks import (
    TorchNetwork,
    build,
    images_to_torch,
    labels_to_torch,
    margin_rows,
    worst_cross_entropy,
)
from benchmarks.peers.torch_pgd import judged, pgd
from benchmarks.peers.torch_training import training
from benchmarks.work import KAPPA, PGD_STEPS, TRAIN_PGD_STEPS, Work

OPERATIONS = ("forward", "ibp", "ibp-grad", "pgd", "train-ibp", "train-pgd")


@dataclass(frozen=True)
class TorchPlain:
    """Eager torch; `channels_last` None: as `settings` found faster."""

    channels_last: bool | None = None
    name: str = "torch"

    def version(self) -> str:
        return f"torch {torch.__version__}"

    def refuses(self, work: Work) -> str | None:
        return None if work.operation in OPERATIONS else "plain torch has no such bound or attack"

    def prepare(
        self, work: Work, weights: Sequence[np.ndarray], images: np.ndarray, labels: np.ndarray
    ) -> Prepared:
        chosen = torch_channels_last(work) if self.channels_last is None else self.channels_last
        task = _Task(
            work,
            build(work.network, weights, chosen),
            images_to_torch(images, chosen),
            labels_to_torch(labels),
        )
        prepare = {
            "forward": _forward,
            "ibp": _ibp,
            "ibp-grad": _ibp_gradient,
            "pgd": _pgd,
            "train-ibp": _train_ibp,
            "train-pgd": _train_pgd,
        }
        prepared = prepare[work.operation](task)
        return Prepared(*prepared, note="channels last" if chosen else "NCHW")


CONTENDER = TorchPlain()


@dataclass(frozen=True)
class _Task:
    work: Work
    net: TorchNetwork
    x: torch.Tensor
    labels: torch.Tensor

    @property
    def rows(self) -> torch.Tensor:
        return margin_rows(self.labels, networks.network(self.work.network).classes)


def _forward(task: _Task):
    @torch.inference_mode()
    def call():
        return task.net.module(task.x)

    return call, torch.Tensor.numpy


def _margins(task: _Task, rows: torch.Tensor) -> torch.Tensor:
    centre, radius = torch_ibp.ball(task.x, task.work.eps, task.work.clip)
    return torch_ibp.margins(task.net.module, centre, radius, rows, torch_ibp.given_affines(task.net.module))


def _ibp(task: _Task):
    rows = task.rows

    @torch.inference_mode()
    def call():
        return _margins(task, rows)

    return call, torch.Tensor.numpy


def _ibp_gradient(task: _Task):
    rows = task.rows

    def call():
        task.net.module.zero_grad()
        worst_cross_entropy(_margins(task, rows)).backward()

    return call, lambda _: task.net.flat_gradient()


def _pgd(task: _Task):
    task.net.module.requires_grad_(False)
    generator = torch.Generator().manual_seed(0)

    def call() -> tuple[float, float]:
        point = pgd(task.net.module, task.x, task.labels, task.work.eps, PGD_STEPS, generator)
        with torch.inference_mode():
            return judged(task.net.module(point), task.labels)

    return call, np.array


def _train_ibp(task: _Task):
    rows = task.rows

    def loss() -> torch.Tensor:
        logits, affines = torch_ibp.batch_forward(task.net.module, task.x)
        centre, radius = torch_ibp.ball(task.x, task.work.eps, clip=True)
        worst = torch_ibp.margins(task.net.module, centre, radius, rows, affines)
        return KAPPA * F.cross_entropy(logits, task.labels) + (1 - KAPPA) * worst_cross_entropy(worst)

    return training(task.net.parameters, loss)


def _train_pgd(task: _Task):
    """The attack sees the network of the loss: with batch norm that of the clean batch's statistics."""
    module, generator = task.net.module, torch.Generator().manual_seed(0)
    normalised = bool(torch_ibp.given_affines(module))

    def loss() -> torch.Tensor:
        affines = torch_ibp.batch_forward(module, task.x)[1] if normalised else {}
        held = {layer: (scale.detach(), shift.detach()) for layer, (scale, shift) in affines.items()}
        module.requires_grad_(False)
        point = pgd(
            lambda z: torch_ibp.fixed_forward(module, z, held),
            task.x,
            task.labels,
            task.work.eps,
            TRAIN_PGD_STEPS,
            generator,
        )
        module.requires_grad_(True)
        return F.cross_entropy(torch_ibp.fixed_forward(module, point, affines), task.labels)

    return training(task.net.parameters, loss)
