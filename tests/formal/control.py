"""Proof of the chip's control: AXI4-Lite, registers, and the order in which a run is cleared, started and ended."""

from __future__ import annotations

from amaranth.hdl import Cat, Mux, Signal

from rtl.contract.regs import Control as Bits
from rtl.contract.regs import Register
from rtl.control import CLEAR_CYCLES, Control
from rtl.dram.axi import Resp
from tests.formal.harness import Harness, Inside, keeps
from tests.formal.prover import Bug, Proof
from tests.unit.rtl.noc.noc_models import small_chip

__all__ = ["PROOFS"]

STAYS = "an offered response stays"
ANSWERED = "each access is answered once: a write in the next cycle, a read within five, and nothing else is"
RESPONSES = "an address without a register answers SLVERR, any other OKAY"
WRITTEN = "a register holds the bytes last written to it"
CLEARED = "clear comes from RESET, or from START while idle, and lasts 8 cycles and until the memory nodes are idle"
STARTED = "active cores, and no others, get one pulse, behind clear"
ENDED = "done means that every active core was done and every memory node idle, without an error"
INTERRUPT = "the interrupt rises at a run's end, and stays until the host takes it away"
FIRST_ERROR = "the first error, of the lowest node, stays until the next clear, and halts the chip until then"

READ_CYCLES = 4


def control() -> Harness:
    """Two cores, one memory node; everything around it does anything."""
    h = Harness()
    m = h.m
    chip = small_chip(2, 1, 1)
    dut = Control(chip=chip)
    inside = Inside(m, "dut", dut)
    bus = dut.bus
    h.drive(bus.awvalid, bus.awaddr, bus.wvalid, bus.wdata, bus.wstrb, bus.bready, bus.arvalid, bus.araddr, bus.rready)
    h.drive(dut.core_done, *dut.core_error, *dut.core_error_unit, *dut.memory_error, dut.memory_idle, dut.progress)
    for name, payload in (("aw", bus.awaddr), ("w", Cat(bus.wdata, bus.wstrb)), ("ar", bus.araddr)):
        valid, ready = getattr(bus, f"{name}valid"), getattr(bus, f"{name}ready")
        h.assume(keeps(h, name, valid=valid, ready=ready, payload=payload))
    for name, payload in (("b", bus.bresp), ("r", Cat(bus.rdata, bus.rresp))):
        valid, ready = getattr(bus, f"{name}valid"), getattr(bus, f"{name}ready")
        h.always(STAYS, keeps(h, name, valid=valid, ready=ready, payload=payload))

    # Counts of what has no response yet; what the write that is answered now was.
    taken = {name: getattr(bus, f"{name}valid") & getattr(bus, f"{name}ready") for name in ("aw", "w", "b", "ar", "r")}
    addresses, words, reads = Signal(2), Signal(2), Signal(2)
    m.d.sync += [
        addresses.eq(addresses + taken["aw"] - taken["b"]),
        words.eq(words + taken["w"] - taken["b"]),
        reads.eq(reads + taken["ar"] - taken["r"]),
    ]
    addr, word, strobe, read_addr = Signal(14), Signal(32), Signal(4), Signal(14)
    with m.If(taken["aw"]):
        m.d.sync += addr.eq(bus.awaddr[2:])
    with m.If(taken["w"]):
        m.d.sync += [word.eq(bus.wdata), strobe.eq(bus.wstrb)]
    with m.If(taken["ar"]):
        m.d.sync += read_addr.eq(bus.araddr[2:])
    at, data, lanes = h.past(addr, "at"), h.past(word, "data"), h.past(strobe, "lanes")
    writes = bus.bvalid & ~h.past(bus.bvalid & ~bus.bready, "b_waits")
    due = (addresses != 0) & (words != 0)
    h.always(ANSWERED, ~bus.bvalid | due)
    h.always(ANSWERED, ~h.past(due & ~bus.bvalid, "due") | bus.bvalid)
    age = Signal(3)
    m.d.sync += age.eq(Mux((reads != 0) & ~bus.rvalid, age + 1, 0))
    h.always(ANSWERED, ~bus.rvalid | (reads == 1))
    h.always(ANSWERED, (age <= READ_CYCLES) & (reads <= 1))

    def known(value: Signal) -> Signal:
        return Cat(value == (register >> 2) for register in Register).any()

    h.always(RESPONSES, ~writes | (bus.bresp == Mux(known(at), Resp.OKAY, Resp.SLVERR)))
    h.always(RESPONSES, ~bus.rvalid | (bus.rresp == Mux(known(read_addr), Resp.OKAY, Resp.SLVERR)))
    for register, value in (
        (Register.PROGRAM_BASE, dut.program_base),
        (Register.WATCHDOG, dut._watchdog),
        (Register.ACTIVE_CORES_HIGH, dut._active[32:]),
    ):
        init = {Register.WATCHDOG: dut._watchdog.init, Register.ACTIVE_CORES_HIGH: (1 << 32) - 1}.get(register, 0)
        kept, expected = Signal(32, init=init, name=f"kept_{register.name}"), Signal(32, name=f"is_{register.name}")
        m.d.comb += expected.eq(kept)
        with m.If(writes & (at == register >> 2)):
            m.d.comb += expected.eq(
                Cat(Mux(lanes[i], data.word_select(i, 8), kept.word_select(i, 8)) for i in range(4))
            )
        m.d.sync += kept.eq(expected)
        h.always(WRITTEN, value == expected)

    # Runs, as seen from outside.
    def bit(control: Bits) -> Signal:
        return data[int(control).bit_length() - 1]

    command = writes & (at == Register.CONTROL >> 2) & lanes[0]
    cleared, was_running = h.past(dut.clear, "cleared"), h.past(dut.running, "was_running")
    idle_memory = h.past(dut.memory_idle.all(), "idle_memory")
    length = Signal(range(CLEAR_CYCLES + 1))
    m.d.sync += length.eq(Mux(dut.clear, Mux(length == CLEAR_CYCLES, length, length + 1), 0))
    begins = dut.clear & ~cleared
    h.always(CLEARED, ~begins | (command & (bit(Bits.RESET) | (bit(Bits.START) & ~was_running))))
    h.always(CLEARED, ~(command & bit(Bits.RESET)) | dut.clear)
    failed = dut.halt & ~h.past(dut.halt, "halted")
    h.always(CLEARED, dut.clear | ~cleared | (length == CLEAR_CYCLES))
    h.always(CLEARED, dut.clear | ~cleared | idle_memory | failed)
    active = dut._active[: chip.n_cores]
    starts = h.past(dut.running, "ran") < dut.running
    h.always(STARTED, dut.start == Mux(starts, active, 0))
    h.always(STARTED, ~starts | (cleared & idle_memory & (length == CLEAR_CYCLES)))
    errors = [*dut.core_error, *dut.memory_error]
    faulty = h.past(Cat(error != 0 for error in errors), "faulty")
    all_done = h.past((dut.core_done | ~active).all() & dut.memory_idle.all(), "all_done")
    ends = dut._done & ~h.past(dut._done, "was_done")
    h.always(ENDED, ~ends | (was_running & all_done & (faulty == 0) & ~dut.running))
    h.always(ENDED, ~dut._done | ~(dut.running | dut.clear | dut.halt))
    rises, falls = dut.irq & ~h.past(dut.irq, "had_irq"), ~dut.irq & h.past(dut.irq, "no_irq")
    h.always(INTERRUPT, (~rises | ends | failed) & (~(ends | failed) | dut.irq))
    host = command & (bit(Bits.CLEAR_IRQ) | bit(Bits.START) | bit(Bits.RESET))
    h.always(INTERRUPT, ~falls | host)
    h.always(INTERRUPT, ~(command & bit(Bits.RESET)) | ~dut.irq)
    code, node = h.past(Cat(errors), "codes"), dut._error_node
    stopped = failed & was_running & (faulty != 0)
    for i in range(len(errors)):
        lowest = faulty[i] & (faulty[:i] == 0)
        h.always(FIRST_ERROR, ~(stopped & lowest) | ((node == i) & (dut._error == code.word_select(i, 8))))
    kept_error = Cat(dut._error, dut._error_node, dut._error_unit)
    h.always(FIRST_ERROR, (dut._error == 0) | failed | (kept_error == h.past(kept_error, "kept_error")))
    h.always(FIRST_ERROR, dut.halt | ~h.past(dut.halt, "was_halted") | dut.clear)
    h.always(FIRST_ERROR, ~dut.halt | ~dut.running)

    phase = dut._phase.as_value()
    h.invariant(~dut.clear | (length + dut._clear_left >= CLEAR_CYCLES - 1))
    h.invariant(~(dut._error != 0) | (phase == 0))
    h.invariant(~(dut._done | dut.irq) | (phase == 0))
    h.invariant(((length != 0) == cleared) & (length <= CLEAR_CYCLES))
    (have_addr,), have_data = inside.nameless(1), inside.signal("have_data")
    (stored_at,), (stored,), stored_lanes = inside.nameless(16), inside.nameless(32)[:1], inside.signal("strobe")
    h.invariant(~have_addr | (stored_at[2:] == addr))
    h.invariant(~have_data | ((stored == word) & (stored_lanes == strobe)))
    pending, left, stored_read = inside.signal("pending"), inside.signal("left"), inside.signal("addr")
    h.invariant((reads == pending + bus.rvalid) & (~(pending | bus.rvalid) | (stored_read == read_addr)))
    h.invariant(Mux(pending, age + left == READ_CYCLES - 1, (age == 0) | ((age == READ_CYCLES) & bus.rvalid)))
    h.invariant((addresses == have_addr + bus.bvalid) & (words == have_data + bus.bvalid))
    h.cover("a run ends", ends)
    h.cover("a run ends in an error of the second core", stopped & (node == 1))
    h.cover("clear waits for a memory node", dut.clear & (length == CLEAR_CYCLES))
    h.cover("a write waits for the response before it", (addresses == 2) & (words == 2))
    return h


def _control(old: str, new: str) -> Bug:
    return Bug("rtl.control", old, new)


_BUGS = {
    STAYS: [_control("with m.If(bus.bready):", "with m.If(1):")],
    ANSWERED: [
        _control("have_addr & have_data & ~bus.bvalid", "have_addr & ~bus.bvalid"),
        _control("bus.arready.eq(~pending & ~bus.rvalid)", "bus.arready.eq(~bus.rvalid)"),
    ],
    RESPONSES: [
        _control("bus.bvalid.eq(1), bus.bresp.eq(Resp.SLVERR)", "bus.bvalid.eq(1)"),
        _control("bus.rdata.eq(value), bus.rresp.eq(Resp.OKAY)", "bus.rdata.eq(value)"),
    ],
    WRITTEN: [_control("with m.If(strobe[byte]):", "with m.If(strobe[0]):")],
    CLEARED: [
        _control("bit(ControlBit.START) & (self._phase == _Phase.IDLE)", "bit(ControlBit.START)"),
        _control("with m.Elif(self.memory_idle.all()):", "with m.Elif(1):"),
    ],
    STARTED: [_control("self.start.eq(self._active[: chip.n_cores])", "self.start.eq(-1)")],
    ENDED: [_control(").all() & self.memory_idle.all()", ").all()")],
    INTERRUPT: [
        _control("with m.If(bit(ControlBit.CLEAR_IRQ) & self.irq):", "with m.If(1):"),
        _control("bit(ControlBit.CLEAR_IRQ) & self.irq", "bit(ControlBit.CLEAR_IRQ)"),
    ],
    FIRST_ERROR: [_control("in reversed(range(chip.n_nodes))", "in range(chip.n_nodes)")],
}
PROOFS = [Proof("Control", control, 1, _BUGS, bug_steps=18, quick=False)]
