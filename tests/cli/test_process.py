"""The command as its own process: exit statuses, Ctrl-C, a closed pipe."""

import os
import signal
import subprocess
import sys
import time

from tests.conftest import ROOT

COMMAND = (sys.executable, "-m", "jaxcert.cli.main")
ENVIRONMENT = {**os.environ, "JAX_PLATFORMS": "cpu"}


def test_a_mistake_exits_with_2_and_one_sentence(tmp_path):
    done = subprocess.run(
        [*COMMAND, "evaluate", str(tmp_path / "nothing")],
        cwd=ROOT,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("jaxcert: There is no run in")
    assert len(done.stderr.splitlines()) == 1


def test_interrupted_training_exits_with_130(tmp_path):
    metrics = tmp_path / "run" / "metrics.jsonl"
    words = [
        "train",
        "--dataset",
        "digits",
        "--model",
        "linear",
        "--method",
        "standard",
        "--epochs",
        "100000",
    ]
    process = subprocess.Popen(
        [*COMMAND, *words, "--out", str(tmp_path / "run")],
        cwd=ROOT,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + 100
        while not (metrics.exists() and metrics.stat().st_size) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 130
    assert err.splitlines()[-1] == "jaxcert: interrupted; run the same command again to go on."
    assert "Traceback" not in err
