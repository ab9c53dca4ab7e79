"""Commands, exit statuses and the one sentence that a mistake gives."""

import numpy as np
import pytest

from jaxcert.cli import main as entry
from jaxcert.cli.main import COMMANDS, main


def test_usage_names_every_command(jaxcert):
    answer = jaxcert("--help")
    assert answer.status == 0
    assert all(f"  {command} " in answer.out for command in COMMANDS)
    assert jaxcert().status == 2


def test_version(jaxcert):
    assert jaxcert("--version").out.startswith("jaxcert 0.")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command(jaxcert, command):
    answer = jaxcert(command, "--help")
    assert answer.status == 0
    assert answer.out.startswith(f"usage: jaxcert {command}")


@pytest.mark.parametrize(
    ("command", "options"),
    [
        (
            "train",
            ("--eps FLOAT", "input units", "(default: 0.1)", "--preset", "--config", "--data-dir", "--out"),
        ),
        (
            "evaluate",
            ("--eps", "input", "--restarts INT", "(default: 40)", "--limit", "--cascade", "--data-dir"),
        ),
        (
            "attack",
            (
                "--eps",
                "input units",
                "{pgd,fgsm,autoattack,autoattack-plus,apgd-ce,apgd-t,fab-t,square}",
                "--steps INT",
                "--eps-sweep",
                "--queries",
                "(default: 200)",
            ),
        ),
        ("demo", ("--out PATH", "(default: runs/demo)", "--seed INT")),
    ],
)
def test_help_shows_units_and_defaults(jaxcert, command, options):
    text = " ".join(jaxcert(command, "--help").out.replace("│", " ").split())
    assert [option for option in options if option not in text] == []


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("frobnicate",), "There is no command 'frobnicate'"),
        (("train", "--dataset", "imagenet"), "digits, mnist"),
        (("train", "--model", "resnet-9000"), "cnn-small"),
        (("train", "--method", "magic"), "crown-ibp"),
        (("train", "--preset", "magic"), "There is no preset 'magic'"),
        (("train", "--eps", "-0.1"), "eps must be a finite number >= 0"),
        (("train", "--eps", "nan"), "eps must be a finite number >= 0"),
        (("train", "--eps", "much"), "could not convert string to float"),
        (("train", "--epsilon-typo", "1"), "Unrecognized options"),
        (("train", "--config", "no-such.json"), "no-such.json"),
        (("train", "--preset", "mnist-ibp", "--config", "x.json"), "not both"),
        (("train", "--dataset", "mnist", "--data-dir", "no-such-folder"), "no-such-folder"),
        (("evaluate",), "Missing"),
        (("evaluate", "no-such-run"), "There is no run in no-such-run"),
        (("attack", "no-such-run"), "There is no run in no-such-run"),
        (("evaluate", "no-such-run", "--methods", "magic"), "ibp"),
        (("attack", "no-such-run", "--attack", "magic"), "pgd"),
        (("attack", "no-such-run", "--eps", "0.1", "--eps-sweep", "0.2"), "--eps or --eps-sweep, not both"),
        (("demo", "--limit", "0"), "--limit must be at least 1"),
    ],
)
def test_mistakes_are_one_sentence(jaxcert, tmp_path, monkeypatch, argv, said):
    monkeypatch.chdir(tmp_path)
    answer = jaxcert(*argv)
    assert answer.status == 2
    assert said in answer.mistake
    assert answer.out == ""
    assert answer.mistake.endswith(".")


def npz_folder(folder, images, labels):
    folder.mkdir()
    np.savez(folder / "mnist.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    return folder


@pytest.mark.parametrize(
    ("pixel", "label", "said"),
    [(0.5, 12, "12"), (0.5, -1, "-1"), (1.5, 3, "1.5"), (float("nan"), 3, "nan")],
)
def test_bad_data_is_one_sentence(jaxcert, tmp_path, pixel, label, said):
    images, labels = np.full((8, 28, 28), 0.5, np.float32), np.zeros(8, np.int64)
    images[3, 0, 0], labels[5] = pixel, label
    data = npz_folder(tmp_path / "data", images, labels)
    answer = jaxcert("train", "--dataset", "mnist", "--data-dir", data, "--out", tmp_path / "run")
    assert answer.status == 2
    assert said in answer.mistake
    assert not (tmp_path / "run").exists()


def test_a_config_file_is_a_starting_point_and_its_mistakes_are_told(jaxcert, tmp_path):
    config = tmp_path / "config.json"
    config.write_text('{"epochs": 7, "method": "ibp"}')
    text = " ".join(jaxcert("train", "--config", config, "--help").out.replace("│", " ").split())
    assert "Passes over the training images. (default: 7)" in text
    config.write_text('{"epocs": 7}')
    assert "unknown fields epocs" in jaxcert("train", "--config", config).mistake
    config.write_text("{")
    assert "not valid JSON" in jaxcert("train", "--config", config).mistake


def test_a_preset_gives_the_defaults(jaxcert):
    from jaxcert.train import PRESETS

    text = " ".join(jaxcert("train", "--preset", "mnist-ibp", "--help").out.replace("│", " ").split())
    assert f"Passes over the training images. (default: {PRESETS['mnist-ibp'].epochs})" in text


class Failing:
    def __init__(self, error):
        self.error = error

    def main(self, argv):
        raise self.error


def test_interruption_is_one_line_and_130(monkeypatch, capsys):
    monkeypatch.setattr(entry.importlib, "import_module", lambda name: Failing(KeyboardInterrupt()))
    assert main(["demo"]) == 130
    assert capsys.readouterr().err.strip() == "jaxcert: interrupted; run the same command again to go on."


def test_a_path_that_cannot_be_used_is_a_mistake(monkeypatch, capsys):
    error = PermissionError(13, "Permission denied", "/some/where")
    monkeypatch.setattr(entry.importlib, "import_module", lambda name: Failing(error))
    assert main(["demo"]) == 2
    assert capsys.readouterr().err.startswith("jaxcert: Cannot use /some/where (Permission denied)")


def test_a_bug_keeps_its_traceback(monkeypatch):
    monkeypatch.setattr(entry.importlib, "import_module", lambda name: Failing(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        main(["demo"])
