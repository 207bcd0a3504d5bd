"""Names of a report's files, and files that appear whole or not at all, however the process ends."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

__all__ = ["named", "write_atomically"]


def named(out: Path, ending: str) -> Path:
    """OUT.md of a report named OUT, whose last part may hold dots of its own."""
    return out.with_name(out.name + ending)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    partial = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        partial.chmod(0o644)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
