"""Prediction of a launch: its instructions, in the order that tokens allow, each with its closed form.

Events are starts and ends of instructions, arrivals of tokens, and changes of the rate at which a memory node serves;
between events nothing is computed, so the time taken depends on the number of instructions, not of cycles.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from itertools import accumulate, islice
from math import inf
from typing import Any, Protocol

from estimator.coefficients import Coefficients
from estimator.compute import hops
from estimator.instructions import (
    Compute,
    Instruction,
    Instructions,
    Load,
    Setting,
    Signals,
    Store,
    Streams,
    Tokens,
    masked,
)
from estimator.memory import MemoryServer, ReadJob, WriteJob
from estimator.timing import MemoryTiming
from rtl.isa import INSTRUCTION_BYTES, Engine, Opcode, TrafficClass, Unit
from rtl.params import ChipParams

__all__ = ["Estimate", "EstimateError", "Program", "estimate", "fastest"]

CAUSES = ("stream", "wait_act", "wait_weight", "wait_acc", "fetch", "overhead", "done")


class EstimateError(ValueError):
    """A program that never ends."""


class Program(Protocol):
    """What is estimated: a launch of the scheduler."""

    @property
    def streams(self) -> Streams:
        """Instructions of every core and unit, END last."""
        ...


@dataclass(frozen=True)
class Estimate:
    """Prediction of one launch.

    Attributes
    ----------
    cycles : float
    dram_bytes : dict of str to int
        By traffic class, reads and writes together.
    compute : dict of str to float
        What the compute units did, in cycles, mean over the cores that compute: stream, waits for activations, weights,
        accumulators, missing instructions, overhead, and done.
    memory_busy : tuple of float
        Share of each memory node's bandwidth in use.
    """

    cycles: float
    dram_bytes: dict[str, int]
    compute: dict[str, float]
    memory_busy: tuple[float, ...]


def estimate(
    launch: Program,
    chip: ChipParams,
    memory: MemoryTiming | None = None,
    coefficients: Coefficients | None = None,
) -> Estimate:
    """Predict cycles and traffic of a launch.

    Raises
    ------
    EstimateError
        If the program deadlocks.
    """
    return _estimator(chip, memory or MemoryTiming(), coefficients or Coefficients.load()).estimate(launch)


def fastest(
    launches: Sequence[Program],
    chip: ChipParams,
    memory: MemoryTiming | None = None,
    coefficients: Coefficients | None = None,
) -> int:
    """Number of the launch that takes fewest cycles, the first of equals.

    A launch is given up as soon as what its compute units still have to do makes it slower than another.
    """
    estimator = _estimator(chip, memory or MemoryTiming(), coefficients or Coefficients.load())
    best = (inf, 0)
    for number in range(len(launches)):
        try:
            best = min(best, (estimator.estimate(launches[number], best[0]).cycles, number))
        except _TooSlow:
            continue
    return best[1]


class _TooSlow(Exception):
    """Ends an estimate that exceeds its limit."""


@lru_cache(maxsize=4)
def _estimator(chip: ChipParams, memory: MemoryTiming, c: Coefficients) -> _Estimator:
    return _Estimator(chip, memory, c)


class _Estimator:
    """Estimates of launches on one chip, each kept: networks repeat their layers at other addresses."""

    def __init__(self, chip: ChipParams, memory: MemoryTiming, c: Coefficients) -> None:
        self.chip, self.memory, self.c = chip, memory, c
        self.instructions = Instructions(chip, c)
        self.kept: dict[bytes, Estimate] = {}

    def estimate(self, launch: Program, limit: float = inf) -> Estimate:
        places = [(core, unit) for core in range(self.chip.n_cores) for unit in Unit]
        streams = [launch.streams[place] for place in places]
        sizes = [len(stream) for stream in streams]
        raw = masked(streams, self.c.burst_gap > 0)
        key = blake2b(raw + repr(sizes).encode()).digest()
        if key not in self.kept:
            words = (raw[start : start + INSTRUCTION_BYTES] for start in range(0, len(raw), INSTRUCTION_BYTES))
            units = []
            for (core, unit), size in zip(places, sizes, strict=True):
                depth = self.chip.cores[core].queue_depth
                block = min(8, depth // 2)
                program = self.instructions.program(core, islice(words, size))
                state = _UnitState(core, unit, program, block, depth - block)
                if unit == Unit.COMPUTE:
                    state.remaining = list(accumulate((i.cycles for i in reversed(program)), initial=0.0))[::-1]
                units.append(state)
            self.kept[key] = _Run(units, self.chip, self.memory, self.c, limit).result()
        return self.kept[key]


@dataclass(slots=True, eq=False)
class _UnitState:
    """One unit of one core."""

    core: int
    unit: Unit
    program: list[Instruction]
    block: int
    """Instructions that it asks for at a time."""
    most_ahead: int
    """Of those that it has asked for, if there is to be room for a block more."""
    remaining: list[float] = field(default_factory=list)
    index: int = 0
    free: float = 0.0
    """When the unit can start its next instruction."""
    arrived: int = 0
    requested: int = 0
    ended: bool = False
    woken: float = -inf
    """For when it was last called."""
    token: int = -1
    """The first one that it misses, if it waits for tokens."""
    woken_for: str = "fetch"
    """What it waits for."""
    causes: dict[str, float] = field(default_factory=lambda: dict.fromkeys(CAUSES, 0.0))
    last: float = 0.0
    """Up to when the causes are accounted for."""
    engine: int = Engine.ARRAY
    drained: float = 0.0
    """When the engine in use lets the other one start."""
    pending: int = 0
    """Writes under way."""
    draining: bool = False
    prepared: tuple[float, Store] | None = None
    """The STORE that drains next, and when it could begin."""
    finish: float = 0.0


class _Run:
    def __init__(
        self, units: list[_UnitState], chip: ChipParams, memory: MemoryTiming, c: Coefficients, limit: float
    ) -> None:
        self.limit = limit - c.launch_cycles
        self.chip, self.c, self.memory = chip, c, memory
        self.units = units
        self.units_of = [units[first : first + len(Unit)] for first in range(0, len(units), len(Unit))]
        self.tokens = [[0] * chip.tokens for _ in range(chip.n_cores)]
        self.queue: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self.count = 0
        self.now = 0.0
        capacity = memory.rate(chip.link_bytes) / chip.link_bytes
        self.servers = [MemoryServer(capacity) for _ in chip.memory_nodes]
        self.bytes = dict.fromkeys((item.name.lower() for item in TrafficClass), 0)
        self.latency = [
            [c.request_latency + c.hop_latency * hops(chip, core, node) for node in range(len(chip.memory_nodes))]
            for core in range(chip.n_cores)
        ]
        self.read_latency = c.read_latency + memory.latency_cycles

    # --- events -------------------------------------------------------------------------------------------------

    def at(self, time: float, action: Callable[..., None], *args: Any) -> None:
        self.count += 1
        heapq.heappush(self.queue, (time, self.count, action, args))

    def result(self) -> Estimate:
        for unit in self.units:
            self.fetch(unit)
        queue = self.queue
        while queue:
            self.now, _, action, args = heapq.heappop(queue)
            action(*args)
        stuck = [unit for unit in self.units if not unit.ended]
        if stuck:
            where = ", ".join(f"core {u.core} {u.unit.name.lower()} at {u.index}" for u in stuck[:4])
            raise EstimateError(f"deadlock: {where}")
        cycles = max(unit.finish for unit in self.units) + self.c.launch_cycles
        working = [units[Unit.COMPUTE] for units in self.units_of if len(units[Unit.COMPUTE].program) > 1]
        for unit in working:
            unit.causes["done"] = cycles - unit.last
        causes = {name: sum(u.causes[name] for u in working) / max(1, len(working)) for name in CAUSES}
        busy = tuple(server.busy_flits / server.capacity / cycles for server in self.servers)
        return Estimate(cycles, self.bytes, causes, busy)

    # --- instruction fetch --------------------------------------------------------------------------------------

    def fetch(self, unit: _UnitState) -> None:
        """Ask for blocks of instructions as long as the queue has room for them."""
        while unit.requested < len(unit.program) and unit.requested - unit.index <= unit.most_ahead:
            unit.requested += unit.block
            self.bytes["program"] += unit.block * INSTRUCTION_BYTES
            home = self.chip.home_memory[unit.core]
            flits = unit.block * INSTRUCTION_BYTES / self.chip.link_bytes
            way = self.c.hop_latency * hops(self.chip, unit.core, home)

            def done(when: float) -> None:
                self.at(when + way + self.c.fetch_latency, self.fetched, unit, unit.block)

            job = ReadJob(flits, 1 << unit.core, 0.0, done)
            self.at(self.now + self.latency[unit.core][home], self.read, home, job, True)

    def fetched(self, unit: _UnitState, count: int) -> None:
        unit.arrived += count
        self.wake(unit)

    # --- memory -------------------------------------------------------------------------------------------------

    def read(self, node: int, job: ReadJob, program: bool = False) -> None:
        """A request has come to a memory node."""
        server = self.servers[node]
        server.settle(self.now)
        job.ready = self.now + self.read_latency
        server.read(job, program)
        self.update(node)

    def write(self, node: int, job: WriteJob) -> None:
        """A memory node begins to take the flits of a STORE."""
        server = self.servers[node]
        server.settle(self.now)
        server.writes.append(job)
        self.update(node)

    def update(self, node: int) -> None:
        """Rates may have changed at this node, and with it at those that send to the same cores."""
        limits = read_limits(tuple([server.sends_to for server in self.servers]))
        for index, (server, limit) in enumerate(zip(self.servers, limits, strict=True)):
            if index != node:
                if limit == server.read_rate:
                    continue
                server.settle(self.now)
            if server.set_rates(limit) or index == node:
                server.version += 1
                event = server.next_event()
                if event < inf:
                    self.at(event, self.serve, index, server.version)

    def serve(self, node: int, version: int) -> None:
        server = self.servers[node]
        if version != server.version:
            return
        server.settle(self.now)
        for job in server.completed():
            job.done(self.now)
        self.update(node)

    # --- units --------------------------------------------------------------------------------------------------

    def signal(self, arrived: Tokens) -> None:
        for core, token in arrived:
            self.tokens[core][token] += 1
            for unit in self.units_of[core]:
                if unit.token == token:
                    self.wake(unit)

    def wake(self, unit: _UnitState) -> None:
        """Start what can start."""
        tokens = self.tokens[unit.core]
        unit.token = -1
        while not unit.ended:
            if unit.index >= unit.arrived:
                self.account(unit, "fetch")
                return
            if unit.free > self.now:
                if unit.free < inf and not self.now < unit.woken <= unit.free:
                    unit.woken = unit.free
                    self.at(unit.free, self.wake, unit)
                return
            instruction = unit.program[unit.index]
            for token in instruction.tokens:
                if not tokens[token]:
                    unit.token = token
                    self.account(unit, instruction.causes[instruction.tokens.index(token)])
                    return
            if instruction.fence and unit.pending:
                return
            if unit.draining and instruction.opcode not in _BESIDE_DRAIN:
                return
            self.account(unit, "")
            for token in instruction.tokens:
                tokens[token] -= 1
            unit.index += 1
            self.execute(unit, instruction)
            if unit.requested < len(unit.program):
                self.fetch(unit)

    def account(self, unit: _UnitState, cause: str) -> None:
        """Time since the last call goes to what was found missing then."""
        start = max(unit.last, unit.free)
        if unit.woken_for and self.now > start:
            unit.causes[unit.woken_for] += self.now - start
            unit.last = self.now
        unit.woken_for = cause

    def fire(self, signals: Signals, when: float) -> None:
        for delay, tokens in signals:
            self.at(when + delay, self.signal, tokens)

    def execute(self, unit: _UnitState, instruction: Instruction) -> None:
        match instruction:
            case Compute():
                self.execute_compute(unit, instruction)
            case Load():
                self.execute_load(unit, instruction)
            case Store():
                self.execute_store(unit, instruction)
            case Setting():
                unit.free = self.now + instruction.cycles
                self.overhead(unit)
            case _ if instruction.opcode == Opcode.TABLE:
                unit.free = self.now + instruction.cycles
                self.fire(instruction.signals, unit.free)
                self.at(unit.free, self.wake, unit)
            case _ if instruction.opcode == Opcode.SYNC:
                unit.free = self.now + instruction.cycles
                self.overhead(unit)
                self.fire(instruction.signals, self.now)
            case _:
                unit.ended = True
                unit.last = self.now
                unit.finish = max(unit.finish, self.now)

    def overhead(self, unit: _UnitState) -> None:
        unit.causes["overhead"] += unit.free - self.now
        unit.last = unit.free

    def execute_compute(self, unit: _UnitState, instruction: Compute) -> None:
        cycles, streaming = instruction.cycles, instruction.streaming
        unit.causes["stream"] += streaming
        switch = 0.0
        if instruction.engine != unit.engine:
            unit.engine = instruction.engine
            switch = max(0.0, unit.drained - self.now - (cycles - streaming))
        unit.causes["overhead"] += switch + cycles - streaming
        unit.free = unit.last = self.now + switch + cycles
        if unit.free + unit.remaining[unit.index] > self.limit:
            raise _TooSlow
        self.fire(instruction.signals, unit.free)
        unit.drained = unit.free + instruction.idle
        finish = unit.free + instruction.drain
        self.fire(instruction.drained, finish)
        unit.finish = max(unit.finish, finish)

    def execute_load(self, unit: _UnitState, instruction: Load) -> None:
        unit.free = self.now + instruction.cycles
        self.bytes[instruction.traffic] += instruction.nbytes

        def done(when: float) -> None:
            if instruction.arrived:
                self.at(when + instruction.way, self.signal, instruction.arrived)

        job = ReadJob(instruction.flits, instruction.cores, 0.0, done)
        self.at(self.now + self.latency[unit.core][instruction.memory], self.read, instruction.memory, job)

    def execute_store(self, unit: _UnitState, instruction: Store) -> None:
        """Prepared beside the drain of the STORE before; the unit goes on when this one begins to drain."""
        unit.free = inf
        unit.pending += instruction.memory is not None
        unit.prepared = (self.now + self.c.store_start, instruction)
        if not unit.draining:
            self.drain_next(unit)

    def drain_next(self, unit: _UnitState) -> None:
        assert unit.prepared is not None
        ready, instruction = unit.prepared
        unit.draining, unit.prepared = True, None
        self.at(max(self.now, ready), self.drain, unit, instruction)

    def drain(self, unit: _UnitState, instruction: Store) -> None:
        unit.free = self.now
        if instruction.memory is None:
            end = self.now + instruction.cycles
            self.at(end, self.stored, unit, instruction)
            self.fire(instruction.arrived, end)
        else:
            self.bytes[instruction.traffic] += instruction.nbytes
            way = 2 * self.latency[unit.core][instruction.memory]

            def done(when: float) -> None:
                # The store unit ran ahead of the memory by the way between them; it is released when the last flit
                # leaves.
                self.at(when, self.stored, unit, instruction)
                self.at(when + way + self.memory.latency_cycles, self.acknowledged, unit)

            self.write(instruction.memory, WriteJob(instruction.flits, done, instruction.flits / instruction.cycles))
        self.wake(unit)

    def stored(self, unit: _UnitState, instruction: Store) -> None:
        unit.draining = False
        if unit.prepared is not None:
            self.drain_next(unit)
        unit.finish = max(unit.finish, self.now)
        self.fire(instruction.signals, self.now)
        self.wake(unit)

    def acknowledged(self, unit: _UnitState) -> None:
        unit.pending -= 1
        unit.finish = max(unit.finish, self.now)
        self.wake(unit)


@lru_cache(maxsize=1 << 16)
def read_limits(targets: tuple[int, ...]) -> tuple[float, ...]:
    """Flits per cycle that the network takes of each memory node, which sends to these cores (a mask; 0 for none).

    A core takes one flit a cycle, from all nodes that send to it in turn.
    """
    at_least: list[int] = []  # cores to which at least one node sends, at least two, ...
    for cores in targets:
        for number, reached in enumerate(at_least):
            at_least[number] = reached | cores
            cores &= reached
        if cores:
            at_least.append(cores)
    return tuple([1.0 / sum([bool(cores & reached) for reached in at_least]) if cores else 0.0 for cores in targets])


_BESIDE_DRAIN = {Opcode.STORE, Opcode.POOL}
