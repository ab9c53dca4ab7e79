"""What has to be computed, the same for every contender: a value with a text id.

The operations and the results that are compared:

- `forward`: logits `[B, K]`.
- `ibp`, `crown-ibp`, `crown`, `alpha-crown`, `fast-lin`: lower bounds of `z_label - z_j` for j != label,
  j increasing, `[B, K-1]`. `alpha-crown` takes `ALPHA_STEPS` steps of Adam on the slopes of the last pass and
  of all earlier ones, from the adaptive start.
- `ibp-grad`, `crown-ibp-grad`, `crown-grad`: the gradient of the mean over the batch of
  `log(1 + sum_j exp(-margin_j))` with respect to all trainable weights, flat, in the neutral order.
- `pgd`: `[share of the images that are misclassified at the end, mean of z_label - max_j z_j there]`:
  `PGD_STEPS` steps of `2.5 * eps / PGD_STEPS` along the sign of the gradient of the cross-entropy, from one
  random start.
- `autoattack`: how many images are right before any attack and after each stage of the standard AutoAttack:
  Auto-PGD on the cross-entropy from one random start, targeted Auto-PGD on the DLR and targeted FAB towards
  nine classes, all of 100 steps, and Square with 5000 queries. Every stage takes the images that are left.
  Weights are trained and images real here (`published`).
- `train-ibp`, `train-crown-ibp`, `train-pgd`: `[loss, l_2 norm of its gradient]` of the first step, before
  the update. A step is everything from a batch in memory to updated weights: loss, gradient, Adam (learning
  rate `LEARNING_RATE`, its default moments). `train-ibp` minimises `KAPPA * clean + (1 - KAPPA) * worst case`
  with the worst case by IBP; `train-crown-ibp` the same on the margins
  `BETA * CROWN-IBP + (1 - BETA) * IBP`; `train-pgd` the cross-entropy at the point that PGD finds in
  `TRAIN_PGD_STEPS` steps.

Balls are l_inf. Bounds and their gradients: clip off. Attacks and training: clip to [0, 1]. Batch norm uses
the statistics of the clean batch in training, with gradients through them, and the given ones elsewhere.
"""

import re
from dataclasses import dataclass

BOUNDS = ("ibp", "crown-ibp", "crown", "alpha-crown", "fast-lin")
GRADIENTS = ("ibp-grad", "crown-ibp-grad", "crown-grad")
TRAINING = ("train-ibp", "train-crown-ibp", "train-pgd")
ATTACKS = ("pgd", "autoattack")
OPERATIONS = ("forward", *BOUNDS, *GRADIENTS, *TRAINING, *ATTACKS)

ALPHA_STEPS = 20
PGD_STEPS = 40
TRAIN_PGD_STEPS = 10
AUTOATTACK_STEPS = 100
AUTOATTACK_TARGETS = 9
AUTOATTACK_QUERIES = 5000
KAPPA = 0.5
BETA = 0.5
LEARNING_RATE = 5e-4

BOUND_EPS = 0.02
ATTACK_EPS = 0.1


def usual_eps(operation: str) -> float:
    """The radius unless a work says otherwise: 0.1 for attacks and adversarial training, else 0.02."""
    return ATTACK_EPS if operation in (*ATTACKS, "train-pgd") else BOUND_EPS


@dataclass(frozen=True)
class Work:
    """An operation on a network (a name of `networks.network`) and a batch, in l_inf balls of radius eps."""

    operation: str
    network: str
    batch: int
    eps: float = -1.0

    def __post_init__(self):
        if self.operation not in OPERATIONS:
            raise ValueError(f"{self.operation!r} is no operation: choose one of {', '.join(OPERATIONS)}.")
        if self.batch < 1:
            raise ValueError(f"A batch has at least one image, got {self.batch}.")
        if self.eps < 0:
            object.__setattr__(self, "eps", usual_eps(self.operation))

    @property
    def id(self) -> str:
        """Such as "ibp-grad/wk-small/64", with "/0.1" at the end where eps is not the usual one."""
        text = f"{self.operation}/{self.network}/{self.batch}"
        return text if self.eps == usual_eps(self.operation) else f"{text}/{self.eps!r}"

    @property
    def base(self) -> str:
        """The operation without "-grad"."""
        return self.operation.removesuffix("-grad")

    @property
    def clip(self) -> bool:
        """Whether the ball is cut to [0, 1]."""
        return self.operation in (*ATTACKS, *TRAINING)


def parse(text: str) -> Work:
    """The work of an id; ValueError for any other text."""
    found = re.fullmatch(r"([^/]+)/([^/]+)/(\d+)(?:/([^/]+))?", text)
    if found is None:
        raise ValueError(f"{text!r} is no work: write operation/network/batch, such as ibp-grad/wk-small/64.")
    operation, network, batch, eps = found.groups()
    return Work(operation, network, int(batch), -1.0 if eps is None else float(eps))
