"""Issue: the head of a unit's instruction queue waits for its tokens, takes them and goes to the unit.

END and SYNC are executed here; an instruction that is not for this unit, or whose wait ranges or signals
name what the chip does not have, stops the unit with an error. So does a fence outside the store unit, and in a core
with marks a mark that it does not have, or outside the compute unit.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Signal, Value, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from rtl.contract import isa
from rtl.contract.isa import Opcode, Unit
from rtl.contract.params import ChipParams
from rtl.contract.regs import ErrorCode, UnitState
from rtl.core.signals import SIGNAL, SignalSender
from rtl.core.tokens import take_signature
from rtl.core.trace import mark_signature
from rtl.lib.bits import ones_between

__all__ = ["EVENTS", "Issue"]

EVENTS = data.StructLayout({"issued": 1, "wait": 3, "empty": 1, "queued": 1})
"""Per cycle: an instruction leaves; it waits for range 0, 1 or 2 (the first unmet one); no instruction is here
before END; an issued one has not been accepted by the unit yet."""

OPCODES = {
    Unit.LOAD: (Opcode.END, Opcode.SYNC, Opcode.LOAD),
    Unit.COMPUTE: (Opcode.END, Opcode.SYNC, Opcode.SETUP, Opcode.COMPUTE),
    Unit.STORE: (Opcode.END, Opcode.SYNC, Opcode.STORE, Opcode.POOL, Opcode.TABLE),
}


def _mark(word: Value) -> Value:
    field = isa.Sync["mark"]
    return word[field.offset :][: field.width]


class Issue(wiring.Component):
    """In-order issue of one unit.

    Latency: two cycles from ``i`` to ``o`` when the tokens are there, one from a token's arrival to ``o``.
    Throughput: one instruction every two cycles. Tokens are taken when the instruction moves to ``o``,
    up to one instruction before the unit accepts it. END and SYNC wait until the unit is idle.

    Members
    -------
    i, o
        Instructions in; those for the unit out.
    nonzero, take
        To and from `rtl.core.tokens.TokenFile`.
    signal
        Signals of SYNC.
    idle
        The unit has nothing under way.
    drained
        Every write of the core is acknowledged (END and SYNC with ``fence``, store unit only).
    halt
        Nothing is issued.
    ended
        END has been executed.
    error : ErrorCode
        Stays.
    events : EVENTS
    opcode, state, unmet
        For the debug word.
    mark : Out(`mark_signature`)
        A SYNC with a mark executes; only of the compute unit of a core with marks.
    """

    def __init__(self, *, chip: ChipParams, unit: Unit, marks: int = 0) -> None:
        self.chip = chip
        self.unit = unit
        self.marks = marks
        super().__init__(
            {
                "i": In(stream.Signature(unsigned(isa.INSTRUCTION_BITS))),
                "o": Out(stream.Signature(unsigned(isa.INSTRUCTION_BITS))),
                "nonzero": In(chip.tokens),
                "take": Out(take_signature(chip)),
                "signal": Out(stream.Signature(SIGNAL)),
                "idle": In(1),
                "drained": In(1),
                "halt": In(1),
                "ended": Out(1),
                "error": Out(8),
                "events": Out(EVENTS),
                "opcode": Out(4),
                "state": Out(UnitState),
                "unmet": Out(3),
                **({"mark": Out(mark_signature(marks))} if marks and unit == Unit.COMPUTE else {}),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        tokens = self.chip.tokens
        word = self.i.payload
        prefix = data.View(isa.Prefix, word[: isa.Prefix.size])
        signals = data.View(isa.Signals, word[isa.Prefix.size :][: isa.Signals.size])
        opcode = word[:4]

        m.submodules.sender = sender = SignalSender()
        m.d.comb += [
            sender.signals.eq(signals),
            self.signal.payload.eq(sender.o.payload),
            self.signal.valid.eq(sender.o.valid),
            sender.o.ready.eq(self.signal.ready),
        ]

        state = Signal(UnitState)
        masks = [Signal(tokens, name=f"mask{i}", reset_less=True) for i in range(3)]
        is_end = Signal()
        is_sync = Signal()
        fence = Signal()
        unmet = Signal(3)
        free = Signal()
        ready = Signal()
        m.d.comb += [self.state.eq(state), self.opcode.eq(opcode), self.unmet.eq(unmet)]

        unit_idle = self.idle & ~self.o.valid & ~sender.busy
        with m.If(is_end):
            needs_drain = self.unit == Unit.STORE
            m.d.comb += ready.eq(unit_idle & self.drained if needs_drain else unit_idle)
        with m.Elif(is_sync):
            m.d.comb += ready.eq(unit_idle & (~fence | self.drained))
        with m.Else():
            m.d.comb += ready.eq(free)
        m.d.comb += free.eq(~self.o.valid | self.o.ready)
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)

        with m.If((state == UnitState.DECODE) & self.i.valid & ~self.halt):
            failed, code = self._check(m, opcode, prefix, signals)
            m.d.sync += [
                mask.eq(ones_between(prefix[f"wait{i}_first"], prefix[f"wait{i}_count"], tokens))
                for i, mask in enumerate(masks)
            ]
            m.d.sync += [
                is_end.eq(opcode == Opcode.END),
                is_sync.eq(opcode == Opcode.SYNC),
                fence.eq(word[isa.Sync["fence"].offset]),
                state.eq(UnitState.WAIT),
            ]
            with m.If(failed):
                m.d.sync += [state.eq(UnitState.FAILED), self.error.eq(code)]
        with m.If(state == UnitState.WAIT):
            m.d.comb += [
                unmet.eq(Cat((mask & ~self.nonzero).any() for mask in masks)),
                self.take.valid.eq(~unmet.any() & ready & ~self.halt),
                self.take.mask.eq(masks[0] | masks[1] | masks[2]),
                self.events.wait.eq(unmet & ~(unmet << 1 | unmet << 2)[:3]),
            ]
            with m.If(self.take.grant):
                m.d.comb += [self.i.ready.eq(1), self.events.issued.eq(1), sender.fire.eq(is_sync)]
                m.d.sync += state.eq(UnitState.DECODE)
                with m.If(is_end):
                    m.d.sync += state.eq(UnitState.ENDED)
                with m.If(~is_end & ~is_sync):
                    m.d.sync += [self.o.valid.eq(1), self.o.payload.eq(word)]
        if self.marks and self.unit == Unit.COMPUTE:
            number = _mark(word)
            m.d.comb += [
                self.mark.valid.eq(self.take.grant & is_sync & (number != 0)),
                self.mark.entry.eq(number),  # modulo marks
            ]
        m.d.comb += [
            self.ended.eq(state == UnitState.ENDED),
            self.events.empty.eq((state == UnitState.DECODE) & ~self.i.valid),
            self.events.queued.eq(self.o.valid),
        ]
        return m

    def _check(self, m: Module, opcode: Value, prefix: data.View, signals: data.View) -> tuple[Value, Value]:
        """Whether the instruction at the head is refused, and the error code."""
        chip = self.chip
        legal = Signal()
        for code in OPCODES[self.unit]:
            with m.If(opcode == int(code)):
                m.d.comb += legal.eq(1)
        bad = Signal()
        for i in range(3):
            first, count = prefix[f"wait{i}_first"], prefix[f"wait{i}_count"]
            with m.If((count != 0) & (first + count > chip.tokens)):
                m.d.comb += bad.eq(1)
        signalling = (Opcode.SYNC, Opcode.COMPUTE, Opcode.STORE, Opcode.TABLE)
        with m.If(Cat(opcode == int(code) for code in signalling).any()):
            for i in range(3):
                token, core = signals[f"signal{i}_token"], signals[f"signal{i}_core"]
                with m.If(signals[f"signal{i}_valid"] & ((token >= chip.tokens) | (core >= chip.n_cores))):
                    m.d.comb += bad.eq(1)
        if self.unit != Unit.STORE:
            with m.If((opcode == Opcode.SYNC) & self.i.payload[isa.Sync["fence"].offset]):
                m.d.comb += bad.eq(1)
        if self.marks:
            highest = self.marks if self.unit == Unit.COMPUTE else 0
            with m.If((opcode == Opcode.SYNC) & (_mark(self.i.payload) > highest)):
                m.d.comb += bad.eq(1)
        failed = Signal()
        code = Signal(8)
        m.d.comb += [
            failed.eq(~legal | bad),
            code.eq(ErrorCode.ILLEGAL_FIELD),
        ]
        with m.If(~legal):
            m.d.comb += code.eq(ErrorCode.ILLEGAL_OPCODE)
        return failed, code
