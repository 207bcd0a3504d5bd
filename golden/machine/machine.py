"""The machine: runs the three instruction streams of every core, event by event.

What it models of time is order alone. Separate events, each free to come late: the update of the accumulators
behind a COMPUTE (signal 2 with it), the reading of DRAM by a memory node, the arrival of its data at
each core, writes, data and signals from core to core. In order stay: the instructions of a unit; the
requests of one core to one memory node (reads apart from writes); what one memory node sends to one
core; stores of one core to another; the updates of one engine. A COMPUTE reads its operands, and a
STORE its accumulators, at a single instant: a program that overwrites operands of a COMPUTE still
running shows only as an order in which it comes first.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial

import numpy as np

from golden.machine import compute
from golden.machine.actors import Actor, Queue, Worklist
from golden.machine.checks import check_fields, check_prefix
from golden.machine.faults import Fault
from golden.machine.result import Blocked, Result
from golden.machine.state import UNDEFINED, CoreState, fresh_cores
from golden.machine.store import drain
from rtl.contract.codec import decode, store_cores
from rtl.contract.engines import ENGINES
from rtl.contract.isa import INSTRUCTION_BYTES, Opcode, Space, TrafficClass, Unit
from rtl.contract.params import ChipParams
from rtl.contract.regs import CoreCounter, ErrorCode, EventCounter

__all__ = ["Machine"]

Fields = dict[str, int]


@lru_cache(1 << 14)
def _decode(raw: bytes, _engines: int) -> tuple[Opcode, Fields]:
    """Opcode and fields of an instruction, with the engines that there are."""
    return decode(raw)


class Machine:
    """Interpreter of one chip's programs.

    Parameters
    ----------
    chip : ChipParams
    """

    def __init__(self, chip: ChipParams) -> None:
        self.chip = chip

    def run(
        self,
        memory: np.ndarray,
        program_base: int = 0,
        program_stride: int = 4096,
        *,
        order_seed: int | None = None,
        fill_seed: int | None = None,
        active_cores: int = -1,
        undefined: int = UNDEFINED,
        borders: Mapping[int, Sequence[int]] | None = None,
    ) -> Result:
        """Run to the end of all streams, to the first error or to a deadlock.

        Parameters
        ----------
        memory : uint8[N]
            The DRAM behind all memory nodes; changed in place.
        program_base, program_stride : int
            The stream of core i, unit u starts at ``program_base + (3*i + u) * program_stride``.
        order_seed : int, optional
            Take events in this random order. Correct programs do not notice.
        fill_seed : int, optional
            Fill the cores' memories with this noise first, instead of zeros. Correct programs do not notice.
        active_cores : int
            Bit per core that runs, as in register ACTIVE_CORES.
        undefined : int
            int32 for the accumulator lanes that the instruction set leaves undefined. Correct programs leave it there.
        borders : dict of int to sequence of int, optional
            By core, in front of which instructions of its compute stream its counts are noted (`CoreState.noted`), in
            ascending order.
        """
        unit_bytes = max(INSTRUCTION_BYTES, self.chip.link_bytes)
        for what, value in (("program_base", program_base), ("program_stride", program_stride)):
            if value % unit_bytes:
                raise ValueError(f"{what} is {value:#x}: it must be a multiple of {unit_bytes}")
        if memory.dtype != np.uint8 or memory.ndim != 1 or not memory.flags.c_contiguous:
            raise ValueError(f"memory is {memory.dtype}{list(memory.shape)}: it must be contiguous uint8[N]")
        run = _Run(self.chip, memory, order_seed, fill_seed, undefined, borders or {})
        return run.result(program_base, program_stride, active_cores)


class _UnitActor(Actor):
    """One unit of one core, at one instruction of its stream."""

    def __init__(self, run: "_Run", core: CoreState, unit: Unit, address: int) -> None:
        self.run, self.core, self.unit, self.address = run, core, unit, address
        self.index = -1
        self.opcode = Opcode.ILLEGAL
        self.fields: Fields = {}
        self.wanted: tuple[int, ...] = ()
        self.ended = False
        self.fencing = False
        self.writes_under_way = 0
        self.borders = list(run.borders.get(core.index, ())) if unit == Unit.COMPUTE else []
        self._advance()

    def missing(self) -> tuple[int, ...]:
        tokens = self.core.tokens
        return tuple(token for token in self.wanted if not tokens[token])

    def step(self) -> bool:
        if self.ended:
            return False
        if not self.fencing:
            tokens = self.core.tokens
            for token in self.wanted:
                if not tokens[token]:
                    return False
            for token in self.wanted:
                tokens[token] -= 1
            check_fields(self.core, self.run.chip, self.unit, self.opcode, self.fields)
        if self.opcode == Opcode.SYNC and self.fields["fence"]:
            self.fencing = self.writes_under_way > 0
            if self.fencing:
                return False
        while self.borders and self.borders[0] == self.index:
            self.core.noted.append(self.core.counts.copy())
            del self.borders[0]
        self.core.counts[CoreCounter.INSTRUCTIONS] += 1
        self.run.execute(self)
        if self.opcode == Opcode.END:
            self.ended = True
            return False
        self._advance()
        return True

    def _advance(self) -> None:
        """Fetch and decode the next instruction."""
        self.index += 1
        raw = self.run.memory[self.address : self.address + INSTRUCTION_BYTES].tobytes()
        if len(raw) < INSTRUCTION_BYTES:
            node = self.run.chip.memory_node_id(self.run.chip.home_memory[self.core.index])
            why = f"core {self.core.index}: {self.unit.name} stream runs out of memory at {self.address:#x}"
            raise Fault(ErrorCode.AXI_READ, node, None, why)
        self.address += INSTRUCTION_BYTES
        self.opcode, self.fields = _decode(raw, ENGINES.changes)
        check_prefix(self.core, self.run.chip, self.unit, self.opcode, self.fields)
        wanted: set[int] = set()
        for i in range(3):
            first = self.fields[f"wait{i}_first"]
            wanted.update(range(first, first + self.fields[f"wait{i}_count"]))
        self.wanted = tuple(wanted)


class _Run:
    """State of one run."""

    def __init__(
        self,
        chip: ChipParams,
        memory: np.ndarray,
        order_seed: int | None,
        fill_seed: int | None,
        undefined: int,
        borders: Mapping[int, Sequence[int]],
    ) -> None:
        self.chip = chip
        self.borders = borders
        self.memory = memory
        whole = len(memory) // chip.link_bytes
        self.blocks = memory[: whole * chip.link_bytes].view(np.int8).reshape(whole, chip.link_bytes)
        self.cores = fresh_cores(chip, fill_seed)
        for core in self.cores:
            core.undefined = undefined
        self.units: list[_UnitActor] = []
        self.core_units: list[list[_UnitActor]] = [[] for _ in self.cores]
        self.queues: dict[tuple[str, int, int], Queue] = {}
        self.worklist = Worklist(order_seed)
        self.read_bytes = np.zeros((len(chip.memory_nodes), len(TrafficClass)), np.int64)
        self.write_bytes = np.zeros_like(self.read_bytes)

    def result(self, program_base: int, program_stride: int, active_cores: int) -> Result:
        error, message, node, unit = ErrorCode.NONE, "", None, None
        blocked: tuple[Blocked, ...] = ()
        try:
            for core in self.cores:
                for u in Unit:
                    if active_cores >> core.index & 1:
                        address = program_base + (3 * core.index + u) * program_stride
                        self._start(_UnitActor(self, core, u, address))
            self.worklist.run()
        except Fault as fault:
            error, message, node, unit = fault.code, str(fault), fault.node, fault.unit
        else:
            blocked = tuple(
                Blocked(u.core.index, u.unit, u.index, u.opcode, u.missing()) for u in self.units if not u.ended
            )
            if blocked:
                error, message = ErrorCode.WATCHDOG, "deadlock: " + "; ".join(map(str, blocked))
        return Result(error, message, node, unit, blocked, self.cores, self.read_bytes, self.write_bytes)

    def _start(self, actor: _UnitActor) -> None:
        self.units.append(actor)
        self.core_units[actor.core.index].append(actor)
        self.worklist.wake(actor)

    def _later(self, way: str, source: int, target: int, event: Callable[[], None]) -> None:
        """Let an event happen some time after those before it on the same way."""
        key = (way, source, target)
        queue = self.queues.get(key)
        if queue is None:
            queue = self.queues[key] = Queue()
        queue.events.append(event)
        self.worklist.wake(queue)

    def _add_token(self, core: int, token: int) -> None:
        self.cores[core].add_token(token)
        for actor in self.core_units[core]:
            self.worklist.wake(actor)

    def _signal(self, core: CoreState, fields: Fields, which: range) -> None:
        for i in which:
            if fields[f"signal{i}_valid"]:
                token, target = fields[f"signal{i}_token"], fields[f"signal{i}_core"]
                if target == core.index:
                    self._add_token(target, token)
                else:
                    core.counts[EventCounter.FLITS_TO_CORES] += 1
                    self._later("signal", core.index, target, lambda c=target, t=token: self._add_token(c, t))

    def execute(self, actor: _UnitActor) -> None:
        """Carry out an instruction whose tokens are taken and whose fields are checked."""
        core, fields = actor.core, actor.fields
        match actor.opcode:
            case Opcode.SYNC:
                actor.fencing = False
                if fields["mark"] and core.params.marks:
                    core.marks.append(fields["mark"])
                self._signal(core, fields, range(3))
            case Opcode.LOAD:
                self._later("read", core.index, fields["memory"], lambda: self._read(fields))
            case Opcode.SETUP:
                core.geometry = fields
            case Opcode.COMPUTE:
                update = compute.compute(core, fields)
                self._signal(core, fields, range(2))
                self._later("update", core.index, core.index, lambda: self._update(core, fields, update))
            case Opcode.POOL:
                core.pool = fields
            case Opcode.TABLE:
                core.load_table(fields["param_base"])
                self._signal(core, fields, range(3))
            case Opcode.STORE:
                flits = drain(core, fields)
                core.flits_out += fields["groups"] * fields["pixels"]
                self._signal(core, fields, range(3))
                if fields["to_core"]:
                    core.counts[EventCounter.FLITS_TO_CORES] += fields["groups"] * fields["pixels"]
                    for target in store_cores(fields, core.params):
                        arrives = partial(self._send, self.cores[target], fields, flits)
                        self._later("data", core.index, target, arrives)
                else:
                    actor.writes_under_way += 1
                    self._later("write", core.index, fields["memory"], lambda: self._write(actor, fields, flits))

    def _update(self, core: CoreState, fields: Fields, update: compute.Update) -> None:
        compute.commit(core, update)
        self._signal(core, fields, range(2, 3))

    def _read(self, fields: Fields) -> None:
        """A memory node carries out a LOAD: reads DRAM, sends to every core."""
        run, flit = np.arange(fields["runs"])[:, None], np.arange(fields["run_flits"])
        rows = fields["dram_addr"] // self.chip.link_bytes + run * fields["dram_stride"] + flit
        memory = fields["memory"]
        cores = [core for core in self.cores if fields["cores"] >> core.index & 1]
        if len({core.flit_step(fields["planar"]) for core in cores}) > 1:
            why = f"memory node {memory}: a planar LOAD for cores {[c.index for c in cores]}, whose act_groups differ"
            raise Fault(ErrorCode.ILLEGAL_FIELD, self.chip.memory_node_id(memory), None, why)
        flits = self.blocks[self._inside(rows, memory, ErrorCode.AXI_READ)]
        self.read_bytes[memory, fields["traffic"]] += flits.size
        addresses = fields["dst"] + run * fields["dst_stride"] + flit * cores[0].flit_step(fields["planar"])
        for core in cores:
            self._later("arrive", memory, core.index, lambda c=core: self._arrive(c, fields, addresses, flits))

    def _send(self, core: CoreState, fields: Fields, flits: np.ndarray) -> None:
        group, pixel = np.arange(fields["groups"])[:, None], np.arange(fields["pixels"])
        addresses = fields["addr"] + group * fields["group_stride"] + pixel * core.flit_step(fields["planar"])
        self._arrive(core, fields, addresses, flits, fields["lane_offset"])

    def _arrive(
        self, core: CoreState, fields: Fields, addresses: np.ndarray, flits: np.ndarray, lane_offset: int = 0
    ) -> None:
        core.write_flits(Space(fields["space"]), addresses, flits, lane_offset)
        if fields["token_valid"]:
            self._add_token(core.index, fields["token"])

    def _write(self, actor: _UnitActor, fields: Fields, flits: np.ndarray) -> None:
        """A memory node carries out the writes of a STORE, and acknowledges."""
        group, pixel = np.arange(fields["groups"])[:, None], np.arange(fields["pixels"])
        rows = fields["addr"] // self.chip.link_bytes + group * fields["group_stride"] + pixel
        memory, first = fields["memory"], fields["lane_offset"]
        rows = self._inside(rows, memory, ErrorCode.AXI_WRITE)
        self.blocks[rows, first : first + fields["lanes"]] = flits
        self.write_bytes[memory, fields["traffic"]] += rows.size * self.chip.link_bytes
        actor.writes_under_way -= 1
        if not actor.writes_under_way:
            self.worklist.wake(actor)

    def _inside(self, rows: np.ndarray, memory: int, code: ErrorCode) -> np.ndarray:
        """Addresses in flits, modulo 2**32 bytes, all of them in memory."""
        rows = rows % ((1 << 32) // self.chip.link_bytes)
        highest = int(rows.max())
        if highest >= len(self.blocks):
            address = highest * self.chip.link_bytes
            why = f"memory node {memory}: {code.name} of {address:#x}, memory ends at {len(self.memory):#x}"
            raise Fault(code, self.chip.memory_node_id(memory), None, why)
        return rows
