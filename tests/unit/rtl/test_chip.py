"""The whole chip, small, in Amaranth's simulator: programs in an AXI memory, a host on AXI4-Lite."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from amaranth.sim import Simulator

from rtl.chip import Chip, core_modules
from rtl.contract.codec import encode
from rtl.contract.isa import Opcode, Space, TrafficClass, Unit
from rtl.contract.params import ChipParams, CoreParams, MemoryNodeParams, default_chip
from rtl.contract.params import Direction as Side
from rtl.contract.regs import (
    NO_NODE,
    NO_UNIT,
    BlockKind,
    CoreCounter,
    ErrorCode,
    MemoryCounter,
    Register,
    RouterCounter,
    Status,
    block_index,
)
from rtl.contract.regs import Control as ControlBit
from tests.unit.rtl.dram.axi_models import AxiMemory, LiteHost

SMALL = CoreParams(rows=4, cols=4, act_bytes=1024, weight_bytes=1024, acc_entries=32, param_blocks=2, queue_depth=4)
BASE, STRIDE = 0x1000, 0x100
DATA = 0x4000
END = encode(Opcode.END)
Programs = dict[tuple[int, Unit], Sequence[bytes]]


def small_chip(link_bytes: int = 8) -> ChipParams:
    return default_chip(2, SMALL, link_bytes=link_bytes, max_packet_flits=8, vc_depth=8, memory_queue_depth=4)


class ChipBench:
    """A chip, a memory behind all its masters, a host."""

    def __init__(self, chip: ChipParams, stall: float = 0.0) -> None:
        self.params = chip
        self.chip = Chip(chip=chip)
        self.memory = np.random.default_rng(0).integers(0, 256, 1 << 15, dtype=np.uint8)
        self.axi = [
            AxiMemory(axi, chip.link_bytes, self.memory, random.Random(i), stall, max_beats=chip.max_packet_flits)
            for i, axi in enumerate(self.chip.m_axi)
        ]

    def write_programs(self, programs: Programs) -> None:
        """Streams of all cores; a unit without a program only ends."""
        for core in range(self.params.n_cores):
            for unit in Unit:
                raw = b"".join(programs.get((core, unit), [END]))
                at = BASE + (3 * core + unit) * STRIDE
                self.memory[at : at + STRIDE] = 0
                self.memory[at : at + len(raw)] = np.frombuffer(raw, np.uint8)

    async def start(self, host: LiteHost) -> None:
        await host.write(Register.PROGRAM_BASE, BASE)
        await host.write(Register.PROGRAM_STRIDE, STRIDE)
        await host.write(Register.CONTROL, ControlBit.START)

    async def run_to_irq(self, ctx: Any, host: LiteHost, limit: int = 3000) -> int:
        await self.start(host)
        for _ in range(limit):
            if ctx.get(self.chip.irq):
                break
            await ctx.tick()
        return await host.read(Register.STATUS)

    async def counter(self, host: LiteHost, kind: BlockKind, index: int, counter: int) -> int:
        await host.write(Register.COUNTER_SELECT, block_index(kind, index, self.params.n_cores) << 8 | counter)
        low = await host.read(Register.COUNTER_LOW)
        return low | await host.read(Register.COUNTER_HIGH) << 32

    def simulate(self, test: Any) -> None:
        sim = Simulator(self.chip)
        sim.add_clock(1e-8)

        async def body(ctx: Any) -> None:
            await test(ctx, LiteHost(ctx, self.chip.s_axil))

        sim.add_testbench(body)
        for memory in self.axi:
            sim.add_testbench(memory.run, background=True)
        sim.run()


@pytest.mark.parametrize(("link_bytes", "stall"), [(4, 0.3), (8, 0.0)])
def test_programs_of_ends_reach_done_and_irq(link_bytes: int, stall: float) -> None:
    bench = ChipBench(small_chip(link_bytes), stall)
    bench.write_programs({})

    async def test(ctx: Any, host: LiteHost) -> None:
        for _ in range(2):
            assert await bench.run_to_irq(ctx, host) == Status.DONE | Status.IRQ
            assert 0 < await host.read(Register.CYCLES_LOW) < 1000
            for core in range(2):
                assert await bench.counter(host, BlockKind.CORE, core, CoreCounter.COMPUTE_STREAM) == 0
            read = await bench.counter(host, BlockKind.MEMORY, 0, MemoryCounter.READ_BYTES + TrafficClass.PROGRAM)
            assert read >= 6 * len(END)
            await host.write(Register.CONTROL, ControlBit.CLEAR_IRQ)

    bench.simulate(test)


def test_an_illegal_opcode_names_its_node_and_the_next_start_runs() -> None:
    bench = ChipBench(small_chip())

    async def test(ctx: Any, host: LiteHost) -> None:
        bench.write_programs({(1, Unit.STORE): [bytes(32)]})
        assert await bench.run_to_irq(ctx, host) == Status.ERROR | Status.IRQ
        assert await host.read(Register.ERROR) == ErrorCode.ILLEGAL_OPCODE | 1 << 8 | Unit.STORE << 16
        bench.write_programs({})
        assert await bench.run_to_irq(ctx, host) == Status.DONE | Status.IRQ
        assert await host.read(Register.ERROR) == 0

    bench.simulate(test)


def test_a_token_that_never_comes_ends_by_the_watchdog() -> None:
    bench = ChipBench(small_chip())
    bench.write_programs({(0, Unit.COMPUTE): [encode(Opcode.SYNC, wait0_first=5, wait0_count=1), END]})

    async def test(ctx: Any, host: LiteHost) -> None:
        await host.write(Register.WATCHDOG, 100)
        assert await bench.run_to_irq(ctx, host) == Status.ERROR | Status.IRQ
        assert await host.read(Register.ERROR) == ErrorCode.WATCHDOG | NO_NODE << 8 | NO_UNIT << 16

    bench.simulate(test)


def test_an_axi_error_names_the_memory_node() -> None:
    bench = ChipBench(small_chip())
    bench.write_programs({})
    bench.axi[0].bad_reads.add(BASE + 4 * STRIDE)

    async def test(ctx: Any, host: LiteHost) -> None:
        assert await bench.run_to_irq(ctx, host) == Status.ERROR | Status.IRQ
        assert await host.read(Register.ERROR) == ErrorCode.AXI_READ | 2 << 8 | NO_UNIT << 16
        bench.axi[0].bad_reads.clear()
        assert await bench.run_to_irq(ctx, host) == Status.DONE | Status.IRQ

    bench.simulate(test)


def test_multicast_loads_and_signals_between_cores() -> None:
    """Core 0 loads for both; each compute unit waits for the data, then wakes the other core's store unit."""
    bench = ChipBench(small_chip(), stall=0.2)
    flits = 20
    programs: Programs = {
        (0, Unit.LOAD): [
            encode(
                Opcode.LOAD, cores=0b11, dram_addr=DATA, runs=1, run_flits=flits, space=Space.ACT, dst=3,
                traffic=TrafficClass.IFMAP, token_valid=1, token=0,
            ),
            END,
        ]
    }  # fmt: skip
    for core in range(2):
        wake = encode(
            Opcode.SYNC, wait0_first=0, wait0_count=1, signal0_valid=1, signal0_token=1, signal0_core=1 - core
        )
        programs[core, Unit.COMPUTE] = [wake, END]
        programs[core, Unit.STORE] = [encode(Opcode.SYNC, wait2_first=1, wait2_count=1), END]
    bench.write_programs(programs)

    async def test(ctx: Any, host: LiteHost) -> None:
        assert await bench.run_to_irq(ctx, host) == Status.DONE | Status.IRQ
        read = await bench.counter(host, BlockKind.MEMORY, 0, MemoryCounter.READ_BYTES + TrafficClass.IFMAP)
        assert read == flits * 8
        for core in range(2):
            assert await bench.counter(host, BlockKind.CORE, core, CoreCounter.ACT_WRITES) == flits
            assert await bench.counter(host, BlockKind.ROUTER, core, RouterCounter.FLITS_LOCAL) > flits

    bench.simulate(test)


def test_one_core_and_a_memory_node_on_every_side() -> None:
    sides = (Side.WEST, Side.EAST, Side.NORTH, Side.SOUTH)
    chip = ChipParams(
        mesh_width=1, mesh_height=1, cores=(SMALL,), memory_nodes=tuple(MemoryNodeParams(0, 0, s) for s in sides),
        link_bytes=8, max_packet_flits=8, vc_depth=8,
    )  # fmt: skip
    bench = ChipBench(chip)
    loads = [
        encode(
            Opcode.LOAD, cores=1, dram_addr=DATA + 64 * i, runs=2, run_flits=3, dram_stride=4, memory=i,
            space=Space.WEIGHT, dst=8 * i, dst_stride=3, token_valid=1, token=i,
        )
        for i in range(4)
    ]  # fmt: skip
    bench.write_programs(
        {
            (0, Unit.LOAD): [*loads, END],
            (0, Unit.COMPUTE): [encode(Opcode.SYNC, wait1_first=0, wait1_count=4), END],
        }
    )

    async def test(ctx: Any, host: LiteHost) -> None:
        assert await bench.run_to_irq(ctx, host) == Status.DONE | Status.IRQ
        for i in range(4):
            assert await bench.counter(host, BlockKind.MEMORY, i, MemoryCounter.READ_BYTES) == 48

    bench.simulate(test)


def test_each_distinct_core_has_one_module() -> None:
    other = CoreParams(rows=8, cols=4, act_bytes=1024, weight_bytes=1024, acc_entries=32, param_blocks=2)
    chip = ChipParams(cores=(SMALL, other, SMALL, other))
    assert core_modules(chip) == (
        "systomesh_core_0", "systomesh_core_1", "systomesh_core_0", "systomesh_core_1",
    )  # fmt: skip
