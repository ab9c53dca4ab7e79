"""Every file of the reference folder is in a test of this folder.

`autoattack_*` are figures of attacks: they wait for the attacks of issue 5 and are the only ones left out.
"""

import importlib
from pathlib import Path

ATTACKS = "autoattack_"


def covered() -> set[str]:
    """The stems that the test modules beside this one parametrise over."""
    modules = [f"{__package__}.{path.stem}" for path in sorted(Path(__file__).parent.glob("test_*.py"))]
    return {file for module in modules for file in getattr(importlib.import_module(module), "FILES", ())}


def test_every_file_is_compared(data_dir):
    stems = {path.stem for path in (data_dir / "reference").iterdir() if path.name != "README.md"}
    assert covered() == {stem for stem in stems if not stem.startswith(ATTACKS)}


def test_every_network_is_compared(data_dir):
    networks = {path.stem for path in (data_dir / "nets").glob("*.json")}
    assert {f"autolirpa_{name}" for name in networks} <= covered()
