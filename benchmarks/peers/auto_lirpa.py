"""auto_LiRPA: its bounds, their gradients, and training steps on them."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

import auto_LiRPA
import numpy as np
import torch
from auto_LiRPA import BoundedModule, BoundedTensor, PerturbationLpNorm
from torch.nn import functional as F

from benchmarks import networks
from benchmarks.contender import Prepared
from benchmarks.peers.settings import Lirpa, lirpa_settings
from benchmarks.peers.torch_networks import (
    TorchNetwork,
    build,
    images_to_torch,
    labels_to_torch,
    margin_rows,
    worst_cross_entropy,
)
from benchmarks.peers.torch_training import training
from benchmarks.work import ALPHA_STEPS, BETA, BOUNDS, GRADIENTS, KAPPA, Work

METHODS = {
    "ibp": "IBP",
    "crown-ibp": "CROWN-IBP",
    "crown": "CROWN",
    "fast-lin": "CROWN",
    "alpha-crown": "CROWN-Optimized",
}
OPERATIONS = (*BOUNDS, *GRADIENTS, "train-ibp", "train-crown-ibp")


@dataclass(frozen=True)
class AutoLirpa:
    """`settings` None: what `settings.py` found fastest for the work.

    `all_slopes`: whether alpha-CROWN optimises the slopes of the intermediate bounds too, which is
    the work as `benchmarks.work` has it; by default auto_LiRPA optimises those of the last pass only.
    """

    settings: Lirpa | None = None
    all_slopes: bool = True
    name: str = "auto_LiRPA"

    def version(self) -> str:
        return f"auto_LiRPA {auto_LiRPA.__version__}, torch {torch.__version__}"

    def refuses(self, work: Work) -> str | None:
        return None if work.operation in OPERATIONS else "auto_LiRPA computes bounds only"

    def prepare(
        self, work: Work, weights: Sequence[np.ndarray], images: np.ndarray, labels: np.ndarray
    ) -> Prepared:
        chosen = lirpa_settings(work) if self.settings is None else self.settings
        net = build(work.network, weights, chosen.channels_last)
        task = _bounded(work, net, images, labels, self._options(work, chosen), chosen)
        if work.operation.startswith("train-"):
            return Prepared(*_training(task, mixed=work.operation == "train-crown-ibp"), note=chosen.text)
        method = METHODS[work.base]
        prepared = _gradient(task, method) if work.operation in GRADIENTS else _bound(task, method)
        return Prepared(*prepared, note=chosen.text)

    def _options(self, work: Work, chosen: Lirpa) -> dict:
        # Otherwise evaluation mode, which batch norm by its given statistics needs, has no gradients.
        gradients = work.operation in GRADIENTS
        options: dict = {"conv_mode": chosen.conv_mode, "param": {"auto_requires_grad": not gradients}}
        if work.operation == "fast-lin":
            options["activation_bound_option"] = "same-slope"
        if work.operation == "alpha-crown":
            options["enable_opt_interm_bounds"] = self.all_slopes
            options["optimize_bound_args"] = {
                "iteration": ALPHA_STEPS,
                "fix_interm_bounds": not self.all_slopes,
                # All the steps are taken, as on the other side.
                "early_stop_patience": ALPHA_STEPS,
            }
        return options


CONTENDER = AutoLirpa()


@dataclass(frozen=True)
class _Task:
    """`parts`: balls and rows of specification of so many images as are taken at a time."""

    net: TorchNetwork
    bounded: BoundedModule
    labels: torch.Tensor
    parts: list[tuple[BoundedTensor, torch.Tensor]]

    def margins(self, method: str, part: int = 0, **how) -> torch.Tensor:
        """Lower bounds `[B, K-1]`."""
        ball, rows = self.parts[part]
        return self.bounded.compute_bounds(x=(ball,), C=rows, method=method, bound_upper=False, **how)[0]


def _bounded(
    work: Work,
    net: TorchNetwork,
    images: np.ndarray,
    labels: np.ndarray,
    options: dict,
    chosen: Lirpa,
) -> _Task:
    size = chosen.chunk or work.batch
    xs = [
        images_to_torch(images[start : start + size], chosen.channels_last)
        for start in range(0, work.batch, size)
    ]
    bounded = BoundedModule(net.module, torch.zeros_like(xs[0]), bound_opts=options)
    bounded.eval()
    target = labels_to_torch(labels)
    rows = margin_rows(target, networks.network(work.network).classes)
    balls = [_ball(x, work) for x in xs]
    return _Task(net, bounded, target, list(zip(balls, rows.split(size), strict=True)))


def _ball(x: torch.Tensor, work: Work) -> BoundedTensor:
    lower, upper = x - work.eps, x + work.eps
    if work.clip:
        lower, upper = lower.clamp(min=0), upper.clamp(max=1)
    return BoundedTensor(x, PerturbationLpNorm(norm=inf, eps=work.eps, x_L=lower, x_U=upper))


def _bound(task: _Task, method: str):
    # alpha-CROWN needs gradients inside and switches them off itself where it does not.
    guard = torch.enable_grad if method == "CROWN-Optimized" else torch.no_grad

    def call() -> torch.Tensor:
        with guard():
            return torch.cat([task.margins(method, part).detach() for part in range(len(task.parts))])

    return call, torch.Tensor.numpy


def _gradient(task: _Task, method: str):
    def call() -> None:
        task.net.module.zero_grad()
        for part, (ball, _) in enumerate(task.parts):
            share = len(ball) / len(task.labels)
            (share * worst_cross_entropy(task.margins(method, part))).backward()

    return call, lambda _: task.net.flat_gradient()


def _training(task: _Task, mixed: bool):
    """The clean pass comes first: batch norm bounds use its statistics."""
    task.bounded.train()

    def loss() -> torch.Tensor:
        clean = F.cross_entropy(task.bounded(task.parts[0][0]), task.labels)
        if mixed:
            tight = task.margins("CROWN-IBP")
            # CROWN-IBP has computed the interval bounds on its way.
            margins = BETA * tight + (1 - BETA) * task.margins("IBP", reuse_ibp=True)
        else:
            margins = task.margins("IBP")
        return KAPPA * clean + (1 - KAPPA) * worst_cross_entropy(margins)

    return training(task.net.parameters, loss)
