"""The build cache."""

from __future__ import annotations

import errno
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tb.errors import BenchError
from tb.model.cache import Cache, content_key, default_cache_dir


class Builder:
    """Writes one file, and counts how often."""

    def __init__(self, text: str = "model") -> None:
        self.calls = 0
        self.text = text

    def __call__(self, directory: Path) -> None:
        self.calls += 1
        (directory / "out").write_text(self.text)


def test_entry_is_built_once(tmp_path: Path) -> None:
    cache, build = Cache(tmp_path), Builder()
    first, was_there = cache.get("kind", "key", build)
    assert not was_there
    assert cache.get("kind", "key", build) == (first, True)
    assert (first / "out").read_text() == "model"
    assert build.calls == 1


@pytest.mark.parametrize("damage", ["changed", "missing", "no manifest", "garbled manifest"])
def test_damaged_entry_is_built_again(tmp_path: Path, damage: str) -> None:
    cache, build = Cache(tmp_path), Builder()
    entry, _ = cache.get("kind", "key", build)
    if damage == "changed":
        (entry / "out").write_text("mode1")
    elif damage == "missing":
        (entry / "out").unlink()
    elif damage == "no manifest":
        (entry / "manifest.json").unlink()
    else:
        (entry / "manifest.json").write_text("[")
    entry, was_there = cache.get("kind", "key", build)
    assert not was_there
    assert (entry / "out").read_text() == "model"
    assert build.calls == 2


def test_several_that_want_an_entry_at_once_share_one_build(tmp_path: Path) -> None:
    class Slow(Builder):
        def __call__(self, directory: Path) -> None:
            time.sleep(0.2)
            super().__call__(directory)

    build = Slow()
    with ThreadPoolExecutor(3) as pool:
        futures = [pool.submit(Cache(tmp_path).get, "kind", "key", build) for _ in range(3)]
        found = [future.result() for future in futures]
    assert build.calls == 1
    assert sorted(was_there for _, was_there in found) == [False, True, True]


def test_failed_build_leaves_nothing(tmp_path: Path) -> None:
    def fail(directory: Path) -> None:
        (directory / "half").write_text("")
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        Cache(tmp_path).get("kind", "key", fail)
    assert [p.name for p in (tmp_path / "kind").iterdir()] in (["key.lock"], [])


def test_full_disk_is_one_line_with_the_remedy(tmp_path: Path) -> None:
    def fail(directory: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(BenchError, match="No space left on device; free some space there or set SYSTOMESH_CACHE"):
        Cache(tmp_path).get("kind", "key", fail)


def test_entries_used_longest_ago_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tb.model.cache._KEEP_ENTRIES", 2)
    cache = Cache(tmp_path)
    for key in "abc":
        cache.get("kind", key, Builder(key))
    assert sum(p.is_dir() for p in (tmp_path / "kind").iterdir()) == 2
    assert (tmp_path / "kind" / "c" / "out").exists()


def test_key_follows_contents_and_boundaries_not_names(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("x")
    two.write_text("x")
    assert content_key([one]) == content_key([two]) == content_key(["x"])
    assert content_key(["ab", "c"]) != content_key(["a", "bc"])
    two.write_text("y")
    assert content_key([one]) != content_key([two])


def test_place_of_the_cache_can_be_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("SYSTOMESH_CACHE", raising=False)
    assert default_cache_dir() == tmp_path / "systomesh"
    monkeypatch.setenv("SYSTOMESH_CACHE", str(tmp_path / "own"))
    assert default_cache_dir() == tmp_path / "own"
