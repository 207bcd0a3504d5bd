"""Weight loader: reads the weights of a job's passes and gives them to its engine, one row per cycle."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Const, Module, Mux, Signal, Value, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from rtl.contract.engines import ENGINES
from rtl.contract.isa import ADDRESS_BITS, ENGINE_BITS
from rtl.contract.params import CoreParams
from rtl.core.job import chosen, fields_of, is_one_of, job_layout, listing
from rtl.core.scratchpad import scratchpad_read
from rtl.engines import HARDWARE

__all__ = ["WeightLoader"]


class WeightLoader(wiring.Component):
    """Walks through blocks x kernel_h x kernel_w passes of ``EngineSpec.weight_rows`` rows of C bytes.

    With a window the rows of a kernel row make one pass; those of its columns are still checked one by one, as an
    engine with a window does not start a pass before it has them all. So are those of an engine with lists, for which
    a block is a pass: behind its kernel positions come the rows of `rtl.contract.engines.Lists`, the tail.

    Latency: job accepted in cycle t, first row offered in cycle t + 2. Throughput: one row per cycle, also from
    pass to pass and from job to job. It runs ahead of the streamer as far as the engines let it.

    Members
    -------
    job : In(Stream(job_layout))
    read : Out(`scratchpad_read`)
    weights : Out(Stream(8 * cols))
        For engine ``engine``. A row that waits to be taken is held by the scratchpad's output.
    weights_more : Out(1)
        Further rows of the same pass follow this one.
    weights_tail : Out(1)
        The row is of a tail; only of a core with such an engine.
    done : Out(1)
        Pulse: the last row of a job has been read (at once for a job without weights).
    failed : Out(1)
        The next pass lies outside the scratchpad; stays so. Passes before it are complete.
    busy : Out(1)
    """

    def __init__(self, *, core: CoreParams) -> None:
        self.core = core
        super().__init__(
            {
                "job": In(stream.Signature(job_layout(core))),
                "read": Out(scratchpad_read(size_bytes=core.weight_bytes, read_bytes=core.cols)),
                "weights": Out(stream.Signature(unsigned(8 * core.cols))),
                "weights_more": Out(1),
                **({"weights_tail": Out(1)} if listing(core) else {}),
                "engine": Out(ENGINE_BITS),
                "done": Out(1),
                "failed": Out(1),
                "busy": Out(1),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        core = self.core
        job = self.job.payload

        specs = ENGINES.of(core.engines)
        fields = {name: fields_of(spec, job.setup) for name, spec in specs.items()}
        rows = {name: spec.weight_rows(core) for name, spec in specs.items()}
        parts = HARDWARE.of(core.engines)
        windows = {name: part.window(fields[name]) for name, part in parts.items()}

        running = Signal()
        engine = Signal(ENGINE_BITS)
        window = Signal(int(any(part.window_columns(core) for part in parts.values())))
        kernel_h = Signal.like(job.setup.kernel_h)
        kernel_w = Signal.like(job.setup.kernel_w)
        addr = Signal(ADDRESS_BITS + 1)  # a bit more than the field, so that no sum wraps
        # Counted down to zero: rows of the pass, columns and rows of the kernel, blocks.
        row = Signal(range(max(rows.values())))
        kx = Signal.like(job.setup.kernel_w)
        ky = Signal.like(job.setup.kernel_h)
        block = Signal.like(job.blocks)

        first_row = Signal()
        outside = Signal()
        free = Signal()
        advance = Signal()
        last_row = Signal()
        last = Signal()

        def beyond(pass_bytes: int) -> Value:
            return addr > core.weight_bytes - pass_bytes if pass_bytes <= core.weight_bytes else Const(1)

        # Rows of the tail that are left, less one; all of them.
        lists = listing(core)
        tails = {name: spec.lists.rows(core, job.rounds) for name, spec in lists.items() if spec.lists is not None}
        most = max((spec.lists.rows(core, spec.lists.rounds(core)) for spec in lists.values() if spec.lists), default=1)
        has_tail, in_tail = Signal(int(bool(lists))), Signal(int(bool(lists)))
        tail, tail_rows = Signal(range(most)), Signal(range(most + 1))
        all_rows = chosen(engine, {name: beyond(count * core.cols) for name, count in rows.items()})
        last_position = last_row & (kx == 0) & (ky == 0)

        m.d.comb += [
            # A whole pass is checked before its first row, so that no pass starts and then lacks rows.
            outside.eq(Mux(in_tail, beyond(core.cols), first_row & all_rows) if lists else first_row & all_rows),
            free.eq(~self.weights.valid | self.weights.ready),
            advance.eq(running & free & ~outside & ~self.failed),
            last_row.eq(row == 0),
            last.eq((Mux(has_tail, in_tail & (tail == 0), last_position) if lists else last_position) & (block == 0)),
            self.read.enable.eq(advance),
            self.read.addr.eq(addr[: len(self.read.addr)]),
        ]
        with m.If(running & free & outside):
            m.d.sync += self.failed.eq(1)

        last_rows = {name: count - 1 for name, count in rows.items()}
        with m.If(advance):
            m.d.sync += [addr.eq(addr + core.cols), row.eq(row - 1), first_row.eq(0)]
            with m.If(last_row):
                m.d.sync += [row.eq(chosen(engine, last_rows)), first_row.eq(1), kx.eq(kx - 1)]
                with m.If(kx == 0):
                    m.d.sync += [kx.eq(kernel_w - 1), ky.eq(ky - 1)]
                    with m.If(ky == 0):
                        m.d.sync += [ky.eq(kernel_h - 1), block.eq(block - 1)]
            if lists:
                with m.If(in_tail):
                    m.d.sync += [tail.eq(tail - 1), *(place.eq(place) for place in (row, kx, ky, block))]
                    with m.If(tail == 0):
                        m.d.sync += [in_tail.eq(0), first_row.eq(1), block.eq(block - 1)]
                with m.Elif(has_tail & last_position):
                    m.d.sync += [in_tail.eq(1), tail.eq(tail_rows - 1), block.eq(block)]

        # The row read in one cycle is offered from the next on.
        with m.If(free):
            m.d.sync += self.weights.valid.eq(advance)
        with m.If(advance):
            m.d.sync += [self.engine.eq(engine), self.weights_more.eq(~last_row | (window & (kx != 0)))]
            if lists:
                m.d.sync += self.weights_tail.eq(in_tail)
                with m.If(has_tail):
                    m.d.sync += self.weights_more.eq(~in_tail | (tail != 0))
        m.d.comb += self.weights.payload.eq(self.read.data)

        needs_weights = Signal()
        take = Signal()
        m.d.comb += [
            needs_weights.eq(
                ~job.illegal
                & chosen(job.setup.engine, {name: spec.reads_weights(fields[name]) for name, spec in specs.items()})
            ),
            # Two jobs end in one cycle only if the second has no weights: it then waits for a cycle.
            self.job.ready.eq(~self.failed & (~running | (advance & last & needs_weights))),
            take.eq(self.job.valid & self.job.ready),
            self.done.eq((advance & last) | (take & ~needs_weights)),
            self.busy.eq(running | self.weights.valid),
        ]
        with m.If(take):
            m.d.sync += [
                running.eq(needs_weights),
                engine.eq(job.setup.engine),
                window.eq(chosen(job.setup.engine, windows)),
                kernel_h.eq(job.setup.kernel_h),
                kernel_w.eq(job.setup.kernel_w),
                addr.eq(job.weight_base),
                row.eq(chosen(job.setup.engine, last_rows)),
                first_row.eq(1),
                kx.eq(job.setup.kernel_w - 1),
                ky.eq(job.setup.kernel_h - 1),
                block.eq(job.blocks - 1),
            ]
            if lists:
                m.d.sync += [
                    has_tail.eq(is_one_of(job.setup.engine, lists)),
                    in_tail.eq(0),
                    tail_rows.eq(chosen(job.setup.engine, tails)),
                ]
        with m.Elif(advance & last):
            m.d.sync += running.eq(0)
        return m
