"""A training run in a process of its own, for the tests that kill it: `python killed_run.py FOLDER EPOCH`.

It kills itself with SIGKILL inside the evaluation callback at the end of EPOCH, after that
epoch's steps and before its metrics line and last checkpoint; with EPOCH 0 it runs to its end.
"""

import os
import signal
import sys
from pathlib import Path

import jax.numpy as jnp

from jaxcert.train import EpochEnd, TrainConfig, fit

CONFIG = TrainConfig(
    dataset="digits",
    model="mlp-10-10",
    method="standard",
    epochs=6,
    batch_size=32,
    learning_rate=0.01,
    decay_epochs=(4,),
    augmentation="crop",
    crop_padding=1,
    train_examples=140,
    seed=3,
)


def evaluation(end: EpochEnd) -> dict[str, float]:
    """Something that depends on the parameters."""
    image = jnp.asarray(end.dataset.test.pixels(slice(0, 1))[0])
    return {"first_logit": float(end.model.apply(end.variables, image)[0])}


def main(folder: Path, deadly_epoch: int) -> None:
    def evaluate(end: EpochEnd) -> dict[str, float]:
        if end.epoch == deadly_epoch:
            os.kill(os.getpid(), signal.SIGKILL)
        return evaluation(end)

    fit(CONFIG, folder, evaluate=evaluate, log_steps=3, checkpoint_seconds=0.0, progress=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
