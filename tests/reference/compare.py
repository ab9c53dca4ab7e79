"""All recorded margins of chosen networks against ours, entry by entry: far too slow for the test suite.

`python -m tests.reference.compare [--methods CROWN IBP ...] [--images 4] NETWORK ...` prints, for every
recorded entry of these networks, the largest deviation relative to the margins of its image, the mean of
ours minus theirs, and the share of margins that are as tight up to the ten digits recorded.
"""

import argparse
import sys
import time

import jax
import numpy as np

from tests.conftest import DATA_DIR
from tests.reference.bounds import RECORDED, deviation, margins, record

DIGITS = {"float64": 1e-8, "float32": 1e-4}


def compare(name: str, entry: dict, count: int, chunk: int) -> str:
    """One line on one recorded entry."""
    recorded = np.asarray(entry["margins"])
    dtype, start = entry["dtype"], time.process_time()
    if entry["method"] == "CROWN-tool-default":  # depends on the whole batch that was recorded
        count, chunk = len(recorded), 0
    with jax.enable_x64(dtype == "float64"):
        ours = margins(DATA_DIR, name, entry, min(count, len(recorded)), dtype, chunk=chunk)
    recorded = recorded[: len(ours)]
    seconds, difference = time.process_time() - start, ours - recorded
    slack = DIGITS[dtype] * np.abs(recorded).max(axis=1, keepdims=True)
    region = f"l_{entry['norm']} {entry['eps']:.4f} {'clip' if entry['clip'] else 'free'}"
    return (
        f"{name:34} {entry['method']:30} {region:18} {dtype} {len(recorded):2} images: "
        f"deviation {deviation(ours, recorded):.1e}, ours - theirs {difference.mean():+.2e} of "
        f"{np.abs(recorded).mean():.3g}, at least {(difference >= -slack).mean():6.1%}, {seconds:.0f} s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="+")
    parser.add_argument("--methods", nargs="*", default=list(RECORDED), choices=list(RECORDED))
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--chunk", type=int, default=2, help="images at a time")
    chosen = parser.parse_args()
    jax.config.update("jax_disable_most_optimizations", False)
    for name in chosen.networks:
        for entry in record(DATA_DIR, f"autolirpa_{name}")["entries"]:
            if entry["method"] in chosen.methods:
                sys.stdout.write(compare(name, entry, chosen.images, chosen.chunk) + "\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
