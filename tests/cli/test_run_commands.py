"""train, evaluate and attack on a small network, from start to files."""

import json

import numpy as np
import pytest

from jaxcert.evaluate import read_reports

LIGHT = (
    "--steps",
    "4",
    "--restarts",
    "2",
    "--limit",
    "50",
    "--batch-size",
    "32",
    "--certify-batch-size",
    "16",
)


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_train_again_goes_on_at_the_end(jaxcert, own_run):
    from tests.cli.conftest import TINY

    before = (own_run / "metrics.jsonl").read_text()
    answer = jaxcert("train", *TINY, "--out", own_run)
    assert answer.status == 0
    error = 100 * json.loads(before.splitlines()[-1])["clean_error"]
    assert f"epoch 8, training images: clean error {error:.2f} %" in answer.out
    assert (own_run / "metrics.jsonl").read_text() == before


def test_train_with_other_options_is_refused(jaxcert, own_run):
    from tests.cli.conftest import TINY

    answer = jaxcert("train", *TINY, "--seed", "5", "--out", own_run)
    assert answer.status == 2
    assert "seed" in answer.mistake


def test_evaluate_writes_table_results_report_and_figure(jaxcert, own_run):
    answer = jaxcert("evaluate", own_run, *LIGHT, "--methods", "ibp", "crown")
    assert answer.status == 0
    out = own_run / "evaluation"
    (report,) = read_reports(out / "report.json")
    assert (report.n, report.eps, report.norm) == (50, 0.02, float("inf"))
    assert report.clean <= report.attacked <= report.certified["crown"] <= report.certified["ibp"] < 50
    assert answer.out.splitlines()[0].split()[:3] == ["network", "eps", "n"]
    assert f"{report.percent(report.certified['crown']):.2f}" in answer.out
    assert (out / "figure.png").read_bytes().startswith(b"\x89PNG")
    records = lines(out / "certified-crown-linf-eps0.02.jsonl")
    assert [record["index"] for record in records[1:]] == list(range(50))
    assert sum(not record["certified"] for record in records[1:]) == report.certified["crown"]


def test_evaluate_resumes_and_grows(jaxcert, own_run):
    out = own_run / "evaluation"
    assert jaxcert("evaluate", own_run, *LIGHT).status == 0
    path = out / "attacked-linf-eps0.02.jsonl"
    whole = path.read_text()
    report = read_reports(out / "report.json")[0]
    path.write_text(whole[: len(whole) // 2])  # as a kill leaves it
    assert jaxcert("evaluate", own_run, *LIGHT).status == 0
    verdicts = [record.get("attacked_correct") for record in lines(path)]
    assert verdicts == [json.loads(line).get("attacked_correct") for line in whole.splitlines()]
    again = read_reports(out / "report.json")[0]
    assert (again.clean, again.attacked, again.certified) == (report.clean, report.attacked, report.certified)
    assert jaxcert("evaluate", own_run, *LIGHT, "--limit", "60").status == 0
    assert path.read_text().startswith("".join(path.read_text().splitlines(keepends=True)[:51]))
    assert read_reports(out / "report.json")[0].n == 60


def test_evaluate_with_other_settings_in_the_same_folder_is_refused(jaxcert, own_run):
    assert jaxcert("evaluate", own_run, *LIGHT).status == 0
    answer = jaxcert("evaluate", own_run, *LIGHT, "--seed", "1")
    assert answer.status == 2
    assert "seed was 0, now 1" in answer.mistake
    assert "--out" in answer.mistake


def test_cascade_reports_each_stage(jaxcert, own_run):
    answer = jaxcert(
        "evaluate", own_run, *LIGHT, "--cascade", "--methods", "ibp", "crown", "--eps", "0.01", "0.03"
    )
    assert answer.status == 0
    reports = read_reports(own_run / "evaluation" / "report.json")
    assert [report.eps for report in reports] == [0.01, 0.03]
    for report in reports:
        assert report.certified["crown"] <= report.certified["ibp"]
        assert report.settings["cascaded"] is True
    tried = lines(own_run / "evaluation" / "cascade-crown-linf-eps0.03.jsonl")[1:]
    assert len(tried) == reports[1].certified["ibp"] - reports[1].clean


@pytest.mark.parametrize("eps", ["-0.1", "nan"])
def test_bad_eps_is_one_sentence(jaxcert, own_run, eps):
    for command in ("evaluate", "attack"):
        answer = jaxcert(command, own_run, "--eps", eps)
        assert answer.status == 2
        assert "eps must be a finite number >= 0" in answer.mistake


def test_a_truncated_checkpoint_is_one_sentence(jaxcert, own_run):
    files = [
        path for path in (own_run / "checkpoints").rglob("*") if path.is_file() and path.stat().st_size > 500
    ]
    assert files
    for path in files:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    answer = jaxcert("evaluate", own_run)
    assert answer.status == 2
    assert "damaged" in answer.mistake


def test_a_run_without_checkpoint_is_one_sentence(jaxcert, own_run):
    (own_run / "checkpoints").rename(own_run / "elsewhere")
    answer = jaxcert("evaluate", own_run)
    assert answer.status == 2
    assert "no checkpoint" in answer.mistake


def test_attack_saves_examples_inside_the_ball(jaxcert, own_run):
    answer = jaxcert("attack", own_run, "--steps", "5", "--limit", "40", "--eps", "0.1")
    assert answer.status == 0
    with np.load(own_run / "attack" / "examples.npz") as saved:
        originals, adversarial = saved["originals"], saved["adversarial"]
        labels, before, after = saved["labels"], saved["before"], saved["after"]
    assert originals.shape == adversarial.shape == (40, 8, 8, 1)
    assert np.abs(adversarial - originals).max() <= 0.1 + 1e-6
    assert adversarial.min() >= 0
    assert adversarial.max() <= 1
    right = before == labels
    fallen = np.sum(right & (after != labels))
    assert fallen > 0
    assert f"{fallen} of {right.sum()} correctly classified images fall" in answer.out
    assert (own_run / "attack" / "examples.png").read_bytes().startswith(b"\x89PNG")


def test_fgsm_attack_with_eps_zero_changes_nothing(jaxcert, own_run):
    answer = jaxcert("attack", own_run, "--attack", "fgsm", "--limit", "20", "--eps", "0")
    assert answer.status == 0
    assert "0 of " in answer.out
    with np.load(own_run / "attack" / "examples.npz") as saved:
        np.testing.assert_array_equal(saved["originals"], saved["adversarial"])
