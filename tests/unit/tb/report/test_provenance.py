"""Provenance: the commit of a result is that of the sources that made it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tb.report.provenance import commit


def test_commit_is_that_of_the_sources(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        author = ["-c", "user.name=a", "-c", "user.email=a@b"]
        return subprocess.run(
            ["git", *author, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout.strip()

    (tmp_path / "tb").mkdir()
    (tmp_path / "tb" / "part.py").write_text("a = 1")
    monkeypatch.setattr("tb.report.provenance.tb.__path__", [str(tmp_path / "tb")])
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert commit() == "unknown"
    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "first")
    revision = git("rev-parse", "HEAD")
    assert revision.startswith(commit())
    (tmp_path / "notes.md").write_text("no source")
    assert revision.startswith(commit())
    (tmp_path / "tb" / "part.py").write_text("a = 2")
    assert commit().endswith("-dirty")
