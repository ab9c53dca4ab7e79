"""Several processes that run one program together, on one host or many, through `jax.distributed`.

All processes call the same functions in the same order. What belongs to the disk is done by process 0 alone
(`on_first`), whose result or error then reaches all, so that no process waits for one that has given up.
"""

import hashlib
import os
import pickle
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from jaxcert.errors import ConfigError, JaxcertError

Value = TypeVar("Value")
_WORDS = 1024  # bytes of an error that reach the other processes


@dataclass(frozen=True)
class Processes:
    """How the processes of one program find each other; every process says the same but for its index.

    All None: JAX asks the cluster (TPU pods, SLURM, Open MPI, Kubernetes).

    Attributes:
      coordinator: `HOST:PORT` of process 0, reachable from all hosts.
      count: number of processes.
      index: of this process, 0 to count - 1.

    Raises:
      ConfigError: some are given and others not, or the numbers are impossible.
    """

    coordinator: str | None = None
    count: int | None = None
    index: int | None = None

    def __post_init__(self) -> None:
        given = [self.coordinator is not None, self.count is not None, self.index is not None]
        if any(given) and not all(given):
            raise ConfigError(
                "Processes that find each other by hand need all of --coordinator HOST:PORT, --processes and "
                "--process-id: give all three, or none to let JAX ask the cluster."
            )
        if self.count is not None and self.index is not None and not 0 <= self.index < self.count:
            raise ConfigError(
                f"The process id must be from 0 to {self.count - 1}, one less than the number of processes, "
                f"got {self.index}."
            )


def join(processes: Processes) -> None:
    """Joins this process with the others, before any device is touched; waits for them up to five minutes.

    Raises:
      ConfigError: the cluster does not tell who is who, a device was touched before, or the others did not
        come.
    """
    if jax.distributed.is_initialized():
        return
    try:
        jax.distributed.initialize(processes.coordinator, processes.count, processes.index)
    except (ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise ConfigError(
            f"The processes could not be joined ({reason}): give --coordinator HOST:PORT, --processes and "
            "--process-id to each, and start all of them within five minutes."
        ) from error


def several() -> bool:
    """Whether this process is one of several."""
    return jax.distributed.is_initialized() and jax.process_count() > 1


def is_first() -> bool:
    """Whether this process writes files and shows progress: process 0, or the only one."""
    return jax.process_index() == 0


def on_first(compute: Callable[[], Value]) -> Value:
    """`compute()` in process 0; its result, which must pickle, or its error in every process.

    Raises:
      What `compute` raises; in other processes a JaxcertError where it raised something else.

    >>> on_first(lambda: 3)
    3
    """
    if not several():
        return compute()
    value: Any = None
    failure: Exception | None = None
    if is_first():
        try:
            value = compute()
        except Exception as error:  # all kinds: the others must not wait for an answer that never comes
            failure = error
    told = failure if isinstance(failure, JaxcertError) or failure is None else _foreign(0, str(failure))
    answer, error = pickle.loads(_broadcast(pickle.dumps((value, told)) if is_first() else b""))
    if failure is not None:
        raise failure
    if error is not None:
        raise error
    return value if is_first() else answer


def on_all(compute: Callable[[], Value]) -> Value:
    """`compute()` in every process, its own result in each; where it fails in one, every process raises.

    Raises:
      What `compute` raises; in other processes a JaxcertError that names the one that failed.

    >>> on_all(lambda: 3)
    3
    """
    if not several():
        return compute()
    try:
        value, failure = compute(), None
    except Exception as error:
        value, failure = None, error
    told = _gather("" if failure is None else f"{type(failure).__name__}: {failure}")
    if failure is not None:
        raise failure
    for index, words in enumerate(told):
        if words:
            raise _foreign(index, words)
    return value  # pyright: ignore[reportReturnType]


def require_same(what: str, value: Callable[[], Any]) -> None:
    """Raises ConfigError in every process unless `value()` prints alike in all; `what` names it in the error.

    >>> require_same("options", lambda: {"eps": 0.1})
    """
    if not several():
        return
    digests = _gather(hashlib.sha256(repr(value()).encode()).hexdigest())
    other = next((index for index, digest in enumerate(digests) if digest != digests[0]), None)
    if other is not None:
        raise ConfigError(
            f"Process {other} has other {what} than process 0: start all processes with the same options on "
            "the same files."
        )


def leave(status: int) -> NoReturn:
    """Ends a process that failed at once, so that the others notice: an ordinary end would wait for them."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _foreign(index: int, words: str) -> JaxcertError:
    return JaxcertError(f"Process {index} failed ({words.rstrip('.')}): see its output.")


def _broadcast(message: bytes) -> bytes:
    """The message of process 0 in every process."""
    size = multihost_utils.broadcast_one_to_all(np.array(divmod(len(message), 1 << 30), np.int32))
    length = (int(size[0]) << 30) + int(size[1])
    mine = np.frombuffer(message.ljust(length, b"\0"), np.uint8)
    # The sum over processes that carries the bytes may widen them.
    return np.asarray(multihost_utils.broadcast_one_to_all(mine)).astype(np.uint8).tobytes()


def _gather(words: str) -> list[str]:
    """The words of every process, shortened to `_WORDS` bytes, in every process."""
    mine = np.frombuffer(words.encode()[:_WORDS].ljust(_WORDS, b"\0"), np.uint8)
    rows = np.asarray(multihost_utils.process_allgather(mine)).astype(np.uint8)
    return [row.tobytes().rstrip(b"\0").decode(errors="ignore") for row in rows]
