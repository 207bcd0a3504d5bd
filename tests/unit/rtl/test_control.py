"""Control against a host on AXI4-Lite and blocks played by the test."""

from __future__ import annotations

import random
from itertools import chain, pairwise
from typing import Any

import pytest
from amaranth.hdl import Cat
from amaranth.sim import Simulator

from rtl.contract.params import ChipParams, CoreParams, default_chip
from rtl.contract.regs import (
    COUNTER_BITS,
    ID_VALUE,
    NO_NODE,
    NO_UNIT,
    BlockKind,
    ErrorCode,
    Register,
    Status,
    block_index,
)
from rtl.contract.regs import Control as ControlBit
from rtl.control import CLEAR_CYCLES, WATCHDOG_RESET, Control
from tests.unit.rtl.control_model import ControlModel
from tests.unit.rtl.dram.axi_models import LiteHost

CHIP = default_chip(4)
ALL_CORES = 0b1111
OKAY, SLVERR = 0, 2


def counter_of(block: int, index: int) -> int:
    """48 random bits for each counter of each block."""
    return random.Random(64 * block + index).getrandbits(COUNTER_BITS)


class Life:
    """Compares control with its model in every cycle of any test; knows the clears and starts that came."""

    def __init__(self, control: Control, chip: ChipParams = CHIP) -> None:
        self._model = ControlModel(control, chip, counter_of)
        self.clears: list[int] = []  # length of each
        self.starts: list[int] = []  # masks

    async def run(self, ctx: Any) -> None:
        cleared = False
        while True:
            seen = await self._model.cycle(ctx)
            clear, running, start = seen["shown"] & 1, seen["shown"] >> 1 & 1, seen["shown"] >> 4
            if running and cleared:
                self.starts.append(start)
            if clear and not cleared:
                self.clears.append(0)
            if clear:
                self.clears[-1] += 1
            cleared = bool(clear)


def simulate(test: Any, *, seed: int | None = None, chip: ChipParams = CHIP) -> Life:
    """Run ``test(ctx, control, host)``; memory nodes are idle."""
    control = Control(chip=chip)
    sim = Simulator(control)
    sim.add_clock(1e-8)
    life = Life(control, chip)

    async def body(ctx: Any) -> None:
        ctx.set(control.memory_idle, 3)
        await test(ctx, control, LiteHost(ctx, control.bus, None if seed is None else random.Random(seed)))

    async def blocks(ctx: Any) -> None:
        """Counter values one cycle after their index."""
        while True:
            _, _, index = await ctx.tick().sample(control.counter_index)
            for block, value in enumerate(control.counter_value):
                ctx.set(value, counter_of(block, index))

    sim.add_testbench(body)
    sim.add_testbench(blocks, background=True)
    sim.add_testbench(life.run, background=True)
    sim.run()
    return life


async def until(ctx: Any, signal: Any, value: int = 1, limit: int = 100) -> int:
    """Cycles until a signal has the value."""
    for cycle in range(limit):
        if ctx.get(signal) == value:
            return cycle
        await ctx.tick()
    raise AssertionError(f"never {value}")


@pytest.mark.parametrize("seed", [None, 0, 1])
def test_registers_hold_what_was_written_and_other_addresses_answer_slverr(seed: int | None) -> None:
    writable = (
        Register.PROGRAM_BASE,
        Register.PROGRAM_STRIDE,
        Register.WATCHDOG,
        Register.COUNTER_SELECT,
        Register.ACTIVE_CORES_LOW,
        Register.ACTIVE_CORES_HIGH,
    )
    strange = [0x38, 0x3C, *(1 << bit | register for bit in range(6, 16) for register in Register)]

    async def test(ctx: Any, control: Control, host: LiteHost) -> None:
        rng = random.Random(seed or 0)
        held = {register: 0 for register in Register if register not in (Register.COUNTER_LOW, Register.COUNTER_HIGH)}
        held |= {Register.ID: ID_VALUE, Register.WATCHDOG: WATCHDOG_RESET}
        held |= dict.fromkeys((Register.ACTIVE_CORES_LOW, Register.ACTIVE_CORES_HIGH), 0xFFFFFFFF)

        async def check() -> None:
            for register, value in held.items():
                assert await host.read(register | rng.randrange(4)) == value, register.name
            assert ctx.get(control.program_base) == held[Register.PROGRAM_BASE]
            assert ctx.get(control.program_stride) == held[Register.PROGRAM_STRIDE]
            assert ctx.get(control.counter_index) == held[Register.COUNTER_SELECT] & 0x3F

        await check()
        for round_ in range(4):
            noise = {register: rng.getrandbits(32) for register in writable}
            for register in rng.sample(writable, len(writable)):
                value, strobe = noise[register], 15 if round_ < 2 else rng.randrange(16)
                value ^= 0xFFFFFFFF * (round_ % 2)
                assert await host.write_response(register | rng.randrange(4), value, strobe) == OKAY
                lanes = sum(0xFF << 8 * byte for byte in range(4) if strobe >> byte & 1)
                held[register] = held[register] & ~lanes | value & lanes
                if register == Register.COUNTER_SELECT:
                    held[register] &= 0xFFFF
            for register in Register:
                if register not in writable and register != Register.CONTROL:  # nothing happens
                    assert await host.write_response(register, rng.getrandbits(32)) == OKAY
            for addr in rng.sample(strange, len(strange) if (round_, seed) == (3, None) else 8):
                assert await host.write_response(addr, rng.getrandbits(32)) == SLVERR
            await check()
        for addr in strange if seed is None else rng.sample(strange, 20):
            assert await host.read_response(addr) == (0, SLVERR)

    assert simulate(test, seed=seed).clears == []


def test_an_access_behind_a_response_that_waits_is_kept() -> None:
    async def test(ctx: Any, control: Control, host: LiteHost) -> None:
        bus = control.bus
        for value in (0x11111111, 0x2E2E2E2E):  # the first is done, and the second taken, while B waits
            ctx.set(Cat(bus.awvalid, bus.wvalid), 3)
            ctx.set(Cat(bus.awaddr, bus.wdata, bus.wstrb), Register.PROGRAM_BASE | value << 16 | 15 << 48)
            await until(ctx, bus.awready)
            await ctx.tick()
            assert not ctx.get(bus.awready)
            assert not ctx.get(bus.wready)
            ctx.set(Cat(bus.awvalid, bus.wvalid), 0)
            await until(ctx, bus.bvalid)
        await ctx.tick().repeat(5)
        assert ctx.get(control.program_base) == 0x11111111
        ctx.set(bus.bready, 1)
        await ctx.tick()
        ctx.set(bus.bready, 0)
        assert not ctx.get(bus.bvalid)
        await ctx.tick()
        assert ctx.get(bus.bvalid)
        assert ctx.get(control.program_base) == 0x2E2E2E2E
        ctx.set(bus.bready, 1)
        await ctx.tick().repeat(2)
        ctx.set(bus.bready, 0)
        ctx.set(Cat(bus.arvalid, bus.araddr), 1 | Register.ID << 1)
        await ctx.tick()
        ctx.set(Cat(bus.arvalid, bus.araddr), 1 | Register.PROGRAM_BASE << 1)
        await until(ctx, bus.rvalid)
        for _ in range(8):
            assert not ctx.get(bus.arready), "one read at a time"
            assert (ctx.get(bus.rvalid), ctx.get(bus.rdata)) == (1, ID_VALUE)
            await ctx.tick()
        ctx.set(bus.rready, 1)
        await ctx.tick()
        assert not ctx.get(bus.rvalid)
        await ctx.tick()
        ctx.set(bus.arvalid, 0)
        await until(ctx, bus.rvalid)
        assert ctx.get(bus.rdata) == 0x2E2E2E2E

    simulate(test)


def test_a_run_clears_starts_counts_and_interrupts() -> None:
    async def test(ctx: Any, control: Control, host: LiteHost) -> None:
        assert not ctx.get(control.running)
        assert not ctx.get(control.clear)
        await host.write(Register.CONTROL, ControlBit.START)
        await until(ctx, control.clear)
        await until(ctx, control.clear, 0)
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

    life = simulate(test)
    assert life.starts == [ALL_CORES]
    assert life.clears == [CLEAR_CYCLES] * 2


@pytest.mark.parametrize("seed", range(2))
def test_anything_at_any_time(seed: int) -> None:
    """Two hosts and blocks that do as they like; `Life` compares."""
    control = Control(chip=CHIP)
    life = Life(control)
    reads = dict.fromkeys(Register, 0)

    async def blocks(ctx: Any) -> None:
        rng = random.Random(seed)
        groups = (control.core_error, control.memory_error)
        while True:
            ctx.set(control.memory_idle, rng.choice([3, 3, 3, rng.randrange(4)]))
            ctx.set(control.core_done, rng.choice([0, ALL_CORES, rng.randrange(16), rng.randrange(16)]))
            failing = rng.random() < 0.2
            for error in chain(*groups):
                ctx.set(error, failing * rng.choice([0, 0, 1 << rng.randrange(8), rng.randrange(256)]))
            for unit in control.core_error_unit:
                ctx.set(unit, rng.randrange(4))
            for _ in range(rng.choice([1, 3, 20, 60])):
                ctx.set(control.progress, rng.random() < 0.1)
                await ctx.tick()

    async def writer(ctx: Any) -> None:
        rng = random.Random(seed + 100)
        host = LiteHost(ctx, control.bus, rng)
        limits = [0, 1, 12, 40, 300]
        for _ in range(400):
            register = rng.choice([*Register, *[Register.CONTROL] * 10])
            value = rng.getrandbits(32)
            if register == Register.WATCHDOG:
                value = rng.choice(limits)
            elif register == Register.CONTROL and rng.random() < 0.8:
                value &= ~ControlBit.RESET
            strobe = 15 if rng.random() < 0.7 or register == Register.WATCHDOG else rng.randrange(16)
            assert await host.write_response(register | rng.randrange(4), value, strobe) == OKAY
            for _ in range(rng.choice([0, 0, 10, 40])):
                await ctx.tick()

    async def reader(ctx: Any) -> None:
        rng = random.Random(seed + 200)
        host = LiteHost(ctx, control.bus, rng)
        registers = [register for register in Register if register != Register.COUNTER_LOW]
        registers += [Register.STATUS, Register.ERROR, Register.CYCLES_LOW] * 3
        while True:
            register = rng.choice(registers)
            value, response = await host.read_response(register)
            assert response == OKAY
            reads[register] |= value

    sim = Simulator(control)
    sim.add_clock(1e-8)
    sim.add_testbench(writer)
    for other in (blocks, reader, life.run):
        sim.add_testbench(other, background=True)
    sim.run()
    assert len(life.starts) > 20
    everything = Status.BUSY | Status.DONE | Status.ERROR | Status.IRQ
    assert reads[Register.STATUS] == everything
    assert reads[Register.ERROR] == 0x3FFFF


def test_commands_in_every_phase() -> None:
    start, reset = ControlBit.START, ControlBit.RESET

    async def test(ctx: Any, control: Control, host: LiteHost) -> None:
        async def command(bits: int) -> None:
            await host.write(Register.CONTROL, bits)

        for other in (1 << bit for bit in range(3, 32)):
            await command(other)
        assert await host.write_response(Register.CONTROL, start | reset, strobe=0b1110) == OKAY
        await ctx.tick().repeat(20)
        for bits in (reset, start | reset):
            await command(bits)
            await until(ctx, control.clear, 0)
            await ctx.tick().repeat(5)
        ctx.set(control.memory_idle, 1)  # a reset that goes on
        await command(reset)
        await command(start)  # ignored
        assert await host.read(Register.STATUS) == Status.BUSY
        await command(reset)  # from the beginning
        await ctx.tick().repeat(20)
        ctx.set(control.memory_idle, 3)
        await ctx.tick().repeat(4)
        assert await host.read(Register.STATUS) == 0
        await command(start)
        await until(ctx, control.start, ALL_CORES)
        await command(reset)
        await until(ctx, control.clear, 0)
        await ctx.tick().repeat(5)
        assert await host.read(Register.STATUS) == 0
        await command(start)
        await ctx.tick().repeat(3)
        await command(reset)  # while it clears for a start
        await until(ctx, control.clear, 0)
        await ctx.tick().repeat(5)
        for offset in range(8):  # a reset at the very end of a run wins
            await command(start)
            await until(ctx, control.start, ALL_CORES)
            write = {"awaddr": Register.CONTROL, "awvalid": 1, "wdata": reset, "wstrb": 15, "wvalid": 1, "bready": 1}
            for name, value in write.items():
                ctx.set(getattr(control.bus, name), value)
            for cycle in range(8):
                ctx.set(control.core_done, ALL_CORES if cycle >= offset else 0)
                await ctx.tick()
                ctx.set(Cat(control.bus.awvalid, control.bus.wvalid), 0)
            ctx.set(Cat(control.core_done, control.bus.bready), 0)
            await until(ctx, control.clear, 0)
            await ctx.tick()
            assert not ctx.get(control.irq)
            assert await host.read(Register.STATUS) == 0
        ctx.set(control.core_done, ALL_CORES)
        await command(start)
        await until(ctx, control.irq)
        await command(start | ControlBit.CLEAR_IRQ)
        assert not ctx.get(control.irq)
        await until(ctx, control.irq)
        ctx.set(Cat(control.core_done, control.memory_idle), 0)
        await command(start)
        for phase in (control.clear, control.running, control.irq):  # a write without its lowest byte does nothing
            await until(ctx, phase)
            assert await host.write_response(Register.CONTROL, 0xFFFFFFFF, strobe=0b1110) == OKAY
            await ctx.tick().repeat(10)
            assert ctx.get(phase)
            ctx.set(control.memory_idle, 3)
            ctx.set(control.core_done, ALL_CORES if phase is control.running else 0)

    life = simulate(test)
    assert life.starts == [ALL_CORES] * 12
    assert life.clears.count(CLEAR_CYCLES) == len(life.clears) - 3  # but for those that were held up or begun again


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
        for lasts in (1, 54, 1100):
            ctx.set(control.core_done, 0)
            await host.write(Register.CONTROL, ControlBit.START)
            assert await host.read(Register.CYCLES_LOW) == 0
            await until(ctx, control.start, ALL_CORES)
            await ctx.tick().repeat(lasts)
            ctx.set(control.core_done, ALL_CORES)
            await until(ctx, control.irq)
            assert await host.read(Register.CYCLES_LOW) == lasts + 1

    simulate(test)


def test_cycles_can_be_read_during_a_run() -> None:
    async def test(ctx: Any, control: Control, host: LiteHost) -> None:
        await host.write(Register.CONTROL, ControlBit.START)
        await until(ctx, control.start, ALL_CORES)
        reads = [await host.read(Register.CYCLES_LOW) for _ in range(20)]
        steps = {after - before for before, after in pairwise(reads)}
        assert len(steps) == 1
        assert 0 < reads[0] <= steps.pop()

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
        for active in range(16):
            ctx.set(control.core_done, 0)
            noise = random.Random(active).getrandbits(28) << 4
            await host.write(Register.ACTIVE_CORES_LOW, noise | active)
            await host.write(Register.CONTROL, ControlBit.START)
            await until(ctx, control.running)
            assert ctx.get(control.start) == active
            await ctx.tick()
            for core in range(4):
                if active >> core & 1:
                    ctx.set(control.core_done, ALL_CORES & ~(1 << core))
                    await ctx.tick().repeat(2)
                    assert ctx.get(control.running)
            ctx.set(control.core_done, active)
            await ctx.tick()
            assert not ctx.get(control.running)
            assert await host.read(Register.STATUS) == Status.DONE | Status.IRQ

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


@pytest.mark.parametrize("seed", range(2))
def test_of_several_errors_the_one_of_the_lowest_node_counts(seed: int) -> None:
    nodes = CHIP.n_nodes

    async def test(ctx: Any, control: Control, host: LiteHost) -> None:
        rng = random.Random(seed)
        for turn in range(12):
            failing = {turn} if turn < nodes else set(rng.sample(range(nodes), rng.randrange(2, nodes)))
            codes = [rng.choice([1 << rng.randrange(8), rng.randrange(1, 256)]) for _ in range(nodes)]
            units = [rng.randrange(4) for _ in range(CHIP.n_cores)]

            def show(failing: set[int], codes: list[int] = codes, units: list[int] = units) -> None:
                for node, code in enumerate(codes):
                    shown = code if node in failing else 0
                    if node < CHIP.n_cores:
                        ctx.set(control.core_error[node], shown)
                        ctx.set(control.core_error_unit[node], units[node])
                    else:
                        ctx.set(control.memory_error[node - CHIP.n_cores], shown)

            show(failing)  # nothing runs yet
            await host.write(Register.CONTROL, ControlBit.CLEAR_IRQ)
            await ctx.tick().repeat(3)
            assert not ctx.get(control.irq)
            show(set())
            await host.write(Register.CONTROL, ControlBit.START)
            await until(ctx, control.start, ALL_CORES)
            await ctx.tick().repeat(1 + rng.randrange(4))
            show(failing)
            ctx.set(control.core_done, rng.choice([0, ALL_CORES]))
            await ctx.tick()
            assert not ctx.get(control.running)
            show(set(range(nodes)), [0xFF] * nodes)  # too late
            await ctx.tick()
            assert ctx.get(control.halt)
            cycles = await host.read(Register.CYCLES_LOW)
            everything = 0xFFFFFFFF  # nothing of it is meant for control
            assert await host.write_response(Register.CONTROL, everything, strobe=0b1110) == OKAY
            assert await host.write_response(Register.CONTROL | 1 << 6 + turn % 10, everything) == SLVERR
            assert await host.read(Register.CYCLES_LOW) == cycles
            assert await host.read(Register.STATUS) == Status.ERROR | Status.IRQ
            node = min(failing)
            unit = units[node] if node < CHIP.n_cores else NO_UNIT
            assert await host.read(Register.ERROR) == codes[node] | node << 8 | unit << 16
            await host.write(Register.CONTROL, ControlBit.CLEAR_IRQ)
            assert await host.read(Register.STATUS) == Status.ERROR
            ctx.set(control.core_done, 0)
            if rng.randrange(2):
                await host.write(Register.CONTROL, ControlBit.RESET)
                await until(ctx, control.clear, 0)
                assert await host.read(Register.ERROR) == 0
                assert await host.read(Register.STATUS) == 0
                assert not ctx.get(control.halt)

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
        for cycles in (1, 8, 127, 300):
            await host.write(Register.WATCHDOG, cycles)
            await host.write(Register.CONTROL, ControlBit.START)
            await until(ctx, control.start, ALL_CORES)
            assert await until(ctx, control.irq, limit=400) == cycles + 2  # the pulse, then so many
        await host.write(Register.WATCHDOG, 0)
        await host.write(Register.CONTROL, ControlBit.START)
        await until(ctx, control.start, ALL_CORES)
        for bit in range(7, 32):  # none of these has passed
            ctx.set(control.progress, 1)
            await ctx.tick()
            ctx.set(control.progress, 0)
            await host.write(Register.WATCHDOG, 1 << bit)
            await ctx.tick().repeat(4)
            assert ctx.get(control.running)

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
        for idle, cycles in ((0, 70), (1, 33), (2, 40), (0, 3)):
            ctx.set(control.memory_idle, idle)
            await host.write(Register.WATCHDOG, cycles)
            await host.write(Register.CONTROL, ControlBit.START)
            while not ctx.get(control.irq):
                await ctx.tick()
            assert await host.read(Register.ERROR) == ErrorCode.WATCHDOG | NO_NODE << 8 | NO_UNIT << 16

    life = simulate(test)
    assert life.clears[1:] == [71, 34, 41, CLEAR_CYCLES]
    assert not life.starts


def test_counters_of_every_block_are_read_right_after_their_selection() -> None:
    async def test(ctx: Any, control: Control, host: LiteHost) -> None:
        blocks = [(BlockKind.CORE, 4), (BlockKind.ROUTER, 4), (BlockKind.MEMORY, 2)]
        for block in [block_index(kind, index, 4) for kind, count in blocks for index in range(count)]:
            for counter in (0, 63, *random.Random(block).sample(range(64), 4)):
                await host.write(Register.COUNTER_SELECT, block << 8 | counter)
                expected = counter_of(block, counter)
                assert await host.read(Register.COUNTER_LOW) == expected & 0xFFFFFFFF
                assert await host.read(Register.COUNTER_HIGH) == expected >> 32
                await host.write(Register.COUNTER_SELECT, counter)
                assert await host.read(Register.COUNTER_HIGH) == expected >> 32, "of the last COUNTER_LOW"
        for block in (10, 15, *(1 << bit | low for bit in range(4, 8) for low in (0, 9))):
            await host.write(Register.COUNTER_SELECT, block << 8)
            assert await host.read(Register.COUNTER_LOW) == 0
            assert await host.read(Register.COUNTER_HIGH) == 0

    simulate(test)


def test_a_chip_with_marks_selects_an_entry_of_the_trace_memories_beside_the_counter() -> None:
    chip = default_chip(2, CoreParams(marks=32))

    async def test(ctx: Any, control: Control, host: LiteHost) -> None:
        rng = random.Random(5)
        for entry in (0, 31, 255, *(1 << bit for bit in range(8))):
            block, counter = rng.randrange(5), rng.randrange(64)
            await host.write(Register.COUNTER_SELECT, entry << 16 | block << 8 | counter | rng.getrandbits(8) << 24)
            assert ctx.get(control.trace_entry) == entry
            assert await host.read(Register.COUNTER_SELECT) == entry << 16 | block << 8 | counter
            assert await host.read(Register.COUNTER_LOW) == counter_of(block, counter) & 0xFFFFFFFF
            assert await host.read(Register.COUNTER_HIGH) == counter_of(block, counter) >> 32
        for strobe in range(16):
            await host.write(Register.COUNTER_SELECT, 0)
            await host.write_response(Register.COUNTER_SELECT, 0xA50037, strobe)
            assert ctx.get(control.trace_entry) == (0xA5 if strobe & 4 else 0)

    simulate(test, chip=chip)
