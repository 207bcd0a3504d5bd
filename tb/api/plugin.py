"""The pytest plugin: fixtures `run`, `chip` and `baseline`, for tests of chips and layers (docs/regression.md).

Every pytest run of whoever has systomesh installed loads it, so that nothing but pytest is imported before a test asks
for a fixture.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from rtl.contract.params import ChipParams
    from tb.api.baseline import Baseline
    from tb.api.results import RunResult

__all__ = ["baseline", "chip", "pytest_addoption", "pytest_collection_modifyitems", "pytest_terminal_summary", "run"]

UPDATE, BASELINE = "--systomesh-update", "systomesh_baseline"
FILE = "cycles.json"
"""Name of a baseline, where none is given."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("systomesh").addoption(
        UPDATE, action="store_true", help="Keep the figures of `baseline` anew; tests without it are left out."
    )
    parser.addini(BASELINE, f"File of the figures of `baseline`, from the root on; {FILE} beside the test otherwise.")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption(UPDATE):
        others = [item for item in items if "baseline" not in getattr(item, "fixturenames", ())]
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if item not in others]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if config.getoption(UPDATE):
        kept = terminalreporter.stats.get("passed", ())
        tests = [config.rootpath / report.nodeid.partition("::")[0] for report in kept]
        for file in dict.fromkeys(_baseline_file(config, test) for test in tests):
            terminalreporter.write_line(f"systomesh: figures are kept in {file}")


@pytest.fixture(scope="session")
def _systomesh_runs(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., RunResult]:
    """`systomesh.run`, once for all tests that ask for the same; its files lie in a temporary folder."""
    from tb.api.calls import run

    results: dict[str, RunResult] = {}

    def once(net: str | Path, **options: Any) -> RunResult:
        asked = repr((net, sorted(options.items())))
        if asked not in results:
            folder = tmp_path_factory.mktemp("systomesh")
            results[asked] = run(net, **{"runs_dir": folder, "progress": False, "report": False, **options})
        return results[asked]

    return once


@pytest.fixture(scope="module")
def run(request: pytest.FixtureRequest, _systomesh_runs: Callable[..., RunResult]) -> Callable[..., RunResult]:
    """`systomesh.run`; networks and chips in files may be named as beside the test."""

    def run_beside(net: str | Path, **options: Any) -> RunResult:
        if "chip" in options:
            options["chip"] = _beside(request.path, options["chip"])
        return _systomesh_runs(_beside(request.path, net), **options)

    return run_beside


@pytest.fixture(scope="module")
def chip(request: pytest.FixtureRequest) -> Callable[..., ChipParams]:
    """`systomesh.chip`; a file may be named as beside the test."""
    from tb.api.calls import chip as make

    return lambda source=None, /, **fields: make(_beside(request.path, source), **fields)


@pytest.fixture(scope="module")
def baseline(request: pytest.FixtureRequest) -> Baseline:
    """Holds a run against the figures that are kept of it: `baseline(run(...))`."""
    from tb.api.baseline import Baseline

    config = request.config
    return Baseline(_baseline_file(config, request.path), f"pytest {UPDATE}", update=bool(config.getoption(UPDATE)))


def _baseline_file(config: pytest.Config, test: Path) -> Path:
    """Where the figures of a file of tests are kept."""
    named = config.getini(BASELINE)
    return config.rootpath / named if named else test.with_name(FILE)


def _beside(test: Path, source: Any) -> Any:
    """A file beside a test, if the source names one."""
    if isinstance(source, str | Path) and (test.parent / source).is_file():
        return test.parent / source
    return source
