"""What an attacker may do to an image: a ball of radius eps inside the range of pixels."""

from dataclasses import dataclass, field

import jax

from jaxcert.regions import LpBall, lp_ball


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ThreatModel:
    """An l_p ball around every image, cut to the range in which images exist.

    Attributes:
      eps: radius in the network's input units (pixels in [0, 1]), a scalar; changing it does
        not compile anything again.
      norm: p of the ball, `float("inf")` by default.
      clip: the lowest and highest value of a pixel.

    >>> import jax.numpy as jnp
    >>> ThreatModel(0.1).region(jnp.full((2,), 0.5)).norm
    inf
    """

    eps: jax.Array | float
    norm: float = field(default=float("inf"), metadata={"static": True})
    clip: tuple[float, float] = field(default=(0.0, 1.0), metadata={"static": True})

    def region(self, x: jax.Array) -> LpBall:
        """The set of inputs that the attacker may choose from, around one image `x`."""
        return lp_ball(x, self.eps, self.norm, clip=self.clip)
