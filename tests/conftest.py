"""Settings and fixtures shared by all tests: strict JAX, the data folder, double precision, hypothesis."""

import os
from importlib.metadata import version

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Nearly all the time of these tests goes into compiling programs that then run for microseconds, so XLA's
# optimiser is off (see `optimised`), also in processes that tests start, and jaxlib 0.10 emits loops the
# short way: a third of the time. XLA aborts on flags it does not know, and later ones dropped this one.
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
if version("jaxlib").startswith("0.10."):
    flags = os.environ.get("XLA_FLAGS", "")
    os.environ["XLA_FLAGS"] = f"--xla_cpu_use_fusion_emitters=false {flags}".strip()

from collections.abc import Iterator
from pathlib import Path

import hypothesis
import jax
import pytest

ROOT = Path(__file__).resolve().parents[1]
DATA_DIR = Path(os.environ.get("JAXCERT_DATA") or ROOT.parent / "shared" / "data").resolve()
PROFILE = "ci" if os.environ.get("CI", "").lower() in ("1", "true") else "jaxcert"

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")

# The first draw of a test compiles, so a deadline per draw would only measure the compiler.
hypothesis.settings.register_profile(
    "jaxcert",
    deadline=None,
    max_examples=15,
    print_blob=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
DEFAULT = hypothesis.settings.get_profile("jaxcert")
hypothesis.settings.register_profile("ci", parent=DEFAULT, derandomize=True)
hypothesis.settings.register_profile("thorough", parent=DEFAULT, max_examples=300)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", PROFILE))


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of images and published networks; a test that uses it is marked `data` by itself."""
    if not DATA_DIR.is_dir():
        pytest.skip(f"no data folder at {DATA_DIR}: set JAXCERT_DATA to the folder that holds it")
    return DATA_DIR


@pytest.fixture
def x64() -> Iterator[None]:
    """The test runs with 64-bit types; the setting of before comes back afterwards."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(autouse=True)
def optimised(request: pytest.FixtureRequest) -> Iterator[None]:
    """Tests marked `optimised` compute for long: they are compiled as users' programs are."""
    if request.node.get_closest_marker("optimised") is None:
        yield
        return
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", True)


@pytest.fixture(autouse=True, scope="module")
def bounded_memory() -> Iterator[None]:
    """Compiled programs are kept until a process holds many: two processes share the machine's memory."""
    yield
    statm = Path("/proc/self/statm")  # Linux only: elsewhere programs are kept
    pages = int(statm.read_text(encoding="ascii").split()[1]) if statm.exists() else 0
    if pages * os.sysconf("SC_PAGE_SIZE") > 5 * 2**30:
        jax.clear_caches()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "data_dir" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.data)
        # Reports carry user_properties from the xdist workers to the process that prints the summary.
        if item.get_closest_marker("data"):
            item.user_properties.append(("data", True))


def _data_reports(config: pytest.Config) -> tuple[int, int]:
    """How many data tests ran to an end and how many were skipped."""
    stats = config.pluginmanager.get_plugin("terminalreporter").stats
    is_data = lambda report: ("data", True) in getattr(report, "user_properties", ())
    ran = sum(is_data(r) for outcome in ("passed", "failed", "error") for r in stats.get(outcome, ()))
    return ran, sum(is_data(r) for r in stats.get("skipped", ()))


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workerinput"):
        return
    _, skipped = _data_reports(session.config)
    if skipped and DATA_DIR.is_dir() and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    ran, skipped = _data_reports(config)
    where = f"data folder {DATA_DIR}" if DATA_DIR.is_dir() else f"no data folder at {DATA_DIR}"
    terminalreporter.write_line(f"data tests: {ran} ran, {skipped} skipped ({where})")
    if skipped and DATA_DIR.is_dir():
        terminalreporter.write_line("FAILED: with a data folder no data test may be skipped", red=True)
