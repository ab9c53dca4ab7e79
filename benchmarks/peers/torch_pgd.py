"""PGD in plain torch: a random start, steps along the sign of the gradient, projection and clipping."""

from collections.abc import Callable

import torch
from torch.nn import functional as F


def pgd(
    answer: Callable[[torch.Tensor], torch.Tensor],
    x: torch.Tensor,
    labels: torch.Tensor,
    eps: float,
    steps: int,
    generator: torch.Generator,
) -> torch.Tensor:
    """The last point `[B, C, H, W]` of `steps` steps of `2.5 * eps / steps`; inside [0, 1].

    `answer` holds its parameters constant, so that the backward pass forms no gradient for them.
    """
    size = 2.5 * eps / steps
    lower, upper = (x - eps).clamp_(0, 1), (x + eps).clamp_(0, 1)
    noise = torch.empty_like(x).uniform_(-eps, eps, generator=generator)
    point = noise.add_(x).clamp_(0, 1)
    for _ in range(steps):
        point.requires_grad_(True)
        # The sum: each image's gradient is its own, whatever the batch.
        loss = F.cross_entropy(answer(point), labels, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, point)
        point = point.detach().add_(gradient.sign_(), alpha=size)
        torch.maximum(torch.minimum(point, upper, out=point), lower, out=point)
    return point


def judged(logits: torch.Tensor, labels: torch.Tensor) -> tuple[float, float]:
    """Share of the images that are misclassified, and the mean of `z_label - max_{j != label} z_j`."""
    mine = logits.gather(1, labels.unsqueeze(1)).squeeze(1)
    others = logits.scatter(1, labels.unsqueeze(1), -torch.inf).max(dim=1).values
    return (others > mine).float().mean().item(), (mine - others).mean().item()
