"""Prediction of a launch: its instructions, in the order that tokens allow, each with its closed form.

Events are starts and ends of instructions, arrivals of tokens, and changes of the rate at which a memory node serves;
between events nothing is computed, so the time taken depends on the number of instructions, not of cycles.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from heapq import heappop, heappush
from itertools import accumulate, pairwise
from math import inf
from typing import Any

from estimator.coefficients import Coefficients
from estimator.engines import TIMINGS
from estimator.instructions import Compute, Instruction, Load, Marking, Setting, Signals, Store, Tokens
from estimator.network import Network, Transfer
from estimator.routes import Route, Routes
from estimator.timing import MemoryTiming
from estimator.transfers import packet_flits
from rtl.contract.isa import INSTRUCTION_BYTES, Opcode, TrafficClass, Unit
from rtl.contract.marks import Mark, ends_of
from rtl.contract.params import ChipParams
from rtl.contract.routing import Link, hops

__all__ = ["Estimate", "EstimateError", "OverLimit", "Timeline", "UnitState"]

FETCH_GAP = 2
"""Cycles between two requests for instructions of a core."""
BURST_CYCLES = 2
"""Of a burst, from when it takes its place to its address at the memory, and from its last flit to the next burst."""
CAUSES = ("stream", "wait_act", "wait_weight", "wait_acc", "fetch", "overhead", "done")


@dataclass(frozen=True)
class Estimate:
    """Prediction of one launch.

    Attributes
    ----------
    cycles : float
    dram_bytes : dict of str to int
        By traffic class, reads and writes together.
    compute : dict of str to float
        Cycles of the compute units by what they did, mean over the cores that compute: stream, waits for activations,
        weights, accumulators, missing instructions, overhead, and done.
    memory_busy : tuple of float
        Share of each memory node's bandwidth in use.
    marks : dict of int to tuple of Mark
        Of each core that passes some, in the order of their numbers.
    link_flits: dict of Link to int
        Flits that leave by each output of a router: data, instructions, and requests for them; neither signals nor
        acknowledgements. Divided by the cycles, how busy that link is.
    """

    cycles: float
    dram_bytes: dict[str, int]
    compute: dict[str, float]
    memory_busy: tuple[float, ...]
    marks: Mapping[int, tuple[Mark, ...]] = field(default_factory=dict)
    link_flits: Mapping[Link, int] = field(default_factory=dict)

    @property
    def part_cycles(self) -> list[float]:
        """From mark to mark; they add up to `cycles`. None without marks."""
        ends = ends_of(self.cycles, list(self.marks.values()))
        return [end - begin for begin, end in pairwise([0.0, *ends.values()])]


class EstimateError(ValueError):
    """A program that never ends."""


class OverLimit(Exception):
    """A launch that takes more cycles than asked for."""


@dataclass(slots=True, eq=False)
class UnitState:
    """One unit of one core."""

    core: int
    unit: Unit
    program: list[Instruction]
    home: int
    """Memory node that it fetches instructions from."""
    block: int
    """Instructions that it asks for at a time."""
    room: int
    """Instructions that it may have asked for and not started when it asks for a block more."""
    left_cycles: list[float]
    """Least cycles of a compute unit from each instruction on."""
    index: int = 0
    free: float = 0.0
    """Time at which the unit can start its next instruction."""
    arrived: int = 0
    requested: int = 0
    last_fetch: float = inf
    """Time at which END comes: it asks for more until then."""
    ended: bool = False
    woken: float = -inf
    """Time for which it was last called."""
    missing: int = -1
    """First token that it has to wait for; -1 if it waits for none."""
    woken_for: str = "fetch"
    """Cause for which it waits."""
    causes: dict[str, float] = field(default_factory=lambda: dict.fromkeys(CAUSES, 0.0))
    last: float = 0.0
    """Time up to which the causes are accounted for."""
    engine: int | None = None
    """Engine of the last COMPUTE."""
    drained: float = 0.0
    """Time at which that engine lets another one start."""
    ready: float = 0.0
    """Time at which its instructions so far were there; if token times are kept, their tokens too."""
    read: float = 0.0
    """Time at which the last COMPUTE has read its operands."""
    taken: float = 0.0
    """Time at which it began to: from then on the next COMPUTE may be issued."""
    weights: float = 0.0
    """Time at which an engine has a bank for weights of the next COMPUTE."""
    pending: int = 0
    """Writes under way."""
    draining: bool = False
    prepared: tuple[float, Store] | None = None
    """STORE that drains next, and the time at which it could begin."""
    finish: float = 0.0


class Timeline:
    """One launch, from the first fetch to the last acknowledgement.

    Parameters
    ----------
    programs : dict of (core, Unit) to list of Instruction
        Of every core and unit.
    """

    def __init__(
        self,
        programs: Mapping[tuple[int, Unit], list[Instruction]],
        chip: ChipParams,
        memory: MemoryTiming,
        c: Coefficients,
    ) -> None:
        self.chip, self.c, self.memory = chip, c, memory
        self.units = [[self._unit(core, unit, programs[core, unit]) for unit in Unit] for core in range(chip.n_cores)]
        self.tokens = [[0] * chip.tokens for _ in range(chip.n_cores)]
        self.came: list[defaultdict[int, deque[float]]] = []
        """Of each core, when the tokens of each counter came; only of a launch with a COMPUTE on an engine with banks,
        as nothing else asks for it."""
        if any(TIMINGS[engine].banked for core in chip.cores for engine in core.engines) and any(
            type(instruction) is Compute and instruction.lead
            for core in range(chip.n_cores)
            for instruction in programs[core, Unit.COMPUTE]
        ):
            self.came = [defaultdict(deque) for _ in range(chip.n_cores)]
        self.queue: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self.count = 0
        self.now = 0.0
        self.last_end = inf
        capacity = memory.rate(chip.link_bytes) / chip.link_bytes
        self.routes = _routes(chip)
        self.network = Network(self.routes, self.at, capacity)
        self.capacity = capacity
        self.fetching = [0.0] * chip.n_cores
        """Time at which each core may ask for a block of instructions."""
        self.fetch_end = 0.0
        """Time at which all instructions that were asked for are there, also those behind an END: no launch is over
        before."""
        self.read_flits = max(1, INSTRUCTION_BYTES // chip.link_bytes)
        """Flits of an instruction, and of a request."""
        self.carried: defaultdict[Route, int] = defaultdict(int)
        """Flits of reads and of STOREs that go each way."""
        self.requests: defaultdict[tuple[int, int], int] = defaultdict(int)
        """Requests of each core to each memory node."""
        self.marks: defaultdict[int, dict[int, Mark]] = defaultdict(dict)
        self.bytes = dict.fromkeys((item.name.lower() for item in TrafficClass), 0)
        self.executes: dict[type[Instruction], Callable[[UnitState, Any], None]] = {
            Instruction: self.execute_other,
            Setting: self.execute_setting,
            Marking: self.execute_mark,
            Compute: self.execute_compute,
            Load: self.execute_load,
            Store: self.execute_store,
        }
        self.way = [
            [c.hop_latency * hops(chip, core, chip.memory_node_id(node)) for node in range(len(chip.memory_nodes))]
            for core in range(chip.n_cores)
        ]

    def _unit(self, core: int, unit: Unit, program: list[Instruction]) -> UnitState:
        depth = self.chip.cores[core].queue_depth
        block = min(8, depth // 2)
        left: list[float] = []
        if unit == Unit.COMPUTE:
            left = list(accumulate((instruction.cycles for instruction in reversed(program)), initial=0.0))[::-1]
        return UnitState(core, unit, program, self.chip.home_memory[core], block, depth - block, left)

    def run(self, limit: float = inf) -> Estimate:
        """The estimate of the launch.

        Raises
        ------
        EstimateError
            If the program deadlocks.
        OverLimit
            Once it is seen that the launch takes more cycles than `limit`.
        """
        self.last_end = limit - self.c.launch_cycles
        for units in self.units:
            for unit in units:
                self.fetch(unit)
        queue = self.queue
        while queue:
            self.now, _, action, args = heappop(queue)
            action(*args)
        stuck = [unit for units in self.units for unit in units if not unit.ended]
        if stuck:
            where = ", ".join(f"core {u.core} {u.unit.name.lower()} at {u.index}" for u in stuck[:4])
            raise EstimateError(f"deadlock: {where}")
        cycles = max(self.fetch_end, *(unit.finish for units in self.units for unit in units)) + self.c.launch_cycles
        working = [units[Unit.COMPUTE] for units in self.units if len(units[Unit.COMPUTE].program) > 1]
        for unit in working:
            unit.causes["done"] = cycles - unit.last
        causes = {name: sum(u.causes[name] for u in working) / max(1, len(working)) for name in CAUSES}
        moved = [0] * len(self.chip.memory_nodes)
        for route, flits in self.carried.items():
            if route.memory >= 0:
                moved[route.memory] += flits
        for core, node in self.requests:
            self.carried[self.routes.requests(core, node)] += self.read_flits * self.requests[core, node]
        link_flits = self.routes.loads_of_links(self.carried)
        busy = tuple(flits / self.capacity / cycles for flits in moved)
        marks = {core: tuple(some[number] for number in sorted(some)) for core, some in sorted(self.marks.items())}
        return Estimate(cycles, self.bytes, causes, busy, marks, link_flits)

    def at(self, time: float, action: Callable[..., None], *args: Any) -> None:
        """Plan an event; of those at the same time, the one that was planned first comes first."""
        self.count += 1
        heappush(self.queue, (time, self.count, action, args))

    # --- instruction fetch --------------------------------------------------------------------------------------

    def fetch(self, unit: UnitState) -> None:
        """Ask for blocks of instructions as long as the queue has room for them; a core asks for one at a time."""
        first = self.way[unit.core][unit.home] + self.c.fetch_latency + self.read_flits

        def begun(when: float) -> None:
            self.at(when + first, self.fetched, unit)

        while self.now < unit.last_fetch and unit.requested - unit.index <= unit.room:
            unit.requested += unit.block
            nbytes = unit.block * INSTRUCTION_BYTES
            self.bytes["program"] += nbytes
            flits = nbytes // self.chip.link_bytes
            asks = max(self.now, self.fetching[unit.core])
            self.fetching[unit.core] = asks + self.read_flits + FETCH_GAP
            route = self.routes.loads(unit.home, 1 << unit.core)
            self.carried[route] += flits
            block = Transfer(route, flits, begun=begun, packet=packet_flits(self.chip, flits))
            self.request(unit, unit.home, block, asks, program=True)

    def fetched(self, unit: UnitState) -> None:
        if unit.index >= unit.arrived:
            unit.ready = self.now
        behind = len(unit.program) - unit.arrived
        unit.arrived += unit.block
        self.fetch_end = max(self.fetch_end, self.now + self.read_flits * (unit.block - 1))
        if behind <= unit.block:
            unit.last_fetch = min(unit.last_fetch, self.now + self.read_flits * (behind - 1))
        self.wake(unit)

    # --- memory -------------------------------------------------------------------------------------------------

    def request(self, unit: UnitState, node: int, transfer: Transfer, asks: float, *, program: bool = False) -> None:
        """Ask a memory node for what it is to send."""
        core = unit.core
        self.requests[core, node] += 1
        transfer.program = program
        transfer.delay = self.c.read_latency + self.memory.latency_cycles
        # The network takes no time for the way; who is nearer comes first.
        comes = asks + self.c.request_latency + self.way[core][node]
        request = Transfer(self.routes.requests(core, node), self.read_flits, asks=transfer)
        self.at(comes, self.network.request, core, request, comes)

    # --- units --------------------------------------------------------------------------------------------------

    def signal(self, arrived: Tokens) -> None:
        for core, token in arrived:
            self.tokens[core][token] += 1
            if self.came:
                self.came[core][token].append(self.now)
            for unit in self.units[core]:
                if unit.missing == token:
                    self.wake(unit)

    def wake(self, unit: UnitState) -> None:
        """Start what can start."""
        tokens, now = self.tokens[unit.core], self.now
        unit.missing = -1
        while not unit.ended:
            if unit.index >= unit.arrived:
                self.account(unit, "fetch")
                return
            if unit.free > now:
                if unit.free < inf and not now < unit.woken <= unit.free:
                    unit.woken = unit.free
                    self.at(unit.free, self.wake, unit)
                return
            instruction = unit.program[unit.index]
            needs = instruction.tokens
            for token in needs:
                if not tokens[token]:
                    unit.missing = token
                    self.account(unit, instruction.causes[needs.index(token)])
                    return
            if instruction.fence and unit.pending:
                return
            if unit.draining and not isinstance(instruction, (Store, Setting)):
                return
            if unit.woken_for:
                self.account(unit, "")
            for token in needs:
                tokens[token] -= 1
            if self.came:
                came = self.came[unit.core]
                unit.ready = max([unit.ready, *(came[token].popleft() for token in needs)])
            unit.index += 1
            if now < unit.last_fetch and unit.requested - unit.index <= unit.room:
                self.fetch(unit)
            self.execute(unit, instruction)

    def account(self, unit: UnitState, cause: str) -> None:
        """Time since the last call goes to what was found missing then."""
        waits = unit.woken_for
        if waits:
            now, start = self.now, max(unit.last, unit.free)
            if now > start:
                unit.causes[waits] += now - start
                unit.last = now
        unit.woken_for = cause

    def fire(self, signals: Signals, when: float) -> None:
        for delay, tokens in signals:
            self.at(when + delay, self.signal, tokens)

    def execute(self, unit: UnitState, instruction: Instruction) -> None:
        self.executes[type(instruction)](unit, instruction)

    def execute_setting(self, unit: UnitState, instruction: Setting) -> None:
        unit.free = self.now + instruction.cycles
        self.overhead(unit)

    def execute_other(self, unit: UnitState, instruction: Instruction) -> None:
        """A TABLE, a SYNC without a mark, or END."""
        if instruction.opcode == Opcode.TABLE:
            unit.free = self.now + instruction.cycles
            self.fire(instruction.signals, unit.free)
            self.at(unit.free, self.wake, unit)
        elif instruction.opcode == Opcode.SYNC:
            unit.free = self.now + instruction.cycles
            self.overhead(unit)
            self.fire(instruction.signals, self.now)
        else:
            unit.ended = True
            unit.last = self.now
            unit.finish = max(unit.finish, self.now)

    def overhead(self, unit: UnitState) -> None:
        unit.causes["overhead"] += unit.free - self.now
        unit.last = unit.free

    def execute_compute(self, unit: UnitState, instruction: Compute) -> None:
        cycles, streaming = instruction.cycles, instruction.streaming
        unit.causes["stream"] += streaming
        switch = 0.0
        if instruction.engine != unit.engine:
            unit.engine = instruction.engine
            switch = max(0.0, unit.drained - self.now - (cycles - streaming))
        before = unit.free
        if instruction.lead:  # a COMPUTE is issued, and weights come, while the one before runs, but not earlier
            switch = max(switch, max(unit.ready, unit.taken, unit.weights) + instruction.lead - self.now)
        unit.causes["overhead"] += switch + cycles - streaming
        unit.free = unit.last = self.now + switch + cycles
        if instruction.lead:  # into the bank of the pass before the last, once that is through and the last one begins
            begins = unit.free - instruction.last
            if instruction.passes > 1:
                each = (streaming - instruction.last) / (instruction.passes - 1)
                before = begins - (each - instruction.last)
            unit.weights = max(begins, before + instruction.idle)
        if unit.free + unit.left_cycles[unit.index] > self.last_end:
            raise OverLimit
        unit.taken = max(unit.ready, unit.read)
        unit.read = unit.free - instruction.ahead
        self.fire(instruction.signals, unit.read)
        unit.drained = unit.free + instruction.idle
        finish = unit.free + instruction.drain
        self.fire(instruction.drained, finish)
        unit.finish = max(unit.finish, finish)

    def execute_mark(self, unit: UnitState, instruction: Marking) -> None:
        """It executes once the engines have drained; until then the unit waits for nothing else."""
        executes = max(self.now, unit.finish)
        unit.free = executes + instruction.cycles
        unit.ready = unit.free
        self.overhead(unit)
        # What comes behind the mark is in the causes already.
        causes = {**unit.causes, "overhead": unit.causes["overhead"] - instruction.cycles}
        self.marks[unit.core][instruction.mark] = Mark(instruction.mark, executes, causes)
        self.fire(instruction.signals, executes)

    def execute_load(self, unit: UnitState, instruction: Load) -> None:
        unit.free = self.now + instruction.cycles
        self.bytes[instruction.traffic] += instruction.nbytes

        def done(when: float, cores: int) -> None:
            if instruction.arrived:
                arrived = instruction.arrived
                if cores != instruction.cores:
                    arrived = tuple([item for item in arrived if cores >> item[0] & 1])
                self.at(when + instruction.way, self.signal, arrived)

        route = self.routes.loads(instruction.memory, instruction.cores)
        self.carried[route] += instruction.flits
        # A memory node asks for so many bursts beforehand; each takes the place of one of which all flits have come.
        asked = self.chip.outstanding_bursts * instruction.packet
        limit = asked / (BURST_CYCLES + self.memory.latency_cycles + instruction.packet)
        transfer = Transfer(
            route, instruction.flits + instruction.gaps, min(1.0, limit), arrived=done,
            packet=instruction.packet,
        )  # fmt: skip
        self.request(unit, instruction.memory, transfer, max(self.now, self.fetching[unit.core] - FETCH_GAP))

    def execute_store(self, unit: UnitState, instruction: Store) -> None:
        """Prepared beside the drain of the STORE before; the unit goes on when this one begins to drain."""
        unit.free = inf
        unit.pending += instruction.memory is not None
        unit.prepared = (self.now + self.c.store_start, instruction)
        if not unit.draining:
            self.drain_next(unit)

    def drain_next(self, unit: UnitState) -> None:
        assert unit.prepared is not None
        ready, instruction = unit.prepared
        unit.draining, unit.prepared = True, None
        self.at(max(self.now, ready), self.drain, unit, instruction)

    def drain(self, unit: UnitState, instruction: Store) -> None:
        unit.free = self.now
        rate = instruction.flits / instruction.cycles
        transfer = Transfer(
            self.routes.sends(unit.core, instruction.cores), instruction.flits, rate,
            earliest=self.now + instruction.cycles,
            sent=lambda when: self.at(when, self.stored, unit, instruction), packet=instruction.packet,
        )  # fmt: skip
        if instruction.memory is None:
            transfer.arrived = self.delivery(unit, instruction)
        else:
            transfer.route = self.routes.stores(unit.core, instruction.memory)
            self.bytes[instruction.traffic] += instruction.nbytes
            way = 2 * (self.c.request_latency + self.way[unit.core][instruction.memory]) + self.memory.latency_cycles
            transfer.arrived = lambda when, _: self.at(when + way, self.acknowledged, unit)
        self.carried[transfer.route] += instruction.flits
        self.network.send(unit.core, transfer, self.now)
        self.wake(unit)

    def delivery(self, unit: UnitState, instruction: Store) -> Callable[[float, int], None]:
        """What happens when the flits of a STORE have come to some cores."""
        return lambda when, cores: self.fire(
            tuple([item for item in instruction.arrived if cores >> item[1][0][0] & 1]), when
        )

    def stored(self, unit: UnitState, instruction: Store) -> None:
        unit.draining = False
        if unit.prepared is not None:
            self.drain_next(unit)
        unit.finish = max(unit.finish, self.now)
        self.fire(instruction.signals, self.now)
        self.wake(unit)

    def acknowledged(self, unit: UnitState) -> None:
        unit.pending -= 1
        unit.finish = max(unit.finish, self.now)
        self.wake(unit)


@lru_cache(maxsize=8)
def _routes(chip: ChipParams) -> Routes:
    """Ways on a chip that were found before."""
    return Routes(chip)
