"""Control against a host on AXI4-Lite and blocks played by the test."""

from __future__ import annotations

import random
from typing import Any

import pytest
from amaranth.sim import Simulator

from rtl.control import CLEAR_CYCLES, NO_NODE, NO_UNIT, WATCHDOG_RESET, Control
from rtl.params import default_chip
from rtl.regs import ID_VALUE, BlockKind, ErrorCode, Register, Status, block_index
from rtl.regs import Control as ControlBit
from tests.unit.rtl.axi_models import LiteHost

CHIP = default_chip(4)
ALL_CORES = 0b1111
OKAY, SLVERR = 0, 2


def simulate(test: Any, *, seed: int | None = None) -> None:
    """Run ``test(ctx, control, host)``; memory nodes are idle."""
    control = Control(chip=CHIP)
    sim = Simulator(control)
    sim.add_clock(1e-8)

    async def body(ctx: Any) -> None:
        ctx.set(control.memory_idle, 3)
        await test(ctx, control, LiteHost(ctx, control.bus, None if seed is None else random.Random(seed)))

    async def blocks(ctx: Any) -> None:
        """Counter values one cycle after their index: block number and index."""
        while True:
            _, _, index = await ctx.tick().sample(control.counter_index)
            for block, value in enumerate(control.counter_value):
                ctx.set(value, (block + 1) << 40 | index << 4 | 5)

    sim.add_testbench(body)
    sim.add_testbench(blocks, background=True)
    sim.run()


async def until(ctx: Any, signal: Any, value: int = 1, limit: int = 100) -> int:
    """Cycles until a signal has the value."""
    for cycle in range(limit):
        if ctx.get(signal) == value:
            return cycle
        await ctx.tick()
    raise AssertionError(f"never {value}")


@pytest.mark.parametrize("seed", [None, 0, 1])
def test_registers_read_back_and_unmapped_addresses_answer_slverr(seed: int | None) -> None:
    async def test(ctx: Any, control: Control, host: LiteHost) -> None:
        assert await host.read(Register.ID) == ID_VALUE
        assert await host.read(Register.CONTROL) == 0
        assert await host.read(Register.WATCHDOG) == WATCHDOG_RESET
        assert await host.read(Register.ACTIVE_CORES_LOW) == 0xFFFFFFFF
        values = {
            Register.PROGRAM_BASE: 0x12345678,
            Register.PROGRAM_STRIDE: 0x9ABCDEF0,
            Register.WATCHDOG: 0xFEDC,
            Register.COUNTER_SELECT: 0x0907,
            Register.ACTIVE_CORES_LOW: 0x00FF00FF,
            Register.ACTIVE_CORES_HIGH: 0x87654321,
        }
        for register, value in values.items():
            await host.write(register, value)
        for register, value in values.items():
            assert await host.read(register) == value
        assert ctx.get(control.program_base) == 0x12345678
        assert ctx.get(control.program_stride) == 0x9ABCDEF0
        assert await host.write_response(Register.PROGRAM_BASE, 0xFFFFFFFF, strobe=0b0100) == OKAY
        assert await host.read(Register.PROGRAM_BASE) == 0x12FF5678
        assert await host.write_response(Register.ID, 1) == OKAY
        assert await host.read(Register.ID) == ID_VALUE
        for addr in (0x38, 0x100, 0xFFFC):
            assert (await host.read_response(addr))[1] == SLVERR
            assert await host.write_response(addr, 1) == SLVERR

    simulate(test, seed=seed)


def test_a_run_clears_starts_counts_and_interrupts() -> None:
    async def test(ctx: Any, control: Control, host: LiteHost) -> None:
        assert not ctx.get(control.running)
        assert not ctx.get(control.clear)
        await host.write(Register.CONTROL, ControlBit.START)
        await until(ctx, control.clear)
        assert await until(ctx, control.clear, 0) >= CLEAR_CYCLES - 2  # some pass before the host has B
        assert ctx.get(control.start) == ALL_CORES
        assert ctx.get(control.running)
        await ctx.tick()
        assert ctx.get(control.start) == 0
        assert await host.read(Register.STATUS) == Status.BUSY
        await host.write(Register.CONTROL, ControlBit.START)  # ignored
        for core in range(4):
            assert not ctx.get(control.irq)
            assert not ctx.get(control.clear)
            ctx.set(control.core_done, ctx.get(control.core_done) | 1 << core)
            await ctx.tick()
        assert ctx.get(control.irq)
        assert not ctx.get(control.running)
        assert not ctx.get(control.halt)
        assert await host.read(Register.STATUS) == Status.DONE | Status.IRQ
        await host.write(Register.CONTROL, ControlBit.CLEAR_IRQ)
        assert await host.read(Register.STATUS) == Status.DONE
        assert not ctx.get(control.irq)
        await host.write(Register.CONTROL, ControlBit.RESET)
        await until(ctx, control.clear)
        await until(ctx, control.clear, 0)
        assert ctx.get(control.start) == 0
        assert await host.read(Register.STATUS) == 0
        assert await host.read(Register.CYCLES_LOW) == 0

    simulate(test)


@pytest.mark.parametrize("cycles", range(5))
def test_an_interrupt_is_not_lost_to_a_clear_irq_of_the_same_cycle(cycles: int) -> None:
    async def test(ctx: Any, control: Control, host: LiteHost) -> None:
        bus = control.bus
        await host.write(Register.CONTROL, ControlBit.START)
        await until(ctx, control.running)
        await ctx.tick()
        ctx.set(bus.bready, 1)
        for cycle in range(5):
            first = cycle == 0
            ctx.set(bus.awvalid, first)
            ctx.set(bus.wvalid, first)
            ctx.set(bus.awaddr, Register.CONTROL)
            ctx.set(bus.wdata, ControlBit.CLEAR_IRQ)
            ctx.set(bus.wstrb, 1)
            ctx.set(control.core_done, ALL_CORES if cycle >= cycles else 0)
            await ctx.tick()
        assert await host.read(Register.STATUS) & Status.DONE
        # Only a CLEAR_IRQ behind the end takes the interrupt away.
        assert ctx.get(control.irq) == (cycles >= 1)

    simulate(test)


def test_cycles_run_from_the_start_pulse_to_done() -> None:
    async def test(ctx: Any, control: Control, host: LiteHost) -> None:
        await host.write(Register.CONTROL, ControlBit.START)
        await until(ctx, control.start, ALL_CORES)
        await ctx.tick().repeat(100)
        ctx.set(control.core_done, ALL_CORES)
        await ctx.tick().repeat(50)
        assert await host.read(Register.CYCLES_LOW) == 101
        assert await host.read(Register.CYCLES_HIGH) == 0

    simulate(test)


def test_done_waits_for_the_memory_nodes_and_only_for_active_cores() -> None:
    async def test(ctx: Any, control: Control, host: LiteHost) -> None:
        await host.write(Register.ACTIVE_CORES_LOW, 0b0101)
        await host.write(Register.CONTROL, ControlBit.START)
        await until(ctx, control.start, 0b0101)
        ctx.set(control.memory_idle, 1)
        ctx.set(control.core_done, 0b0101)
        await ctx.tick().repeat(10)
        assert not ctx.get(control.irq)
        ctx.set(control.memory_idle, 3)
        await ctx.tick()
        assert ctx.get(control.irq)

    simulate(test)


def test_clear_lasts_until_the_memory_nodes_are_idle() -> None:
    async def test(ctx: Any, control: Control, host: LiteHost) -> None:
        ctx.set(control.memory_idle, 2)
        await host.write(Register.CONTROL, ControlBit.START)
        await until(ctx, control.clear)
        for _ in range(60):
            await ctx.tick()
            assert ctx.get(control.clear)
            assert not ctx.get(control.running)
        ctx.set(control.memory_idle, 3)
        await ctx.tick()
        assert not ctx.get(control.clear)
        assert ctx.get(control.start) == ALL_CORES

    simulate(test)


@pytest.mark.parametrize("node", [0, 2, 4, 5])
def test_the_first_error_halts_and_names_code_node_and_unit(node: int) -> None:
    async def test(ctx: Any, control: Control, host: LiteHost) -> None:
        await host.write(Register.CONTROL, ControlBit.START)
        await until(ctx, control.start, ALL_CORES)
        await ctx.tick().repeat(5)
        core = node < 4
        if core:
            ctx.set(control.core_error[node], ErrorCode.ACC_RANGE)
            ctx.set(control.core_error_unit[node], 1)
        else:
            ctx.set(control.memory_error[node - 4], ErrorCode.AXI_READ)
        if node != 5:
            ctx.set(control.memory_error[1], ErrorCode.AXI_WRITE)  # in the same cycle: the lower node counts
        ctx.set(control.core_done, ALL_CORES)
        await ctx.tick()
        assert ctx.get(control.irq)
        assert ctx.get(control.halt)
        assert not ctx.get(control.running)
        ctx.set(control.core_error[1], ErrorCode.ILLEGAL_OPCODE)  # too late
        assert await host.read(Register.STATUS) == Status.ERROR | Status.IRQ
        code, unit = (ErrorCode.ACC_RANGE, 1) if core else (ErrorCode.AXI_READ, NO_UNIT)
        assert await host.read(Register.ERROR) == code | node << 8 | unit << 16
        await host.write(Register.CONTROL, ControlBit.START)
        await until(ctx, control.clear)
        assert not ctx.get(control.halt)
        assert not ctx.get(control.irq)

    simulate(test)


def test_no_progress_for_watchdog_cycles_is_an_error() -> None:
    async def test(ctx: Any, control: Control, host: LiteHost) -> None:
        await host.write(Register.WATCHDOG, 30)
        await host.write(Register.CONTROL, ControlBit.START)
        await until(ctx, control.start, ALL_CORES)
        for _ in range(5):
            await ctx.tick().repeat(25)
            ctx.set(control.progress, 1)
            await ctx.tick()
            ctx.set(control.progress, 0)
            assert ctx.get(control.running)
        assert await until(ctx, control.irq) == 31
        assert await host.read(Register.ERROR) == ErrorCode.WATCHDOG | NO_NODE << 8 | NO_UNIT << 16

    simulate(test)


def test_watchdog_ends_a_clear_that_a_silent_memory_holds_up_and_zero_switches_it_off() -> None:
    async def test(ctx: Any, control: Control, host: LiteHost) -> None:
        ctx.set(control.memory_idle, 0)
        await host.write(Register.WATCHDOG, 0)
        await host.write(Register.CONTROL, ControlBit.START)
        await ctx.tick().repeat(200)
        assert await host.read(Register.STATUS) == Status.BUSY
        await host.write(Register.WATCHDOG, 400)
        assert await until(ctx, control.irq, limit=400) > 100
        assert await host.read(Register.STATUS) == Status.ERROR | Status.IRQ

    simulate(test)


def test_counters_of_every_block_are_read_right_after_their_selection() -> None:
    async def test(ctx: Any, control: Control, host: LiteHost) -> None:
        blocks = [(BlockKind.CORE, 3), (BlockKind.ROUTER, 0), (BlockKind.MEMORY, 1)]
        for kind, index in blocks:
            block = block_index(kind, index, 4)
            for counter in (0, 9, 63):
                await host.write(Register.COUNTER_SELECT, block << 8 | counter)
                assert await host.read(Register.COUNTER_LOW) == counter << 4 | 5
                assert await host.read(Register.COUNTER_HIGH) == (block + 1) << 8
        await host.write(Register.COUNTER_SELECT, 10 << 8)
        assert await host.read(Register.COUNTER_LOW) == 0

    simulate(test)
