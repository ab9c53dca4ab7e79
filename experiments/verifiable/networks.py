"""The networks of the experiments in this folder, trained here at reduced size and kept in `runs/verifiable`.

Source: theses/4a sections 4 and 5. There: 100 epochs of Adam. Here: few epochs on MNIST, enough for the usual
accuracies. All radii are in units of pixels in [0, 1]; the networks of Table 3.2 see pixels in [-1, 1] in the
thesis, so that its training radius of 0.1 is 0.05 here. IBP stands in for the provable training of Table 3.9.
Command: `python -m experiments.verifiable.networks`. Runtime: about 4 CPU minutes for all.
"""

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import flax.linen as nn

from jaxcert.data import Dataset, load
from jaxcert.train import TrainConfig, fit, load_run

RUNS = Path("runs/verifiable")

_MLP = TrainConfig(dataset="mnist", model="mlp-100-100-100", method="standard", epochs=8, batch_size=100)
_FC1 = TrainConfig(
    dataset="mnist", model="mlp-1024", method="standard", epochs=4, batch_size=100, learning_rate=1e-3
)
_CNN = TrainConfig(
    dataset="mnist", model="cnn-small", method="standard", epochs=2, batch_size=100, learning_rate=1e-3
)


def _pgd(config: TrainConfig, eps: float, steps: int = 5) -> TrainConfig:
    return replace(config, method="pgd", eps=eps, attack_steps=steps)


def _ibp(config: TrainConfig, eps: float, epochs: int) -> TrainConfig:
    return replace(config, method="ibp", eps=eps, epochs=epochs, warmup_epochs=1, rampup_epochs=epochs // 2)


NETWORKS: Mapping[str, TrainConfig] = MappingProxyType(
    {
        "mlp-vanilla": _MLP,
        "mlp-robust": _pgd(_MLP, 0.05),
        "fc1-plain": _FC1,
        "fc1-at": _pgd(_FC1, 0.1),
        "fc1-ibp": _ibp(_FC1, 0.1, epochs=6),
        "cnn-plain": _CNN,
        "cnn-at": _pgd(_CNN, 0.1, steps=3),
        "cnn-ibp": _ibp(_CNN, 0.1, epochs=4),
    }
)
"""Name -> how it is trained."""


def trained(name: str) -> tuple[nn.Module, dict[str, Any], Dataset]:
    """The network (trained first, unless it is already), its variables, and its data set."""
    fit(NETWORKS[name], RUNS / name)
    config, model, variables = load_run(RUNS / name)
    return model, variables, load(config.dataset, config.data_dir)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help=f"networks to train, of {', '.join(NETWORKS)}; none: all")
    names = parser.parse_args().names or list(NETWORKS)
    for name in names:
        fit(NETWORKS[name], RUNS / name)
        print(f"{name}: trained, in {RUNS / name}")


if __name__ == "__main__":
    main()
