"""What a program must do, by the machine, and whether a launch of the RTL did it.

Legal programs: every byte of every memory, every token counter and all counters that do not depend on timing are those
of the machine. Lanes that the instruction set leaves undefined are found by running the machine with two values for
them. A program whose result depends on the order of events, or on undefined lanes, is no test: `Rejected`.

Illegal programs: the status is one that the machine can end with in some order; and no byte has changed that neither
an instruction which does not wait for the faulty one, nor the faulty one inside its memories, may write.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from golden.machine import Machine, Result, fresh_cores
from rtl.contract.engines import ENGINES
from rtl.contract.isa import MARK_BITS, Opcode, Space, TrafficClass, Unit
from rtl.contract.marks import Mark
from rtl.contract.regs import STATIC_COUNTERS, ErrorCode, compute_counters
from tb.fuzz.footprint import Place, accesses, leaves_cores, leaves_memory, left_by_compute
from tb.fuzz.program import DATA_BYTES, Instruction, Program
from tb.sim.job import LaunchResult, core_label

__all__ = [
    "REGION",
    "Expectation",
    "Rejected",
    "Status",
    "expect_fault",
    "expect_legal",
    "mark_differences",
    "statuses",
]

REGION = "dram"
"""Name of the region that holds all of external memory."""
Status = tuple[str, int | None, str | None]
"""Error, node and unit, as `tb.sim.driver.Outcome` tells them."""

_UNDEFINED = (-0x21524111, 0x13579BDF)
_EVERYWHERE = 0xFF  # node of a watchdog expiry
_AFTER_ITS_BEGINNING = {
    ErrorCode.ACT_RANGE,
    ErrorCode.WEIGHT_RANGE,
    ErrorCode.ACC_RANGE,
    ErrorCode.PARAM_RANGE,
    ErrorCode.AXI_READ,
    ErrorCode.AXI_WRITE,
    ErrorCode.WEIGHT_LISTS,
}
"""The instruction has begun when these are found, and may have done its part inside the memories."""
_MEMORIES = ("act", "weight", "param", "acc")


class Rejected(Exception):
    """The program has no single result: no test of the hardware."""


@dataclass(frozen=True, eq=False)
class Expectation:
    """What a launch is measured against."""

    program: Program
    statuses: frozenset[Status]
    """How it may end."""
    result: Result | None = None
    """The end of a legal program."""
    memory: np.ndarray | None = None
    known: tuple[np.ndarray, ...] = ()
    """Of each core bool[entries, C]: accumulator lanes that are defined."""
    may_change: dict[Place, int] | None = None
    """For a faulty program the bytes that may have changed; None: all."""

    def differences(self, launch: LaunchResult, folder: Path, limit: int = 6) -> list[str]:
        """What is wrong with a launch; empty if nothing is."""
        found = [launch.violation] if launch.violation else []
        status = outcome_status(launch)
        if status not in self.statuses:
            wanted = " or ".join(sorted(map(str, self.statuses)))
            return [*found, f"ended with {status} after {launch.cycles} cycles, not with {wanted}"]
        if self.result is not None:
            found += self._result_differences(launch, folder)
        elif self.may_change is not None:
            found += self._changes(folder)
        return found[:limit] + ([f"... and {len(found) - limit} more"] if len(found) > limit else [])

    def _result_differences(self, launch: LaunchResult, folder: Path) -> list[str]:
        assert self.result is not None
        assert self.memory is not None
        found = []
        for core in self.result.cores:
            for name in _MEMORIES:
                got, want = _loaded(folder, core.index, name), _bytes(getattr(core, name))
                if name == "acc":
                    known = np.repeat(self.known[core.index].reshape(-1), 4)
                    got, want = got[known], want[known]
                    found += _compare(f"core {core.index} acc (of the defined bytes)", got, want)
                else:
                    found += _compare(f"core {core.index} {name}", got, want)
            tokens = [t for t, count in enumerate(core.tokens) if count]
            if launch.debug[core.index]["tokens"] != tokens:
                found.append(f"core {core.index}: counters {launch.debug[core.index]['tokens']} left, not {tokens}")
            found += mark_differences(launch, core.index, core.params.marks, core.marks)
            counts = launch.counters["core"][core.index]
            numbers = ENGINES.counters(core.params.engines, events=self.program.chip.counters)
            exact = {name.lower(): number for name, number in numbers.items() if number in STATIC_COUNTERS}
            wanted = {name: core.counts[number] for name, number in exact.items()}
            found += [
                f"core {core.index}: counter {name} is {counts[name]}, not {value}"
                for name, value in wanted.items()
                if counts[name] != value
            ]
        wanted = self.memory
        if self.program.origin:  # the program's addresses are others there; no legal program writes over itself
            wanted = np.concatenate([wanted[:DATA_BYTES], self.program.image(self.program.origin)[DATA_BYTES:]])
        found += _compare("dram", np.load(folder / f"{REGION}.npy"), wanted)
        return found + self._traffic(launch)

    def _traffic(self, launch: LaunchResult) -> list[str]:
        """Bytes that memory nodes count: whole flits for reads, lanes for writes; fetches are not foreseen."""
        assert self.result is not None
        written = Counter()
        for (_, unit), stream in self.program.streams.items():
            for f in (instruction.whole() for instruction in stream if unit == Unit.STORE):
                if f.get("pixels") and not f["to_core"]:
                    written[f["memory"], f["traffic"]] += f["groups"] * f["pixels"] * f["lanes"]
        found = []
        for memory, counts in enumerate(launch.counters["memory"]):
            for traffic in TrafficClass:
                name = traffic.name.lower()
                read, wanted = counts[f"read_{name}_bytes"], int(self.result.read_bytes[memory, traffic])
                if read < wanted or (read > wanted and traffic != TrafficClass.PROGRAM):
                    found.append(f"memory node {memory}: {read} bytes of {name} read, not {wanted}")
                if counts[f"write_{name}_bytes"] != written[memory, traffic]:
                    got = counts[f"write_{name}_bytes"]
                    found.append(f"memory node {memory}: {got} bytes of {name} written, not {written[memory, traffic]}")
        return found

    def _changes(self, folder: Path) -> list[str]:
        """Bytes that nothing may have written and that are not what they were."""
        assert self.may_change is not None
        found = []
        before = {("dram", 0): self.program.image()}
        for core in fresh_cores(self.program.chip, self.program.seed):
            before |= {(name, core.index): _bytes(getattr(core, name)) for name in _MEMORIES}
        for (name, core), old in before.items():
            new = np.load(folder / f"{REGION}.npy") if name == "dram" else _loaded(folder, core, name)
            unit = 4 * self.program.chip.cores[core].cols if name == "acc" else 1
            mask = self.may_change.get((name, core), 0)
            size = old.size // unit
            allowed = np.unpackbits(np.frombuffer(mask.to_bytes(-(-size // 8), "little"), np.uint8), bitorder="little")
            fixed = np.repeat(allowed[:size] == 0, unit)
            where = "dram" if name == "dram" else f"core {core} {name}"
            changed = np.flatnonzero((old != new) & fixed)
            if changed.size:
                found.append(f"{where}: {changed.size} bytes changed that nothing may write, the first at {changed[0]}")
        return found


def mark_differences(launch: LaunchResult, core: int, marks: int, passed: Sequence[int]) -> list[str]:
    """The marks that a core passed are those of the machine; their times grow along its program, up to its end.

    What a mark that came twice has is that of the last time.
    """
    if not marks:
        return []
    found = []
    count = launch.debug[core]["marks_passed"]
    if count != len(passed) % (1 << MARK_BITS):
        found.append(f"core {core}: {count} marks passed, not {len(passed)}")
    last = list(reversed(dict.fromkeys(reversed(passed))))
    of_core = {mark.number: mark for mark in launch.core_marks[core]} if launch.marks else {}
    if sorted(of_core) != sorted(last):
        return [*found, f"core {core}: marks {sorted(of_core)} read, not {sorted(last)}"]
    counters = launch.counters["core"][core]
    end = Mark.from_counters(0, {c.name.lower(): counters[c.name.lower()] for c in compute_counters()})
    if end.cycles != launch.cycles:
        found.append(f"core {core}: its compute unit accounts for {end.cycles} of {launch.cycles} cycles")
    order = [*(of_core[number] for number in last), end]
    for before, after in pairwise(order):
        shrunk = [name for name, value in before.compute_cycles.items() if value > after.compute_cycles[name]]
        if before.cycles >= after.cycles or shrunk:
            what = f"{after.number}" if after.number else "the end"
            found.append(f"core {core}: mark {before.number} at {before.cycles}, {what} at {after.cycles} {shrunk}")
    return found


def outcome_status(launch: LaunchResult) -> Status:
    """How a launch ended."""
    outcome = launch.outcome
    if outcome["status"] == "done":
        return ("", None, None)
    return (outcome["error"] or outcome["status"], outcome["node"], outcome["unit"])


def expect_legal(program: Program, orders: int = 4) -> Expectation:
    """What a legal program must leave behind.

    Raises
    ------
    Rejected
        If it ends in an error, or if its result depends on the order of events or on undefined lanes.
    """
    result, memory = _run(program)
    if not result.ok:
        raise Rejected(str(result))
    other, other_memory = _run(program, undefined=_UNDEFINED[1])
    if _differ(result, other, memory, other_memory, accumulators=False):
        raise Rejected("the result depends on undefined lanes")
    known = tuple(a.acc == b.acc for a, b in zip(result.cores, other.cores, strict=True))
    for order in range(orders):
        again, again_memory = _run(program, order_seed=order)
        if not again.ok or _differ(result, again, memory, again_memory, accumulators=True):
            raise Rejected(f"the result depends on the order of events (order {order}: {again})")
    return Expectation(program, frozenset([("", None, None)]), result, memory, known)


def expect_fault(program: Program, orders: int = 12) -> Expectation:
    """What a program with one faulty instruction, or with none that is known, may do."""
    found = statuses(program, orders)
    found |= _of_loads(program, found) | _of_computes(program, found)
    codes = {ErrorCode[code] for code, _, _ in found if code}
    may_change = None
    if program.fault is not None and not codes <= {ErrorCode.WATCHDOG, ErrorCode.TOKEN_OVERFLOW}:
        may_change = _written_without(program, codes, goes_on=all(unit is None for _, _, unit in found))
    elif program.fault is not None:
        may_change = _writes(program, {})
    return Expectation(program, found, may_change=may_change)


def _of_loads(program: Program, found: frozenset[Status]) -> frozenset[Status]:
    """For a LOAD that leaves both external memory and a core's: the machine always sees the former first."""
    chip = program.chip
    faults: set[Status] = set()
    for instruction in program.streams_of(Unit.LOAD):
        if instruction.opcode == Opcode.LOAD and instruction.raw is None:
            fields = instruction.whole()
            beyond = [ErrorCode.AXI_READ.name] if leaves_memory(chip, fields) else []
            if beyond and (beyond[0], chip.memory_node_id(fields["memory"]), None) in found:
                error = f"{Space(fields['space']).name}_RANGE"
                faults |= {(error, core, None) for core in leaves_cores(chip, fields)}
    return frozenset(faults)


def _of_computes(program: Program, found: frozenset[Status]) -> frozenset[Status]:
    """For a COMPUTE that leaves several memories: any of its errors may be reported, the machine has a favourite."""
    faults: set[Status] = set()
    for (core, unit), stream in program.streams.items():
        geometry: dict[Opcode, dict[str, int]] = {}
        for instruction in stream if unit == Unit.COMPUTE else ():
            if instruction.raw is not None:
                continue
            fields = instruction.whole()
            _follow(geometry, instruction.opcode, fields)
            if instruction.opcode == Opcode.COMPUTE and Opcode.COMPUTE in geometry:
                left = left_by_compute(program.chip, core, fields, geometry[Opcode.COMPUTE])
                mine = {(code.name, core, unit.name.lower()) for code in left}
                faults |= mine if mine & found else set()
    return frozenset(faults)


def statuses(program: Program, orders: int) -> frozenset[Status]:
    """The statuses that the machine ends with in different orders of events."""
    found = set()
    for order in [None, *range(orders)]:
        result, _ = _run(program, order_seed=order)
        node = _EVERYWHERE if result.error == ErrorCode.WATCHDOG else result.node
        name = "" if result.ok else result.error.name
        found.add((name, node, None if result.unit is None else result.unit.name.lower()))
    return frozenset(found)


def _run(program: Program, order_seed: int | None = None, undefined: int = _UNDEFINED[0]) -> tuple[Result, np.ndarray]:
    memory = program.image()
    result = Machine(program.chip).run(
        memory,
        program.program_base,
        program.program_stride,
        order_seed=order_seed,
        fill_seed=program.seed,
        undefined=undefined,
    )
    return result, memory


def _differ(a: Result, b: Result, memory_a: np.ndarray, memory_b: np.ndarray, *, accumulators: bool) -> bool:
    names = _MEMORIES if accumulators else _MEMORIES[:3]
    return not np.array_equal(memory_a, memory_b) or any(
        ours.tokens != theirs.tokens
        or any(not np.array_equal(getattr(ours, name), getattr(theirs, name)) for name in names)
        for ours, theirs in zip(a.cores, b.cores, strict=True)
    )


def _written_without(program: Program, codes: set[ErrorCode], *, goes_on: bool) -> dict[Place, int]:
    """Everything that may be written if the unit of the faulty instruction never gets past it.

    With `goes_on` the unit does, since the fault shows at a memory node or at another core, and only what waits for
    the instruction's data is stopped.
    """
    assert program.fault is not None
    core, unit, index = program.fault
    spare = program.chip.tokens - 1
    streams = {place: list(stream) for place, stream in program.streams.items()}
    bad = streams[core, unit][index]
    wait = {} if goes_on else {"wait0_first": spare, "wait0_count": 1}
    streams[core, unit][index] = Instruction(Opcode.SYNC, wait)
    result, _ = _run(program.with_streams(streams))
    ends = {(stuck.core, stuck.unit): stuck.index for stuck in result.blocked}
    allowed = _writes(program, ends)
    if codes & _AFTER_ITS_BEGINNING:
        geometry = _geometry(program, core, unit, index)
        for access in accesses(program.chip, core, bad.opcode, bad.whole(), geometry.get(bad.opcode)):
            if access.writes:
                allowed[access.place] = allowed.get(access.place, 0) | access.mask
    return allowed


def _writes(program: Program, ends: dict[tuple[int, Unit], int]) -> dict[Place, int]:
    """Everything that the instructions write, of each stream those before `ends`."""
    allowed: dict[Place, int] = {}
    for (core, unit), stream in program.streams.items():
        geometry: dict[Opcode, dict[str, int]] = {}
        for instruction in stream[: ends.get((core, unit))]:
            if instruction.raw is not None:
                continue
            fields = instruction.whole()
            _follow(geometry, instruction.opcode, fields)
            for access in accesses(program.chip, core, instruction.opcode, fields, geometry.get(instruction.opcode)):
                if access.writes:
                    allowed[access.place] = allowed.get(access.place, 0) | access.mask
    return allowed


def _geometry(program: Program, core: int, unit: Unit, index: int) -> dict[Opcode, dict[str, int]]:
    """The geometry that holds for the instructions at a place, by their opcode."""
    geometry: dict[Opcode, dict[str, int]] = {}
    for instruction in program.streams[core, unit][:index]:
        _follow(geometry, instruction.opcode, instruction.whole())
    return geometry


def _follow(geometry: dict[Opcode, dict[str, int]], opcode: Opcode, fields: dict[str, int]) -> None:
    if opcode == Opcode.SETUP:
        geometry[Opcode.COMPUTE] = fields
    elif opcode == Opcode.POOL:
        geometry[Opcode.STORE] = fields


def _loaded(folder: Path, core: int, name: str) -> np.ndarray:
    return _bytes(np.load(folder / f"{core_label(core, name)}.npy"))


def _bytes(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def _compare(where: str, got: np.ndarray, want: np.ndarray) -> list[str]:
    wrong = np.flatnonzero(got != want)
    if not wrong.size:
        return []
    at = int(wrong[0])
    return [f"{where}: {wrong.size} of {got.size} bytes differ, the first at {at}: {got[at]}, not {want[at]}"]
