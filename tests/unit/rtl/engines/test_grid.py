"""`PeGrid` against its recurrence, cycle by cycle, in Amaranth's simulator; and its Verilog body, in Icarus."""

from __future__ import annotations

import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from amaranth.back import verilog

import rtl
from rtl.engines.grid import PeGrid
from rtl.lib.blackbox import ports_of
from tests.unit.rtl.drivers import simulate

RATES = [0.3, 0.8]
"""Of pixels, starts and rows of weights."""


class Inputs(NamedTuple):
    """Of a cycle."""

    enable: int
    accept: int
    start: int
    act: int
    load: int
    weights: int


class Recurrence:
    """What each register of a grid becomes; everything starts as zero."""

    def __init__(self, rows: int, cols: int) -> None:
        self.rows, self.cols = rows, cols
        self.skew = np.zeros((rows, rows), np.int64)  # stage, row
        self.acts, self.active, self.shadow, self.psum = (np.zeros((rows, cols), np.int64) for _ in range(4))
        self.deskew = np.zeros((cols, cols), np.int64)  # stage, column
        self.switched = np.zeros((rows, cols), bool)
        self.switch = np.zeros(rows, bool)

    @property
    def data(self) -> list[int]:
        """int32[C]."""
        return [*self.deskew[-1, :-1].tolist(), int(self.psum[-1, -1])]

    def step(self, given: Inputs, *, rst: bool = False) -> None:
        self.acts[:, 0] = self.skew.diagonal()
        above = np.vstack([np.zeros_like(self.psum[:1]), self.psum[:-1]])
        switch = np.column_stack([[given.start, *self.switch[:-1]], self.switched[:, :-1]]).astype(bool)
        psum = (above + self.acts * self.active).astype(np.int32)
        if given.enable:
            for stage in range(self.cols - 1, 0, -1):
                self.deskew[stage, :stage] = [*self.deskew[stage - 1, : stage - 1], self.psum[-1, stage - 1]]
            self.psum[:], self.active = psum, np.where(switch, self.shadow, self.active)
            self.switched, self.switch = switch, np.array([given.start, *self.switch[:-1]], bool)
            self.skew[1:] = self.skew[:-1].copy()
        if given.accept:
            self.skew[0] = _int8(given.act, self.rows)
        self.acts = np.roll(self.acts, 1, axis=1)
        loaded = [bool(given.load >> row & 1) for row in range(self.rows)]
        self.shadow[loaded] = _int8(given.weights, self.cols)
        if rst:
            self.switched[:], self.switch[:] = False, False


def _int8(word: int, count: int) -> np.ndarray:
    return np.frombuffer(word.to_bytes(count, "little"), np.int8)


def stimulus(rows: int, cols: int, cycles: int, rate: float) -> Iterator[Inputs]:
    """Anything but a pixel without `enable`. Bytes are often extreme."""
    rng = random.Random(f"{rows} {cols} {rate}")

    def word(count: int) -> int:
        return int.from_bytes(rng.choice([0x80, 0x7F, rng.randrange(256)]) for _ in range(count))

    for _ in range(cycles):
        accept = rng.random() < rate
        load = rng.getrandbits(rows) & rng.getrandbits(rows) if rng.random() < rate else 0
        enable = accept or rng.random() < 0.7
        yield Inputs(enable, accept, rng.random() < 1 - rate, word(rows), load, word(cols))


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize(("rows", "cols"), [(4, 4), (4, 8), (8, 4)])
def test_a_grid_follows_its_recurrence(rows: int, cols: int, rate: float) -> None:
    dut = PeGrid(rows=rows, cols=cols)
    model = Recurrence(rows, cols)

    async def bench(ctx: Any) -> None:
        for cycle, given in enumerate(stimulus(rows, cols, 300, rate)):
            for name, value in given._asdict().items():
                ctx.set(getattr(dut, name), value)
            await ctx.tick()
            model.step(given)
            raw = ctx.get(dut.data).to_bytes(4 * cols, "little")
            assert np.frombuffer(raw, "<i4").tolist() == model.data, cycle

    simulate(dut, bench)


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus Verilog is not installed")
@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize(("rows", "cols"), [(16, 16), (4, 8), (8, 4)])
def test_the_verilog_body_follows_it_too(rows: int, cols: int, rate: float, tmp_path: Path) -> None:
    """With a reset now and then, which the switch wavefront obeys."""
    dut = PeGrid(rows=rows, cols=cols)
    model, rng = Recurrence(rows, cols), random.Random(rate)
    bits = {"enable": 1, "accept": 1, "start": 1, "act": 8 * rows, "load": rows, "weights": 8 * cols}
    steps, expected = [], []
    for given in stimulus(rows, cols, 300, rate):
        rst = rng.random() < 0.02
        values = [f"{name} = {bits[name]}'h{value:x};" for name, value in given._asdict().items()]
        steps.append(f'    rst = {rst:d}; {" ".join(values)} #1 clk = 1; #1 clk = 0; $display("%h", data);')
        model.step(given, rst=rst)
        expected.append(np.array(model.data, "<i4").tobytes())
    text = verilog.convert(dut, name="dut", platform=object(), ports=ports_of(dut), emit_src=False)
    (tmp_path / "dut.v").write_text(text)
    inputs = "\n".join(f"  reg [{size - 1}:0] {name} = 0;" for name, size in bits.items())
    pins = ", ".join(f".{name}({name})" for name in ("clk", "rst", "data", *bits))
    (tmp_path / "bench.v").write_text(
        f"module bench;\n  reg clk = 0, rst = 0;\n{inputs}\n  wire [{32 * cols - 1}:0] data;\n  dut dut({pins});\n"
        "  initial begin\n    #1;\n" + "\n".join(steps) + "\n    $finish;\n  end\nendmodule\n"
    )
    body = Path(rtl.__file__).parent / "verilog" / "systomesh_pe_grid.v"
    binary = tmp_path / "bench.vvp"
    command = ["iverilog", "-g2005", "-o", binary, tmp_path / "bench.v", tmp_path / "dut.v", body]
    subprocess.run(command, check=True, timeout=60)
    out = subprocess.run(["vvp", binary], check=True, capture_output=True, text=True, timeout=120).stdout
    assert [int(line, 16).to_bytes(4 * cols, "little") for line in out.split()] == expected
