"""Store unit: drains accumulators through post-processing into packets for memory or another core.

Dataflow (one job for each group of each STORE):

    instruction -> front: checks, loads the group's parameter block beside the running job
                -> drain (`rtl.core.drain`): one accumulator entry per cycle -> post-processing -> buffer
                -> packets: cuts the job into packets, puts headers beside the buffered flits

A TABLE stays in the front until post-processing is empty, then goes into its table a byte per cycle.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from rtl.contract import codec, isa
from rtl.contract.isa import PARAM_FLITS, TABLE_BYTES, Opcode, Space, TrafficClass
from rtl.contract.params import AXI_PAGE_BYTES, ChipParams, CoreParams
from rtl.contract.regs import ErrorCode
from rtl.core.accumulator import accumulator_read
from rtl.core.drain import Drain
from rtl.core.postproc import LEVELS, MIN_SWAP_CYCLES, PostProcessor
from rtl.core.signals import SIGNAL, SignalSender
from rtl.lib.bits import core_dest, cores_dest, memory_dest, mixed_planes
from rtl.lib.fifo import Fifo
from rtl.noc.flit import Kind, flit_layout

__all__ = ["Packets", "Store", "job_layout"]

"""Flits of a parameter block."""
TURN_BITS = 2
"""Of the turn of a STORE: more turns than those of the jobs that have packets to begin, and of the STORE in front."""
BUFFER_FLITS = 8
"""Enough that a flit enters every cycle: 5 cycles from the read to the buffer, 2 for the buffer's credit."""


def job_layout(*, multicast: bool = False) -> data.StructLayout:
    """One group of a STORE: ``flits`` flits from ``addr`` on (a byte address in memory, a flit address in a core).

    With ``multicast`` they go to the cores from ``core`` to ``last``. ``turn`` counts STOREs.
    """
    names = ("to_core", "memory", "core", "space", "planar", "addr", "flits", "lanes", "lane_offset", "traffic")
    layout = {name: isa.Store["pixels" if name == "flits" else name].shape for name in names}
    layout |= {name: isa.Store[name].shape for name in ("token_valid", "token")}
    layout |= {"turn": unsigned(TURN_BITS)}
    return data.StructLayout(layout | ({"last": isa.Store["core"].shape} if multicast else {}))


class Packets(wiring.Component):
    """Cuts jobs into packets: at ``max_packet_flits``, at 4 KB boundaries of memory, and at the job's end.

    Latency: two cycles from a job to its first packet's header, none from ``flit`` to ``o``.
    Throughput: one flit per cycle, across packets of two flits and more.

    Parameters
    ----------
    multicast
        Jobs may be for several cores, to all of which each packet goes at once.

    Members
    -------
    node
        This core.
    job : stream of `job_layout`
    flit
        Payloads of the jobs' flits, in order, lane 0 in the low byte.
    o
        WRITE packets to memory, DATA packets to cores.
    write_sent
        A WRITE packet leaves with this flit.
    busy
        A job is under way.
    turn, hold
        Of the job whose packets begin now, while busy; no further one of them does.
    """

    def __init__(self, *, chip: ChipParams, lanes: int, multicast: bool = False) -> None:
        self.chip = chip
        self.multicast = multicast
        super().__init__(
            {
                "node": In(6),
                "job": In(stream.Signature(job_layout(multicast=multicast))),
                "flit": In(stream.Signature(unsigned(8 * lanes))),
                "o": Out(stream.Signature(flit_layout(chip))),
                "write_sent": Out(1),
                "busy": Out(1),
                "turn": Out(TURN_BITS),
                "hold": In(1),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        chip = self.chip
        flit_bits = exact_log2(chip.link_bytes)
        page_flits = AXI_PAGE_BYTES // chip.link_bytes

        # What of the current job has no packet yet.
        rest = Signal(job_layout(multicast=self.multicast), reset_less=True)
        rest_valid = Signal()
        # The next packet.
        head = Signal(flit_layout(chip)["header"].shape, reset_less=True)
        head_valid = Signal()
        head_taken = Signal()

        length = Signal(range(chip.max_packet_flits + 1))
        page_left = Signal(range(page_flits + 1))
        limit = Signal(range(page_flits + chip.max_packet_flits + 1))
        final = Signal()
        m.d.comb += self.turn.eq(rest.turn)
        with m.If(rest_valid & (~head_valid | head_taken) & ~self.hold):
            m.d.comb += [
                page_left.eq(page_flits - rest.addr[flit_bits:12]),
                limit.eq(chip.max_packet_flits),
                final.eq(rest.flits <= limit),
                length.eq(Mux(final, rest.flits, limit)),
            ]
            with m.If(~rest.to_core & (page_left < chip.max_packet_flits)):
                m.d.comb += limit.eq(page_left)
            core_step = Mux(rest.planar, length << self._group_bits(rest.core), length)
            step = Mux(rest.to_core, core_step, length << flit_bits)
            cores = cores_dest(chip, rest.core, rest.last) if self.multicast else core_dest(chip, rest.core)
            m.d.sync += [
                rest.addr.eq(rest.addr + step),
                rest.flits.eq(rest.flits - length),
                rest_valid.eq(~final),
                head_valid.eq(1),
                head.dest.eq(Mux(rest.to_core, cores, memory_dest(chip, rest.memory))),
                head.src.eq(self.node),
                head.kind.eq(Mux(rest.to_core, Kind.DATA, Kind.WRITE)),
                head.flits.eq(length),
                head.space.eq(rest.space),
                head.planar.eq(rest.planar),
                head.addr.eq(rest.addr),
                head.traffic.eq(rest.traffic),
                head.lane_offset.eq(rest.lane_offset),
                head.lanes.eq(rest.lanes),
                head.token_valid.eq(rest.token_valid & final),
                head.token.eq(rest.token),
            ]
        with m.Elif(head_taken):
            m.d.sync += head_valid.eq(0)
        with m.If(~rest_valid):
            m.d.comb += self.job.ready.eq(1)
            with m.If(self.job.valid):
                m.d.sync += [rest.eq(self.job.payload), rest_valid.eq(1)]

        left = Signal(range(chip.max_packet_flits))  # flits behind the packet's first one
        offset = Signal(6, reset_less=True)
        first = Signal()
        m.d.comb += [
            first.eq(left == 0),
            self.o.valid.eq(self.flit.valid & (~first | head_valid)),
            self.o.payload.first.eq(first),
            self.o.payload.last.eq(Mux(first, head.flits == 1, left == 1)),
            head_taken.eq(self.o.valid & self.o.ready & first),
            self.flit.ready.eq(self.o.ready & (~first | head_valid)),
            self.write_sent.eq(head_taken & (head.kind == Kind.WRITE)),
            self.busy.eq(rest_valid | head_valid | (left != 0)),
        ]
        with m.If(first):
            m.d.comb += self.o.payload.header.eq(head)
        with m.If(self.o.valid):
            lane_bits = Cat(Const(0, 3), Mux(first, head.lane_offset, offset)[:flit_bits])
            m.d.comb += self.o.payload.data.eq(self.flit.payload << lane_bits)
            with m.If(self.o.ready):
                with m.If(first):
                    m.d.sync += [left.eq(head.flits - 1), offset.eq(head.lane_offset)]
                with m.Else():
                    m.d.sync += left.eq(left - 1)
        return m

    def _group_bits(self, core: Value) -> Value:
        """log2 of the planar step of the destination core."""
        bits = [exact_log2(params.act_groups(self.chip.link_bytes)) for params in self.chip.cores]
        if len(set(bits)) == 1:
            return Const(bits[0], 3)
        return Value.cast(Array(Const(value, 3) for value in bits)[core])


class Store(wiring.Component):
    """Executes STORE, POOL and TABLE instructions.

    Throughput: one flit per cycle, pooled one per kernel_h * kernel_w cycles. With P = max(3, parameter flits of a
    group), consecutive groups of a STORE start max(cycles of its pixels, P + 2) cycles apart, and the next STORE, if it
    is there, max(cycles of its pixels, P + 3) cycles after the last group. A POOL takes one cycle.
    Latency: from ``instruction.valid`` of an idle unit to the first accumulator read P + 3 cycles, from a
    read to the flit at ``o`` 6 cycles. A TABLE takes 257 cycles, from the 6th after
    the last read on.

    Members
    -------
    instruction
        A STORE stays until its last group begins, a TABLE until it is copied.
    node
        This core.
    param_enable, param_addr, param_data
        Read port of the parameter memory (flit addresses), data the cycle after.
    acc : Out(`accumulator_read`)
    signal
        The instruction's signals, when its last accumulator entry has been read, or the table is copied.
    o
        WRITE and DATA packets.
    ack
        A WRITE packet is acknowledged.
    outstanding
        WRITE packets not yet acknowledged.
    busy
        Anything is under way up to and including the last flit's departure and the last signal.
    error : ErrorCode
        Stays, and stops the unit before the bad instruction.
    processed, table_read, table_write
        Accumulators enter post-processing; all lanes read or write their tables. Only of a chip with counters.
    """

    def __init__(self, *, core: CoreParams, chip: ChipParams) -> None:
        self.core = core
        self.chip = chip
        self.lanes = core.drain_lanes(chip.link_bytes)
        super().__init__(
            {
                "instruction": In(stream.Signature(unsigned(isa.INSTRUCTION_BITS))),
                "node": In(6),
                "param_enable": Out(1),
                "param_addr": Out(exact_log2(PARAM_FLITS * core.param_blocks)),
                "param_data": In(8 * chip.link_bytes),
                "acc": Out(accumulator_read(entries=core.acc_entries, cols=core.cols)),
                "signal": Out(stream.Signature(SIGNAL)),
                "o": Out(stream.Signature(flit_layout(chip))),
                "ack": In(1),
                "outstanding": Out(16),
                "busy": Out(1),
                "error": Out(8),
                **({name: Out(1) for name in ("processed", "table_read", "table_write")} if chip.counters else {}),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        core, chip = self.core, self.chip
        store = data.View(isa.Store, self.instruction.payload)
        m.submodules.post = post = PostProcessor(
            lanes=self.lanes, link_bytes=chip.link_bytes, counted=chip.counters
        )
        if chip.counters:
            m.d.comb += [
                self.processed.eq(post.valid),
                self.table_read.eq(post.table_read),
                self.table_write.eq(post.table_write),
            ]
        m.submodules.drain = drain = Drain(core=core, link_bytes=chip.link_bytes)
        m.submodules.buffer = buffer = Fifo(shape=unsigned(8 * self.lanes), depth=BUFFER_FLITS)
        job_shape = job_layout(multicast=core.multicast)
        m.submodules.jobs = jobs = Fifo(shape=job_shape, depth=2)
        m.submodules.packets = packets = Packets(chip=chip, lanes=self.lanes, multicast=core.multicast)
        m.submodules.sender = sender = SignalSender()
        wiring.connect(m, jobs.o, packets.job)
        wiring.connect(m, buffer.o, packets.flit)
        wiring.connect(m, sender.o, wiring.flipped(self.signal))
        wiring.connect(m, packets.o, wiring.flipped(self.o))
        wiring.connect(m, drain.acc, wiring.flipped(self.acc))
        m.d.comb += packets.node.eq(self.node)

        # Front: the group that comes next, and its parameters.
        group = Signal(5)
        group_offset = Signal(32)  # in flits
        checked = Signal()
        loaded = Signal()  # cycles spent loading suffice and the block is there
        begin = Signal()  # the next group's job starts draining
        is_table = Signal()
        final = Signal()  # it is the last group
        turn = Signal(TURN_BITS)  # of the STORE in front
        opcode = self.instruction.payload[: Opcode.as_shape().width]
        is_pool = opcode == Opcode.POOL
        m.d.comb += [is_table.eq(opcode == Opcode.TABLE), drain.pool.eq(self.instruction.payload)]
        with m.If(self.instruction.valid & ~checked & (self.error == 0)):
            with m.If(is_pool):
                bad_pool = self._bad_pool(drain.pool)
                # A bad one may reach the drain: behind an error nothing starts.
                m.d.comb += [drain.pool_valid.eq(1), self.instruction.ready.eq(~bad_pool)]
                with m.If(bad_pool):
                    m.d.sync += self.error.eq(ErrorCode.ILLEGAL_FIELD)
            with m.Else():
                code = self._check(m, store, drain, is_table)
                m.d.sync += [self.error.eq(code), checked.eq(code == 0), group.eq(0), group_offset.eq(0)]
        self._load_params(m, post, store, group, start=checked & ~loaded & ~is_table, restart=begin, loaded=loaded)

        addr = store.addr + Mux(store.to_core, group_offset, group_offset << exact_log2(chip.link_bytes))
        job, made = jobs.i.payload, {"addr", "flits", "token_valid", "last", "turn"}
        m.d.comb += [
            final.eq(group + 1 == store.groups),
            begin.eq(loaded & (~drain.busy | drain.last) & jobs.i.ready),
            jobs.i.valid.eq(begin),
            *(job[name].eq(store[name]) for name, _ in job_shape if name not in made),
            *([job.last.eq(store.core + store.more)] if core.multicast else ()),
            job.addr.eq(addr),
            job.flits.eq(store.pixels),
            job.turn.eq(turn),
            job.token_valid.eq(store.token_valid & store.to_core & final),
            post.swap.eq(begin),
            *(post.levels[field].eq(store[field]) for field, _ in LEVELS),
        ]

        # Drain.
        own_signals = self.instruction.payload[isa.Prefix.size :][: isa.Signals.size]
        signals = Signal(isa.Signals, reset_less=True)
        fire = Signal()
        m.d.comb += [
            drain.start.eq(begin),
            drain.job.base.eq(store.acc_base),
            drain.job.pixels.eq(store.pixels),
            drain.job.group.eq(group),
            drain.job.pooled.eq(store.pooled),
        ]
        with m.If(begin):
            m.d.sync += [
                fire.eq(final),
                group.eq(group + 1),
                group_offset.eq(group_offset + store.group_stride),
            ]
            with m.If(final):
                m.d.comb += self.instruction.ready.eq(1)
                m.d.sync += [checked.eq(0), signals.eq(own_signals), turn.eq(turn + 1)]

        credits = Signal(range(BUFFER_FLITS + 1), init=BUFFER_FLITS)
        left_buffer = Signal()
        m.d.comb += [
            drain.go.eq(credits != 0),
            # The last read waits for the signals of the STORE before.
            drain.hold.eq(fire & sender.busy),
            # No packet begins that would so wait for signals: these may wait for the end of the packet.
            packets.hold.eq(
                sender.busy & ((packets.turn == turn) | (drain.busy & fire & ((packets.turn + 1)[:TURN_BITS] == turn)))
            ),
            left_buffer.eq(buffer.o.valid & buffer.o.ready),
            sender.fire.eq(drain.last & fire),
            sender.signals.eq(signals),
        ]
        with m.If(drain.taken & ~left_buffer):
            m.d.sync += credits.eq(credits - 1)
        with m.Elif(left_buffer & ~drain.taken):
            m.d.sync += credits.eq(credits + 1)
        m.d.comb += [
            post.valid.eq(drain.o_valid),
            post.acc.eq(drain.o_data),
            buffer.i.valid.eq(post.o_valid),
            buffer.i.payload.eq(post.o_data),
        ]
        copy = Signal()
        copied = Signal()
        drained = ~drain.busy & ~drain.arriving & ~post.busy
        m.d.comb += copy.eq(checked & is_table & drained & ~sender.busy)
        self._copy_table(m, post, start=copy, copied=copied)
        with m.If(copied):
            m.d.comb += [self.instruction.ready.eq(1), sender.fire.eq(1), sender.signals.eq(own_signals)]
            m.d.sync += checked.eq(0)

        with m.If(packets.write_sent & ~self.ack):
            m.d.sync += self.outstanding.eq(self.outstanding + 1)
        with m.Elif(self.ack & ~packets.write_sent):
            m.d.sync += self.outstanding.eq(self.outstanding - 1)
        m.d.comb += self.busy.eq(
            self.instruction.valid | drain.busy | (credits != BUFFER_FLITS) | jobs.o.valid | packets.busy | sender.busy
        )
        return m

    def _load_params(
        self,
        m: Module,
        post: PostProcessor,
        store: Any,
        group: Signal,
        *,
        start: Value,
        restart: Signal,
        loaded: Signal,
    ) -> None:
        """Reads the next group's block into the post-processor, one flit per cycle."""
        cycles = max(post.param_flits, MIN_SWAP_CYCLES - 2)
        index = Signal(4)  # 0 .. cycles, at most 8
        arriving = Signal()
        arriving_index = Signal(3)
        m.d.comb += [
            self.param_addr.eq(Cat(index[:3], (store.param_base + group)[:10])),
            post.load.eq(arriving),
            post.load_index.eq(arriving_index),
            post.load_data.eq(self.param_data),
        ]
        with m.If(restart):
            m.d.sync += [index.eq(0), loaded.eq(0)]
        with m.Elif(start):
            m.d.comb += self.param_enable.eq(index < post.param_flits)
            m.d.sync += index.eq(index + 1)
            with m.If(index == cycles):
                m.d.sync += loaded.eq(1)
        with m.If(self.param_enable | arriving):
            m.d.sync += [arriving.eq(self.param_enable), arriving_index.eq(index)]

    def _copy_table(self, m: Module, post: PostProcessor, *, start: Signal, copied: Signal) -> None:
        """Reads the TABLE's flits, writes their bytes; `start` stays high until `copied`."""
        base = data.View(isa.Table, self.instruction.payload).param_base
        flit_bits = exact_log2(self.chip.link_bytes)
        index = Signal(range(TABLE_BYTES + 1))
        writing = Signal()
        written = Signal(range(TABLE_BYTES), reset_less=True)
        m.d.comb += [
            post.table_write.eq(writing),
            post.table_addr.eq(written),
            post.table_data.eq(self.param_data.word_select(written[:flit_bits], 8)),
        ]
        with m.If(start | writing):
            m.d.sync += writing.eq(start & (index != TABLE_BYTES))
        with m.If(start):
            m.d.comb += copied.eq(index == TABLE_BYTES)
            m.d.sync += [index.eq(Mux(copied, 0, index + 1)), written.eq(index)]
            m.d.comb += [
                self.param_enable.eq(~copied & (index[:flit_bits] == 0)),
                self.param_addr.eq(base * PARAM_FLITS + index[flit_bits:]),
            ]

    @staticmethod
    def _bad_pool(pool: Any) -> Value:
        """A POOL with a field that makes no sense."""
        sizes = ("kernel_h", "kernel_w", "stride_h", "stride_w", "in_h", "in_w", "out_w")
        zero = Cat(pool[name] == 0 for name in sizes).any()
        return zero | (pool.pad_top >= pool.kernel_h) | (pool.pad_left >= pool.kernel_w)

    def _bad_cores(self, store: Any) -> Value:
        """A core that does not exist, or cores that space planar flits differently."""
        if not self.core.multicast:
            return store.core >= self.chip.n_cores
        last = store.core + store.more
        cores = cores_dest(self.chip, store.core, last)
        return (last >= self.chip.n_cores) | mixed_planes(self.chip, store.planar, cores)

    def _check(self, m: Module, store: Any, drain: Drain, is_table: Value) -> Value:
        """Error code of a STORE or TABLE, 0 if it is in order."""
        core, chip = self.core, self.chip
        bad = Signal()
        code = Signal(8)
        in_bank = store.acc_base & (core.acc_bank_entries - 1)  # a STORE stays in one bank
        entries = Mux(store.pooled, drain.plane, store.pixels)
        traffic = self.instruction.payload[isa.Store["traffic"].offset :][:3]
        m.d.comb += bad.eq(
            (store.pixels == 0)
            | (store.groups == 0)
            | (store.groups > core.drain_groups(chip.link_bytes))
            | (store.lanes == 0)
            | (store.lanes > self.lanes)
            | (store.lane_offset + store.lanes > chip.link_bytes)
            | (store.pooled & ~drain.has_pool)
            | (~store.to_core & ((store.memory >= len(chip.memory_nodes)) | (traffic > int(TrafficClass.PROGRAM))))
            | (
                store.to_core
                & (
                    self._bad_cores(store)
                    | (store.space >= Space.PROGRAM)
                    | (store.token_valid & (store.token >= chip.tokens))
                )
            )
        )
        with m.If(is_table):
            table = data.View(isa.Table, self.instruction.payload)
            with m.If(table.param_base + codec.table_blocks(chip.link_bytes) > core.param_blocks):
                m.d.comb += code.eq(ErrorCode.PARAM_RANGE)
        with m.Elif(bad):
            m.d.comb += code.eq(ErrorCode.ILLEGAL_FIELD)
        with m.Elif(~store.to_core & (store.addr & (chip.link_bytes - 1)).any()):
            m.d.comb += code.eq(ErrorCode.MISALIGNED)
        with m.Elif((store.acc_base >= core.acc_entries) | (in_bank + entries > core.acc_bank_entries)):
            m.d.comb += code.eq(ErrorCode.ACC_RANGE)
        with m.Elif(store.param_base + store.groups > core.param_blocks):
            m.d.comb += code.eq(ErrorCode.PARAM_RANGE)
        return code
