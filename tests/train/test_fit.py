import dataclasses
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcert.errors import CheckpointError, ConfigError
from jaxcert.train import DivergedError, TrainConfig, fit, load_run
from jaxcert.train.loop import _compiled_steps, _levels
from jaxcert.train.run_files import DataRecord
from jaxcert.train.runs import plan
from tests.train.killed_run import CONFIG, evaluation

SCRIPT = Path(__file__).with_name("killed_run.py")
ROOT = SCRIPT.parents[2]
QUICK = TrainConfig(
    dataset="digits", model="mlp-10-10", method="standard", epochs=3, batch_size=32, train_examples=100,
    learning_rate=0.01,
)  # fmt: skip


def lines_of(folder):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines]


def steps_saved(folder):
    return sorted(int(path.name) for path in (folder / "checkpoints").iterdir() if path.name.isdigit())


def start_process(folder, deadly_epoch):
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
        "JAX_PLATFORMS": "cpu",
    }
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), str(folder), str(deadly_epoch)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


@pytest.mark.slow
def test_a_run_killed_twice_gives_the_metrics_and_parameters_of_an_uninterrupted_one(tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    expected = fit(CONFIG, whole, evaluate=evaluation, log_steps=3, progress=False)

    # First killed from outside, wherever it is after some steps: in a step, a save or a write.
    process = start_process(broken, 0)
    until = time.monotonic() + 200
    while not (broken / "checkpoints" / "4").is_dir() and process.poll() is None:
        assert time.monotonic() < until
        time.sleep(0.005)
    process.kill()
    _, error = process.communicate()
    assert process.returncode == -signal.SIGKILL, error.decode()[-2000:]
    assert 4 <= steps_saved(broken)[-1] < 24

    # Then, resumed, at the end of an epoch whose steps are done and whose line is not written.
    process = start_process(broken, 5)
    _, error = process.communicate(timeout=200)
    assert process.returncode == -signal.SIGKILL, error.decode()[-2000:]
    assert steps_saved(broken) == [18, 19]

    final = fit(CONFIG, broken, evaluate=evaluation, log_steps=3, progress=False)
    assert lines_of(broken) == lines_of(whole)
    assert [line["step"] for line in lines_of(whole) if line["kind"] == "epoch"] == [4, 8, 12, 16, 20, 24]
    assert [line["step"] for line in lines_of(whole) if line["kind"] == "step"] == list(range(3, 25, 3))
    jax.tree.map(np.testing.assert_array_equal, final.params, expected.params)
    jax.tree.map(np.testing.assert_array_equal, final.opt_state, expected.opt_state)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run with checkpoints at its last two steps, 8 and 9."""
    folder = tmp_path_factory.mktemp("run") / "finished"
    fit(QUICK, folder, checkpoint_seconds=0.0, progress=False)
    return folder


@pytest.fixture
def run(finished, tmp_path):
    return Path(shutil.copytree(finished, tmp_path / "run"))


def damage(checkpoint):
    """Truncate the largest file, as a full disk would."""
    largest = max((path for path in checkpoint.rglob("*") if path.is_file()), key=lambda p: p.stat().st_size)
    largest.write_bytes(largest.read_bytes()[: largest.stat().st_size // 2])


def test_metrics_are_complete_and_the_loss_falls(run):
    lines = lines_of(run)
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert lines[-1]["loss"] < lines[0]["loss"]
    assert set(lines[0]) >= {
        "clean_error",
        "robust_error",
        "gradient_norm",
        "eps",
        "kappa",
        "beta",
        "learning_rate",
    }
    assert steps_saved(run) == [8, 9]
    assert TrainConfig.from_json((run / "config.json").read_text()) == QUICK
    assert not list(run.rglob("*.tmp"))


def test_a_finished_run_is_left_as_it_is(run):
    before = (run / "metrics.jsonl").read_bytes()
    state = fit(QUICK, run, progress=False)
    assert int(state.step) == 9
    assert (run / "metrics.jsonl").read_bytes() == before


def test_load_run_gives_the_trained_network(run):
    state = fit(QUICK, run, progress=False)
    config, model, variables = load_run(run)
    assert config == QUICK
    jax.tree.map(np.testing.assert_array_equal, variables["params"], state.params)
    assert model.apply(variables, jnp.zeros((8, 8, 1))).shape == (10,)


def test_a_damaged_newest_checkpoint_is_passed_over_and_trained_again(run, finished):
    damage(run / "checkpoints" / "9")
    with pytest.warns(UserWarning, match="9 is damaged"):
        variables = load_run(run)[2]
    assert steps_saved(run) == [8, 9], "reading must not change a run"
    with pytest.warns(UserWarning, match="9 is damaged"):
        state = fit(QUICK, run, progress=False)
    assert steps_saved(run) == [8, 9]
    assert lines_of(run) == lines_of(finished)
    jax.tree.map(np.testing.assert_array_equal, load_run(run)[2]["params"], state.params)
    assert not np.array_equal(variables["params"]["logits"]["bias"], state.params["logits"]["bias"])


def test_altered_numbers_in_a_checkpoint_are_noticed(run):
    shutil.rmtree(run / "checkpoints" / "9")
    stored = max((run / "checkpoints" / "8").rglob("d/*"), key=lambda path: path.stat().st_size)
    data = bytearray(stored.read_bytes())
    data[len(data) // 2] ^= 1
    stored.write_bytes(bytes(data))
    with (
        pytest.warns(UserWarning, match="8 is damaged"),
        pytest.raises(CheckpointError, match="Every checkpoint"),
    ):
        load_run(run)


def test_an_unfinished_checkpoint_is_not_taken_for_a_whole_one(run, finished):
    (run / "checkpoints" / "9" / "sha256.json").unlink()
    before = load_run(run)[2]["params"]
    state = fit(QUICK, run, progress=False)
    assert steps_saved(run) == [8, 9]
    assert lines_of(run) == lines_of(finished)
    assert not np.array_equal(before["logits"]["bias"], state.params["logits"]["bias"])


def test_only_damaged_checkpoints_are_one_sentence(run):
    for step in (8, 9):
        damage(run / "checkpoints" / str(step))
    for read in (lambda: load_run(run), lambda: fit(QUICK, run, progress=False)):
        with pytest.warns(UserWarning, match="is damaged"), pytest.raises(CheckpointError) as caught:
            read()
        assert "train again" in str(caught.value)
        assert "\n" not in str(caught.value)
    assert steps_saved(run) == [8, 9]


def test_another_configuration_or_other_data_are_refused(run):
    other = dataclasses.replace(QUICK, eps=0.3, seed=1)
    with pytest.raises(CheckpointError, match=r"eps 0\.1 \(now 0\.3\), seed 0 \(now 1\)"):
        fit(other, run, progress=False)
    record = json.loads((run / "dataset.json").read_text())
    (run / "dataset.json").write_text(json.dumps({**record, "sha256": "0" * 64}))
    with pytest.raises(CheckpointError, match="other images or labels"):
        fit(QUICK, run, progress=False)


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("config.json", "{", "config.json cannot be read"),
        ("config.json", '{"epsilon": 1}', "unknown fields"),
        ("dataset.json", "{}", "dataset.json is missing or damaged"),
        ("dataset.json", None, "dataset.json is missing or damaged"),
        ("config.json", None, "There is no run"),
    ],
)
def test_damaged_run_files_are_one_sentence(run, file, text, words):
    if text is None:
        (run / file).unlink()
    else:
        (run / file).write_text(text)
    with pytest.raises(CheckpointError, match=words) as caught:
        load_run(run)
    assert "\n" not in str(caught.value)


def test_results_without_a_configuration_are_not_overwritten(run):
    (run / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"results without config\.json"):
        fit(QUICK, run, progress=False)


def test_folders_that_are_no_runs_are_refused(tmp_path, run):
    with pytest.raises(CheckpointError, match="There is no run"):
        load_run(tmp_path / "nowhere")
    shutil.rmtree(run / "checkpoints")
    with pytest.raises(CheckpointError, match="no checkpoint yet"):
        load_run(run)
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="a file is in its way"):
        fit(QUICK, tmp_path / "file", progress=False)


def test_two_processes_cannot_train_in_one_folder(run):
    with open(run / ".lock", "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(CheckpointError, match="Another process is training"):
            fit(QUICK, run, progress=False)


def test_divergence_stops_with_a_sentence_and_keeps_the_last_good_checkpoint(tmp_path):
    config = dataclasses.replace(QUICK, optimizer="sgd", learning_rate=1e20)
    with pytest.raises(DivergedError, match="lower the learning rate"):
        fit(config, tmp_path / "run", checkpoint_seconds=0.0, progress=False)
    _, _, variables = load_run(tmp_path / "run")
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(variables))


def test_metrics_beyond_the_checkpoint_and_half_a_line_are_dropped(run, finished):
    shutil.rmtree(run / "checkpoints" / "9")
    with open(run / "metrics.jsonl", "a") as handle:
        handle.write('{"kind": "epoch", "st')
    fit(QUICK, run, progress=False)
    assert lines_of(run) == lines_of(finished)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"train_examples": 5000}, "train_examples is 5000, but digits has 1437"),
        ({"batch_size": 101}, "batch_size is 101, above the 100"),
    ],
)
def test_more_images_than_there_are_is_refused_before_anything_is_written(tmp_path, changes, words):
    with pytest.raises(ConfigError, match=words):
        fit(dataclasses.replace(QUICK, **changes), tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


def test_the_bar_is_shown_on_standard_error_alone(run, capsys):
    shutil.rmtree(run / "checkpoints" / "9")
    fit(QUICK, run)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "9/9" in shown.err


def test_a_run_compiles_one_program_per_phase_that_is_long_enough():
    config = dataclasses.replace(
        QUICK,
        method="crown-ibp",
        beta_end=0.0,
        epochs=8,
        warmup_epochs=2,
        rampup_epochs=2,
        train_examples=32 * 60,
    )
    record = DataRecord("digits", (8, 8, 1), 10, 32 * 60, (0.3,), (0.4,), "")
    planned = plan(config, record)
    levels = _levels(planned, 8 * 60)
    step_at = _compiled_steps(planned, levels)
    # Clean while eps is 0 (the first ramp step too), CROWN-IBP on the ramp, IBP once beta is 0.
    assert step_at(0) is step_at(120)
    assert step_at(121) is step_at(239)
    assert step_at(240) is step_at(479)
    assert len({id(step_at(step)) for step in range(480)}) == 3
    short = plan(config, dataclasses.replace(record, train_examples=64))
    step_at = _compiled_steps(short, _levels(short, 8 * 2))
    assert len({id(step_at(step)) for step in range(16)}) == 1


def test_a_number_that_json_lacks_is_null_in_the_evaluation(run):
    shutil.rmtree(run / "checkpoints" / "9")
    fit(QUICK, run, progress=False, evaluate=lambda end: {"error": 0.5, "margin": float("nan")})
    assert lines_of(run)[-1]["evaluation"] == {"error": 0.5, "margin": None}
