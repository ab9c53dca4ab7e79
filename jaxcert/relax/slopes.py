"""How an engine chooses the free line of each relaxation. A slope is a value.

`adaptive` is CROWN's choice, `parallel` gives both lines one slope (Fast-Lin, Wong and
Kolter), `zero` and `one` fix the position of the free line, and `given(arrays)` sets it
element by element. Every choice is sound.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from jaxcert.errors import InvalidInputError
from jaxcert.relax.types import Activation, Lines


@jax.tree_util.register_static
@dataclass(frozen=True)
class Adaptive:
    """The line of least area for piecewise linear functions, CROWN's tangents otherwise."""

    def lines(
        self, record: Activation, index: int, lower: jax.Array, upper: jax.Array, params: tuple
    ) -> Lines:
        del index
        return record.lines(lower, upper, record.adaptive(lower, upper, *params), *params)

    @property
    def shared(self) -> bool:
        return False


@jax.tree_util.register_static
@dataclass(frozen=True)
class Parallel:
    """One slope for the lower and the upper line."""

    def lines(
        self, record: Activation, index: int, lower: jax.Array, upper: jax.Array, params: tuple
    ) -> Lines:
        del index
        return record.parallel(lower, upper, *params)

    @property
    def shared(self) -> bool:
        return True


@jax.tree_util.register_static
@dataclass(frozen=True)
class Fixed:
    """One position for every free line: 0 or 1 for the extreme slopes of a ReLU."""

    alpha: float

    def __post_init__(self):
        if not 0 <= self.alpha <= 1:
            raise InvalidInputError(
                f"a slope position must lie in [0, 1], got {self.alpha}: outside the lines are unsound."
            )

    def lines(
        self, record: Activation, index: int, lower: jax.Array, upper: jax.Array, params: tuple
    ) -> Lines:
        del index
        return record.lines(lower, upper, self.alpha, *params)

    @property
    def shared(self) -> bool:
        return False


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Given:
    """Positions in [0, 1], one array per activation in the order of the graph.

    Each array has the shape of its activation's input. Values outside [0, 1] are clipped,
    so any array is sound.
    """

    alphas: tuple[jax.Array, ...]

    def lines(
        self, record: Activation, index: int, lower: jax.Array, upper: jax.Array, params: tuple
    ) -> Lines:
        alpha = jnp.asarray(self.alphas[index])
        if alpha.shape != lower.shape:
            raise InvalidInputError(
                f"slope array {index} has shape {alpha.shape} but its activation has shape {lower.shape}."
            )
        return record.lines(lower, upper, jnp.clip(alpha, 0, 1).astype(lower.dtype), *params)

    @property
    def shared(self) -> bool:
        return False


Slope = Adaptive | Parallel | Fixed | Given

adaptive = Adaptive()
parallel = Parallel()
zero = Fixed(0.0)
one = Fixed(1.0)


def given(alphas) -> Given:
    """Return slopes set element by element: one array in [0, 1] per activation, in graph order.

    Example:
      >>> import jax.numpy as jnp, jaxcert as jc
      >>> fn = lambda x: jnp.maximum(x, 0.0)
      >>> region = jc.linf_ball(jnp.zeros(2), 1.0)
      >>> jc.crown(slope=jc.slopes.given([jnp.array([0.0, 1.0])]))(fn, region).lower.tolist()
      [0.0, -1.0]
    """
    return Given(tuple(jnp.asarray(alpha) for alpha in alphas))
