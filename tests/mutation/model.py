"""The mutated netlist as a shared library: Verilator's C++ behind three functions.

One call of `Model.step` sets all inputs and evaluates; registers move when the clock rises between two calls.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tb.errors import ToolError
from tb.model import toolchain
from tb.model.cache import Cache, content_key
from tests.mutation.netlist import CLOCK, MUTSEL, TOP, MutatedNetlist, PortOf

__all__ = ["Model", "build_library"]

_WORD_BITS = 32


def _words(bits: int) -> int:
    return -(-bits // _WORD_BITS)


def _shim(ports: Sequence[PortOf]) -> str:
    """C++ that spreads an array of words over the inputs, evaluates, and gathers the outputs."""
    lines = [
        '#include "Vblock.h"',
        "#include <cstdint>",
        'extern "C" void *block_new(uint32_t mutsel) {',
        "    auto *context = new VerilatedContext;",
        "    auto *block = new Vblock{context};",
        f"    block->{MUTSEL} = mutsel;",
        "    return block;",
        "}",
        'extern "C" void block_delete(void *handle) { delete static_cast<Vblock *>(handle); }',
        'extern "C" void block_step(void *handle, uint32_t clock, const uint32_t *in, uint32_t *out) {',
        "    auto *block = static_cast<Vblock *>(handle);",
        f"    block->{CLOCK} = clock;",
    ]
    at = {True: 0, False: 0}
    gathered = []
    for port in ports:
        first, words = at[port.is_input], _words(port.bits)
        at[port.is_input] += words
        if port.bits == 0:
            continue
        for w in range(words):
            index = first + w
            if port.bits > 64:
                here = f"block->{port.name}[{w}]"
                lines += [f"    {here} = in[{index}];"] if port.is_input else []
                gathered += [] if port.is_input else [f"    out[{index}] = {here};"]
            elif port.is_input and w == 0:
                value = f"in[{index}]" if words == 1 else f"in[{index}] | static_cast<uint64_t>(in[{index + 1}]) << 32"
                lines.append(f"    block->{port.name} = {value};")
            elif not port.is_input:
                gathered.append(f"    out[{index}] = static_cast<uint32_t>(block->{port.name} >> {_WORD_BITS * w});")
    return "\n".join([*lines, "    block->eval();", *gathered, "}", ""])


def build_library(netlist: MutatedNetlist, cache: Cache | None = None) -> Path:
    """Compile a mutated netlist, or find it in the cache.

    Raises
    ------
    ToolError
        If Verilator or the compiler is missing or fails.
    """
    verilator, compiler = toolchain.find_verilator(), toolchain.find_compiler()
    shim = _shim(netlist.ports)
    key = content_key(["mutants", verilator.identity, compiler.version, shim, netlist.verilog])

    def build(directory: Path) -> None:
        (directory / "shim.cpp").write_text(shim)
        shutil.copyfile(netlist.verilog, directory / "mutants.v")
        ccache = toolchain.find_ccache()
        env = {**os.environ, **verilator.env}
        # -O1: a bench of a block is a few thousand cycles, and the compiler's time counts more.
        variables = [*verilator.make_variables, "OPT_FAST=-O1", "OPT_SLOW=-O0", "OPT_GLOBAL=-O1"]
        env["MAKEFLAGS"] = " ".join([*variables, *([f"OBJCACHE={ccache}"] if ccache else [])])
        command = [verilator.path, "--cc", "--exe", "--build", "-j", "1", "--Mdir", "obj", "--top-module", TOP]
        command += ["-Wno-fatal", "-Wno-lint", "--no-timing", "--x-initial", "0", "--output-split", "4000"]
        command += ["-CFLAGS", "-fPIC", "-LDFLAGS", "-shared", "-o", "block.so", "mutants.v", "shim.cpp"]
        done = subprocess.run(command, cwd=directory, env=env, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ToolError(f"the build of a mutated netlist failed: {(done.stdout + done.stderr)[-2000:]}")
        (directory / "obj" / "block.so").rename(directory / "block.so")
        shutil.rmtree(directory / "obj")

    entry, _ = (cache or Cache()).get("mutants", key, build)
    return entry / "block.so"


class Model:
    """One instance of the netlist with one mutant chosen."""

    def __init__(self, library: Path, ports: Sequence[PortOf], mutant: int) -> None:
        self._library = ctypes.CDLL(str(library))
        self._library.block_new.restype = ctypes.c_void_p
        self._library.block_step.argtypes = [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_char_p, ctypes.c_char_p]
        self._library.block_delete.argtypes = [ctypes.c_void_p]
        self._handle = ctypes.c_void_p(self._library.block_new(mutant))
        self._inputs = [port.bits for port in ports if port.is_input]
        self._outputs = []
        at = 0
        for port in ports:
            if not port.is_input:
                self._outputs.append((at, at + 4 * _words(port.bits)))
                at += 4 * _words(port.bits)
        self._out = ctypes.create_string_buffer(max(at, 1))
        self._out_bytes = at

    def step(self, clock: int, inputs: Sequence[int]) -> list[int]:
        """The outputs, as unsigned numbers, for the level of the clock and the inputs in port order."""
        packed = b"".join(
            (value & (1 << bits) - 1).to_bytes(4 * _words(bits), "little")
            for value, bits in zip(inputs, self._inputs, strict=True)
        )
        self._library.block_step(self._handle, clock, packed, self._out)
        raw = self._out.raw
        return [int.from_bytes(raw[a:b], "little") for a, b in self._outputs]

    def __del__(self) -> None:
        if getattr(self, "_handle", None):
            self._library.block_delete(self._handle)
