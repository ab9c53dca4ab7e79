"""The architecture, kept by reading the source: floors, JAX's public names, file sizes, light imports."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# A room imports only from lower floors, and never from a room beside it.
FLOORS = (
    ("errors",),  # below everything: every room raises these
    ("kernels", "chunking", "devices"),
    ("regions", "relax", "data"),
    ("graph", "models", "sparsity"),
    ("bounds", "attacks"),
    ("duals",),
    ("exact",),
    ("certify",),
    ("losses", "formats"),
    ("train",),
    ("evaluate", "analysis"),
    ("cli",),
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
MENU = "__init__"  # jaxcert/__init__.py offers rooms up to certify, so only rooms above may import it
FLOOR_OF_MENU = FLOOR["certify"]
OUTSIDE = ("tests", "experiments", "benchmarks")
HEAVY = ("flax", "tensorflow_datasets", "matplotlib", "tyro", "orbax", "onnx", "cvxpy", "sklearn", "tqdm")

LIBRARY = sorted((ROOT / "jaxcert").rglob("*.py"))
EVERYTHING = LIBRARY + sorted(path for folder in OUTSIDE for path in (ROOT / folder).rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def room_of(path: str) -> str:
    return Path(path).with_suffix("").parts[1]


def imports(tree: ast.AST, path: str) -> Iterator[str]:
    """Dotted names of everything that is imported anywhere in the file, relative imports resolved."""
    package = Path(path).parent.parts
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*start, *([node.module] if node.module else [])))
            yield from (f"{module}.{alias.name}" for alias in node.names)


def dotted(node: ast.AST) -> str | None:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (front := dotted(node.value)):
        return f"{front}.{node.attr}"
    return None


def jax_names(tree: ast.AST, path: str) -> set[str]:
    """Dotted names below `jax` that the file imports or reads as attributes."""
    attributes = {
        name for node in ast.walk(tree) if isinstance(node, ast.Attribute) and (name := dotted(node))
    }
    return {name for name in attributes | set(imports(tree, path)) if name.split(".")[0] == "jax"}


def imported_room(name: str) -> str | None:
    """The room of the library that an imported name belongs to."""
    parts = name.split(".")
    if parts[0] != "jaxcert":
        return None
    return parts[1] if len(parts) > 1 and parts[1] in FLOOR else MENU


def climbs(tree: ast.AST, path: str) -> list[str]:
    """Imports of a file in the library that lead up, or sideways to another room of the floor."""
    room = room_of(path)
    if room == MENU:
        return []
    wrong = []
    for name in imports(tree, path):
        target = imported_room(name)
        floor = FLOOR_OF_MENU if target == MENU else FLOOR.get(target or "", -1)
        if name.split(".")[0] in OUTSIDE or (target not in (None, room) and floor >= FLOOR[room]):
            wrong.append(f"{path} imports {name}")
    return wrong


def private_or_reserved(tree: ast.AST, path: str) -> list[str]:
    """Uses of JAX's private names, and of jax.extend and jax.interpreters outside their rooms."""
    wrong = []
    for name in sorted(jax_names(tree, path)):
        parts = name.split(".")
        in_kernels = path.startswith("jaxcert/kernels/")
        private = any(re.match(r"_(?!_)", part) for part in parts)
        extend = parts[1:2] == ["extend"] and not (in_kernels or path == "jaxcert/graph/jaxpr.py")
        interpreters = parts[1:2] == ["interpreters"] and not in_kernels
        if private or extend or interpreters:
            wrong.append(f"{path} uses {name}")
    return wrong


def prints(tree: ast.AST) -> bool:
    calls = (dotted(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call))
    return any(name in ("print", "jax.debug.print") for name in calls)


def test_every_room_has_a_floor():
    rooms = {room_of(name_of(path)) for path in LIBRARY} - {MENU}
    assert rooms
    assert rooms <= set(FLOOR), "a new room needs a floor, here and in CONTRIBUTING.md"


def test_rooms_import_only_from_lower_floors():
    assert [line for path in LIBRARY for line in climbs(tree_of(path), name_of(path))] == []


def test_only_public_names_of_jax_and_reserved_ones_in_their_rooms():
    assert [line for path in EVERYTHING for line in private_or_reserved(tree_of(path), name_of(path))] == []


def test_oracles_are_independent_of_the_library():
    oracles = sorted((ROOT / "tests" / "oracles").rglob("*.py"))
    allowed = {"numpy", "scipy", "pytest", "hypothesis", "tests", *sys.stdlib_module_names}
    found = [(name_of(path), name) for path in oracles for name in imports(tree_of(path), name_of(path))]
    assert oracles
    assert [use for use in found if use[1].split(".")[0] not in allowed] == []
    assert [
        use for use in found if use[1].startswith("tests.") and not use[1].startswith("tests.oracles")
    ] == []


def test_only_drivers_print():
    drivers = ("cli", "evaluate")
    quiet = [path for path in LIBRARY if room_of(name_of(path)) not in drivers]
    assert [name_of(path) for path in quiet if prints(tree_of(path))] == []


def test_files_are_short_and_named_for_what_they_hold():
    lengths = {name_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in EVERYTHING}
    assert {name: lines for name, lines in lengths.items() if lines >= 400} == {}
    assert [name for name in lengths if "utils" in Path(name).name] == []


def test_every_folder_of_the_library_is_a_package():
    assert [name_of(p.parent) for p in LIBRARY if not (p.parent / "__init__.py").is_file()] == []


def test_import_jaxcert_is_light():
    code = f"import sys, jaxcert; print([name for name in {HEAVY!r} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("path", "source", "wrong"),
    [
        ("jaxcert/bounds/ibp.py", "from jaxcert.certify import verdict", True),
        ("jaxcert/bounds/ibp.py", "from ..attacks.pgd import pgd", True),
        ("jaxcert/bounds/ibp.py", "from .. import train", True),
        ("jaxcert/bounds/ibp.py", "def f():\n    import jaxcert.cli.main", True),
        ("jaxcert/bounds/ibp.py", "import jaxcert as jc", True),
        ("jaxcert/kernels/conv.py", "from jaxcert.chunking import map_examples", True),
        ("jaxcert/kernels/conv.py", "from jaxcert.errors import InvalidInputError", False),
        ("jaxcert/bounds/ibp.py", "from tests.oracles import lp", True),
        ("jaxcert/bounds/ibp.py", "from . import crown\nfrom ..graph.ir import Graph\nimport jax", False),
        ("jaxcert/cli/main.py", "import jaxcert as jc\nfrom jaxcert.evaluate import report", False),
        ("jaxcert/__init__.py", "from jaxcert.certify import verify", False),
    ],
)
def test_the_floor_check_sees(path, source, wrong):
    assert bool(climbs(ast.parse(source), path)) == wrong


@pytest.mark.parametrize(
    ("path", "source", "wrong"),
    [
        ("jaxcert/kernels/conv.py", "from jax._src import core", True),
        ("jaxcert/kernels/conv.py", "import jax\njax._src.core.Jaxpr", True),
        ("jaxcert/bounds/ibp.py", "from jax.extend import core", True),
        ("jaxcert/bounds/ibp.py", "from jax import extend", True),
        ("jaxcert/graph/jaxpr.py", "import jax.interpreters.batching", True),
        ("tests/bounds/test_ibp.py", "import jax\njax.interpreters.ad", True),
        ("jaxcert/graph/jaxpr.py", "from jax.extend.core import Jaxpr", False),
        ("jaxcert/kernels/conv.py", "from jax.interpreters import ad, batching, mlir", False),
        ("jaxcert/bounds/ibp.py", "import jax\njax.__version__\nself._src", False),
    ],
)
def test_the_check_of_jax_names_sees(path, source, wrong):
    assert bool(private_or_reserved(ast.parse(source), path)) == wrong


@pytest.mark.parametrize(
    ("source", "wrong"),
    [("print(1)", True), ("jax.debug.print('x')", True), ("fingerprint(1)", False), ("'print(1)'", False)],
)
def test_the_check_of_prints_sees(source, wrong):
    assert prints(ast.parse(source)) == wrong
