"""A small trained run that the tests of the commands share, and the commands called in this process."""

import shutil
from dataclasses import dataclass

import pytest

from jaxcert.cli.main import main

TINY = (
    "--dataset",
    "digits",
    "--model",
    "mlp-10-10",
    "--method",
    "standard",
    "--epochs",
    "8",
    "--eps",
    "0.02",
)


@dataclass(frozen=True)
class Answer:
    status: int
    out: str
    err: str

    @property
    def mistake(self):
        """The one line that a user's mistake must give, without progress bars."""
        lines = [line for line in self.err.replace("\r", "\n").splitlines() if line.startswith("jaxcert:")]
        assert len(lines) == 1, self.err
        assert "Traceback" not in self.err
        return lines[0]


@pytest.fixture
def jaxcert(capfd):
    def call(*argv):
        capfd.readouterr()
        try:
            status = main([str(word) for word in argv])
        except SystemExit as stop:
            status = stop.code or 0
        captured = capfd.readouterr()
        return Answer(status, captured.out, captured.err)

    return call


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    assert main(["train", *TINY, "--out", str(folder)]) == 0
    return folder


@pytest.fixture
def own_run(tiny_run, tmp_path):
    """A copy of the run, to evaluate or to damage."""
    return shutil.copytree(tiny_run, tmp_path / "tiny")
