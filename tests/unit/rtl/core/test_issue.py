"""`Issue` with `TokenFile` against a model that reads the instructions; and alone, every output in every cycle."""

from __future__ import annotations

import random
from collections import deque
from typing import Any

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring

from rtl.contract import codec, isa
from rtl.contract.isa import Opcode, Unit
from rtl.contract.params import default_chip
from rtl.contract.regs import ErrorCode, UnitState
from rtl.core.issue import Issue
from rtl.core.tokens import TokenFile
from tests.unit.rtl.drivers import Sink, send, simulate

CHIP = default_chip(4, tokens=32)
OWN = {
    Unit.LOAD: [Opcode.LOAD],
    Unit.COMPUTE: [Opcode.COMPUTE],
    Unit.STORE: [Opcode.STORE, Opcode.POOL, Opcode.TABLE],
}


def word(opcode: Opcode, **fields: int) -> int:
    return int.from_bytes(codec.encode(opcode, **fields), "little")


def build(unit: Unit) -> tuple[Module, Issue, TokenFile]:
    m = Module()
    m.submodules.dut = dut = Issue(chip=CHIP, unit=unit)
    m.submodules.tokens = tokens = TokenFile(chip=CHIP)
    wiring.connect(m, dut.take, tokens.takes[unit])
    m.d.comb += dut.nonzero.eq(tokens.nonzero)
    return m, dut, tokens


def random_program(rng: random.Random, unit: Unit, length: int) -> list[dict[str, int]]:
    program = []
    for number in range(length):
        opcode = rng.choice(OWN[unit] * 4 + [Opcode.SYNC])
        fields: dict[str, int] = {"opcode": opcode}
        for i in range(3):
            if rng.random() < 0.5:
                first = rng.randrange(CHIP.tokens)
                fields |= {f"wait{i}_first": first, f"wait{i}_count": rng.randint(0, min(3, CHIP.tokens - first))}
        if opcode == Opcode.SYNC:
            for i in range(3):
                fields |= {
                    f"signal{i}_valid": rng.randrange(2),
                    f"signal{i}_token": rng.randrange(CHIP.tokens),
                    f"signal{i}_core": rng.randrange(CHIP.n_cores),
                }
        elif opcode == Opcode.LOAD:
            fields["dram_addr"] = number
        elif opcode == Opcode.COMPUTE:
            fields["act_base"] = number
        elif opcode == Opcode.TABLE:
            fields["param_base"] = number
        elif opcode == Opcode.POOL:  # ones where other instructions have their signals
            fields |= {name: codec.field_range(Opcode.POOL, name)[1] for name in ("kernel_h", "in_h", "in_w", "out_w")}
            fields["pad_top"] = number % 8
        else:
            fields["addr"] = number
        program.append(fields)
    return [*program, {"opcode": Opcode.END}]


def waited(fields: dict[str, int]) -> set[int]:
    return {fields.get(f"wait{i}_first", 0) + k for i in range(3) for k in range(fields.get(f"wait{i}_count", 0))}


@pytest.mark.parametrize("unit", list(Unit), ids=lambda u: u.name)
@pytest.mark.parametrize("seed", range(3), ids=lambda s: f"seed{s}")
def test_instructions_go_in_order_and_take_their_tokens(unit: Unit, seed: int) -> None:
    rng = random.Random(100 * seed + unit)
    program = random_program(rng, unit, 60)
    words = [word(**fields) for fields in program]
    m, dut, tokens = build(unit)
    sink = Sink(dut.o, rng, stall=0.4)
    signals = Sink(dut.signal, rng, stall=0.4)
    supply = [token for fields in program for token in waited(fields)]
    model = [0] * CHIP.tokens

    async def give(ctx) -> None:
        """Tokens come one by one, in an order that never starves the head for long."""
        ctx.set(dut.idle, 1)
        for index, token in enumerate(supply):
            while rng.random() < 0.5:
                await ctx.tick()
            increment = tokens.increments[index % 3]
            ctx.set(increment.token, token)
            ctx.set(increment.valid, 1)
            await ctx.tick()
            ctx.set(increment.valid, 0)

    async def watch(ctx) -> None:
        taken = 0
        increments = [value for port in tokens.increments for value in (port.valid, port.token)]
        while True:
            _, _, grant, mask, *added = await ctx.tick().sample(dut.take.grant, dut.take.mask, *increments)
            if grant:
                assert mask == sum(1 << token for token in waited(program[taken]))
                assert all(model[token] for token in waited(program[taken]))
                for token in waited(program[taken]):
                    model[token] -= 1
                taken += 1
            for valid, token in zip(added[::2], added[1::2], strict=True):
                model[token] += valid

    async def feed(ctx) -> None:
        ctx.set(dut.drained, 1)
        await send(ctx, dut.i, words, rng, 0.3)
        for _ in range(400):
            if ctx.get(dut.ended):
                break
            await ctx.tick()
        await ctx.tick().repeat(5)
        assert ctx.get(dut.ended)
        assert not ctx.get(dut.error)

    simulate(m, feed, give, background=[watch, sink.run, signals.run])
    assert model == [0] * CHIP.tokens
    assert [w for _, w in sink.words] == [w for w, f in zip(words, program, strict=True) if f["opcode"] in OWN[unit]]
    expected = [
        (fields[f"signal{i}_token"], fields[f"signal{i}_core"])
        for fields in program
        for i in range(3)
        if fields.get(f"signal{i}_valid")
    ]
    assert [(w.token, w.core) for _, w in signals.words] == expected


def test_one_instruction_every_two_cycles() -> None:
    m, dut, _ = build(Unit.LOAD)

    async def bench(ctx) -> None:
        ctx.set(dut.i.valid, 1)
        ctx.set(dut.i.payload, word(Opcode.LOAD))
        ctx.set(dut.o.ready, 1)
        issued = []
        for _ in range(20):
            issued.append(ctx.get(dut.o.valid))
            await ctx.tick()
        assert issued[:2] == [0, 0]
        assert sum(issued[2:]) == 9

    simulate(m, bench)


MARK = isa.Sync["mark"]
MARK_VALUES = (0, 1, 2, 4, 8, 15, 16, 17, 18, 20, 24, 32, 64, 128, 255)
"""Of a core with 16 marks."""
FAULTS = [
    *(("opcode", value) for value in range(9, 16)),
    *(("range", CHIP.tokens + (1 << k)) for k in range(8) if 1 << k != CHIP.tokens),
    *(("token", value) for value in (32, 64, 96)),
    *(("core", value) for value in (4, 8, 16, 32)),
    ("fence", 1),
]
"""The opcode; the end of a wait range, or a signal's token or core, the least bad ones; a fence."""


def model_word(
    rng: random.Random, unit: Unit, fault: str = "", value: int = 0, place: int = 0, marks: int = 0
) -> tuple[int, list[range], list[tuple[int, int]], int]:
    """An instruction of any bits; the counters of its wait ranges, its signals, its error.

    There is one fault at most, of wait range or signal ``place``. SYNCs of a core with ``marks`` have
    marks that it has.
    """
    known = [*OWN[unit], *([Opcode.SETUP] if unit == Unit.COMPUTE else []), Opcode.SYNC]
    signalling = {Opcode.SYNC, Opcode.COMPUTE, Opcode.STORE, Opcode.TABLE}
    if fault in {"token", "core"}:
        known = [code for code in known if code in signalling]
    opcode: int = Opcode.SYNC if fault in {"fence", "mark"} else rng.choice(known)
    fields = {}
    ranges = []
    for i in range(3):
        count = rng.choice([0, 0, 1, 2, 4, 8, 16, CHIP.tokens - 1, CHIP.tokens])
        last = CHIP.tokens - count if count else 127
        first = rng.choice([0, last, rng.randint(0, last)])
        fields |= {f"wait{i}_first": first, f"wait{i}_count": count}
        ranges.append(range(first, first + count))
    signals = {}
    for i in range(3):
        valid = rng.randrange(2)
        used = valid and opcode in signalling
        signals |= {
            f"signal{i}_valid": valid,
            f"signal{i}_token": rng.randrange(CHIP.tokens if used else 128),
            f"signal{i}_core": rng.randrange(CHIP.n_cores if used else 64),
        }
    fence = rng.randrange(2) if opcode != Opcode.SYNC or unit == Unit.STORE else 0
    error = ErrorCode.ILLEGAL_FIELD if fault else 0
    match fault:
        case "opcode":
            opcode, error = value, ErrorCode.ILLEGAL_OPCODE
        case "range":
            count = rng.randint(max(1, value - 127), min(127, value))
            fields |= {f"wait{place}_count": count, f"wait{place}_first": value - count}
        case "token" | "core":
            good = {"valid": 1, "token": rng.randrange(CHIP.tokens), "core": rng.randrange(CHIP.n_cores)}
            signals |= {f"signal{place}_{name}": number for name, number in (good | {fault: value}).items()}
        case "fence":
            fence = 1
            error *= unit != Unit.STORE
    raw = rng.getrandbits(isa.INSTRUCTION_BITS) >> isa.Prefix.size + isa.Signals.size
    raw = raw << isa.Signals.size | isa.Signals.const(signals).as_bits()
    raw = raw << isa.Prefix.size | isa.Prefix.const(fields).as_bits()
    at = isa.Sync["fence"].offset
    raw = raw & ~(1 << at) | fence << at | opcode
    if marks and opcode == Opcode.SYNC:
        mark = rng.choice([0, marks, rng.randint(0, marks)]) if unit == Unit.COMPUTE else 0
        if fault == "mark":
            mark = value
            error *= value > (marks if unit == Unit.COMPUTE else 0)
        raw = raw & ~(0xFF << MARK.offset) | mark << MARK.offset
    sent = [(signals[f"signal{i}_token"], signals[f"signal{i}_core"]) for i in range(3) if signals[f"signal{i}_valid"]]
    return raw, ranges, sent, error


@pytest.mark.parametrize("unit", list(Unit), ids=lambda u: u.name)
@pytest.mark.parametrize(("fault", "value"), [*FAULTS, ("", 0)])
@pytest.mark.parametrize("place", range(3))
def test_every_output_in_every_cycle(unit: Unit, fault: str, value: int, place: int) -> None:
    """Until a fault or END, and some cycles more; the surroundings do anything that they may."""
    check_every_output(unit, fault, value, place)


@pytest.mark.parametrize(
    ("unit", "fault", "value"),
    [
        *((unit, "mark", value) for unit in Unit for value in MARK_VALUES),
        *((unit, "", 0) for unit in Unit),
        *((Unit.COMPUTE, *fault) for fault in FAULTS),
    ],
)
@pytest.mark.parametrize("place", range(3))
def test_every_output_in_every_cycle_with_marks(unit: Unit, fault: str, value: int, place: int) -> None:
    """The same of a core with marks: SYNCs of the compute unit tell theirs, and no others have any."""
    check_every_output(unit, fault, value, place, marks=16)


def check_every_output(unit: Unit, fault: str, value: int, place: int, marks: int = 0) -> None:
    rng = random.Random(f"{unit} {fault} {value} {place}")
    dut = Issue(chip=CHIP, unit=unit, marks=marks) if marks else Issue(chip=CHIP, unit=unit)
    end = rng.getrandbits(isa.INSTRUCTION_BITS) >> isa.Prefix.size << isa.Prefix.size | Opcode.END
    program = deque(model_word(rng, unit, marks=marks) for _ in range(5 if fault else 60))
    if fault:
        program.append(model_word(rng, unit, fault, value, place, marks))
    program.append((end, [range(0)] * 3, [], 0))
    rate = rng.choice([0.3, 0.7, 0.95])

    def often() -> bool:
        return rng.random() < rate

    async def bench(ctx: Any) -> None:
        state, error = UnitState.DECODE, 0
        offered, outgoing, pending = False, None, deque()
        rest = 30
        while rest:
            raw, ranges, sent, code = program[0] if program else (rng.getrandbits(256), [], [], 0)
            offered = offered or often()
            nonzero = {token for token in range(CHIP.tokens) if rng.random() < 0.98}
            idle, drained, halt, taken, heard = often(), often(), not often(), often(), often()
            ctx.set(dut.i.valid, offered)
            ctx.set(dut.i.payload, raw if offered else rng.getrandbits(256))
            ctx.set(dut.nonzero, sum(1 << token for token in nonzero))
            ctx.set(dut.idle, idle)
            ctx.set(dut.drained, drained)
            ctx.set(dut.halt, halt)
            ctx.set(dut.o.ready, taken)
            ctx.set(dut.signal.ready, heard)

            waits = state == UnitState.WAIT
            unmet = [waits and not nonzero.issuperset(tokens) for tokens in ranges]
            quiet = idle and outgoing is None and not pending
            opcode = raw & 15
            if opcode == Opcode.END:
                may = quiet and (drained or unit != Unit.STORE)
            elif opcode == Opcode.SYNC:
                may = quiet and (drained or not raw >> isa.Sync["fence"].offset & 1)
            else:
                may = outgoing is None or taken
            asks = waits and not any(unmet) and may and not halt
            assert ctx.get(dut.take.valid) == asks
            if asks:
                assert ctx.get(dut.take.mask) == sum(1 << token for token in set().union(*ranges))
            grant = asks and often()
            ctx.set(dut.take.grant, grant)

            assert ctx.get(dut.i.ready) == grant
            assert ctx.get(dut.o.valid) == (outgoing is not None)
            assert outgoing is None or ctx.get(dut.o.payload) == outgoing
            assert ctx.get(dut.signal.valid) == bool(pending)
            if pending:
                signal = ctx.get(dut.signal.payload)
                assert (signal.token, signal.core) == pending[0]
            assert ctx.get(dut.ended) == (state == UnitState.ENDED)
            assert ctx.get(dut.error) == error
            assert ctx.get(dut.state) == state
            assert not offered or ctx.get(dut.opcode) == opcode
            assert ctx.get(dut.unmet) == sum(bit << i for i, bit in enumerate(unmet))
            if marks and unit == Unit.COMPUTE:
                number = raw >> MARK.offset & 0xFF
                assert ctx.get(dut.mark.valid) == (grant and opcode == Opcode.SYNC and number != 0)
                assert not ctx.get(dut.mark.valid) or ctx.get(dut.mark.entry) == number % marks
            events = ctx.get(dut.events)
            assert events.issued == grant
            assert events.wait == (1 << unmet.index(True) if any(unmet) else 0)
            assert events.empty == (state == UnitState.DECODE and not offered)
            assert events.queued == (outgoing is not None)
            await ctx.tick()

            if taken:
                outgoing = None
            if heard and pending:
                pending.popleft()
            if state == UnitState.DECODE and offered and not halt:
                state, error = (UnitState.FAILED, code) if code else (UnitState.WAIT, 0)
            elif grant:
                state = UnitState.ENDED if opcode == Opcode.END else UnitState.DECODE
                if opcode == Opcode.SYNC:
                    pending.extend(sent)
                elif opcode != Opcode.END:
                    outgoing = raw
                program.popleft()
                offered = False
            rest -= state in {UnitState.ENDED, UnitState.FAILED}

    simulate(dut, bench)


def refused(unit: Unit, opcode: Opcode | int, **fields: int) -> tuple[Any, ...]:
    raw = word(opcode, **fields) if isinstance(opcode, Opcode) else opcode
    return unit, raw


@pytest.mark.parametrize(
    ("unit", "raw", "code"),
    [
        (*refused(Unit.LOAD, 0), ErrorCode.ILLEGAL_OPCODE),
        (*refused(Unit.LOAD, 9), ErrorCode.ILLEGAL_OPCODE),
        (*refused(Unit.LOAD, Opcode.STORE), ErrorCode.ILLEGAL_OPCODE),
        (*refused(Unit.COMPUTE, Opcode.LOAD), ErrorCode.ILLEGAL_OPCODE),
        (*refused(Unit.STORE, Opcode.SETUP), ErrorCode.ILLEGAL_OPCODE),
        (*refused(Unit.STORE, Opcode.COMPUTE), ErrorCode.ILLEGAL_OPCODE),
        (*refused(Unit.STORE, Opcode.SYNC, wait1_first=31, wait1_count=2), ErrorCode.ILLEGAL_FIELD),
        (*refused(Unit.LOAD, Opcode.END, wait2_first=127, wait2_count=1), ErrorCode.ILLEGAL_FIELD),
        (*refused(Unit.LOAD, Opcode.SYNC, signal2_valid=1, signal2_token=32), ErrorCode.ILLEGAL_FIELD),
        (*refused(Unit.COMPUTE, Opcode.COMPUTE, signal0_valid=1, signal0_core=4), ErrorCode.ILLEGAL_FIELD),
        (*refused(Unit.STORE, Opcode.TABLE, signal1_valid=1, signal1_core=4), ErrorCode.ILLEGAL_FIELD),
        (*refused(Unit.COMPUTE, Opcode.TABLE), ErrorCode.ILLEGAL_OPCODE),
        (*refused(Unit.COMPUTE, Opcode.SYNC, fence=1), ErrorCode.ILLEGAL_FIELD),
        (*refused(Unit.COMPUTE, Opcode.COMPUTE, wait0_first=127, signal0_core=60), 0),
        (*refused(Unit.LOAD, Opcode.LOAD, wait0_first=30, wait0_count=2), 0),
    ],
)
def test_refuses_what_the_chip_does_not_have(unit: Unit, raw: int, code: int) -> None:
    m, dut, _ = build(unit)

    async def bench(ctx) -> None:
        ctx.set(dut.i.valid, 1)
        ctx.set(dut.i.payload, raw)
        ctx.set(dut.idle, 1)
        await ctx.tick().repeat(6)
        assert ctx.get(dut.error) == code
        if code:
            assert not ctx.get(dut.o.valid)
            assert not ctx.get(dut.ended)

    simulate(m, bench)


@pytest.mark.parametrize(("opcode", "fence"), [(Opcode.END, 0), (Opcode.SYNC, 1), (Opcode.SYNC, 0)])
def test_end_and_fence_wait_for_the_unit_and_its_writes(opcode: Opcode, fence: int) -> None:
    m, dut, _ = build(Unit.STORE)

    async def bench(ctx) -> None:
        ctx.set(dut.i.valid, 1)
        ctx.set(dut.i.payload, word(opcode, **({"fence": fence} if fence else {})))
        await ctx.tick().repeat(5)
        assert not ctx.get(dut.i.ready)
        ctx.set(dut.idle, 1)
        assert ctx.get(dut.i.ready) == (opcode == Opcode.SYNC and not fence)
        await ctx.tick().repeat(5)
        if opcode == Opcode.END:
            assert not ctx.get(dut.ended)
        ctx.set(dut.drained, 1)
        await ctx.tick().repeat(2)
        assert ctx.get(dut.ended) == (opcode == Opcode.END)

    simulate(m, bench)


@pytest.mark.parametrize("opcode", [Opcode.END, Opcode.SYNC])
@pytest.mark.parametrize("unit", list(Unit), ids=lambda unit: unit.name)
def test_end_and_sync_wait_for_the_signals_of_the_sync_before(unit: Unit, opcode: Opcode) -> None:
    m, dut, _ = build(unit)
    both = {f"signal{i}_{name}": value for i in range(2) for name, value in (("valid", 1), ("token", 3 + i))}

    async def bench(ctx) -> None:
        ctx.set(dut.idle, 1)
        ctx.set(dut.drained, 1)
        ctx.set(dut.i.valid, 1)
        ctx.set(dut.i.payload, word(Opcode.SYNC, **both))
        while not (await ctx.tick().sample(dut.i.ready))[2]:
            pass
        ctx.set(dut.i.payload, word(opcode))
        for token in (3, 4):
            await ctx.tick().repeat(5)
            assert ctx.get(dut.signal.valid)
            assert ctx.get(dut.signal.payload.token) == token
            assert not ctx.get(dut.i.ready)
            assert not ctx.get(dut.ended)
            ctx.set(dut.signal.ready, 1)
            await ctx.tick()
            ctx.set(dut.signal.ready, 0)
        ready = [ctx.get(dut.i.ready)]
        for _ in range(3):
            await ctx.tick()
            ready.append(ctx.get(dut.i.ready))
        assert any(ready)
        assert ctx.get(dut.ended) == (opcode == Opcode.END)

    simulate(m, bench)


def test_halt_stops_issue() -> None:
    m, dut, _ = build(Unit.LOAD)

    async def bench(ctx) -> None:
        ctx.set(dut.i.valid, 1)
        ctx.set(dut.i.payload, word(Opcode.LOAD))
        await ctx.tick()
        ctx.set(dut.halt, 1)
        await ctx.tick().repeat(5)
        assert not ctx.get(dut.o.valid)
        ctx.set(dut.halt, 0)
        await ctx.tick()
        assert ctx.get(dut.o.valid)

    simulate(m, bench)
