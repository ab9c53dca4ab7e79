"""The catalogue of training methods: name -> constructor of its `Recipe`."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from jaxcert.attacks import fgsm_rs, pgd
from jaxcert.train.config import NORMS, TrainConfig
from jaxcert.train.objectives import Adversarial, CrownIbp, Ibp, Objective, Standard, Threat
from jaxcert.train.optimizers import learning_rate_schedule
from jaxcert.train.schedules import Schedule, constant, cosine, geometric, linear, smoothed
from jaxcert.train.step import Recipe

_FGSM_RS_STEP = 1.25  # of eps: theses/4b A4


def standard_training(config: TrainConfig, steps_per_epoch: int) -> Recipe:
    """Cross-entropy on clean images (theses/1 §1.1 M1); eps is 0."""
    return _recipe(Standard(), config, steps_per_epoch, eps=constant(0.0))


def fgsm_rs_training(config: TrainConfig, steps_per_epoch: int) -> Recipe:
    """Adversarial training with one step from a random start (theses/4b A4, §5.2.1)."""
    step = _FGSM_RS_STEP if config.attack_step_size is None else config.attack_step_size
    objective = Adversarial(fgsm_rs(step=step), _threat(config))
    return _recipe(objective, config, steps_per_epoch, eps=_eps(config, steps_per_epoch))


def pgd_training(config: TrainConfig, steps_per_epoch: int) -> Recipe:
    """Adversarial training with PGD in the l_inf or l_2 ball (theses/4b A3, D1; eps ramps: D4)."""
    attack = pgd(
        steps=config.attack_steps, restarts=config.attack_restarts, step_size=config.attack_step_size
    )
    objective = Adversarial(attack, _threat(config))
    return _recipe(objective, config, steps_per_epoch, eps=_eps(config, steps_per_epoch))


def ibp_training(config: TrainConfig, steps_per_epoch: int) -> Recipe:
    """Interval bound propagation with a kappa mix of the clean loss (theses/1 §1.3, theses/2 (C.1.1))."""
    return _recipe(
        Ibp(_threat(config)),
        config,
        steps_per_epoch,
        eps=_eps(config, steps_per_epoch),
        kappa=_share(config, steps_per_epoch, config.kappa_start, config.kappa_end),
    )


def crown_ibp_training(config: TrainConfig, steps_per_epoch: int) -> Recipe:
    """CROWN-IBP with beta and kappa schedules (theses/1 §1.4, theses/2 (3.3.16), (C.1.1))."""
    return _recipe(
        CrownIbp(_threat(config)),
        config,
        steps_per_epoch,
        eps=_eps(config, steps_per_epoch),
        kappa=_share(config, steps_per_epoch, config.kappa_start, config.kappa_end),
        beta=_share(config, steps_per_epoch, config.beta_start, config.beta_end),
    )


RECIPES: Mapping[str, Callable[[TrainConfig, int], Recipe]] = MappingProxyType(
    {
        "standard": standard_training,
        "fgsm-rs": fgsm_rs_training,
        "pgd": pgd_training,
        "ibp": ibp_training,
        "crown-ibp": crown_ibp_training,
    }
)
"""Name of a method -> function of (config, steps per epoch) that returns its recipe."""


def build_recipe(config: TrainConfig, steps_per_epoch: int) -> Recipe:
    """The recipe of `config.method`, its schedules in steps.

    >>> recipe = build_recipe(TrainConfig(method="ibp", epochs=4, rampup_epochs=2), steps_per_epoch=10)
    >>> round(float(recipe.eps(10)), 3)
    0.05
    """
    return RECIPES[config.method](config, steps_per_epoch)


def _recipe(
    objective: Objective,
    config: TrainConfig,
    steps_per_epoch: int,
    *,
    eps: Schedule,
    kappa: Schedule | None = None,
    beta: Schedule | None = None,
) -> Recipe:
    unused = constant(0.0)
    return Recipe(
        objective,
        eps=eps,
        kappa=kappa or unused,
        beta=beta or unused,
        learning_rate=learning_rate_schedule(config, steps_per_epoch),
    )


def _threat(config: TrainConfig) -> Threat:
    return Threat(norm=NORMS[config.norm])


def _eps(config: TrainConfig, steps_per_epoch: int) -> Schedule:
    if config.ramp == "geometric" and config.rampup:
        warmup, rampup = _ramp_steps(config, steps_per_epoch)
        return geometric(config.eps_start, config.eps, warmup=warmup, rampup=rampup)
    return _share(config, steps_per_epoch, config.eps_start, config.eps)


def _share(config: TrainConfig, steps_per_epoch: int, start: float, end: float) -> Schedule:
    """From start to end as eps moves; linear where eps moves geometrically."""
    warmup, rampup = _ramp_steps(config, steps_per_epoch)
    if config.ramp == "smoothed":
        return smoothed(start, end, warmup=warmup, rampup=rampup, mid=config.smoothed_mid)
    if config.ramp == "cosine":
        return cosine(start, end, warmup=warmup, rampup=rampup)
    return linear(start, end, warmup=warmup, rampup=rampup)


def _ramp_steps(config: TrainConfig, steps_per_epoch: int) -> tuple[int, int]:
    return config.warmup * steps_per_epoch, config.rampup * steps_per_epoch
