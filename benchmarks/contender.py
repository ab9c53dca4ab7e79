"""What takes part in a benchmark: a library that is asked to do a `Work` on given weights and images."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from benchmarks.work import Work


@dataclass(frozen=True)
class Prepared:
    """A work ready to be timed.

    Attributes:
      call: does the work once, all of it (`block_until_ready` inside); called again and again. A
        training step goes on from its own last state.
      values: the result of a call as the array that `work` describes; not timed. For training it
        is asked for the first result only.
      trace_s, compile_s: wall seconds to trace and to compile, None where nothing is compiled.
      temp_bytes, flops: working memory and operations by XLA's own account, None for others.
      compilations: how often the function has been compiled so far, None where nothing is.
      program: the compiled program as text, for profiles; None for others.
      note: one line for the table, such as the size of chunks.
      told: what the last call has to say beside its result, for the same line; None for nothing.
    """

    call: Callable[[], Any]
    values: Callable[[Any], np.ndarray]
    trace_s: float | None = None
    compile_s: float | None = None
    temp_bytes: int | None = None
    flops: float | None = None
    compilations: Callable[[], int] | None = None
    program: Callable[[], str] | None = None
    note: str = ""
    told: Callable[[], str] | None = None


class Contender(Protocol):
    """One per file; the file's `CONTENDER` is one, and its imports fail where the library is missing.

    `name` is what tables show. The measuring process is pinned to one core and has one thread in
    every library before anything is imported.
    """

    name: str

    def version(self) -> str:
        """Names and versions of what is measured, such as "auto_LiRPA 0.7.1, torch 2.13.0+cpu"."""
        ...

    def refuses(self, work: Work) -> str | None:
        """None, or one line why the work is not for this contender (it then gets no row)."""
        ...

    def prepare(
        self, work: Work, weights: Sequence[np.ndarray], images: np.ndarray, labels: np.ndarray
    ) -> Prepared:
        """Builds, traces and compiles.

        Args:
          weights: float32, in the order and layout of `networks.weights`.
          images: float32 `[B, H, W, C]`.
          labels: int32 `[B]`.

        Called inside the measuring process only; may raise: that is recorded.
        """
        ...
