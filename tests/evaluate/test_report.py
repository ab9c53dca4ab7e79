"""Reports refuse what cannot be: clean <= attacked <= certified, in counts and image by image."""

from dataclasses import replace

import pytest

from jaxcert.errors import CheckpointError, InconsistentReportError
from jaxcert.evaluate import (
    Record,
    Report,
    make_report,
    markdown_table,
    read_reports,
    text_table,
    write_reports,
)

CLEAN = [Record(0, 1, 1, True, 2.0), Record(1, 2, 0, False, -1.0), Record(2, 0, 0, True, 1.0)]
ATTACKED = [
    replace(CLEAN[0], attacked_correct=True),
    replace(CLEAN[1], attacked_correct=False),
    replace(CLEAN[2], attacked_correct=False),
]
CERTIFIED = [
    replace(CLEAN[0], certified=True),
    replace(CLEAN[1], certified=False),
    replace(CLEAN[2], certified=False),
]
GOOD = Report("net", 0.1, n=10, clean=1, attacked=2, certified={"ibp": 5, "crown": 3})


def report_of(certified, attacked=ATTACKED):
    return make_report("net", eps=0.1, clean=CLEAN, attacked=attacked, certified={"crown": certified})


def test_counts():
    report = report_of(CERTIFIED)
    assert (report.n, report.clean, report.attacked, report.certified) == (3, 1, 2, {"crown": 2})
    assert report.percent(report.clean) == pytest.approx(100 / 3)
    assert report.best_certified == 2


@pytest.mark.parametrize(
    "change",
    [
        {"clean": 3},
        {"attacked": 4},
        {"attacked": 0},
        {"certified": {"ibp": 5, "crown": 1}},
        {"certified": {"crown": 11}},
        {"clean": -1},
        {"n": 4},
        {"certified": {}, "attacked": 11},
        {"certified": {}, "attacked": None, "clean": 11},
    ],
)
def test_counts_out_of_order_are_refused(change):
    with pytest.raises(InconsistentReportError, match="inconsistent"):
        replace(GOOD, **change)


def test_certified_but_successfully_attacked_names_the_image():
    wrong = [*CERTIFIED[:2], replace(CERTIFIED[2], certified=True)]
    with pytest.raises(
        InconsistentReportError, match=r"Image 2 is certified by crown .* successfully attacked"
    ):
        report_of(wrong)


def test_certified_but_misclassified_names_the_image():
    wrong = [CERTIFIED[0], replace(CERTIFIED[1], certified=True), CERTIFIED[2]]
    with pytest.raises(InconsistentReportError, match=r"Image 1 is certified by crown .* misclassified"):
        report_of(wrong, attacked=None)


def test_measures_of_other_images_are_refused():
    with pytest.raises(InconsistentReportError, match="not about the same images"):
        report_of(CERTIFIED[:2])
    with pytest.raises(InconsistentReportError, match="not about the same images"):
        report_of(CERTIFIED, attacked=[replace(ATTACKED[0], label=2), *ATTACKED[1:]])


def test_reports_survive_their_file(tmp_path):
    path = tmp_path / "deep" / "report.json"
    write_reports(path, [GOOD, replace(GOOD, norm=2.0, settings={"seed": 1})])
    assert read_reports(path) == [GOOD, replace(GOOD, norm=2.0, settings={"seed": 1})]
    assert [file.name for file in path.parent.iterdir()] == ["report.json"]


def test_a_report_read_back_is_checked(tmp_path):
    path = tmp_path / "report.json"
    write_reports(path, [GOOD])
    path.write_text(path.read_text().replace('"clean": 1', '"clean": 9'))
    with pytest.raises(InconsistentReportError):
        read_reports(path)
    path.write_text("{")
    with pytest.raises(CheckpointError, match="no readable report"):
        read_reports(path)


def test_text_table():
    table = text_table([replace(GOOD, certified={"ibp": 5}), Report("longer name", 0.25, n=1000, clean=17)])
    assert table.splitlines() == [
        "network       eps     n  clean error %  attacked error %  ibp certified error %",
        "-----------  ----  ----  -------------  ----------------  ---------------------",
        "net           0.1    10          10.00             20.00                  50.00",
        "longer name  0.25  1000           1.70                 -                      -",
    ]


def test_markdown_table():
    assert markdown_table([replace(GOOD, certified={"crown": 3})]).splitlines() == [
        "| network | eps | n | clean error % | attacked error % | crown certified error % |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        "| net | 0.1 | 10 | 10.00 | 20.00 | 30.00 |",
    ]
