"""`Store` against the machine's requantisation and a plain list of where each flit belongs."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib.wiring import connect

from rtl.contract import codec, isa
from rtl.contract.isa import PARAM_FLITS, Opcode
from rtl.contract.params import ChipParams, CoreParams, default_chip
from rtl.contract.regs import ErrorCode
from rtl.core.interface import Outbound
from rtl.core.signals import SignalRouter
from rtl.core.store import Store
from rtl.lib.ram import Ram
from rtl.noc.flit import Kind
from tests.unit.rtl.core.core_models import packets_of
from tests.unit.rtl.drivers import Sink, send, simulate

SHAPE = (4, 16, 4)
"""Rows, columns and bytes of a flit where nothing else is said: four groups, and parameter blocks of eight flits."""
WAITS = {f"wait{i}_{part}": 85 + i for i in range(3) for part in ("first", "count")}
"""Their waits are over when instructions come here, and must not matter."""


def build(rows: int, cols: int, link_bytes: int) -> tuple[ChipParams, CoreParams]:
    core = CoreParams(rows=rows, cols=cols, act_bytes=4096, weight_bytes=4096, acc_entries=128, param_blocks=16)
    chip = replace(default_chip(4, core), link_bytes=link_bytes, max_packet_flits=16)
    # Cores differ, so that planar packets must step by the receiver's groups, not the sender's.
    wide = replace(core, rows=64)
    return replace(chip, cores=(wide, core, core, wide)), core


class StoreBench:
    """A Store with filled parameter memory and accumulators."""

    def __init__(self, chip: ChipParams, core: CoreParams, rng: random.Random, conflict: float = 0.0) -> None:
        self.chip, self.core, self.rng, self.conflict = chip, core, rng, conflict
        size = chip.link_bytes
        self.module = Module()
        self.module.submodules.dut = self.dut = Store(core=core, chip=chip)
        self.module.submodules.param = self.param = Ram(width=8 * size, depth=PARAM_FLITS * core.param_blocks)
        self.module.d.comb += [
            self.param.read_enable.eq(self.dut.param_enable),
            self.param.read_addr.eq(self.dut.param_addr),
            self.dut.param_data.eq(self.param.read_data),
        ]
        self.acc = np.array(
            [
                [rng.randint(-(1 << 31), (1 << 31) - 1) >> rng.randrange(32) for _ in range(core.cols)]
                for _ in range(128)
            ]
        )
        channels = core.param_blocks * size
        self.bias = np.array([rng.randint(-(1 << 31), (1 << 31) - 1) >> rng.randrange(32) for _ in range(channels)])
        self.multiplier = np.array([rng.randrange(1 << 23, 1 << 24) for _ in range(channels)])
        self.shift = np.array([rng.randint(24, 56) for _ in range(channels)])
        self.raw = codec.pack_params(self.bias, self.multiplier, self.shift).tobytes()
        self.table = np.zeros(isa.TABLE_BYTES, np.int8)
        self.node = rng.randrange(64)
        self.acks = 0.3
        self.stops = False  # the unit has been given something bad
        self.due = 0  # flits and signals of accepted instructions that have not gone yet
        self.reads: list[tuple[int, int]] = []  # cycle, entry
        self.param_reads: list[int] = []
        self.signals = Sink(self.dut.signal, rng, stall=0.2)

    async def fill(self, ctx: Any) -> None:
        size = self.chip.link_bytes
        raw = self.raw
        ctx.set(self.param.write_enable, 1)
        for flit in range(PARAM_FLITS * self.core.param_blocks):
            ctx.set(self.param.write_addr, flit)
            ctx.set(self.param.write_data, int.from_bytes(raw[flit * size :][:size], "little"))
            await ctx.tick()
        ctx.set(self.param.write_enable, 0)
        ctx.set(self.dut.node, self.node)

    async def serve(self, ctx: Any) -> None:
        """The accumulator's read port: data the cycle after, and rubbish after that."""
        port = self.dut.acc
        ready, now = 0, 0
        while True:
            _, _, valid, addr = await ctx.tick().sample(port.valid, port.addr)
            if valid and ready:
                self.reads.append((now, addr))
                words = self.acc[addr].tolist()
            else:
                words = [0x55555555] * self.core.cols
            ctx.set(port.data, sum((word & 0xFFFFFFFF) << 32 * i for i, word in enumerate(words)))
            ready = int(self.rng.random() >= self.conflict)
            ctx.set(port.ready, ready)
            now += 1

    async def watch(self, ctx: Any) -> None:
        """Notes reads of parameters, acknowledges packets, and checks ``outstanding`` and ``busy`` in every cycle."""
        dut, out = self.dut, self.dut.o
        sent = ack = done = quiet = 0
        flits = signals = 0  # of accepted instructions, not yet gone
        while True:
            _, _, *values = await ctx.tick().sample(
                dut.instruction.valid & dut.instruction.ready, dut.instruction.payload, out.valid & out.ready,
                out.payload.first & (out.payload.header.kind == Kind.WRITE), dut.signal.valid & dut.signal.ready,
                dut.acc.valid & dut.acc.ready, dut.outstanding, dut.busy, dut.param_enable, dut.param_addr,
            )  # fmt: skip
            accepted, payload, flit, write, signal, read, outstanding, busy, enable, addr = values
            assert outstanding == sent
            assert busy or flits == signals == 0
            done = 0 if flits or signals or ctx.get(dut.instruction.valid) else done + 1
            assert not busy or done < 3, "busy with nothing to do"
            if accepted:
                opcode, fields = codec.decode(payload.to_bytes(isa.INSTRUCTION_BYTES, "little"))
                flits += fields["pixels"] * fields["groups"] if opcode == Opcode.STORE else 0
                signals += sum(fields.get(f"signal{i}_valid", 0) for i in range(3))
            flits, signals = flits - flit, signals - signal
            assert signals >= 0, "a signal too many"
            self.due = flits + signals
            waits = self.due or (ctx.get(dut.instruction.valid) and not self.stops)
            quiet = quiet + 1 if waits and not (accepted or flit or signal or enable or read) else 0
            assert quiet < 500, "nothing moves"
            sent += (flit and write) - ack
            if enable:
                self.param_reads.append(addr)
            ack = int(sent > 0 and self.rng.random() < self.acks)
            ctx.set(dut.ack, ack)

    def expected_params(self, f: dict[str, Any]) -> list[int]:
        """Flits of parameter memory that an instruction reads."""
        size, first = self.chip.link_bytes, PARAM_FLITS * f["param_base"]
        if "pixels" not in f:
            return list(range(first, first + isa.TABLE_BYTES // size))
        flits = max(1, 8 * self.core.drain_lanes(size) // size)
        return [first + PARAM_FLITS * group + flit for group in range(f["groups"]) for flit in range(flits)]

    def check(self, sink: Sink, program: list[dict[str, Any]]) -> None:
        """All that the instructions do: flits, reads, and signals, which come behind the last read."""
        self.check_packets([flit for _, flit in sink.words], program)
        entries: list[int] = []
        signals = iter(self.signals.words)
        for f in program:
            entries += expected_entries(f)
            for i in range(3):
                if f.get(f"signal{i}_valid"):
                    cycle, signal = next(signals)
                    assert (signal.token, signal.core) == (f[f"signal{i}_token"], f[f"signal{i}_core"])
                    assert cycle > self.reads[len(entries) - 1][0] or not entries
        assert next(signals, None) is None
        assert [entry for _, entry in self.reads] == entries
        assert self.param_reads == [flit for f in program for flit in self.expected_params(f)]

    def expected(self, f: dict[str, int]) -> list[dict[str, Any]]:
        """The flits of a STORE: where each goes and what its valid bytes are."""
        size, width = self.chip.link_bytes, self.core.drain_lanes(self.chip.link_bytes)
        out = []
        pool = f.get("pool")
        for group in range(f["groups"]):
            for pixel in range(f["pixels"]):
                entries = window_entries(pool, pixel) if f.get("pooled") and pool else [pixel]
                values = []
                for lane in range(f["lanes"]):
                    channel = (f["param_base"] + group) * size + lane
                    taps = (int(self.acc[f["acc_base"] + entry][group * width + lane]) for entry in entries)
                    total = max(taps, default=-(1 << 31)) + int(self.bias[channel])
                    scaled = round(Fraction(total * int(self.multiplier[channel]), 1 << int(self.shift[channel])))
                    value = min(max(scaled + f["zero_point"], f["lo"]), f["hi"])
                    values.append(int(self.table[value + 128]) if f["table"] else value)
                step = self.chip.cores[f["core"]].act_groups(size) if f["planar"] and f["to_core"] else 1
                offset = group * f["group_stride"]
                where = f["addr"] + (offset + pixel * step if f["to_core"] else (offset + pixel) * size)
                where %= 1 << 32
                last = group == f["groups"] - 1 and pixel == f["pixels"] - 1
                out.append({"where": where, "values": values, "token": f["to_core"] and f["token_valid"] and last})
        return out

    def check_packets(self, flits: list[Any], program: list[dict[str, int]]) -> None:
        packets = packets_of(flits)
        size, chip = self.chip.link_bytes, self.chip
        for f in program:
            if "pixels" not in f:
                first = f["param_base"] * PARAM_FLITS * size
                self.table = np.frombuffer(self.raw[first : first + isa.TABLE_BYTES], np.int8)
                continue
            expected = self.expected(f)
            while expected:
                packet = packets.pop(0)
                now, expected = expected[: packet.flits], expected[packet.flits :]
                assert len(now) == packet.flits <= chip.max_packet_flits
                assert packet.src == self.node
                assert packet.addr == now[0]["where"]
                assert (packet.lanes, packet.lane_offset) == (f["lanes"], f["lane_offset"])
                assert packet.token_valid == now[-1]["token"]
                if f["to_core"]:
                    assert packet.kind == Kind.DATA
                    assert packet.dest == sum(1 << core for core in codec.store_cores(f, self.core))
                    assert (packet.space, packet.planar) == (f["space"], f["planar"])
                    assert packet.token == f["token"]
                    step = chip.cores[f["core"]].act_groups(size) if f["planar"] else 1
                else:
                    assert packet.kind == Kind.WRITE
                    assert packet.dest == 1 << chip.n_cores + f["memory"]
                    assert packet.traffic == f["traffic"]
                    assert packet.addr // 4096 == (packet.addr + packet.flits * size - 1) // 4096
                    step = size
                assert [flit["where"] for flit in now] == [
                    (packet.addr + step * i) % (1 << 32) for i in range(packet.flits)
                ]
                for data, flit in zip(packet.payload, now, strict=True):
                    raw = data.to_bytes(size, "little")[f["lane_offset"] :][: f["lanes"]]
                    assert list(np.frombuffer(raw, np.int8)) == flit["values"]
        assert not packets


def expected_entries(f: dict[str, Any]) -> list[int]:
    """Accumulators that an instruction reads, in order."""
    pixels = range(f.get("pixels", 0))
    windows = [window_entries(f["pool"], n) if f.get("pooled") else [n] for n in pixels]
    return [f["acc_base"] + entry for window in windows for entry in window] * f.get("groups", 1)


def window_entries(pool: dict[str, int], pixel: int) -> list[int]:
    """Accumulators of a pooled STORE's pixel, from its base on, in the order in which they are read."""
    row, column = divmod(pixel, pool["out_w"])
    y, x = row * pool["stride_h"] - pool["pad_top"], column * pool["stride_w"] - pool["pad_left"]
    return [
        iy * pool["in_w"] + ix
        for iy in range(y, y + pool["kernel_h"])
        for ix in range(x, x + pool["kernel_w"])
        if 0 <= iy < pool["in_h"] and 0 <= ix < pool["in_w"]
    ]


def random_pool(rng: random.Random) -> dict[str, int]:
    """A geometry of at most 64 entries; many windows lie partly outside, some wholly."""
    kernel_h, kernel_w = rng.choice([(2, 2), (3, 3), (rng.randint(1, 7), rng.randint(1, 7))])
    height = rng.randint(1, 12)
    return {
        "kernel_h": kernel_h,
        "kernel_w": kernel_w,
        "stride_h": rng.randint(1, 7 if rng.random() < 0.2 else 2),
        "stride_w": rng.randint(1, 7 if rng.random() < 0.2 else 2),
        "pad_top": rng.randrange(kernel_h),
        "pad_left": rng.randrange(kernel_w),
        "in_h": height,
        "in_w": rng.randint(1, 64 // height),
        "out_w": rng.randint(1, 7),
    }


def random_store(
    rng: random.Random, chip: ChipParams, core: CoreParams, pool: dict[str, int] | None = None
) -> dict[str, Any]:
    """Fields of a STORE, pooled now and then if there is a `pool`, which it then keeps beside them."""
    size = chip.link_bytes
    pooled = int(pool is not None and rng.random() < 0.6)
    pixels = rng.choice([1, 1, 2, 3, 7, 20, *(() if pooled else (40, 64))])
    entries = pool["in_h"] * pool["in_w"] if pooled and pool is not None else pixels
    groups = rng.randint(1, core.drain_groups(size))
    lanes = rng.choice([core.drain_lanes(size), rng.randint(1, core.drain_lanes(size))])
    to_core = rng.randrange(2)
    first, more = rng.randrange(4 if to_core else 64), rng.randrange(64)
    if to_core and core.multicast:
        more = rng.randrange(4 - first)
    cores = codec.store_cores({"core": first, "more": more}, core) if to_core else range(0)
    mixed = len({chip.cores[n].act_groups(size) for n in cores}) > 1
    fields = {
        "acc_base": 64 * rng.randrange(2) + rng.randrange(65 - entries),
        "pixels": pixels,
        "param_base": rng.randrange(core.param_blocks - groups + 1),
        "groups": groups,
        "lanes": lanes,
        "lane_offset": rng.choice([0, rng.randrange(size - lanes + 1)]),
        "zero_point": rng.randint(-128, 127),
        "lo": rng.randint(-128, 0),
        "hi": rng.randint(0, 127),
        "to_core": to_core,
        "memory": rng.randrange(16 if to_core else 2),  # what belongs to the other way means nothing
        "core": first,
        "more": more,
        "space": rng.randrange(3 if to_core else 4),
        "planar": rng.randrange(1 if mixed else 2),
        "addr": rng.getrandbits(32) if to_core else rng.getrandbits(32) // size * size,
        "group_stride": rng.getrandbits(24),
        "traffic": rng.randrange(5),
        "token_valid": rng.randrange(2),
        "token": rng.randrange(chip.tokens if to_core else 128),
        "table": rng.randrange(2),
    }
    return {**fields, **random_signals(rng), "pooled": pooled, "pool": pool}


def random_table(rng: random.Random, chip: ChipParams, core: CoreParams) -> dict[str, int]:
    """A TABLE: known by having no pixels."""
    last = core.param_blocks - codec.table_blocks(chip.link_bytes)
    return {"param_base": rng.randint(0, last), **random_signals(rng)}


def random_signals(rng: random.Random) -> dict[str, int]:
    fields = {}
    for i in range(3):
        fields |= {f"signal{i}_valid": rng.randrange(2), f"signal{i}_token": rng.randrange(128)}
        fields[f"signal{i}_core"] = rng.randrange(64)
    return fields


def word(fields: dict[str, Any], opcode: Opcode | None = None) -> int:
    """The instruction: a STORE if it has pixels, a TABLE otherwise, unless told what."""
    opcode = opcode or (Opcode.STORE if "pixels" in fields else Opcode.TABLE)
    return int.from_bytes(codec.encode(opcode, **{k: v for k, v in fields.items() if k != "pool"}, **WAITS), "little")


@pytest.mark.parametrize(
    ("rows", "cols", "link_bytes"),
    [(4, 4, 4), (8, 8, 8), (16, 16, 16), (8, 4, 16), (4, 16, 4), (4, 32, 16), (4, 8, 64)],
)
@pytest.mark.parametrize("stall", [0.0, 0.4])
@pytest.mark.parametrize("multicast", [False, True], ids=["unicast", "multicast"])
def test_flits_go_where_they_belong(rows: int, cols: int, link_bytes: int, stall: float, multicast: bool) -> None:
    rng = random.Random(f"{rows} {cols} {link_bytes} {stall}")
    chip, core = build(rows, cols, link_bytes)
    core = replace(core, multicast=multicast)
    bench = StoreBench(chip, core, rng, conflict=stall / 2)
    dut = bench.dut
    program: list[dict[str, Any]] = []
    words, pool = [], None
    while len(program) < 20:
        if rng.random() < 0.3:
            pool = random_pool(rng)
            words.append(word(pool, Opcode.POOL))
        program.append(random_table(rng, chip, core) if rng.random() < 0.2 else random_store(rng, chip, core, pool))
        words.append(word(program[-1]))
    sink = Sink(dut.o, rng, stall)
    bench.signals.stall = rng.choice([0.2, 0.95])

    async def feed(ctx) -> None:
        await bench.fill(ctx)
        await send(ctx, dut.instruction, words, rng, stall)
        assert not ctx.get(dut.error)
        if stall:  # a bad one behind them stops the unit, and holds up none of them
            bench.stops = True
            ctx.set(dut.instruction.payload, word({"pixels": 0}))
            ctx.set(dut.instruction.valid, 1)
            await ctx.tick().repeat(2)
            ctx.set(dut.instruction.payload, words[-1])
            await ctx.tick().repeat(30)
            assert ctx.get(dut.error) == ErrorCode.ILLEGAL_FIELD
        for _ in range(5000):
            await ctx.tick()
            if not bench.due:
                break
        await ctx.tick().repeat(10)
        assert bench.due == 0
        assert ctx.get(dut.busy) == (stall > 0)
        bench.acks = 1.0
        await ctx.tick().repeat(500)
        assert ctx.get(dut.outstanding) == 0

    simulate(bench.module, feed, background=[bench.serve, bench.watch, sink.run, bench.signals.run])
    bench.check(sink, program)


@pytest.mark.parametrize(("link_bytes", "cols", "pixels", "groups"), [(16, 16, 40, 1), (16, 16, 3, 1), (4, 16, 20, 4)])
@pytest.mark.parametrize("multicast", [False, True], ids=["unicast", "multicast"])
def test_cycles_of_a_store_are_as_documented(
    link_bytes: int, cols: int, pixels: int, groups: int, multicast: bool
) -> None:
    rng = random.Random(1)
    chip, core = build(4, cols, link_bytes)
    core = replace(core, multicast=multicast)
    bench = StoreBench(chip, core, rng)
    dut = bench.dut
    fields = {"pixels": pixels, "groups": groups, "lanes": core.drain_lanes(link_bytes), "hi": 127}
    fields |= {"signal0_valid": 1}
    sink = Sink(dut.o, rng)
    bench.signals.stall = 0.0
    started = []

    async def feed(ctx) -> None:
        await bench.fill(ctx)
        started.append(PARAM_FLITS * core.param_blocks)
        await send(ctx, dut.instruction, [word(fields)] * 3, rng, 0.0)
        await ctx.tick().repeat(pixels + 30)

    simulate(bench.module, feed, background=[bench.serve, bench.watch, sink.run, bench.signals.run])
    cycles = [cycle for cycle, _ in bench.reads]
    load = 8
    assert cycles[0] == started[0] + load + 3
    starts = cycles[::pixels]
    gaps = [b - a for a, b in itertools.pairwise(starts)]
    inside, between = max(pixels, load + 2), max(pixels, load + 3)
    assert gaps == ([inside] * (groups - 1) + [between]) * 2 + [inside] * (groups - 1)
    assert sink.words[0][0] == cycles[0] + 6
    if pixels > 16:
        assert sink.words[-1][0] == cycles[-1] + 6, "no flit waits"
    lasts = cycles[pixels * groups - 1 :: pixels * groups]
    assert [cycle for cycle, _ in bench.signals.words] == [cycle + 1 for cycle in lasts]


@pytest.mark.parametrize("link_bytes", [4, 16, 64])
@pytest.mark.parametrize("multicast", [False, True], ids=["unicast", "multicast"])
def test_a_table_waits_for_post_processing_and_takes_a_cycle_a_byte(link_bytes: int, multicast: bool) -> None:
    rng = random.Random(1)
    chip, core = build(4, 16, link_bytes)
    core = replace(core, multicast=multicast)
    bench = StoreBench(chip, core, rng)
    dut = bench.dut
    store = {"pixels": 20, "groups": 1, "lanes": 4, "lo": -128, "hi": 127, "table": 1}
    store |= dict.fromkeys(("param_base", "acc_base", "zero_point", "group_stride", "planar", "addr", "core"), 0)
    store |= dict.fromkeys(("to_core", "memory", "lane_offset", "traffic", "token_valid"), 0)
    table = {"param_base": 2, "signal1_valid": 1, "signal1_token": 7}
    program = [table, store, table | {"param_base": 1}, store]
    sink = Sink(dut.o, rng)
    bench.signals.stall = 0.0

    async def feed(ctx) -> None:
        await bench.fill(ctx)
        await send(ctx, dut.instruction, [word(fields) for fields in program], rng, 0.0)
        await ctx.tick().repeat(60)

    simulate(bench.module, feed, background=[bench.serve, bench.watch, sink.run, bench.signals.run])
    bench.check_packets([flit for _, flit in sink.words], program)
    cycles = [cycle for cycle, _ in bench.reads]
    param_cycles = max(3, 8 * core.drain_lanes(link_bytes) // link_bytes)
    assert cycles[20] - cycles[19] == 6 + 257 + param_cycles + 3
    assert [signal.token for _, signal in bench.signals.words] == [7, 7]
    assert bench.signals.words[1][0] == cycles[19] + 6 + 257


@pytest.mark.parametrize(("pixels", "groups"), [(12, 1), (1, 4), (2, 3)])
def test_a_pooled_store_takes_a_cycle_per_tap_and_reads_only_inside(pixels: int, groups: int) -> None:
    chip, core = build(4, 16, 4)
    bench = StoreBench(chip, core, random.Random(1))
    dut = bench.dut
    pool = {"kernel_h": 3, "kernel_w": 2, "stride_h": 2, "stride_w": 2, "pad_top": 1, "pad_left": 1}
    pool |= {"in_h": 5, "in_w": 7, "out_w": 4}
    other = {**pool, "in_h": 9, "out_w": 1, "kernel_h": 1, "pad_top": 0}
    fields = {"pixels": pixels, "groups": groups, "lanes": 4, "hi": 127, "acc_base": 64, "pooled": 1}
    stores = [word(pool, Opcode.POOL), word(fields), word(fields), word(other, Opcode.POOL)]
    sink = Sink(dut.o, bench.rng)

    async def feed(ctx) -> None:
        await bench.fill(ctx)
        await send(ctx, dut.instruction, stores, bench.rng, 0.0)
        await ctx.tick().repeat(6 * pixels * groups + 30)

    simulate(bench.module, feed, background=[bench.serve, bench.watch, sink.run])
    windows = [window_entries(pool, pixel) for pixel in range(pixels)]
    assert [entry - 64 for _, entry in bench.reads] == [n for window in windows for n in window] * groups * 2
    # From the first read of a group to that of the next; the first window lies partly outside.
    starts = [cycle for cycle, _ in bench.reads][:: sum(map(len, windows))]
    gaps = [b - a for a, b in itertools.pairwise(starts)]
    inside, between = max(6 * pixels, 8 + 2), max(6 * pixels, 8 + 3)
    assert gaps == [inside] * (groups - 1) + [between] + [inside] * (groups - 1)
    assert len(sink.words) == 2 * pixels * groups


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"pooled": 1}, ErrorCode.ILLEGAL_FIELD),
        ({"pixels": 0}, ErrorCode.ILLEGAL_FIELD),
        *(({"groups": groups}, ErrorCode.ILLEGAL_FIELD) for groups in (0, 5, 8, 17)),
        *(({"lanes": lanes}, ErrorCode.ILLEGAL_FIELD) for lanes in (0, 5, 8, 17, 34, 65)),
        *(({"lanes": 3, "lane_offset": n}, ErrorCode.ILLEGAL_FIELD) for n in (2, 5, 8, 17, 32)),
        ({"lanes": 1, "lane_offset": 63}, ErrorCode.ILLEGAL_FIELD),
        *(({"memory": memory}, ErrorCode.ILLEGAL_FIELD) for memory in (2, 5, 8)),
        ({"traffic": 5}, ErrorCode.ILLEGAL_FIELD),
        *(({"to_core": 1, "core": core}, ErrorCode.ILLEGAL_FIELD) for core in (4, 9, 16, 35)),
        ({"to_core": 1, "space": 3}, ErrorCode.ILLEGAL_FIELD),
        ({"to_core": 1, "token_valid": 1, "token": 64}, ErrorCode.ILLEGAL_FIELD),
        ({"addr": 1}, ErrorCode.MISALIGNED),
        ({"addr": 0xFFFFFFFE}, ErrorCode.MISALIGNED),
        *(({"acc_base": base}, ErrorCode.ACC_RANGE) for base in (128, 257, 512, 1024, 2048, 4096)),
        *(({"pixels": pixels}, ErrorCode.ACC_RANGE) for pixels in (65, 129, 256, 513, 1024, 2049, 4096)),
        ({"acc_base": 63, "pixels": 2}, ErrorCode.ACC_RANGE),
        ({"acc_base": 127, "pixels": 2}, ErrorCode.ACC_RANGE),
        *(({"param_base": base}, ErrorCode.PARAM_RANGE) for base in (16, 33, 64, 128, 257, 512, 1023)),
        ({"param_base": 13, "groups": 4}, ErrorCode.PARAM_RANGE),
        *(({"is_table": 1, "param_base": n}, ErrorCode.PARAM_RANGE) for n in (9, 16, 33, 64, 128, 257, 512, 1023)),
        ({"is_table": 1, "param_base": 8}, 0),
        ({"groups": 4, "param_base": 12, "lane_offset": 1, "lanes": 3, "pixels": 64, "acc_base": 64}, 0),
        ({"memory": 1, "traffic": 4, "space": 3, "addr": 0xFFFFFFFC}, 0),
        ({"to_core": 1, "memory": 9, "addr": 7, "traffic": 7, "space": 2, "core": 3, "token": 127}, 0),
        ({"to_core": 1, "token_valid": 1, "token": 63}, 0),
        ({"acc_base": 127, "param_base": 15, "core": 40, "token_valid": 1, "token": 100}, 0),
    ],
    ids=str,
)
@pytest.mark.parametrize("multicast", [False, True], ids=["unicast", "multicast"])
def test_a_bad_store_stops_the_unit(fields: dict[str, int], code: int, multicast: bool) -> None:
    _, core = build(*SHAPE)
    check_code(replace(core, multicast=multicast), fields, code)


def test_a_unit_that_sends_to_one_core_does_not_look_for_more() -> None:
    _, core = build(*SHAPE)
    check_code(core, {"to_core": 1, "core": 1, "more": 3}, 0)


def check_code(core: CoreParams, fields: dict[str, int], code: int) -> None:
    """An instruction ends with this error and starts nothing, or is done if there is none."""
    chip, _ = build(*SHAPE)
    dut = Store(core=core, chip=chip)
    usual = {"pixels": 1, "groups": 1, "lanes": 4}
    payload = word({"param_base": fields["param_base"]} if "is_table" in fields else usual | fields)

    async def bench(ctx) -> None:
        ctx.set(dut.instruction.valid, 1)
        ctx.set(dut.instruction.payload, payload)
        for cycle in range(20):
            await ctx.tick()
            assert ctx.get(dut.error) == code
            reads = not code and "is_table" not in fields and cycle > 12
            assert ctx.get(dut.acc.valid) == reads or not (code or reads)
            if code:
                assert not ctx.get(dut.instruction.ready)
                assert not ctx.get(dut.param_enable)

    simulate(dut, bench)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"core": 3}, 0),
        ({"core": 4}, ErrorCode.ILLEGAL_FIELD),
        *(({"more": more}, ErrorCode.ILLEGAL_FIELD if more > 3 else 0) for more in (1, 2, 3, 4, 5, 8, 16, 32, 63)),
        *(({"core": 2, "more": more}, ErrorCode.ILLEGAL_FIELD if more > 1 else 0) for more in (1, 2, 62, 63)),
        ({"core": 63, "more": 1}, ErrorCode.ILLEGAL_FIELD),
        ({"core": 40, "more": 30}, ErrorCode.ILLEGAL_FIELD),
        ({"core": 63, "more": 63}, ErrorCode.ILLEGAL_FIELD),
        # Cores 0 and 3 space planar flits otherwise than cores 1 and 2.
        *(({"core": core, "more": 1, "planar": 1}, 0 if core == 1 else ErrorCode.ILLEGAL_FIELD) for core in range(3)),
        *(({"core": core, "planar": 1}, 0) for core in range(4)),
        ({"more": 3, "planar": 1}, ErrorCode.ILLEGAL_FIELD),
        ({"to_core": 0, "more": 63, "planar": 1}, 0),
    ],
    ids=str,
)
def test_a_bad_set_of_cores_stops_a_unit_that_sends_to_several(fields: dict[str, int], code: int) -> None:
    _, core = build(*SHAPE)
    check_code(replace(core, multicast=True), {"to_core": 1} | fields, code)


POOL = dict.fromkeys(("kernel_h", "kernel_w", "stride_h", "stride_w", "in_h", "in_w", "out_w"), 1)


@pytest.mark.parametrize(
    ("pool", "store", "code"),
    [
        *(({name: 0}, {}, ErrorCode.ILLEGAL_FIELD) for name in POOL),
        *(({name: 1 << 2}, {}, 0) for name in ("kernel_h", "kernel_w", "stride_h", "stride_w")),
        *(({name: 1 << bit}, {}, 0) for name in ("in_h", "in_w") for bit in (1, 6)),
        *(({"out_w": 1 << bit}, {}, 0) for bit in (1, 5, 9)),
        *(({name: 1 << bit}, {}, ErrorCode.ACC_RANGE) for name in ("in_h", "in_w") for bit in (7, 8, 9)),
        ({"kernel_h": 3, "pad_top": 7}, {}, ErrorCode.ILLEGAL_FIELD),
        ({"kernel_w": 3, "pad_left": 4}, {}, ErrorCode.ILLEGAL_FIELD),
        ({"kernel_h": 2, "pad_top": 2}, {}, ErrorCode.ILLEGAL_FIELD),
        ({"kernel_w": 7, "pad_left": 7}, {}, ErrorCode.ILLEGAL_FIELD),
        ({"kernel_w": 7, "pad_left": 6}, {}, 0),
        ({"kernel_h": 7, "pad_top": 6}, {}, 0),
        ({"in_h": 8, "in_w": 8}, {"acc_base": 64, "pixels": 100}, 0),
        ({"in_h": 8, "in_w": 8}, {"acc_base": 65}, ErrorCode.ACC_RANGE),
        ({"in_h": 13, "in_w": 5}, {}, ErrorCode.ACC_RANGE),
        ({"in_h": 1023, "in_w": 1023}, {}, ErrorCode.ACC_RANGE),
        ({}, {"acc_base": 128}, ErrorCode.ACC_RANGE),
    ],
    ids=str,
)
@pytest.mark.parametrize("multicast", [False, True], ids=["unicast", "multicast"])
def test_a_bad_pool_or_its_store_stops_the_unit(
    pool: dict[str, int], store: dict[str, int], code: int, multicast: bool
) -> None:
    chip, core = build(*SHAPE)
    dut = Store(core=replace(core, multicast=multicast), chip=chip)
    words = [word({**POOL, **pool}, Opcode.POOL), word({"pixels": 1, "groups": 1, "lanes": 4, "pooled": 1} | store)]

    async def bench(ctx) -> None:
        ctx.set(dut.instruction.valid, 1)
        accepted = 0
        for _ in range(20):
            ctx.set(dut.instruction.payload, words[min(accepted, 1)])
            accepted += ctx.get(dut.instruction.ready)
            await ctx.tick()
        # What is bad stays, the POOL or its STORE.
        assert accepted == {0: 2, ErrorCode.ACC_RANGE: 1, ErrorCode.ILLEGAL_FIELD: 0}[code]
        assert ctx.get(dut.error) == code
        assert ctx.get(dut.acc.valid) == (not code)

    simulate(dut, bench)


@pytest.mark.parametrize("pixels", [4, 8])
def test_a_packet_that_has_begun_never_waits_for_signals(pixels: int) -> None:
    """Another unit's signals keep the way to the own counters busy, so that signals to other cores come late.

    Those wait for the way out of the core, which a packet of the next STORE must not hold until they are gone.
    """
    for begin in range(9 + pixels, 13 + pixels):
        assert _packets_and_signals(pixels, begin) == [Kind.WRITE] * (pixels + 16) + [Kind.SIGNAL] * 2


def _packets_and_signals(pixels: int, begin: int) -> list[Kind]:
    """Flits of two STOREs, the first with three signals; in twelve cycles, from one on, something else signals."""
    chip, core = build(4, 16, 16)
    m = Module()
    m.submodules.dut = dut = Store(core=core, chip=chip)
    m.submodules.signals = signals = SignalRouter(chip=chip, n_sources=2)
    m.submodules.out = out = Outbound(chip=chip, n_sources=2)
    for source, sink in ((dut.signal, signals.i[1]), (signals.o, out.i[0]), (dut.o, out.i[1])):
        connect(m, source, sink)
    m.d.comb += [dut.acc.ready.eq(1), out.o.ready.eq(1)]
    near = {"signal0_valid": 1, "signal0_core": 0}
    far = {f"signal{i}_{name}": 1 for i in (1, 2) for name in ("valid", "core")}
    fields = {"groups": 1, "lanes": 4, "lo": -128, "hi": 127}
    stores = [{"pixels": pixels, **near, **far}, {"pixels": 16}]
    words = [int.from_bytes(codec.encode(Opcode.STORE, **fields, **store), "little") for store in stores]
    left: list[Kind] = []

    async def bench(ctx: Any) -> None:
        kind, other = Kind.WRITE, signals.i[0]
        for cycle in range(100):
            ctx.set(dut.instruction.valid, bool(words))
            ctx.set(dut.instruction.payload, words[0] if words else 0)
            ctx.set(other.valid, begin <= cycle < begin + 12)  # to the own core
            _, _, taken, valid, first, header_kind = await ctx.tick().sample(
                dut.instruction.ready, out.o.valid, out.o.payload.first, out.o.payload.header.kind
            )
            if words and taken:
                words.pop(0)
            kind = Kind(header_kind) if first else kind
            left.extend([kind] * valid)

    simulate(m, bench)
    return sorted(left, key=lambda kind: kind == Kind.SIGNAL)
