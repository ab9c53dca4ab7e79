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


def test_attack_learns_before_the_work_that_it_cannot_write(jaxcert, own_run, tmp_path):
    (tmp_path / "file").write_text("in the way")
    answer = jaxcert("attack", own_run, "--limit", "4", "--out", str(tmp_path / "file" / "out"))
    assert answer.status == 2
    assert "check the path" in answer.mistake


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


AUTOATTACK = ("--attack", "autoattack", "--queries", "20", "--limit", "24", "--batch-size", "8")


@pytest.fixture(scope="module")
def attacked_run(tiny_run, tmp_path_factory):
    """AutoAttack's results on a few images."""
    from jaxcert.cli.main import main

    out = tmp_path_factory.mktemp("autoattack")
    assert main(["attack", str(tiny_run), *AUTOATTACK, "--eps", "0.05", "--out", str(out)]) == 0
    return out


def test_autoattack_shows_stages_saves_examples_and_goes_on(jaxcert, tiny_run, attacked_run):
    before = (attacked_run / "autoattack-linf-eps0.05" / "stage-1-apgd-ce.jsonl").read_bytes()
    answer = jaxcert("attack", tiny_run, *AUTOATTACK, "--eps", "0.05", "--out", attacked_run)
    assert answer.status == 0
    table = [line.split() for line in answer.out.splitlines()]
    assert table[0] == ["stage", "images", "robust", "robust", "accuracy", "%", "seconds"]
    assert [row[0] for row in table[2:7]] == ["clean", "apgd-ce", "apgd-t", "fab-t", "square"]
    robust = [int(row[2]) for row in table[2:7]]
    assert robust == sorted(robust, reverse=True)
    assert [int(row[1]) for row in table[3:7]] == robust[:4]
    assert f"{robust[0] - robust[4]} of {robust[0]} correctly classified images fall" in answer.out
    folder = attacked_run / "autoattack-linf-eps0.05"
    assert (folder / "stage-1-apgd-ce.jsonl").read_bytes() == before
    assert json.loads((folder / "summary.json").read_text())["robust"] == robust[4]
    with np.load(attacked_run / "examples.npz") as saved:
        originals, adversarial = saved["originals"], saved["adversarial"]
        labels, old, new = saved["labels"], saved["before"], saved["after"]
    assert np.abs(adversarial - originals).max() <= 0.05 + 1e-6
    fell = (old == labels) & (new != labels)
    assert fell.sum() == robust[0] - robust[4] > 0
    np.testing.assert_array_equal(adversarial[~fell], originals[~fell])
    assert (attacked_run / "examples.png").read_bytes().startswith(b"\x89PNG")


def test_autoattack_with_other_settings_in_the_same_folder_is_refused(jaxcert, tiny_run, attacked_run):
    answer = jaxcert("attack", tiny_run, *AUTOATTACK, "--eps", "0.05", "--seed", "1", "--out", attacked_run)
    assert answer.status == 2
    assert "key was" in answer.mistake


def test_evaluate_with_autoattack(jaxcert, own_run):
    words = ("--attack", "square", "--queries", "20", "--limit", "24", "--batch-size", "8", "--eps", "0.05")
    answer = jaxcert("evaluate", own_run, *words)
    assert answer.status == 0
    (report,) = read_reports(own_run / "evaluation" / "report.json")
    assert report.clean <= report.attacked <= report.certified["crown"]
    assert report.settings["attack"] == "SQUARE, 20 queries"
    summary = json.loads((own_run / "evaluation" / "autoattack-linf-eps0.05" / "summary.json").read_text())
    assert report.attacked == summary["n"] - summary["robust"]
    assert [stage["name"] for stage in summary["stages"]] == ["clean", "square"]


@pytest.mark.parametrize("words", [("pgd", "--steps", "3"), ("square", "--queries", "15")])
def test_robust_accuracy_against_eps(jaxcert, tiny_run, tmp_path, words):
    sweep = ("--eps-sweep", "0.1", "0.01", "0", "--limit", "24", "--batch-size", "8", "--out", tmp_path)
    answer = jaxcert("attack", tiny_run, "--attack", *words, *sweep)
    assert answer.status == 0
    found = json.loads((tmp_path / "robust_accuracy.json").read_text())["radii"]
    assert [one["eps"] for one in found] == [0, 0.01, 0.1]
    robust = [one["robust"] for one in found]
    assert robust[0] >= robust[1] > robust[2]
    assert [one["attacked"] for one in found] == [0, *robust[:2]]
    rows = [line.split() for line in answer.out.splitlines()[2:5]]
    assert [int(row[3]) for row in rows] == robust
    assert (tmp_path / "robust_accuracy.png").read_bytes().startswith(b"\x89PNG")


@pytest.fixture
def plain_network(tmp_path):
    """A linear network of the digits in files."""
    weight = np.random.default_rng(0).normal(size=(10, 64)).astype(np.float32)
    np.savez(tmp_path / "plain.npz", w=weight, b=np.zeros(10, np.float32))
    layers = [{"type": "flatten", "order": "CHW"}, {"type": "linear", "weight": "w", "bias": "b"}]
    record = {"name": "plain", "dataset": "digits", "input_shape_CHW": [1, 8, 8], "layers": layers}
    record |= {"threat_model": {"norm": "inf", "eps": 0.05}}
    (tmp_path / "plain.json").write_text(json.dumps(record))
    return tmp_path / "plain.npz"


def test_a_network_in_a_file_is_attacked(jaxcert, plain_network, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ("--attack", "fgsm", "--limit", "40")
    answer = jaxcert("attack", plain_network, *words)
    assert answer.status == 0
    assert "FGSM at eps 0.05 (linf): " in answer.out
    with np.load(tmp_path / "runs" / "plain" / "attack" / "examples.npz") as saved:
        assert np.abs(saved["adversarial"] - saved["originals"]).max() <= 0.05 + 1e-6
        right = np.argmax(saved["originals"].reshape(40, 64) @ np.load(plain_network)["w"].T, axis=1)
        np.testing.assert_array_equal(saved["before"], right)


def test_mistakes_with_a_network_in_a_file_are_one_sentence(jaxcert, plain_network, tmp_path):
    description = plain_network.with_suffix(".json")
    good = description.read_text()
    for broken, said in (
        (good.replace("linear", "lstm"), "'lstm'"),
        (good.replace("[1, 8, 8]", "[1, 9, 9]"), "does not describe a network"),
        (good.replace('"eps": 0.05', '"eps": []'), "give one with --eps"),
        (good.replace("digits", "letters"), "'letters'"),
        ("{", "damaged"),
    ):
        description.write_text(broken)
        answer = jaxcert("attack", plain_network, "--out", tmp_path / "out")
        assert answer.status == 2
        assert said in answer.mistake
    assert "There is no" in jaxcert("attack", tmp_path / "nothing.npz").mistake


def test_bad_numbers_of_attacks_are_one_sentence(jaxcert, own_run):
    answer = jaxcert("attack", own_run, "--attack", "square", "--queries", "0")
    assert answer.status == 2
    assert "--queries must be at least 1" in answer.mistake
    answer = jaxcert("attack", own_run, "--eps-sweep", "0.1", "-1")
    assert answer.status == 2
    assert "eps must be a finite number >= 0" in answer.mistake


def test_fgsm_attack_with_eps_zero_changes_nothing(jaxcert, own_run):
    answer = jaxcert("attack", own_run, "--attack", "fgsm", "--limit", "20", "--eps", "0")
    assert answer.status == 0
    assert "0 of " in answer.out
    with np.load(own_run / "attack" / "examples.npz") as saved:
        np.testing.assert_array_equal(saved["originals"], saved["adversarial"])
