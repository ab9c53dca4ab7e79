"""How an engine chooses the free line of each relaxation. A slope is a value.

`adaptive` is CROWN's choice, `parallel` gives both lines one slope (Fast-Lin, Wong and
Kolter), `zero` and `one` fix the position of the free line, and `given(arrays)` sets it
element by element. Every choice is sound.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from jaxcert.errors import InvalidInputError
from jaxcert.relax.types import Ends, Planes, Record


@jax.tree_util.register_static
@dataclass(frozen=True)
class Adaptive:
    """The line of least area for piecewise linear functions, CROWN's tangents otherwise."""

    def planes(self, record: Record, index: int, lowers: Ends, uppers: Ends, params: tuple) -> Planes:
        del index
        return record.enclose(lowers, uppers, record.choose(lowers, uppers, *params), *params)

    @property
    def shared(self) -> bool:
        return False


@jax.tree_util.register_static
@dataclass(frozen=True)
class Parallel:
    """One slope for the lower and the upper line."""

    def planes(self, record: Record, index: int, lowers: Ends, uppers: Ends, params: tuple) -> Planes:
        del index
        return record.enclose_parallel(lowers, uppers, *params)

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

    def planes(self, record: Record, index: int, lowers: Ends, uppers: Ends, params: tuple) -> Planes:
        del index
        return record.enclose(lowers, uppers, self.alpha, *params)

    @property
    def shared(self) -> bool:
        return False


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Given:
    """Positions in [0, 1], one array per activation (joins included) in the order of the graph.

    Each array has the shape of its activation's input. Values outside [0, 1] are clipped,
    so any array is sound.
    """

    alphas: tuple[jax.Array, ...]

    def planes(self, record: Record, index: int, lowers: Ends, uppers: Ends, params: tuple) -> Planes:
        alpha, shape = jnp.asarray(self.alphas[index]), lowers[0].shape
        if alpha.shape != shape:
            raise InvalidInputError(
                f"slope array {index} has shape {alpha.shape} but its activation has shape {shape}."
            )
        alpha = jnp.clip(alpha, 0, 1).astype(lowers[0].dtype)
        return record.enclose(lowers, uppers, alpha, *params)

    @property
    def shared(self) -> bool:
        return False


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class PerRow:
    """Positions in [0, 1] for every row of every backward pass: what alpha-CROWN optimises.

    Keys are `(target node, sign of the rows, order of the activation)`; each array has the
    shape of the coefficients that meet the activation in that pass. Values outside [0, 1]
    are clipped, so any array is sound.
    """

    alphas: dict[tuple[int, int, int], jax.Array]

    def planes(
        self,
        record: Record,
        key: tuple[int, int, int],
        lowers: Ends,
        uppers: Ends,
        params: tuple,
        shape: tuple[int, ...],
    ) -> Planes:
        """Return planes that broadcast to `shape`; the ends broadcast against it."""
        if key not in self.alphas or self.alphas[key].shape != shape:
            raise InvalidInputError(
                f"per-row slopes have no array of shape {shape} for {key}: they were optimised for another "
                "network, region kind or specification."
            )
        given = self.alphas[key]
        # At the ends of [0, 1] the derivative is that of the inside, so that an optimizer can come back.
        alpha = jnp.where((given >= 0) & (given <= 1), given, jnp.clip(given, 0, 1))
        return record.enclose(lowers, uppers, alpha.astype(lowers[0].dtype), *params)

    @property
    def shared(self) -> bool:
        return False


Slope = Adaptive | Parallel | Fixed | Given | PerRow

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
