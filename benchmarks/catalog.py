"""The questions by name; a module is imported when its question is asked."""

import importlib
from collections.abc import Mapping
from types import MappingProxyType

from benchmarks.question import Question

QUESTIONS: Mapping[str, str] = MappingProxyType(
    {
        "roofline": "benchmarks.questions.roofline",
        "bounds": "benchmarks.questions.bounds",
        "training": "benchmarks.questions.training",
        "attacks": "benchmarks.questions.attacks",
        "compile-time": "benchmarks.questions.compile_time",
        "test-set": "benchmarks.questions.test_set",
        "scaling": "benchmarks.questions.scaling",
    }
)


def question(name: str) -> Question:
    return importlib.import_module(QUESTIONS[name]).QUESTION
