"""Results files: written batch by batch, resumed after a kill, refused under other settings."""

import json

import pytest

from jaxcert.errors import CheckpointError
from jaxcert.evaluate.results import Record, Results
from jaxcert.evaluate.sweep import sweep
from tests.evaluate import linear

SETTINGS = {"eps": 0.1, "method": "ibp"}


def fake_measure(measured):
    def measure(batch):
        measured.extend(batch.indices[: batch.count].tolist())
        return [
            Record(int(i), int(y), int(y), True, 0.5)
            for i, y in zip(batch.indices, batch.labels, strict=True)
        ]

    return measure


def without_time(records):
    return [(r.index, r.label, r.prediction, r.correct, r.margin) for r in records]


def test_record_survives_its_line():
    record = Record(3, 1, 2, False, None, attacked_correct=False, certified=True, seconds=0.25)
    assert Record.from_line(record.line()) == record
    assert Record.from_line(Record(0, 0, 0, True, -1.5).line()) == Record(0, 0, 0, True, -1.5)


def test_lines_appear_batch_by_batch(tmp_path):
    results = Results(tmp_path / "r.jsonl", SETTINGS)
    lines_before_batch = []

    def measure(batch):
        lines_before_batch.append(len(results.path.read_text().splitlines()))
        return fake_measure([])(batch)

    sweep(measure, linear.images(10), batch_size=4, results=results)
    assert lines_before_batch == [1, 5, 9]
    lines = [json.loads(line) for line in results.path.read_text().splitlines()]
    assert lines[0] == {"settings": SETTINGS}
    assert [line["index"] for line in lines[1:]] == list(range(10))


def test_resume_after_a_kill_in_the_middle_of_a_line(tmp_path):
    results = Results(tmp_path / "r.jsonl", SETTINGS)
    whole = sweep(fake_measure([]), linear.images(10), batch_size=4, results=results)
    content = results.path.read_bytes()
    cut = content.splitlines(keepends=True)
    results.path.write_bytes(b"".join(cut[:6]) + cut[6][:9])
    measured = []
    again = sweep(fake_measure(measured), linear.images(10), batch_size=4, results=results)
    assert measured == [5, 6, 7, 8, 9]
    assert without_time(again) == without_time(whole)
    lines = results.path.read_text().splitlines()
    assert [json.loads(line)["index"] for line in lines[1:]] == list(range(10))


@pytest.mark.parametrize("kept", [0, 7])
def test_resume_after_a_kill_in_the_header(tmp_path, kept):
    results = Results(tmp_path / "r.jsonl", SETTINGS)
    results.resume()
    results.path.write_bytes(results.path.read_bytes()[:kept])
    assert results.resume() == []
    assert json.loads(results.path.read_text()) == {"settings": SETTINGS}


def test_other_settings_are_refused(tmp_path):
    path = tmp_path / "r.jsonl"
    sweep(fake_measure([]), linear.images(3), results=Results(path, SETTINGS))
    before = path.read_bytes()
    with pytest.raises(CheckpointError, match=r"eps was 0\.1, now 0\.3"):
        Results(path, {**SETTINGS, "eps": 0.3}).resume()
    with pytest.raises(CheckpointError, match="seed was None, now 1"):
        Results(path, {**SETTINGS, "seed": 1}).resume()
    assert path.read_bytes() == before


@pytest.mark.parametrize("line", ["nonsense", '{"index": 1}', '{"other": 2}', "[1]"])
def test_damage_before_the_end_is_refused(tmp_path, line):
    results = Results(tmp_path / "r.jsonl", SETTINGS)
    results.resume()
    with results.path.open("a") as file:
        file.write(line + "\n" + Record(2, 0, 0, True, 1.0).line())
    with pytest.raises(CheckpointError, match="no result"):
        results.resume()


def test_a_file_of_something_else_is_refused(tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(CheckpointError, match="does not begin with the settings"):
        Results(path, SETTINGS).resume()
    assert path.read_text() == "a,b\n1,2\n"
