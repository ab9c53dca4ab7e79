"""FGSM, with a random start, and iterated."""

from jax.typing import ArrayLike

from jaxcert.attacks.objectives import Anchored, Objective, cross_entropy
from jaxcert.attacks.pgd import Pgd, pgd
from jaxcert.attacks.start import center_start, random_start


def fgsm(loss: Objective | Anchored = cross_entropy) -> Pgd:
    """One step of length eps from the centre along the steepest ascent: an estimate from below.

    For l_inf `x + eps * sign(gradient)` with sign(0) = +1, then clipped; other norms by
    `steepest_ascent`. The result is the point after the step, whatever the loss there. Exact
    (the worst case) for linear networks with two classes under l_inf. Called as
    `fgsm()(fn, region, label, key=key)`; the key is not used. Cost: one gradient and one forward
    pass. Errors and invalid input as `pgd`.

    Source: theses/4a (2.1), theses/4b A1, theses/1 M2 (2.10), theses/2 A2 to A4.

    >>> import jax, jax.numpy as jnp
    >>> from jaxcert.attacks import fgsm
    >>> from jaxcert.regions import linf_ball
    >>> fn = lambda x: jnp.stack([x[0] - x[1], x[1]])
    >>> fgsm()(fn, linf_ball(jnp.array([1.0, 0.0]), 0.5), 0, key=jax.random.key(0)).x.tolist()
    [0.5, 0.5]
    """
    return pgd(1, step_size=1.0, loss=loss, start=center_start(), keep_best=False)


def fgsm_rs(step: ArrayLike = 1.25, loss: Objective | Anchored = cross_entropy) -> Pgd:
    """One step of length `step` eps from a random point, projected back: FGSM with random start.

    `step` is in units of eps; 1.25 is the setting of the works ("always 1.25 eps"). The result is
    the point after the step. Cost, errors and invalid input as `pgd(1)`.

    Source: theses/4b A4 (Wong et al.).

    >>> import jax, jax.numpy as jnp
    >>> from jaxcert.attacks import fgsm_rs
    >>> from jaxcert.regions import linf_ball
    >>> fn = lambda x: jnp.stack([x[0] - x[1], x[1]])
    >>> x = fgsm_rs()(fn, linf_ball(jnp.array([1.0, 0.0]), 0.5), 0, key=jax.random.key(0)).x
    >>> bool(jnp.all(abs(x - jnp.array([1.0, 0.0])) <= 0.5))
    True
    """
    return pgd(1, step_size=step, loss=loss, start=random_start(), keep_best=False)


def ifgsm(
    steps: int = 10, step_size: ArrayLike | None = None, loss: Objective | Anchored = cross_entropy
) -> Pgd:
    """Iterated FGSM: `steps` projected steps from the centre; the result is the last point.

    `step_size` is in units of eps, at most 1 in the source; `None` means `1 / steps`. Everything else as
    `pgd(steps, start=center_start(), keep_best=False)`.

    Source: theses/4b A2 (2.2).

    >>> import jax, jax.numpy as jnp
    >>> from jaxcert.attacks import ifgsm
    >>> from jaxcert.regions import linf_ball
    >>> fn = lambda x: jnp.stack([x[0] - x[1], x[1]])
    >>> ifgsm(2)(fn, linf_ball(jnp.array([1.0, 0.0]), 0.5), 0, key=jax.random.key(0)).x.tolist()
    [0.5, 0.5]
    """
    size = 1 / steps if step_size is None else step_size
    return pgd(steps, step_size=size, loss=loss, start=center_start(), keep_best=False)
