"""`jaxcert methods` prints what the tests exercise: its table is the one the test tables imply now."""

import pytest

from jaxcert.bounds import ENGINES
from jaxcert.cli import methods
from tests.common import support


def test_the_table_is_what_the_soundness_tests_exercise():
    assert support.FILE.read_text() == support.text(), "stale: run python -m tests.common.support --write"


def test_engines_of_the_table():
    assert tuple(ENGINES) == methods.ENGINES
    recorded = methods.tested_support()
    assert set(recorded) >= set().union(*ENGINES.values())
    for kind, row in recorded.items():
        assert set(row["engines"]) == {name for name, rules in ENGINES.items() if kind in rules}


def test_table_lists_operations_by_engine(jaxcert):
    lines = [line.split() for line in jaxcert("methods").out.splitlines()]
    assert lines[0][:4] == ["operation", "ibp", "forward", "crown"]
    rows = {line[0]: line for line in lines if line}
    assert rows["conv"] == ["conv", "tested", "tested", "tested", "exact", "conv_general_dilated"]
    assert rows["sigmoid"] == ["sigmoid", "tested", "tested", "tested", "two", "lines", "logistic"]


def test_marks_of_what_is_not_tested():
    row = {"primitives": [], "relaxation": "exact", "engines": {"ibp": {"architectures": [], "regions": []}}}
    assert methods.support_table({"rotate": row}).splitlines()[-1].split() == [
        "rotate",
        "untested",
        "-",
        "-",
        "exact",
    ]


def test_tests_of_one_operation(jaxcert):
    out = jaxcert("methods", "--operation", "arctan").out
    assert out.splitlines()[0] == "arctan: two lines"
    assert "crown: tested" in out
    assert "networks: arctan" in out


def test_unknown_operation_is_a_mistake(jaxcert):
    answer = jaxcert("methods", "--operation", "rotate")
    assert answer.status == 2
    assert "'rotate'" in answer.mistake


@pytest.mark.parametrize("name", ["deep", "mixed"])
def test_engines_that_run_on_an_architecture(name):
    assert {"ibp", "crown"} <= support.engines_of(name) <= set(ENGINES)


# Moves that other tests meet (tests/graph/test_structural.py), and what the translation replaces by slices.
UNMET = {"convert_element_type", "dynamic_slice", "expand_dims", "rev", "tile"}


def test_nothing_else_is_without_a_network():
    unmet = {
        kind
        for kind, row in methods.tested_support().items()
        if not all(tests["architectures"] for tests in row["engines"].values())
    }
    assert unmet <= UNMET
