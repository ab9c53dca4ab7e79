"""A training step in torch: loss, gradient, Adam."""

from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import nn

from benchmarks.work import LEARNING_RATE


def training(
    parameters: Iterable[nn.Parameter], loss: Callable[[], torch.Tensor]
) -> tuple[Callable[[], torch.Tensor], Callable[[torch.Tensor], np.ndarray]]:
    """`call` and `values` of a `Prepared`: steps go on from each other's state."""
    parameters = list(parameters)
    # One pass over memory instead of a dozen; the slower default would not be fair to torch.
    adam = torch.optim.Adam(parameters, lr=LEARNING_RATE, fused=True)

    def call() -> torch.Tensor:
        adam.zero_grad()
        value = loss()
        value.backward()
        adam.step()
        return value.detach()

    def values(value: torch.Tensor) -> np.ndarray:
        squares = [parameter.grad.square().sum() for parameter in parameters if parameter.grad is not None]
        return np.array([value.item(), torch.stack(squares).sum().sqrt().item()])

    return call, values
