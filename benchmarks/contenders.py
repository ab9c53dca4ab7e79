"""Who takes part: jaxcert, and the peers that can be imported."""

import importlib
from collections.abc import Mapping
from types import MappingProxyType

from benchmarks.contender import Contender

JAXCERT = "jaxcert"

MODULES: Mapping[str, str] = MappingProxyType(
    {
        JAXCERT: "benchmarks.jaxcert_side",
        "auto_LiRPA": "benchmarks.peers.auto_lirpa",
        "torch": "benchmarks.peers.torch_plain",
        "convex_adversarial": "benchmarks.peers.convex_adversarial",
        "foolbox": "benchmarks.peers.foolbox_pgd",
        "autoattack": "benchmarks.peers.autoattack",
    }
)
"""Name -> module whose `CONTENDER` it is; the import fails where the library is missing."""


def load(name: str) -> Contender:
    """The contender of a name; ImportError where its library is missing."""
    return importlib.import_module(MODULES[name]).CONTENDER


def versions() -> dict[str, dict[str, str]]:
    """Per name {"version": text}, or {"missing": why}. Imports everything."""
    found = {}
    for name in MODULES:
        try:
            found[name] = {"version": load(name).version()}
        except ImportError as error:
            found[name] = {"missing": str(error)}
    return found
