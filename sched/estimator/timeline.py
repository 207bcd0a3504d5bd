"""Prediction of a launch: its instructions, in the order that tokens allow, each with its closed form.

Events are starts and ends of instructions, arrivals of tokens, and changes of the rate at which a memory node serves;
between events nothing is computed, so the time taken depends on the number of instructions, not of cycles.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Protocol

from estimator.coefficients import Coefficients
from estimator.compute import bursts, compute_cycles, compute_pixels, drain_cycles, hops, idle_cycles, store_cycles
from estimator.decode import decode_stream
from estimator.memory import MemoryServer, ReadJob, WriteJob
from estimator.timing import MemoryTiming
from rtl.isa import INSTRUCTION_BYTES, TABLE_BYTES, Engine, Opcode, TrafficClass, Unit
from rtl.params import ChipParams

__all__ = ["Estimate", "EstimateError", "Program", "estimate"]

CAUSES = ("stream", "wait_act", "wait_weight", "wait_acc", "fetch", "overhead", "done")


class EstimateError(ValueError):
    """A program that never ends."""


class Program(Protocol):
    """What is estimated: a launch of the scheduler."""

    @property
    def streams(self) -> Mapping[tuple[int, Unit], Sequence[bytes]]:
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


@dataclass(eq=False)
class _UnitState:
    """One unit of one core."""

    core: int
    unit: Unit
    program: list[tuple[Opcode, dict[str, int]]]
    index: int = 0
    free: float = 0.0
    """When the unit can start its next instruction."""
    arrived: int = 0
    requested: int = 0
    ended: bool = False
    woken: float | None = None
    woken_for: str = "fetch"
    """What it waits for."""
    setup: dict[str, int] = field(default_factory=dict)
    """Last SETUP, or POOL."""
    causes: dict[str, float] = field(default_factory=lambda: dict.fromkeys(CAUSES, 0.0))
    last: float = 0.0
    """Up to when the causes are accounted for."""
    engine: int = Engine.ARRAY
    drained: float = 0.0
    """When the engine in use lets the other one start."""
    pending: int = 0
    """Writes under way."""
    draining: bool = False
    prepared: tuple[float, dict[str, int], int] | None = None
    """The STORE that drains next: when it could begin, its fields, its cycles."""
    finish: float = 0.0


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
    run = _Run(launch, chip, memory or MemoryTiming(), coefficients or Coefficients.load())
    return run.result()


class _Run:
    def __init__(self, launch: Program, chip: ChipParams, memory: MemoryTiming, c: Coefficients) -> None:
        self.chip, self.c, self.memory = chip, c, memory
        self.tokens = [[0] * chip.tokens for _ in range(chip.n_cores)]
        self.queue: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self.count = 0
        capacity = memory.rate(chip.link_bytes) / chip.link_bytes
        self.servers = [MemoryServer(capacity) for _ in chip.memory_nodes]
        self.bytes = dict.fromkeys((item.name.lower() for item in TrafficClass), 0)
        # Decoded in one pass: many cores have many short streams.
        raw = [launch.streams[core, unit] for core in range(chip.n_cores) for unit in Unit]
        program = iter(decode_stream([instruction for stream in raw for instruction in stream]))
        self.units = [
            [_UnitState(core, unit, list(islice(program, len(launch.streams[core, unit])))) for unit in Unit]
            for core in range(chip.n_cores)
        ]
        self.now = 0.0
        self.latency = {
            (core, node): c.request_latency + c.hop_latency * hops(chip, core, node)
            for core in range(chip.n_cores)
            for node in range(len(chip.memory_nodes))
        }

    # --- events -------------------------------------------------------------------------------------------------

    def at(self, time: float, action: Callable[..., None], *args: Any) -> None:
        self.count += 1
        heapq.heappush(self.queue, (time, self.count, action, args))

    def result(self) -> Estimate:
        for units in self.units:
            for unit in units:
                self.fetch(unit)
        while self.queue:
            self.now, _, action, args = heapq.heappop(self.queue)
            action(*args)
        stuck = [unit for units in self.units for unit in units if not unit.ended]
        if stuck:
            where = ", ".join(f"core {u.core} {u.unit.name.lower()} at {u.index}" for u in stuck[:4])
            raise EstimateError(f"deadlock: {where}")
        cycles = max(unit.finish for units in self.units for unit in units) + self.c.launch_cycles
        working = [units[Unit.COMPUTE] for units in self.units if len(units[Unit.COMPUTE].program) > 1]
        for unit in working:
            unit.causes["done"] = cycles - unit.last
        causes = {name: sum(u.causes[name] for u in working) / max(1, len(working)) for name in CAUSES}
        busy = tuple(server.busy_flits / server.capacity / cycles for server in self.servers)
        return Estimate(cycles, self.bytes, causes, busy)

    # --- instruction fetch --------------------------------------------------------------------------------------

    def fetch(self, unit: _UnitState) -> None:
        """Ask for blocks of instructions as long as the queue has room for them."""
        depth = self.chip.cores[unit.core].queue_depth
        block = min(8, depth // 2)
        home = self.chip.home_memory[unit.core]
        while unit.requested < len(unit.program) and unit.requested - unit.index + block <= depth:
            unit.requested += block
            self.bytes["program"] += block * INSTRUCTION_BYTES
            flits = block * INSTRUCTION_BYTES / self.chip.link_bytes
            self.read(unit.core, home, flits, (unit.core,), lambda when, u=unit, n=block: self.at(
                when + self.c.fetch_latency, self.fetched, u, n
            ), program=True)  # fmt: skip

    def fetched(self, unit: _UnitState, count: int) -> None:
        unit.arrived += count
        self.wake(unit)

    # --- memory -------------------------------------------------------------------------------------------------

    def read(
        self, core: int, node: int, flits: float, cores: tuple[int, ...], done: Callable[[float], None],
        program: bool = False,
    ) -> None:  # fmt: skip
        """Send a request; `done` is called with the time at which the last flit is at the farthest core."""
        arrive = self.now + self.latency[core, node]
        way = max(self.c.hop_latency * hops(self.chip, target, node) for target in cores)
        job = ReadJob(flits, cores, 0.0, lambda when: done(when + way))
        self.at(arrive, self.enqueue, node, job, program)

    def enqueue(self, node: int, job: ReadJob | WriteJob, program: bool = False) -> None:
        server = self.servers[node]
        server.settle(self.now)
        if isinstance(job, ReadJob):
            job.ready = self.now + self.c.read_latency + self.memory.latency_cycles
            (server.programs if program else server.reads).append(job)
        else:
            server.writes.append(job)
        self.update(node)

    def update(self, node: int) -> None:
        """Rates may have changed at this node, and with it at those that send to the same cores."""
        heads = [server.active_read() for server in self.servers]
        senders: dict[int, int] = {}
        for head in heads:
            for core in head.cores if head is not None else ():
                senders[core] = senders.get(core, 0) + 1
        for index, (server, head) in enumerate(zip(self.servers, heads, strict=True)):
            limit = 1.0 / max((senders[core] for core in head.cores), default=1) if head is not None else 1.0
            if index != node:
                if limit == server.read_rate or head is None:
                    continue
                server.settle(self.now)
            if server.set_rates(limit) or index == node:
                server.version += 1
                event = server.next_event()
                if event is not None:
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

    def signal(self, core: int, token: int) -> None:
        self.tokens[core][token] += 1
        for unit in self.units[core]:
            self.wake(unit)

    def wake(self, unit: _UnitState) -> None:
        """Start what can start."""
        while not unit.ended:
            if unit.index >= unit.arrived:
                self.account(unit, "fetch")
                return
            if unit.free > self.now:
                if unit.woken is None or unit.woken > unit.free or unit.woken <= self.now:
                    unit.woken = unit.free
                    self.at(unit.free, self.wake, unit)
                return
            opcode, fields = unit.program[unit.index]
            missing = self.missing(unit, fields)
            if missing is not None:
                self.account(unit, ("wait_act", "wait_weight", "wait_acc")[missing])
                return
            if (opcode == Opcode.END or fields.get("fence")) and unit.pending:
                return
            if unit.draining and opcode not in _BESIDE_DRAIN:
                return
            self.account(unit, "")
            self.take(unit, fields)
            unit.index += 1
            self.execute(unit, opcode, fields)
            self.fetch(unit)

    def missing(self, unit: _UnitState, fields: dict[str, int]) -> int | None:
        tokens = self.tokens[unit.core]
        for i, (first, count) in enumerate(_WAITS):
            start, size = fields[first], fields[count]
            if size and not all(tokens[start : start + size]):
                return i
        return None

    def take(self, unit: _UnitState, fields: dict[str, int]) -> None:
        tokens = self.tokens[unit.core]
        for first, count in _WAITS:
            for token in range(fields[first], fields[first] + fields[count]):
                tokens[token] -= 1

    def account(self, unit: _UnitState, cause: str) -> None:
        """Time since the last call goes to what was found missing then."""
        start = max(unit.last, unit.free)
        if unit.woken_for and self.now > start:
            unit.causes[unit.woken_for] += self.now - start
            unit.last = self.now
        unit.woken_for = cause

    def fire(self, core: int, fields: dict[str, int], which: Sequence[int], when: float) -> None:
        for i in which:
            if fields[f"signal{i}_valid"]:
                target, delay = fields[f"signal{i}_core"], 1.0
                if target != core:
                    delay = self.c.signal_latency + self.c.hop_latency * self.distance(core, target)
                self.at(when + delay, self.signal, target, fields[f"signal{i}_token"])

    def distance(self, a: int, b: int) -> int:
        (ax, ay), (bx, by) = self.chip.position(a), self.chip.position(b)
        return abs(ax - bx) + abs(ay - by) + 1

    def execute(self, unit: _UnitState, opcode: Opcode, fields: dict[str, int]) -> None:
        match opcode:
            case Opcode.COMPUTE:
                self.execute_compute(unit, fields)
            case Opcode.LOAD:
                self.execute_load(unit, fields)
            case Opcode.STORE:
                self.execute_store(unit, fields)
            case Opcode.TABLE:
                unit.free = self.now + self.c.compute_issue + self.c.store_drain + TABLE_BYTES
                self.fire(unit.core, fields, (0, 1, 2), unit.free)
                self.at(unit.free, self.wake, unit)
            case Opcode.SETUP | Opcode.POOL:
                unit.setup = fields
                unit.free = self.now + self.c.compute_issue
                self.overhead(unit)
            case Opcode.SYNC:
                unit.free = self.now + self.c.compute_issue
                self.overhead(unit)
                self.fire(unit.core, fields, (0, 1, 2), self.now)
            case _:
                unit.ended = True
                unit.last = self.now
                unit.finish = max(unit.finish, self.now)

    def overhead(self, unit: _UnitState) -> None:
        unit.causes["overhead"] += unit.free - self.now
        unit.last = unit.free

    def execute_compute(self, unit: _UnitState, fields: dict[str, int]) -> None:
        core = self.chip.cores[unit.core]
        streaming = compute_pixels(core, unit.setup, fields)
        cycles = compute_cycles(core, unit.setup, fields, self.c)
        unit.causes["stream"] += streaming
        switch = 0.0
        if unit.setup["engine"] != unit.engine:
            unit.engine = unit.setup["engine"]
            switch = max(0.0, unit.drained - self.now - (cycles - streaming))
        unit.causes["overhead"] += switch + cycles - streaming
        unit.free = unit.last = self.now + switch + cycles
        self.fire(unit.core, fields, (0, 1), unit.free)
        unit.drained = unit.free + idle_cycles(core, unit.setup, self.c)
        finish = unit.free + drain_cycles(core, unit.setup, self.c)
        self.fire(unit.core, fields, (2,), finish)
        unit.finish = max(unit.finish, finish)

    def execute_load(self, unit: _UnitState, fields: dict[str, int]) -> None:
        unit.free = self.now + self.c.load_issue
        flits = fields["runs"] * fields["run_flits"]
        self.bytes[TrafficClass(fields["traffic"]).name.lower()] += flits * self.chip.link_bytes
        cores = tuple(core for core in range(self.chip.n_cores) if fields["cores"] >> core & 1)
        gap = self.c.burst_gap * bursts(self.chip, fields) if self.c.burst_gap else 0.0
        token = fields["token"] if fields["token_valid"] else None

        def done(when: float) -> None:
            if token is not None:
                for core in cores:
                    self.at(when, self.signal, core, token)

        self.read(unit.core, fields["memory"], flits + gap, cores, done)

    def execute_store(self, unit: _UnitState, fields: dict[str, int]) -> None:
        """Prepared beside the drain of the STORE before; the unit goes on when this one begins to drain."""
        unit.free = float("inf")
        unit.pending += not fields["to_core"]
        unit.prepared = (self.now + self.c.store_start, fields, store_cycles(unit.setup, fields))
        if not unit.draining:
            self.drain_next(unit)

    def drain_next(self, unit: _UnitState) -> None:
        assert unit.prepared is not None
        ready, fields, cycles = unit.prepared
        unit.draining, unit.prepared = True, None
        self.at(max(self.now, ready), self.drain, unit, fields, cycles)

    def drain(self, unit: _UnitState, fields: dict[str, int], cycles: int) -> None:
        flits = fields["pixels"] * fields["groups"]
        unit.free = self.now
        if fields["to_core"]:
            end = self.now + cycles
            self.at(end, self.stored, unit, fields)
            if fields["token_valid"]:
                way = self.c.signal_latency + self.c.hop_latency * self.distance(unit.core, fields["core"])
                self.at(end + self.c.store_drain + way, self.signal, fields["core"], fields["token"])
            self.wake(unit)
            return
        self.bytes[TrafficClass(fields["traffic"]).name.lower()] += flits * fields["lanes"]
        node = fields["memory"]

        def done(when: float) -> None:
            # The store unit ran ahead of the memory by the way between them; it is released when the last flit leaves.
            self.at(when, self.stored, unit, fields)
            self.at(when + 2 * self.latency[unit.core, node] + self.memory.latency_cycles, self.acknowledged, unit)

        self.enqueue(node, WriteJob(flits, done, flits / cycles))
        self.wake(unit)

    def stored(self, unit: _UnitState, fields: dict[str, int]) -> None:
        unit.draining = False
        if unit.prepared is not None:
            self.drain_next(unit)
        unit.finish = max(unit.finish, self.now)
        self.fire(unit.core, fields, (0, 1, 2), self.now)
        self.wake(unit)

    def acknowledged(self, unit: _UnitState) -> None:
        unit.pending -= 1
        unit.finish = max(unit.finish, self.now)
        self.wake(unit)


_BESIDE_DRAIN = {Opcode.STORE, Opcode.POOL}
_WAITS = tuple((f"wait{i}_first", f"wait{i}_count") for i in range(3))
