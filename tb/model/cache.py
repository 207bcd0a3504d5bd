"""A cache of built things, found by the content of everything that went into them.

An entry is a directory that appears whole (built aside, then renamed) with a list of its files and
their digests; an entry that no longer matches its list is built again. Several processes may share it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from filelock import FileLock

from tb.errors import STORAGE_ERRORS, BenchError

__all__ = ["Cache", "content_key", "default_cache_dir"]

_MANIFEST = "manifest.json"
_KEEP_ENTRIES = 64


def default_cache_dir() -> Path:
    """$SYSTOMESH_CACHE, else $XDG_CACHE_HOME/systomesh, else ~/.cache/systomesh."""
    if own := os.environ.get("SYSTOMESH_CACHE"):
        return Path(own).expanduser().resolve()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "systomesh"


def content_key(parts: Iterable[str | bytes | Path]) -> str:
    """Digest of texts, bytes and the contents (not the names) of files."""
    digest = hashlib.sha256()
    for part in parts:
        content = part.read_bytes() if isinstance(part, Path) else part.encode() if isinstance(part, str) else part
        digest.update(len(content).to_bytes(8, "little"))
        digest.update(content)
    return digest.hexdigest()[:32]


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Cache:
    """Directories by key, below one root."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or default_cache_dir()

    def get(self, kind: str, key: str, build: Callable[[Path], None]) -> tuple[Path, bool]:
        """The entry, and whether it was there already. `build` fills an empty directory.

        Raises whatever `build` raises (nothing is kept then), or BenchError if the cache cannot be written.
        """
        entry = self.root / kind / key
        if self._intact(entry):
            entry.touch()
            return entry, True
        try:
            entry.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{entry}.lock"):
                if self._intact(entry):
                    return entry, True
                self._build(entry, build)
        except OSError as error:
            if error.errno not in STORAGE_ERRORS:
                raise
            raise BenchError(
                f"cannot write the build cache {self.root}: {error.strerror or error}; "
                "free some space there or set SYSTOMESH_CACHE to another folder"
            ) from error
        self._prune(entry.parent, keep=entry)
        return entry, False

    def _build(self, entry: Path, build: Callable[[Path], None]) -> None:
        # The lock of the entry is held: what a killed build of it has left is nobody's.
        for left in entry.parent.glob(f".partial-{entry.name}-*"):
            shutil.rmtree(left, ignore_errors=True)
        partial = Path(tempfile.mkdtemp(prefix=f".partial-{entry.name}-", dir=entry.parent))
        try:
            build(partial)
            files = sorted(p for p in partial.rglob("*") if p.is_file())
            listing = {str(p.relative_to(partial)): _digest(p) for p in files}
            (partial / _MANIFEST).write_text(json.dumps(listing, indent=1))
            partial.chmod(0o755)
            if entry.exists():
                shutil.rmtree(entry)
            partial.rename(entry)
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    @staticmethod
    def _intact(entry: Path) -> bool:
        try:
            listing = json.loads((entry / _MANIFEST).read_text())
            return bool(listing) and all(_digest(entry / name) == digest for name, digest in listing.items())
        except (OSError, ValueError, AttributeError):
            return False

    @staticmethod
    def _prune(folder: Path, keep: Path) -> None:
        """Forget the entries that were used longest ago."""
        entries = sorted(
            (p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".") and p != keep),
            key=lambda p: p.stat().st_mtime,
        )
        for old in entries[: max(0, len(entries) + 1 - _KEEP_ENTRIES)]:
            shutil.rmtree(old, ignore_errors=True)
