"""Interval bounds written by hand in torch, by centre and radius: fairer to torch than a general tool."""

from collections.abc import Iterator

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.peers.torch_networks import Residual

Affines = dict[nn.Module, tuple[torch.Tensor, torch.Tensor]]
"""Scale and shift per channel of every batch norm."""


def ball(x: torch.Tensor, eps: float, clip: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Centre and radius; without clipping the radius is the same for all images and kept once."""
    if not clip:
        return x, torch.full_like(x[:1], eps)
    lower, upper = (x - eps).clamp(min=0), (x + eps).clamp(max=1)
    return (lower + upper) / 2, (upper - lower) / 2


def margins(
    module: nn.Sequential, centre: torch.Tensor, radius: torch.Tensor, rows: torch.Tensor, affines: Affines
) -> torch.Tensor:
    """Lower bounds `[B, S]` of `rows [B, S, K] @ logits`, the rows merged into the last layer."""
    *hidden, last = module
    for layer in hidden:
        centre, radius = _step(layer, centre, radius, affines)
    merged = rows @ last.weight
    middle = (rows @ F.linear(centre, last.weight, last.bias).unsqueeze(2)).squeeze(2)
    return middle - (merged.abs() @ radius.unsqueeze(2)).squeeze(2)


def given_affines(module: nn.Module) -> Affines:
    """Batch norms by their running statistics."""
    return {layer: _affine(layer, layer.running_mean, layer.running_var) for layer in _batch_norms(module)}


def batch_forward(module: nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, Affines]:
    """Logits of a clean batch, and its batch norms by the statistics of this batch, with gradients."""
    affines: Affines = {}

    def through(layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
        if isinstance(layer, nn.Sequential):
            for part in layer:
                x = through(part, x)
            return x
        if isinstance(layer, Residual):
            return through(layer.body, x) + through(layer.shortcut, x)
        if _is_batch_norm(layer):
            axes = [0, *range(2, x.ndim)]
            affines[layer] = _affine(layer, x.mean(axes), x.var(axes, unbiased=False))
            return _scaled(x, *affines[layer])
        return layer(x)

    return through(module, x), affines


def fixed_forward(module: nn.Module, x: torch.Tensor, affines: Affines) -> torch.Tensor:
    """Logits with batch norms as given."""
    if isinstance(module, nn.Sequential):
        for part in module:
            x = fixed_forward(part, x, affines)
        return x
    if isinstance(module, Residual):
        return fixed_forward(module.body, x, affines) + fixed_forward(module.shortcut, x, affines)
    return _scaled(x, *affines[module]) if module in affines else module(x)


def _step(layer: nn.Module, centre: torch.Tensor, radius: torch.Tensor, affines: Affines):
    match layer:
        case nn.ReLU():
            upper, lower = F.relu(centre + radius), F.relu(centre - radius)
            return (upper + lower) / 2, (upper - lower) / 2
        case nn.Conv2d():
            spread = F.conv2d(radius, layer.weight.abs(), None, layer.stride, layer.padding)
            return layer(centre), spread
        case nn.Linear():
            return layer(centre), F.linear(radius, layer.weight.abs())
        case nn.Flatten():
            return layer(centre), layer(radius)
        case nn.Sequential():
            for part in layer:
                centre, radius = _step(part, centre, radius, affines)
            return centre, radius
        case Residual():
            body = _step(layer.body, centre, radius, affines)
            shortcut = _step(layer.shortcut, centre, radius, affines)
            return body[0] + shortcut[0], body[1] + shortcut[1]
    scale, shift = affines[layer]
    return _scaled(centre, scale, shift), _scaled(radius, scale.abs(), torch.zeros_like(shift))


def _scaled(x: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    shape = (1, -1, *(1,) * (x.ndim - 2))
    return torch.addcmul(shift.view(shape), x, scale.view(shape))


def _affine(layer: nn.Module, mean: torch.Tensor, variance: torch.Tensor):
    scale = layer.weight * torch.rsqrt(variance + layer.eps)
    return scale, layer.bias - mean * scale


def _batch_norms(module: nn.Module) -> Iterator[nn.Module]:
    return (layer for layer in module.modules() if _is_batch_norm(layer))


def _is_batch_norm(layer: nn.Module) -> bool:
    return isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d)
