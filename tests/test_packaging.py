"""What is shipped: metadata that agree with each other, declared imports, complete pins, a whole wheel."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib import import_module
from pathlib import Path

import pytest

import jaxcert

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]

# Import names that differ from the names of their distributions.
DISTRIBUTION = {"PIL": "pillow", "sklearn": "scikit-learn", "orbax": "orbax-checkpoint"}


def canonical(requirement: str) -> str:
    name = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert name is not None, requirement
    return re.sub(r"[-_.]+", "-", name.group()).lower()


def version_parts(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def pins(name: str) -> dict[str, str]:
    lines = (ROOT / "requirements" / name).read_text(encoding="utf-8").splitlines()
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {canonical(package): version for package, version in pairs}


def third_party_imports(folder: Path) -> set[str]:
    """Distributions that the sources under `folder` import, function-level imports included."""
    found: set[str] = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found.update(alias.name.split(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.split(".")[0])
    own = {"jaxcert", "tests", "benchmarks", "experiments"}
    return {canonical(DISTRIBUTION.get(name, name)) for name in found - own - set(sys.stdlib_module_names)}


def test_every_import_of_the_library_is_declared():
    declared = {canonical(requirement) for requirement in PROJECT["dependencies"] + EXTRAS["train"]}
    assert third_party_imports(ROOT / "jaxcert") - declared == set()


@pytest.mark.parametrize("name", ["py311.txt", "py312.txt"])
def test_pins_are_exact(name):
    lines = (ROOT / "requirements" / name).read_text(encoding="utf-8").splitlines()
    packages = [line for line in lines if not line.startswith("#")]
    assert [line for line in packages if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][0-9A-Za-z.]*", line)] == []
    assert len({canonical(line) for line in packages}) == len(packages)


def test_pins_cover_the_declared_requirements_and_their_lower_bounds():
    pinned = pins("py311.txt")
    for requirement in PROJECT["dependencies"] + EXTRAS["train"] + EXTRAS["test"]:
        lowest = re.search(r">=([0-9.]+)$", requirement)
        assert lowest is not None, f"{requirement} has no lower bound"
        assert version_parts(pinned[canonical(requirement)]) >= version_parts(lowest.group(1)), requirement


def test_the_second_environment_has_a_newer_jax():
    first, second = pins("py311.txt")["jax"], pins("py312.txt")["jax"]
    assert version_parts(second) > version_parts(first)


def test_one_version_everywhere():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"\nversion: {jaxcert.__version__}\n" in citation
    assert re.search(rf"^## \[{re.escape(jaxcert.__version__)}\]", changelog, re.MULTILINE)


def test_the_licence_is_whole():
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert PROJECT["license"] == "Apache-2.0"
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_the_command_exists():
    module, function = PROJECT["scripts"]["jaxcert"].split(":")
    assert callable(getattr(import_module(module), function))


def test_the_wheel_holds_the_whole_library_and_nothing_else(tmp_path):
    source, wheels = tmp_path / "source", tmp_path / "wheels"
    shutil.copytree(ROOT / "jaxcert", source / "jaxcert", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    (source / "tests").mkdir()
    (source / "tests" / "__init__.py").touch()
    wheels.mkdir()
    # The build backend directly: what pip would call, without pip's need for an index.
    build = f"from setuptools import build_meta; build_meta.build_wheel({str(wheels)!r})"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True, text=True)
    (wheel,) = wheels.glob(f"jaxcert-{jaxcert.__version__}-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    shipped = {name for name in names if ".dist-info/" not in name}
    assert shipped == {
        p.relative_to(source).as_posix() for p in (source / "jaxcert").rglob("*") if p.is_file()
    }
    assert "jaxcert/py.typed" in shipped
    assert any(name.endswith("entry_points.txt") for name in names)
