"""Control: the registers of `rtl.contract.regs` behind an AXI4-Lite slave, and the life of a run."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value, unsigned
from amaranth.lib import enum, wiring
from amaranth.lib.wiring import In, Out

from rtl.contract.isa import MARK_BITS
from rtl.contract.params import ChipParams
from rtl.contract.regs import COUNTER_BITS, ID_VALUE, NO_NODE, NO_UNIT, ErrorCode, Register
from rtl.contract.regs import Control as ControlBit
from rtl.dram.axi import Axi4Lite, Resp

__all__ = ["CLEAR_CYCLES", "WATCHDOG_RESET", "Control"]

CLEAR_CYCLES = 8
"""Cycles for which `clear` is held at least: more than any link or response of a block is under way."""
WATCHDOG_RESET = 1 << 20
"""WATCHDOG after reset."""
_READ_CYCLES = 3  # COUNTER_SELECT -> index, entry -> block's value -> multiplexer


class _Phase(enum.Enum, shape=unsigned(2)):
    IDLE = 0
    CLEARING = 1
    STARTING = 2
    RUNNING = 3


class Control(wiring.Component):
    """Starts, watches and ends runs; one access of the host at a time.

    A start clears all blocks (at least `CLEAR_CYCLES`, and until every memory node is idle, since AXI
    bursts under way must be completed), gives a pulse of ``start`` to the active cores and then runs
    until every active core is done and every memory node idle (DONE), or the first error (ERROR: cores
    and memory nodes are halted until the next clear). A START while BUSY is ignored. A write to a
    read-only register has no effect. CYCLES_HIGH and COUNTER_HIGH belong to the last read of the low
    word. Unmapped addresses answer SLVERR; the low two address bits are ignored.

    CYCLES counts from the start pulse (included) to the cycle in which all is done.

    Members
    -------
    bus
        AXI4-Lite slave.
    irq
        High from the end of a run to CLEAR_IRQ, START or RESET.
    clear, halt, running
        To all blocks: soft reset; stop issuing; counters count.
    start
        One pulse, a bit for each core.
    program_base, program_stride
        As written.
    core_done, core_error, core_error_unit, memory_error, memory_idle
        From the blocks; errors are `ErrorCode` values.
    progress
        Something moved; may come late by a few cycles.
    counter_index, counter_value
        Counter to read in every block, and all blocks' values a cycle later, in the order of
        `rtl.contract.regs.block_index`.
    trace_entry
        Entry of a trace memory to read, whose words come two cycles later; only on a chip with marks.
    """

    def __init__(self, *, chip: ChipParams) -> None:
        self._chip = chip
        n_memories = len(chip.memory_nodes)
        super().__init__(
            {
                "bus": In(Axi4Lite()),
                "irq": Out(1),
                "clear": Out(1),
                "halt": Out(1),
                "running": Out(1),
                "start": Out(chip.n_cores),
                "program_base": Out(32),
                "program_stride": Out(32),
                "core_done": In(chip.n_cores),
                "core_error": In(8).array(chip.n_cores),
                "core_error_unit": In(2).array(chip.n_cores),
                "memory_error": In(8).array(n_memories),
                "memory_idle": In(n_memories),
                "progress": In(1),
                "counter_index": Out(6),
                "counter_value": In(COUNTER_BITS).array(2 * chip.n_cores + n_memories),
                **({"trace_entry": Out(MARK_BITS)} if chip.marks else {}),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        chip = self._chip
        self._cycles = Signal(64)
        self._watchdog = Signal(32, init=WATCHDOG_RESET)
        self._active = Signal(64, init=-1)
        self._error, self._error_node, self._error_unit = Signal(8), Signal(8), Signal(2)
        self._done = Signal()
        self._select = Signal(16 + (MARK_BITS if chip.marks else 0))
        self._clear_left = Signal(range(CLEAR_CYCLES), init=CLEAR_CYCLES - 1)
        self._phase = Signal(_Phase)
        self._start_wanted = Signal()  # clearing is the beginning of a run

        self._run(m)
        self._host_writes(m)
        self._host_reads(m)
        m.d.comb += [
            self.running.eq((self._phase == _Phase.STARTING) | (self._phase == _Phase.RUNNING)),
            self.clear.eq(self._phase == _Phase.CLEARING),
            self.halt.eq(self._error != 0),
            self.counter_index.eq(self._select),
        ]
        if chip.marks:
            m.d.comb += self.trace_entry.eq(self._select[16:])
        with m.If(self._phase == _Phase.STARTING):
            m.d.comb += self.start.eq(self._active[: chip.n_cores])
        return m

    def _run(self, m: Module) -> None:
        chip = self._chip
        phase = self._phase
        clear_left = self._clear_left
        idle_cycles = Signal(32)
        expired = Signal()
        m.d.comb += expired.eq((self._watchdog != 0) & (idle_cycles >= self._watchdog))

        def stop(code: Value | int, node: Value | int, unit: Value | int) -> list[Any]:
            return [
                phase.eq(_Phase.IDLE),
                self.irq.eq(1),
                self._error.eq(code),
                self._error_node.eq(node),
                self._error_unit.eq(unit),
            ]

        with m.If((phase == _Phase.IDLE) | (phase == _Phase.STARTING) | self.progress):
            m.d.sync += idle_cycles.eq(0)
        with m.Else():
            m.d.sync += idle_cycles.eq(idle_cycles + 1)

        with m.If(self.running):
            m.d.sync += self._cycles.eq(self._cycles + 1)
        with m.Switch(phase):
            with m.Case(_Phase.CLEARING):
                with m.If(clear_left != 0):
                    m.d.sync += clear_left.eq(clear_left - 1)
                with m.Elif(self.memory_idle.all()):
                    m.d.sync += phase.eq(Mux(self._start_wanted, _Phase.STARTING, _Phase.IDLE))
                with m.Elif(expired):
                    m.d.sync += stop(ErrorCode.WATCHDOG, NO_NODE, NO_UNIT)
            with m.Case(_Phase.STARTING):
                m.d.sync += phase.eq(_Phase.RUNNING)
            with m.Case(_Phase.RUNNING):
                faults = Cat(error != 0 for error in (*self.core_error, *self.memory_error))
                with m.If(faults.any()):
                    for node in reversed(range(chip.n_nodes)):  # the last assignment wins: lowest node first
                        core = node < chip.n_cores
                        code = self.core_error[node] if core else self.memory_error[node - chip.n_cores]
                        with m.If(faults[node]):
                            m.d.sync += stop(code, node, self.core_error_unit[node] if core else NO_UNIT)
                with m.Elif((self.core_done | ~self._active[: chip.n_cores]).all() & self.memory_idle.all()):
                    m.d.sync += [phase.eq(_Phase.IDLE), self.irq.eq(1), self._done.eq(1)]
                with m.Elif(expired):
                    m.d.sync += stop(ErrorCode.WATCHDOG, NO_NODE, NO_UNIT)

    def _host_writes(self, m: Module) -> None:
        """Address and data are taken on their own; the write happens when both are there."""
        bus = self.bus
        addr, data, strobe = Signal(16), Signal(32), Signal(4)
        have_addr, have_data = Signal(), Signal()
        m.d.comb += [bus.awready.eq(~have_addr), bus.wready.eq(~have_data)]
        with m.If(bus.awvalid & bus.awready):
            m.d.sync += [addr.eq(bus.awaddr), have_addr.eq(1)]
        with m.If(bus.wvalid & bus.wready):
            m.d.sync += [data.eq(bus.wdata), strobe.eq(bus.wstrb), have_data.eq(1)]
        with m.If(bus.bready):
            m.d.sync += bus.bvalid.eq(0)

        registers = {
            Register.PROGRAM_BASE: self.program_base,
            Register.PROGRAM_STRIDE: self.program_stride,
            Register.WATCHDOG: self._watchdog,
            Register.ACTIVE_CORES_LOW: self._active[:32],
            Register.ACTIVE_CORES_HIGH: self._active[32:],
            Register.COUNTER_SELECT: self._select,
        }
        with m.If(have_addr & have_data & ~bus.bvalid):
            m.d.sync += [have_addr.eq(0), have_data.eq(0), bus.bvalid.eq(1), bus.bresp.eq(Resp.SLVERR)]
            with m.Switch(addr[2:]):
                for register in Register:
                    with m.Case(register >> 2):
                        m.d.sync += bus.bresp.eq(Resp.OKAY)
                        if register in registers:
                            target = registers[register]
                            for byte in range(len(target) // 8):
                                lane = target[8 * byte : 8 * byte + 8]
                                with m.If(strobe[byte]):
                                    m.d.sync += lane.eq(data[8 * byte : 8 * byte + 8])
                        elif register == Register.CONTROL:
                            with m.If(strobe[0]):
                                self._command(m, data)

    def _command(self, m: Module, bits: Value) -> None:
        def bit(control: ControlBit) -> Value:
            return bits[int(control).bit_length() - 1]

        start = bit(ControlBit.START) & (self._phase == _Phase.IDLE)
        with m.If(bit(ControlBit.CLEAR_IRQ) & self.irq):  # one that rises in this very cycle stays
            m.d.sync += self.irq.eq(0)
        with m.If(bit(ControlBit.RESET) | start):
            m.d.sync += [
                self._phase.eq(_Phase.CLEARING),
                self._clear_left.eq(self._clear_left.init),
                self._start_wanted.eq(bit(ControlBit.START) & ~bit(ControlBit.RESET)),
                self._cycles.eq(0),
                self._done.eq(0),
                self._error.eq(0),
                self._error_node.eq(0),
                self._error_unit.eq(0),
                self.irq.eq(0),
            ]

    def _host_reads(self, m: Module) -> None:
        """Each read takes long enough for the counter of the last COUNTER_SELECT to arrive."""
        bus = self.bus
        chip = self._chip
        addr = Signal(14)
        pending = Signal()
        left = Signal(range(_READ_CYCLES + 1))
        counter = Signal(COUNTER_BITS)
        cycles_high, counter_high = Signal(32), Signal(32)
        busy = self._phase != _Phase.IDLE
        m.d.comb += bus.arready.eq(~pending & ~bus.rvalid)
        with m.If(bus.arvalid & bus.arready):
            m.d.sync += [addr.eq(bus.araddr[2:]), pending.eq(1), left.eq(_READ_CYCLES)]
        with m.If(bus.rvalid & bus.rready):
            m.d.sync += bus.rvalid.eq(0)

        registers = {
            Register.ID: ID_VALUE,
            Register.CONTROL: 0,
            Register.STATUS: Cat(busy, self._done, self._error != 0, self.irq),
            Register.ERROR: Cat(self._error, self._error_node, self._error_unit),
            Register.PROGRAM_BASE: self.program_base,
            Register.PROGRAM_STRIDE: self.program_stride,
            Register.WATCHDOG: self._watchdog,
            Register.CYCLES_LOW: self._cycles[:32],
            Register.CYCLES_HIGH: cycles_high,
            Register.COUNTER_SELECT: self._select,
            Register.COUNTER_LOW: counter[:32],
            Register.COUNTER_HIGH: counter_high,
            Register.ACTIVE_CORES_LOW: self._active[:32],
            Register.ACTIVE_CORES_HIGH: self._active[32:],
        }
        with m.If(pending):
            m.d.sync += left.eq(left - 1)
            with m.If(left == 1):
                blocks = 2 * chip.n_cores + len(chip.memory_nodes)
                with m.Switch(self._select[8:16]):
                    for block in range(blocks):
                        with m.Case(block):
                            m.d.sync += counter.eq(self.counter_value[block])
                    with m.Default():
                        m.d.sync += counter.eq(0)
            with m.If(left == 0):
                m.d.sync += [pending.eq(0), bus.rvalid.eq(1), bus.rdata.eq(0), bus.rresp.eq(Resp.SLVERR)]
                with m.Switch(addr):
                    for register, value in registers.items():
                        with m.Case(register >> 2):
                            m.d.sync += [bus.rdata.eq(value), bus.rresp.eq(Resp.OKAY)]
                            if register == Register.CYCLES_LOW:
                                m.d.sync += cycles_high.eq(self._cycles[32:])
                            elif register == Register.COUNTER_LOW:
                                m.d.sync += counter_high.eq(counter[32:])
