"""Optimisers by the names that configurations use."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import optax

from jaxcert.train.config import TrainConfig
from jaxcert.train.schedules import Schedule, piecewise


def adam(config: TrainConfig, learning_rate: Schedule) -> optax.GradientTransformation:
    """Adam with its usual momenta 0.9 and 0.999; `config.momentum` is not used."""
    return optax.adam(learning_rate)


def sgd(config: TrainConfig, learning_rate: Schedule) -> optax.GradientTransformation:
    """Stochastic gradient descent with momentum `config.momentum`."""
    return optax.sgd(learning_rate, momentum=config.momentum)


OPTIMIZERS: Mapping[str, Callable[[TrainConfig, Schedule], optax.GradientTransformation]] = MappingProxyType(
    {"adam": adam, "sgd": sgd}
)


def learning_rate_schedule(config: TrainConfig, steps_per_epoch: int) -> Schedule:
    """Step decay: the learning rate times `decay_factor` from the start of every epoch in `decay_epochs`."""
    milestones = [epoch * steps_per_epoch for epoch in config.decay_epochs]
    return piecewise(config.learning_rate, config.decay_factor, milestones)


def build_optimizer(config: TrainConfig, learning_rate: Schedule) -> optax.GradientTransformation:
    """The optimiser of `config`: clipping of the gradient's norm, then weight decay (added to the
    gradient, as in the works), then the update rule.
    """
    clipping = optax.clip_by_global_norm(config.gradient_clip) if config.gradient_clip else optax.identity()
    decay = optax.add_decayed_weights(config.weight_decay) if config.weight_decay else optax.identity()
    return optax.chain(clipping, decay, OPTIMIZERS[config.optimizer](config, learning_rate))
