"""`Ram` in Amaranth's simulator against a list, and its Verilog body against the same trace."""

from __future__ import annotations

import gc
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from amaranth.back import verilog

import rtl
from rtl.lib.ram import Ram
from tests.unit.rtl.drivers import simulate

SHAPES = [(32, 16, None), (32, 16, 8), (8, 1, None), (24, 5, 12), (512, 8, None), (1, 2, 1)]


def stimulus(ram: Ram, seed: int, cycles: int) -> list[tuple[int, int, int, int, int]]:
    """(write_enable, write_addr, write_data, read_enable, read_addr); addresses clash often."""
    rng = random.Random(seed)
    rows = []
    for _ in range(cycles):
        write_addr = rng.randrange(ram.depth)
        read_addr = rng.choice([write_addr, rng.randrange(ram.depth)])
        enable = rng.choice([0, (1 << ram.lanes) - 1, rng.getrandbits(ram.lanes)])
        rows.append((enable, write_addr, rng.getrandbits(ram.width), int(rng.random() < 0.7), read_addr))
    return rows


def model(ram: Ram, rows: list[tuple[int, int, int, int, int]]) -> list[int]:
    """Read data before each row and after the last."""
    memory = [0] * ram.depth
    data, seen = 0, []
    lane_mask = (1 << ram.granularity) - 1
    for enable, write_addr, word, read, read_addr in rows:
        seen.append(data)
        if read:
            data = memory[read_addr]  # read first
        for lane in range(ram.lanes):
            if enable >> lane & 1:
                mask = lane_mask << lane * ram.granularity
                memory[write_addr] = memory[write_addr] & ~mask | word & mask
    return [*seen, data]


@pytest.mark.parametrize(("width", "depth", "granularity"), SHAPES)
def test_reads_give_the_old_word_and_are_held(width: int, depth: int, granularity: int | None) -> None:
    ram = Ram(width=width, depth=depth, granularity=granularity)
    rows = stimulus(ram, 1, 300)
    expected = model(ram, rows)

    async def bench(ctx: Any) -> None:
        for row, data in zip(rows, expected, strict=False):
            assert ctx.get(ram.read_data) == data
            for member, value in zip(
                (ram.write_enable, ram.write_addr, ram.write_data, ram.read_enable, ram.read_addr), row, strict=True
            ):
                ctx.set(member, value)
            await ctx.tick()
        assert ctx.get(ram.read_data) == expected[-1]

    simulate(ram, bench)


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus Verilog is not installed")
@pytest.mark.parametrize(("width", "depth", "granularity"), SHAPES)
def test_verilog_body_does_the_same(width: int, depth: int, granularity: int | None, tmp_path: Path) -> None:
    ram = Ram(width=width, depth=depth, granularity=granularity)
    rows = stimulus(ram, 2, 200)
    expected = model(ram, rows)
    (tmp_path / "dut.v").write_text(verilog.convert(ram, name="dut", platform=object(), emit_src=False))
    steps = "\n".join(
        f"    write_enable = {ram.lanes}'h{enable:x}; write_addr = {write_addr}; write_data = {width}'h{word:x};"
        f" read_enable = {read}; read_addr = {read_addr}; #1 clk = 1; #1 clk = 0; $display(\"%h\", read_data);"
        for enable, write_addr, word, read, read_addr in rows
    )
    (tmp_path / "bench.v").write_text(
        f"""module bench;
  reg clk = 0, read_enable = 0;
  reg [{ram.lanes - 1}:0] write_enable = 0;
  reg [{ram.addr_bits - 1}:0] write_addr = 0, read_addr = 0;
  reg [{width - 1}:0] write_data = 0;
  wire [{width - 1}:0] read_data;
  dut dut(.clk(clk), .rst(1'b0), .write_enable(write_enable), .write_addr(write_addr), .write_data(write_data),
          .read_enable(read_enable), .read_addr(read_addr), .read_data(read_data));
  initial begin
    #1;
{steps}
    $finish;
  end
endmodule
"""
    )
    body = Path(rtl.__file__).parent / "verilog" / "systomesh_ram.v"
    binary = tmp_path / "bench.vvp"
    subprocess.run(
        ["iverilog", "-g2005", "-o", binary, tmp_path / "bench.v", tmp_path / "dut.v", body], check=True, timeout=60
    )
    out = subprocess.run(["vvp", binary], check=True, capture_output=True, text=True, timeout=60).stdout
    assert [int(line, 16) for line in out.split()] == expected[1:]


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
@pytest.mark.parametrize(("width", "depth", "granularity"), [(0, 4, None), (8, 0, None), (8, 4, 3), (8, 4, 0)])
def test_impossible_shapes_are_refused(width: int, depth: int, granularity: int | None) -> None:
    with pytest.raises(ValueError, match=r"at least 1|does not divide"):
        Ram(width=width, depth=depth, granularity=granularity)
    gc.collect()  # its warning belongs to this test
