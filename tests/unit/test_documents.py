"""The documents: every path and every module that they name in backticks is there."""

from __future__ import annotations

import re
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = (
    "README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "docs/onnx.md", "docs/operators.md", "docs/python.md",
    "docs/report.md", "docs/schedules.md", "docs/sparse.md", "docs/sparse_engine.md", "docs/tools.md",
    "docs/verification.md",
)  # fmt: skip
FOLDERS = ("docs", "golden", "rtl", "sched", "tb", "tests")
MODULES = ("golden", "rtl", "scheduler", "estimator", "tb", "tests")
SUFFIXES = (".py", ".v", ".sv", ".cpp", ".md", ".toml")


def _names(text: str) -> list[str]:
    """Texts in backticks, fenced and indented blocks aside, that are one word."""
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    return re.findall(r"`([^`\s]+)`", prose)


@cache
def _files() -> frozenset[str]:
    """Names of all files of the folders."""
    return frozenset(path.name for folder in FOLDERS for path in (ROOT / folder).rglob("*"))


def _missing(name: str) -> bool:
    """Whether a name is a path, a file or a module of this project that is not there."""
    if any(character in name for character in "=<>*{}()[]$"):  # an option, a pattern, an expression
        return False
    first = name.split("/")[0]
    if "/" in name:
        return first in FOLDERS and not (ROOT / name).exists()
    if name.endswith(SUFFIXES):
        return not (name in _files() or (ROOT / name).exists())
    return "." in name and name.split(".")[0] in MODULES and not _importable(name)


def _importable(name: str) -> bool:
    """Whether a dotted name is a module, or something in one."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        try:
            found = import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        for part in parts[count:]:
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True
    return False


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_path_and_module_of_a_document_exists(document: str) -> None:
    names = _names((ROOT / document).read_text())
    assert len(names) > 10
    assert [name for name in names if _missing(name)] == []


@pytest.mark.parametrize("name", ["tb/run/none.py", "tests/none/", "none.cpp", "tb.run.none", "tb.errors.none"])
def test_what_is_not_there_is_noticed(name: str) -> None:
    assert _missing(name)


@pytest.mark.parametrize(
    "name", ["tb/run/run.py", "tests/unit/", "memory.cpp", "NET=a.py",
             "tb.errors.RunError", "numpy.save", "runs/NAME/summary.json"],
)  # fmt: skip
def test_what_is_there_or_elsewhere_is_no_fault(name: str) -> None:
    assert not _missing(name)
