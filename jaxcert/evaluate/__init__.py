"""Evaluation on whole sets: clean, attacked and certified error, reports and tables.

Figures need matplotlib and are in `jaxcert.evaluate.figures`.
"""

from jaxcert.evaluate.autoattack import AutoAttackResult, StageResult, autoattack
from jaxcert.evaluate.cascade import cascade
from jaxcert.evaluate.identity import fingerprint
from jaxcert.evaluate.measures import adversarial_images, attacked, certified, clean
from jaxcert.evaluate.protocol import Protocol, Subject, evaluate
from jaxcert.evaluate.radii import RobustAccuracy, robust_accuracies, write_robust_accuracies
from jaxcert.evaluate.report import Report, make_report, read_reports, write_reports
from jaxcert.evaluate.results import Record, Results
from jaxcert.evaluate.sweep import sweep
from jaxcert.evaluate.tables import markdown_table, radius_table, stage_table, text_table
from jaxcert.evaluate.threat import ThreatModel

__all__ = [
    "AutoAttackResult",
    "Protocol",
    "Record",
    "Report",
    "Results",
    "RobustAccuracy",
    "StageResult",
    "Subject",
    "ThreatModel",
    "adversarial_images",
    "attacked",
    "autoattack",
    "cascade",
    "certified",
    "clean",
    "evaluate",
    "fingerprint",
    "make_report",
    "markdown_table",
    "radius_table",
    "read_reports",
    "robust_accuracies",
    "stage_table",
    "sweep",
    "text_table",
    "write_reports",
    "write_robust_accuracies",
]
