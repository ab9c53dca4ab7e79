"""Eight devices and two processes compute what one device computes, and go on where it stopped."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jaxcert.cli.main import main
from jaxcert.data import load, training_batches
from jaxcert.devices import MeshSpec, Processes, open_mesh, parse_mesh
from jaxcert.errors import ConfigError
from jaxcert.train import load_run
from tests.conftest import ROOT
from tests.devices.eight import EPS, farthest

ROUNDING = 2e-5  # of numbers of order 1, after the sums of a whole training run in another order
MEASURES = ("clean", f"attacked-linf-eps{EPS}", f"certified-crown-linf-eps{EPS}")


def started(count: int, *words) -> subprocess.Popen:
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={count}"
    return subprocess.Popen(
        [sys.executable, "-m", *map(str, words)],
        cwd=ROOT,
        env={**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def told(*processes: subprocess.Popen) -> list[dict]:
    """What the processes print, as soon as all have ended; none of them outlives this."""
    try:
        outputs = [process.communicate(timeout=250) for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, (_, error) in zip(processes, outputs, strict=True):
        assert process.returncode == 0, error[-3000:]
    return [json.loads(out.splitlines()[-1]) for out, _ in outputs]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("devices")


@pytest.fixture(scope="module")
def eight(folder) -> dict:
    return told(started(8, "tests.devices.eight", folder))[0]


@pytest.fixture(scope="module")
def two(folder) -> list[dict]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return told(*[started(2, "tests.devices.two", folder, port, index) for index in (0, 1)])


def records(folder: Path, measure: str) -> list[dict]:
    lines = (folder / f"{measure}.jsonl").read_text().splitlines()[1:]
    found = [{**json.loads(line), "seconds": 0} for line in lines]
    return sorted(found, key=lambda record: record["index"])


def require_equal_records(folder: Path, other: Path) -> None:
    for measure in MEASURES:
        left, right = records(folder, measure), records(other, measure)
        margins = [[record.pop("margin") for record in side] for side in (left, right)]
        assert left == right
        assert [record["index"] for record in left] == list(range(50))
        np.testing.assert_allclose(*margins, atol=1e-3 if measure.startswith("attacked") else ROUNDING)


@pytest.mark.slow
def test_a_training_step_on_eight_devices_is_that_of_one(eight):
    facts = eight["steps"]
    assert eight["devices"] == 8
    assert facts["difference"] < 1e-5
    assert facts["traces"] == [1, 1], "rising eps must not trace again"
    # Batch norm sees the whole batch: 1 - 0.9^3 of the mean of its pixels, which mirroring does not change.
    mean = load("digits").train.pixels(np.arange(16)).mean()
    assert facts["image mean"] == pytest.approx((1 - 0.9**3) * mean, rel=1e-5)


@pytest.mark.slow
def test_convolutions_are_shared_out_along_the_batch(eight):
    assert eight["steps"]["collectives"] == ["all-reduce"]
    # The program of one device has loops, of which FLOPs are counted once: an eighth may look like more.
    assert eight["steps"]["share of flops"] < 0.2


@pytest.mark.slow
def test_a_run_goes_on_with_other_devices(eight):
    facts = eight["resumed"]
    assert facts["eight, then one"] < ROUNDING
    assert facts["one, then four"] < ROUNDING
    assert facts["moved"] > 0.3


@pytest.mark.slow
def test_evaluation_does_not_depend_on_devices(eight, folder):
    require_equal_records(folder / "by one", folder / "by eight")
    require_equal_records(folder / "by one", folder / "by both")
    verdicts = [record["certified"] for record in records(folder / "by one", MEASURES[2])]
    assert 5 < sum(verdicts) < 45, "a network for which all or nothing holds would test little"


@pytest.mark.slow
def test_autoattack_does_not_depend_on_devices(eight, two):
    first, second = eight["stages"]["one"]
    assert 5 < len(second) < len(first) < 45, "each stage must break something"
    assert eight["stages"]["eight"] == eight["stages"]["both"] == [first, second]
    assert [facts["stages"] for facts in two] == [[first, second]] * 2


@pytest.mark.slow
def test_what_devices_cannot_do_is_refused(eight):
    assert "asks for 9 devices, but JAX sees 8" in eight["refused"]["too many"]
    assert "32 cannot be shared out evenly among 5 devices" in eight["refused"]["uneven"]


@pytest.mark.slow
def test_gradients_of_convolutions_on_typed_meshes(eight):
    assert eight["kernels"]["shard_map"] < 1e-4
    assert eight["kernels"]["explicit"] < 1e-4


@pytest.mark.slow
def test_two_processes_are_one_program(eight, two, folder):
    first, second = two
    assert [facts["devices"] for facts in two] == [[4, 2], [4, 2]]
    assert first["rows"] + second["rows"] == list(range(8))
    assert set(first["decoded"] + second["decoded"]) == {16}, "each decodes its half of every batch"
    assert [facts["decoded in evaluation"] for facts in two] == [10, 10]
    assert (first["files"], second["files"]) == (["evaluation", "run"], [])
    assert first["report"] == second["report"]
    one, both = (load_run(path)[2] for path in (folder / "one", folder / "0" / "run"))
    assert farthest(one, both) < ROUNDING
    require_equal_records(folder / "by one", folder / "0" / "evaluation")


@pytest.mark.slow
def test_an_error_in_one_process_reaches_the_other(two):
    first, second = two
    assert [facts["first fails"] for facts in two] == ["0 has no data."] * 2
    assert first["second fails"].startswith("Process 1 failed (DataError: 1 has no data)")
    assert second["second fails"] == "1 has no data."
    assert all("Process 1 has other numbers than process 0" in facts["differ"] for facts in two)
    assert [facts["sent"] for facts in two] == [[0.0, 1.0, 2.0]] * 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("8", "data=NUMBER"),
        ("data=all", "data=NUMBER"),
        ("data=8;", "data=NUMBER"),
        ("", "data=NUMBER"),
        ("data=0", "at least 1 device"),
        ("data=-2", "at least 1 device"),
        ("model=2", "'model'"),
        ("data=2,model=2", "'model'"),
        ("data=2,data=4", "twice"),
    ],
)
def test_a_mesh_that_is_not_understood_is_one_sentence(text, said):
    with pytest.raises(ConfigError, match=said):
        parse_mesh(text)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("127.0.0.1:1", None, None), "all three"),
        ((None, 2, None), "all three"),
        (("127.0.0.1:1", 2, 2), "from 0 to 1"),
        (("127.0.0.1:1", 0, 0), "from 0 to -1"),
    ],
)
def test_processes_that_cannot_find_each_other_are_refused(given, said):
    with pytest.raises(ConfigError, match=said):
        Processes(*given)


def test_a_mesh_of_one_device_is_a_mesh_and_none_is_none():
    assert parse_mesh(" data = 1 ") == MeshSpec(1)
    assert open_mesh(MeshSpec(1)).count == 1
    assert open_mesh(MeshSpec(1)).mesh is not None
    assert open_mesh(None).mesh is None


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--mesh", "data=4096"), "asks for 4096 devices"),
        (("--mesh", "rows=2"), "'rows'"),
        (("--processes", "2"), "all three"),
        (("--distributed",), "could not be joined"),
    ],
)
def test_the_command_line_says_what_is_wrong(tmp_path, capfd, options, said):
    assert main(["train", "--dataset", "digits", "--out", str(tmp_path / "run"), *options]) == 2
    assert said in capfd.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_process_decodes_only_its_rows_of_the_same_batches():
    train = load("digits").train
    rows = np.array([1, 2, 5])
    whole = list(training_batches(train, 8, seed=1, epoch=2, start=170))
    parts = list(training_batches(train, 8, seed=1, epoch=2, start=170, rows=rows))
    assert len(parts) == len(whole) == len(train) // 8 - 170
    for (x, y), (part_x, part_y) in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(part_x, x[rows])
        np.testing.assert_array_equal(part_y, y[rows])
