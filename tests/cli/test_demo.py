"""The demo within a tiny budget, whole and again."""

import pytest

from jaxcert.cli.demo import RADII, WAYS
from jaxcert.evaluate import read_reports

TINY = ("--epochs", "1", "--limit", "32", "--steps", "2", "--restarts", "1")


@pytest.mark.slow
def test_demo_from_start_to_figure_and_again(jaxcert, tmp_path):
    out = tmp_path / "demo"
    answer = jaxcert("demo", *TINY, "--out", out)
    assert answer.status == 0
    reports = read_reports(out / "report.json")
    assert [(r.network, r.eps, r.n) for r in reports] == [(way, eps, 32) for way in WAYS for eps in RADII]
    table = answer.out.splitlines()
    assert [line.split()[0] for line in table if line.split()[1:3] == ["0.1", "32"]] == list(WAYS)
    assert (out / "figure.png").read_bytes().startswith(b"\x89PNG")
    text = (out / "report.md").read_text()
    assert all(f"| {way} | 0.1 | 32 |" in text for way in WAYS)
    for way in WAYS:
        assert (out / way.lower() / "checkpoints").is_dir()
        assert len(list((out / way.lower() / "evaluation").glob("*.jsonl"))) == 1 + 2 * len(RADII)

    results = {path: path.read_bytes() for path in out.rglob("*.jsonl")}
    assert jaxcert("demo", *TINY, "--out", out).status == 0
    assert {path: path.read_bytes() for path in out.rglob("*.jsonl")} == results

    refused = jaxcert("demo", *TINY, "--seed", "1", "--out", out)
    assert refused.status == 2
    assert "seed" in refused.mistake
