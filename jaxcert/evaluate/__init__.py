"""Evaluation on whole sets: clean, attacked and certified error, reports and tables.

Figures need matplotlib and are in `jaxcert.evaluate.figures`.
"""

from jaxcert.evaluate.cascade import cascade
from jaxcert.evaluate.measures import adversarial_images, attacked, certified, clean
from jaxcert.evaluate.protocol import Protocol, Subject, evaluate, fingerprint
from jaxcert.evaluate.report import Report, make_report, read_reports, write_reports
from jaxcert.evaluate.results import Record, Results
from jaxcert.evaluate.sweep import sweep
from jaxcert.evaluate.tables import markdown_table, text_table
from jaxcert.evaluate.threat import ThreatModel

__all__ = [
    "Protocol",
    "Record",
    "Report",
    "Results",
    "Subject",
    "ThreatModel",
    "adversarial_images",
    "attacked",
    "cascade",
    "certified",
    "clean",
    "evaluate",
    "fingerprint",
    "make_report",
    "markdown_table",
    "read_reports",
    "sweep",
    "text_table",
    "write_reports",
]
