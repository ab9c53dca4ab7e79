"""alpha-CROWN against auto_LiRPA's, 20 steps each: at least as tight on average over the images compared.

A selection that compiles fast; `python -m tests.reference.compare --methods alpha-CROWN-full ... NETWORK`
compares any recorded entry.
"""

import numpy as np
import pytest

from tests.reference.bounds import METHODS, OPTIMISED, margins, record

FIXED, FULL = OPTIMISED
TABLE = [
    ("abcrown_mnist_2_20_toy", 16, FIXED),
    ("abcrown_mnist_2_20_toy", 16, FULL),
    ("vnncomp_mnistfc_256x2", 4, FIXED),
    ("vnncomp_mnistfc_256x2", 2, FULL),
    ("vnncomp_verivital_mnist_avgpool", 2, FIXED),
    ("vnncomp_verivital_mnist_avgpool", 2, FULL),
    ("eran_mnist_6_100_nat", 4, FIXED),
    ("kw_mnist_small_eps01", 2, FIXED),
]


@pytest.mark.optimised
@pytest.mark.parametrize(("name", "count", "method"), TABLE)
def test_at_least_as_tight_on_average(data_dir, name, count, method, x64):
    entries = record(data_dir, f"autolirpa_{name}")["entries"]
    (entry,) = [e for e in entries if e["method"] == method and e["clip"]]
    (start,) = [
        e
        for e in entries
        if (e["method"], e["norm"], e["eps"], e["dtype"]) == ("CROWN", "inf", entry["eps"], "float64")
        and e["clip"]
    ]
    ours, theirs = margins(data_dir, name, entry, count, "float64"), np.array(entry["margins"][:count])
    # Equal optima of another optimiser, recorded to ten digits.
    assert ours.mean() >= theirs.mean() - 1e-8 * np.abs(theirs).mean()
    assert (ours >= np.array(start["margins"][:count]) - 1e-8 * np.abs(theirs).max()).all()


def test_both_kinds_are_compared():
    assert {method for _, _, method in TABLE} == set(OPTIMISED)
    assert not set(OPTIMISED) & set(METHODS)
