"""Do all contenders compute the same? `python -m benchmarks.peers.agree [WORK ...]`, such as crown/mlp/4."""

import sys
from collections.abc import Iterator

import numpy as np

from benchmarks import contenders
from benchmarks.inputs import inputs
from benchmarks.work import BOUNDS, GRADIENTS, TRAINING, Work, parse

USUAL = tuple(
    Work(operation, network, 4)
    for network in ("mlp", "wk-small", "dm-medium")
    for operation in ("forward", *BOUNDS, *GRADIENTS, *TRAINING, "pgd")
    if (operation, network) != ("alpha-crown", "dm-medium")
) + tuple(Work("forward", network, 4) for network in ("wk-large", "resnet-2b", "cnn7-bn"))


def difference(found: np.ndarray, expected: np.ndarray) -> float:
    """l_2 norm of the difference over that of the expected; inf where shapes differ or something is NaN."""
    if found.shape != expected.shape or not np.all(np.isfinite(found)):
        return float("inf")
    gap = found.astype(np.float64) - expected.astype(np.float64)
    return float(np.linalg.norm(gap) / np.linalg.norm(expected.astype(np.float64)))


def results(work: Work) -> Iterator[tuple[str, np.ndarray]]:
    """Name and first result of every contender that is there and takes the work."""
    given = inputs(work)
    for contender in contenders.MODULES:
        try:
            loaded = contenders.load(contender)
        except ImportError:
            continue
        if loaded.refuses(work) is None:
            prepared = loaded.prepare(work, *given)
            yield contender, prepared.values(prepared.call())


def main(texts: list[str]) -> None:
    for work in [parse(text) for text in texts] or USUAL:
        expected = None
        for name, found in results(work):
            if expected is None:
                expected, told = found, f"{name} {found.ravel()[:2]}"
            else:
                told = f"{told}; {name} {difference(found, expected):.1e}"
        print(f"{work.id}: {told}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
