"""Functions of one example over a batch, in chunks that fit a memory budget."""

from jaxcert.chunking.examples import map_examples
from jaxcert.chunking.gradient import mean_gradient
from jaxcert.chunking.memory import Limit, budget

__all__ = ["Limit", "budget", "map_examples", "mean_gradient"]
