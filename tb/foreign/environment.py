"""Tools of PyPI, each with its pinned packages in a virtual environment of its own, in the cache folder."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

from filelock import FileLock

from tb.errors import BenchError, ToolError
from tb.foreign.tools import find_tool
from tb.model.cache import default_cache_dir

__all__ = ["environment", "require_package", "run_tool"]

READY = "packages.txt"
"""Written last: what an environment holds."""
TAIL = 300


def require_package(name: str) -> None:
    """Refuse to run a tool that is no package of PyPI.

    Raises
    ------
    BenchError
        With how it is run.
    """
    tool = find_tool(name)
    if not tool.packages:
        raise BenchError(f"{tool.title} is no package of PyPI: leave RUN out, and run it in the folder: {tool.run}")


def environment(name: str) -> Path:
    """The interpreter of a tool's environment, which is made where it is not there.

    Raises
    ------
    BenchError
        If the tool is no package of PyPI.
    ToolError
        If pip cannot install it.
    """
    require_package(name)
    tool = find_tool(name)
    folder = default_cache_dir() / "foreign" / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    python, wanted = folder / "bin" / "python", "\n".join(tool.packages)
    with FileLock(folder.with_suffix(".lock")):
        ready = folder / READY
        if not (ready.exists() and ready.read_text() == wanted):
            venv.create(folder, clear=True, with_pip=True)
            _run([str(python), "-m", "pip", "install", "-qq", *tool.packages], Path.cwd(), f"install {tool.title}")
            ready.write_text(wanted)
    return python


def run_tool(name: str, folder: Path) -> None:
    """Run a tool on the inputs in a folder; its outputs are there then.

    Raises
    ------
    BenchError
        As `environment`.
    ToolError
        If the tool fails.
    """
    _run([str(environment(name)), "run.py"], folder, f"run {find_tool(name).title} in {folder}")


def _run(command: list[str], folder: Path, what: str) -> None:
    done = subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    if done.returncode:
        reason = " ".join(done.stderr.decode(errors="replace").split())[-TAIL:]
        raise ToolError(f"cannot {what} with {sys.implementation.name} {sys.version.split()[0]}: {reason}")
