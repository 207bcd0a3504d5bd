"""A core: three decoupled units around scratchpads and accumulators, behind one network interface.

    request_in,                +-> act scratchpad ----+
    response_in -> Inbound ----+-> weight scratchpad --+-> ComputeUnit -> Accumulator -> Store -+
                               +-> parameter memory ----------------------------------->/      |
                               +-> Fetch -> 3 queues -> 3 x Issue -> Load, ComputeUnit, Store  |
    request_out <- Outbound <- signals, Fetch, Load, Store <-----------------------------------+

The units are ordered by `rtl.core.tokens.TokenFile` alone.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, ClockDomain, ClockSignal, DomainRenamer, Module, Mux, ResetInserter, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import exact_log2

from rtl.contract.engines import ENGINES
from rtl.contract.isa import PARAM_FLITS, Unit
from rtl.contract.params import ChipParams, CoreParams
from rtl.contract.regs import COUNTER_BITS, NO_UNIT, CoreCounter, CoreDebug, CoreTrace, ErrorCode, EventCounter
from rtl.core.accumulator import Accumulator
from rtl.core.compute import ComputeUnit
from rtl.core.counters import CoreCounters, unit_state
from rtl.core.fetch import Fetch
from rtl.core.interface import Inbound, Outbound
from rtl.core.issue import Issue
from rtl.core.load import Load
from rtl.core.scratchpad import Scratchpad
from rtl.core.signals import SignalRouter
from rtl.core.store import Store
from rtl.core.tokens import TokenFile
from rtl.core.trace import TraceMemory
from rtl.lib.fifo import Fifo
from rtl.lib.ram import Ram
from rtl.noc.flit import Kind, flit_layout

__all__ = ["Core"]


def _signature(core: CoreParams, chip: ChipParams) -> dict[str, Any]:
    flit = flit_layout(chip)
    return {
        "request_out": Out(stream.Signature(flit)),
        "request_in": In(stream.Signature(flit)),
        "response_in": In(stream.Signature(flit)),
        "node": In(6),
        "home": In(4),
        "start": In(1),
        "halt": In(1),
        "running": In(1),
        "program_base": In(32),
        "program_stride": In(32),
        "done": Out(1),
        "error": Out(8),
        "error_unit": Out(2),
        "progress": Out(1),
        "counter_index": In(6),
        "counter_value": Out(COUNTER_BITS),
        **({"trace_entry": In(exact_log2(core.marks))} if core.marks else {}),
    }


class Core(wiring.Component):
    """A core with everything in it; ``start`` and ``clear`` return all of it but the memories to its reset state.

    Inputs, the reset among them, are registered before anything else sees them: logic behind an input is
    evaluated more than once a cycle where the core is simulated as a block of its own.

    Latency: from ``start`` the first fetch request comes 5 cycles later; halt and running act 1 cycle later.

    Members
    -------
    request_out, request_in, response_in
        Flits from and to the network.
    node, home
        Constant: this core, and the memory node that holds its program.
    start
        Clears the core, then runs it, from its three instruction streams (`rtl.core.fetch.Fetch`).
    clear
        Clears the core.
    halt
        Nothing is issued or fetched any more, and counters stand still. What is under way goes on.
    running
        Counters count.
    program_base, program_stride
        Constant from ``start`` on.
    done
        The three units have ended, every write is acknowledged and no fetched flit is on its way.
    error, error_unit : ErrorCode, Unit or NO_UNIT
        The first error; it halts the core.
    progress
        Something moved in the cycle before.
    counter_index, counter_value
        `rtl.core.counters.CoreCounters`.
    trace_entry
        Entry of `rtl.core.trace.TraceMemory` whose words the counters' numbers name, a cycle later; only with marks.
    """

    def __init__(self, *, core: CoreParams, chip: ChipParams) -> None:
        self.core = core
        self.chip = chip
        super().__init__({**_signature(core, chip), "clear": In(1)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        logic = _Logic(core=self.core, chip=self.chip)
        reset = Signal(init=1)
        started = Signal()
        m.d.sync += [reset.eq(self.clear | self.start), started.eq(self.start)]
        if platform is None:
            m.submodules.logic = ResetInserter(reset)(logic)
        else:
            # One reset instead of two, and a register's. (In Amaranth's simulator a derived clock is late.)
            m.domains.core = domain = ClockDomain("core", local=True)
            m.d.comb += [domain.clk.eq(ClockSignal()), domain.rst.eq(reset)]
            m.submodules.logic = DomainRenamer("core")(logic)
        for name, member in logic.signature.members.items():
            mine, inner = getattr(self, name), getattr(logic, name)
            if member.is_signature:
                source, sink = (inner, flipped(mine)) if name == "request_out" else (flipped(mine), inner)
                connect(m, source, sink)
            elif member.flow == In:
                register = Signal.like(inner, name=f"{name}_register", reset_less=True)
                m.d.sync += register.eq(started if name == "start" else mine)
                m.d.comb += inner.eq(register)
            else:
                m.d.comb += mine.eq(inner)
        # The state before the reset does not show behind a start or clear.
        with m.If(reset):
            m.d.comb += [self.done.eq(0), self.error.eq(0)]
        return m


class _Logic(wiring.Component):
    """All of a core that ``clear`` resets."""

    def __init__(self, *, core: CoreParams, chip: ChipParams) -> None:
        self.core = core
        self.chip = chip
        super().__init__(_signature(core, chip))

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        core, chip = self.core, self.chip
        link_bytes = chip.link_bytes
        m.submodules.act = act = Scratchpad(size_bytes=core.act_bytes, write_bytes=link_bytes, read_bytes=core.rows)
        m.submodules.weight = weight = Scratchpad(
            size_bytes=core.weight_bytes, write_bytes=link_bytes, read_bytes=core.cols
        )
        m.submodules.param = param = Ram(
            width=8 * link_bytes, depth=PARAM_FLITS * core.param_blocks, granularity=8
        )
        m.submodules.acc = acc = Accumulator(entries=core.acc_entries, cols=core.cols)
        m.submodules.tokens = tokens = TokenFile(chip=chip)
        m.submodules.fetch = fetch = Fetch(core=core, chip=chip)
        issues = [Issue(chip=chip, unit=unit, marks=core.marks) for unit in Unit]
        m.submodules.load = load = Load(chip=chip)
        m.submodules.compute = compute = ComputeUnit(core=core, chip=chip)
        m.submodules.store = store = Store(core=core, chip=chip)
        m.submodules.inbound = inbound = Inbound(core=core, chip=chip)
        m.submodules.outbound = outbound = Outbound(chip=chip, n_sources=4)
        signal_sources = [
            compute.signal0,
            compute.signal1,
            compute.signal2,
            store.signal,
            *(issue.signal for issue in issues),
        ]
        m.submodules.signals = signals = SignalRouter(chip=chip, n_sources=len(signal_sources))

        # Network.
        flit = flit_layout(chip)
        ways = {
            "response_in": (flipped(self.response_in), inbound.response),
            "request_in": (flipped(self.request_in), inbound.request),
            "request_out": (outbound.o, flipped(self.request_out)),
        }
        for name, (source, sink) in ways.items():
            m.submodules[name] = way = Fifo(shape=flit, depth=2)
            connect(m, source, way.i)
            connect(m, way.o, sink)
        connect(m, inbound.act, act.write)
        connect(m, inbound.weight, weight.write)
        connect(m, inbound.program, fetch.program)
        for index, source in enumerate((signals.o, fetch.request, load.o, store.o)):
            connect(m, source, outbound.i[index])
        m.d.comb += [
            param.write_enable.eq(inbound.param_mask),
            param.write_addr.eq(inbound.param_addr),
            param.write_data.eq(inbound.param_data),
            store.ack.eq(inbound.ack),
            *(user.node.eq(self.node) for user in (fetch, load, store, signals)),
        ]

        # Tokens and signals.
        for index, source in enumerate(signal_sources):
            connect(m, source, signals.i[index])
        connect(m, inbound.increments[0], tokens.increments[0])
        connect(m, inbound.increments[1], tokens.increments[1])
        connect(m, signals.increment, tokens.increments[2])

        # Units.
        stop = Signal()
        m.d.comb += [
            stop.eq(self.halt | (self.error != 0)),
            fetch.start.eq(self.start),
            fetch.halt.eq(stop),
            fetch.home.eq(self.home),
            fetch.program_base.eq(self.program_base),
            fetch.program_stride.eq(self.program_stride),
        ]
        for unit, (issue, executor) in enumerate(zip(issues, (load, compute, store), strict=True)):
            m.submodules[f"issue_{Unit(unit).name.lower()}"] = issue
            connect(m, fetch.o[unit], issue.i)
            connect(m, issue.o, executor.instruction)
            connect(m, issue.take, tokens.takes[unit])
            m.d.comb += [
                issue.nonzero.eq(tokens.nonzero),
                issue.halt.eq(stop),
                issue.idle.eq(~executor.busy),
                issue.drained.eq(store.outstanding == 0),
            ]
        connect(m, compute.act_read, act.read)
        connect(m, compute.weight_read, weight.read)
        connect(m, compute.update, acc.update)
        connect(m, store.acc, acc.read)
        m.d.comb += [
            param.read_enable.eq(store.param_enable),
            param.read_addr.eq(store.param_addr),
            store.param_data.eq(param.read_data),
        ]

        self._errors(
            m,
            [
                (Unit.LOAD, issues[Unit.LOAD].error),
                (Unit.LOAD, load.error),
                (Unit.COMPUTE, issues[Unit.COMPUTE].error),
                (Unit.COMPUTE, compute.error),
                (Unit.STORE, issues[Unit.STORE].error),
                (Unit.STORE, store.error),
                (NO_UNIT, inbound.error),
                (NO_UNIT, fetch.error),
            ],
            overflow=tokens.overflow,
        )
        started = Signal()
        with m.If(self.start):
            m.d.sync += started.eq(1)
        m.d.comb += self.done.eq(
            started
            & Cat(issue.ended for issue in issues).all()
            & (fetch.outstanding == 0)
            & ~signals.busy
            & ~self.request_out.valid
        )
        self._count(m, issues, tokens, fetch, inbound, load, compute, store, stop)
        return m

    def _errors(self, m: Module, sources: list[tuple[int, Value]], *, overflow: Value) -> None:
        """Keeps the first error; of several in one cycle the first in the list."""
        with m.If(self.error == 0):
            with m.If(overflow):
                m.d.sync += [self.error.eq(ErrorCode.TOKEN_OVERFLOW), self.error_unit.eq(NO_UNIT)]
            for unit, code in reversed(sources):
                with m.If(code != 0):
                    m.d.sync += [self.error.eq(code), self.error_unit.eq(int(unit))]

    def _count(
        self,
        m: Module,
        issues: list[Issue],
        tokens: TokenFile,
        fetch: Fetch,
        inbound: Inbound,
        load: Load,
        compute: ComputeUnit,
        store: Store,
        stop: Signal,
    ) -> None:
        """Counter events, progress and debug words."""
        m.submodules.counters = counters = CoreCounters(core=self.core, events=self.chip.counters)
        events = counters.events
        load_issue, compute_issue, store_issue = issues
        issued = Cat(issue.events.issued for issue in issues)
        flits_in = [port.valid & port.ready for port in (self.response_in, self.request_in)]
        flit_out = self.request_out.valid & self.request_out.ready
        drain = store.acc.valid & store.acc.ready
        does = compute.events

        def event(counter: CoreCounter, value: Value) -> None:
            m.d.comb += events[counter.name].eq(value)

        # One of these in every cycle of the compute unit.
        with m.If(compute_issue.ended):
            event(CoreCounter.COMPUTE_DONE, Value.cast(1))
        with m.Elif(does.stream):
            event(CoreCounter.COMPUTE_STREAM, Value.cast(1))
        with m.Elif(does.weight_stall):
            event(CoreCounter.COMPUTE_WEIGHT_STALL, Value.cast(1))
        with m.Elif(does.overhead | compute_issue.events.queued):
            event(CoreCounter.COMPUTE_OVERHEAD, Value.cast(1))
        with m.Elif(compute_issue.events.wait.any()):
            waits = (CoreCounter.COMPUTE_WAIT_ACT, CoreCounter.COMPUTE_WAIT_WEIGHT, CoreCounter.COMPUTE_WAIT_ACC)
            for index, counter in enumerate(waits):
                event(counter, compute_issue.events.wait[index])
        with m.Elif(compute_issue.events.empty):
            event(CoreCounter.COMPUTE_FETCH, Value.cast(1))
        with m.Else():
            event(CoreCounter.COMPUTE_OVERHEAD, Value.cast(1))

        for name in self.core.engines:
            m.d.comb += events[f"{name.upper()}_PIXELS"].eq(does[f"{name}_pixel"])
            m.d.comb += [events[counter.name].eq(does[counter.name.lower()]) for counter in ENGINES[name].counters]
        event(CoreCounter.PASSES, does.pass_start)
        event(CoreCounter.LOAD_WAIT, load_issue.events.wait.any())
        event(CoreCounter.LOAD_NOC, load.o.valid & ~load.o.ready)
        event(CoreCounter.STORE_DRAIN, drain)
        event(CoreCounter.STORE_WAIT, store_issue.events.wait.any())
        event(CoreCounter.STORE_NOC, store.o.valid & ~store.o.ready)
        event(CoreCounter.ACC_CONFLICT, store.acc.valid & ~store.acc.ready)
        event(CoreCounter.ACT_READS, compute.act_read.enable)
        event(CoreCounter.ACT_WRITES, inbound.act.valid)
        event(CoreCounter.WEIGHT_READS, compute.weight_read.enable)
        event(CoreCounter.WEIGHT_WRITES, inbound.weight.valid)
        event(CoreCounter.ACC_READS, drain + (compute.update.valid & ~compute.update.overwrite))
        event(CoreCounter.ACC_WRITES, compute.update.valid)
        event(CoreCounter.FLITS_IN, flits_in[0] + flits_in[1])
        event(CoreCounter.FLITS_OUT, flit_out)
        event(CoreCounter.INSTRUCTIONS, issued[0] + issued[1] + issued[2])
        if self.chip.counters:
            self._count_events(m, events, inbound, compute, store)
        m.d.comb += [
            counters.running.eq(self.running & ~stop),
            counters.index.eq(self.counter_index),
            self.counter_value.eq(counters.value),
        ]
        if self.core.marks:
            m.submodules.trace = trace = TraceMemory(marks=self.core.marks)
            connect(m, compute_issue.mark, trace.mark)
            m.d.comb += [
                trace.now.eq(counters.now),
                # Nothing is read while the host reads counters or nothing.
                trace.read_enable.eq(self.counter_index[3:] == CoreTrace.COMPUTE >> 3),
                trace.read_entry.eq(self.trace_entry),
                counters.entry.eq(trace.read),
                counters.passed.eq(trace.passed),
            ]
        m.d.sync += self.progress.eq(Cat(issued, *flits_in, flit_out, drain, does.stream, compute.update.valid).any())

        debug = counters.debug
        for issue, word in zip(
            issues, (CoreDebug.LOAD_STATE, CoreDebug.COMPUTE_STATE, CoreDebug.STORE_STATE), strict=True
        ):
            done = Signal(32, name=f"done_{issue.unit.name.lower()}")
            with m.If(issue.events.issued):
                m.d.sync += done.eq(done + 1)
            m.d.comb += debug[word.name].eq(
                unit_state(opcode=issue.opcode, state=Value.cast(issue.state), unmet=issue.unmet, done=done)
            )
        m.d.comb += [
            debug.TOKENS_NONZERO_LOW.eq(tokens.nonzero[:48]),
            debug.TOKENS_NONZERO_HIGH.eq(tokens.nonzero[48:96]),
            debug.OUTSTANDING.eq(Cat(store.outstanding, fetch.outstanding)),
        ]

    def _count_events(
        self, m: Module, events: data.View, inbound: Inbound, compute: ComputeUnit, store: Store
    ) -> None:
        """Events of the counters that only some chips have."""
        core, flit = self.core, self.request_out.payload
        word = core.act_word_bytes(self.chip.link_bytes)
        offset = compute.act_read.addr[: exact_log2(word)]
        # Whether the packet that leaves goes to cores: its header stands beside its first flit alone.
        kind = flit.header.kind
        to_cores, held = Signal(), Signal()
        m.d.comb += to_cores.eq(Mux(flit.first, (kind == Kind.DATA) | (kind == Kind.SIGNAL), held))
        with m.If(self.request_out.valid):
            m.d.sync += held.eq(to_cores)
        found = {
            EventCounter.ACT_SPLIT_READS: compute.act_read.enable & (offset > word - core.rows),
            EventCounter.PARAM_READS: store.param_enable,
            EventCounter.PARAM_WRITES: inbound.param_valid,
            EventCounter.TABLE_READS: store.table_read,
            EventCounter.TABLE_WRITES: store.table_write,
            EventCounter.POST_FLITS: store.processed,
            EventCounter.FLITS_TO_CORES: self.request_out.valid & self.request_out.ready & to_cores,
        }
        for spec in ENGINES.of(core.engines).values():
            found |= {counter: compute.events[counter.name.lower()] for counter in spec.operations}
        m.d.comb += [events[counter.name].eq(value) for counter, value in found.items()]
