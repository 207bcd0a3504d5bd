"""MemoryNode against an AXI memory and a plain model of the packets that each request stands for."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from amaranth.hdl import Cat, Const
from amaranth.sim import Simulator

from rtl.contract.codec import decode, encode
from rtl.contract.isa import INSTRUCTION_BYTES, Load, Opcode, Space, TrafficClass
from rtl.contract.params import ChipParams, CoreParams, default_chip
from rtl.contract.regs import ErrorCode, MemoryCounter
from rtl.dram.memory_node import MemoryNode
from rtl.noc.flit import Kind, flit_layout
from tests.unit.rtl.dram.axi_models import AxiMemory
from tests.unit.rtl.drivers import Sink, send

SMALL = CoreParams(rows=4, cols=4, act_bytes=1024, weight_bytes=1024, acc_entries=32, param_blocks=2)
NODE = 4
MEMORY_BYTES = 1 << 16


def small_chip(link_bytes: int = 16, **overrides: Any) -> ChipParams:
    return default_chip(4, SMALL, link_bytes=link_bytes, **overrides)


def packet(chip: ChipParams, payload: list[int], *, kind: int, traffic: int = 0, **header: Any) -> list[Any]:
    """Flits of one packet; ``kind`` may be no `Kind`, ``traffic`` no `TrafficClass`."""
    layout = flit_layout(chip)
    header = {"flits": len(payload), **header}
    head = layout["header"]
    flits = [
        layout.const({"data": word, "first": i == 0, "last": i == len(payload) - 1, "header": header if i == 0 else {}})
        for i, word in enumerate(payload)
    ]
    raw = Const.cast(flits[0]).value
    for name, value in {"kind": kind, "traffic": traffic}.items():
        raw |= value << head.offset + head.shape[name].offset
    return [layout.from_bits(raw), *flits[1:]]


def read_packet(chip: ChipParams, instruction: bytes, src: int = 0) -> list[Any]:
    raw = instruction.ljust(chip.link_bytes, b"\0")
    step = chip.link_bytes
    words = [int.from_bytes(raw[i : i + step], "little") for i in range(0, len(raw), step)]
    return packet(chip, words, kind=Kind.READ, dest=1 << NODE, src=src)


def load(chip: ChipParams, **fields: int) -> bytes:
    defaults = {"cores": 1, "runs": 1, "run_flits": 1, "traffic": TrafficClass.IFMAP}
    return encode(Opcode.LOAD, **{**defaults, **fields})


def model_bursts(chip: ChipParams, instruction: bytes) -> list[tuple[int, int, int, bool]]:
    """Bursts of one LOAD: DRAM address, beats, scratchpad address, whether it is the last one."""
    _, f = decode(instruction)
    b = chip.link_bytes
    groups = chip.cores[(f["cores"] & -f["cores"]).bit_length() - 1].act_groups(b)
    bursts = []
    for run in range(f["runs"]):
        at, left = (f["dram_addr"] + run * f["dram_stride"] * b) % (1 << 32), f["run_flits"]
        dst = f["dst"] + run * f["dst_stride"]
        while left:
            beats = min(left, chip.max_packet_flits, (4096 - at % 4096) // b)
            left -= beats
            bursts.append((at, beats, dst, run == f["runs"] - 1 and left == 0))
            at = (at + beats * b) % (1 << 32)
            dst += beats * (groups if f["planar"] and f["space"] != Space.PROGRAM else 1)
    return bursts


def model_packets(chip: ChipParams, memory: np.ndarray, instruction: bytes, node: int = NODE) -> list[dict[str, Any]]:
    """DATA packets of one LOAD."""
    _, f = decode(instruction)
    b = chip.link_bytes
    return [
        {
            "dest": f["cores"], "src": node, "kind": Kind.DATA, "flits": beats, "space": f["space"],
            "planar": f["planar"], "addr": dst, "traffic": f["traffic"], "lane_offset": 0, "lanes": b,
            "token_valid": f["token_valid"] & final, "token": f["token"],
            "data": [bytes(memory[(at + i * b) % MEMORY_BYTES :][:b]) for i in range(beats)],
        }
        for at, beats, dst, final in model_bursts(chip, instruction)
    ]  # fmt: skip


def parse(chip: ChipParams, words: list[tuple[int, Any]]) -> list[dict[str, Any]]:
    """Packets out of the flits of a sink."""
    packets: list[dict[str, Any]] = []
    open_packet = False
    for _, flit in words:
        assert bool(flit.first) != open_packet, "packets mixed"
        if flit.first:
            header = flit.header
            packets.append({name: int(getattr(header, name)) if name not in ("kind", "space", "traffic")
                            else getattr(header, name) for name, _ in header.shape()})  # fmt: skip
            packets[-1]["data"] = []
        packets[-1]["data"].append(int(flit.data).to_bytes(chip.link_bytes, "little"))
        open_packet = not flit.last
    assert not open_packet
    return packets


class Watch:
    """What ``idle``, ``progress`` and the counters must be, from what is seen at the ports.

    ``progress`` always; the others until a halt or an error, and again after a clear.
    """

    def __init__(self, node: MemoryNode, chip: ChipParams) -> None:
        self._node, self._chip = node, chip
        self._flit = flit_layout(chip)
        self.forget()

    def forget(self) -> None:
        self.exact = True
        self.counted: Counter[int] = Counter()
        self._read_flits = self._acks = 0  # still to come
        self._request: tuple[int, list[int]] | None = None  # first flit and payload of the packet that comes in
        self._response = 0  # first flit of the packet that goes out

    def _of(self, flit: int, name: str) -> int:
        """A field of a flit or of its header, as a number: in a faulty packet it may have no meaning."""
        offset, shape = 0, self._flit
        if name not in shape.members:
            offset, shape = shape["header"].offset, shape["header"].shape
        field = shape[name]
        return flit >> offset + field.offset & (1 << field.width) - 1

    async def run(self, ctx: Any) -> None:
        node, axi = self._node, self._node.axi
        streams = [(port.valid, port.ready) for port in (node.request_in, node.response_out)]
        channels = [(axi.rvalid, axi.rready), (axi.arvalid, axi.arready), (axi.awvalid, axi.awready)]
        channels += [(axi.wvalid, axi.wready), (axi.bvalid, axi.bready)]
        # Two values for all that moves, because every access from a testbench costs.
        valids = Cat(valid for valid, _ in streams + channels)
        readys = Cat(ready for _, ready in streams + channels)
        states = Cat(node.clear, node.halt, node.running, node.idle, node.progress)
        flits = [port.payload.as_value() for port in (node.request_in, node.response_out)]
        while True:
            _, _, valid, ready, state, error, *words = await ctx.tick().sample(
                valids, readys, states, node.error, *flits
            )
            clear, halt, running, idle, progress = (state >> bit & 1 for bit in range(5))
            assert progress == bool(valid & ready)
            self.exact &= not (halt or error)
            if clear:
                self.forget()
            elif self.exact:
                assert idle == (self._read_flits == 0 and self._acks == 0)
                events = self._events(valid, ready, *words)
                if running:
                    for event, count in events:
                        self.counted[event] += count

    def _events(self, valid: int, ready: int, request: int, response: int) -> list[tuple[int, int]]:
        """Of a cycle, by counter."""
        events = []
        if self._read_flits == 0:
            events.append((MemoryCounter.READ_IDLE, 1))
        if (valid & ~ready) >> 2 & 1:
            events.append((MemoryCounter.READ_STALL, 1))
        if (valid & ready) >> 1 & 1:
            if self._of(response, "first"):
                self._response = response
            if self._of(self._response, "kind") == Kind.ACK:
                self._acks -= 1
            else:
                self._read_flits -= 1
                if self._of(response, "last"):
                    size = self._of(self._response, "flits") * self._chip.link_bytes
                    events.append((MemoryCounter.READ_BYTES + self._of(self._response, "traffic"), size))
        if valid & 1:
            head, words = (request, []) if self._of(request, "first") else self._request
            write = self._of(head, "kind") == Kind.WRITE
            if not ready & 1:
                return [*events, (MemoryCounter.WRITE_STALL, int(write))]
            words.append(self._of(request, "data"))
            self._request = head, words
            if write:
                self._acks += self._of(request, "first")
                events.append((MemoryCounter.WRITE_BYTES + self._of(head, "traffic"), self._of(head, "lanes")))
            elif self._of(request, "last"):
                raw = b"".join(word.to_bytes(self._chip.link_bytes, "little") for word in words)
                wanted = Load.from_bits(int.from_bytes(raw[:INSTRUCTION_BYTES], "little"))
                self._read_flits += wanted.runs * wanted.run_flits
        return events


class MemoryBench:
    """A memory node between a request source, a response sink and an AXI memory."""

    def __init__(
        self, chip: ChipParams, seed: int = 0, stall: float = 0.0, latency: int = 4, number: int = NODE
    ) -> None:
        self.chip = chip
        self.number = number
        self.rng = random.Random(seed)
        self.stall = stall
        self.memory = np.random.default_rng(seed).integers(0, 256, MEMORY_BYTES, dtype=np.uint8)
        self.node = MemoryNode(chip=chip)
        self.axi = AxiMemory(
            self.node.axi, chip.link_bytes, self.memory, random.Random(seed + 1), stall, latency, chip.max_packet_flits
        )
        self.sink = Sink(self.node.response_out, random.Random(seed + 2), stall)
        self.watch = Watch(self.node, chip)

    async def counter(self, ctx: Any, index: int) -> int:
        ctx.set(self.node.counter_index, index)
        await ctx.tick()
        return ctx.get(self.node.counter_value)

    async def until_idle(self, ctx: Any, limit: int = 20000) -> None:
        for _ in range(limit):
            _, _, idle, waiting = await ctx.tick().sample(self.node.idle, self.node.request_in.valid)
            if idle and not waiting:
                return
        raise AssertionError("node never idle")

    async def request(self, ctx: Any, flits: list[Any]) -> None:
        await send(ctx, self.node.request_in, flits, self.rng, self.stall)

    async def clear(self, ctx: Any, limit: int = 1000) -> None:
        ctx.set(self.node.clear, 1)
        await ctx.tick().repeat(4)
        await self.until_idle(ctx, limit)
        ctx.set(self.node.clear, 0)

    async def check_counters(self, ctx: Any) -> None:
        ctx.set(self.node.running, 0)
        await ctx.tick()
        if self.watch.exact:
            for index in range(64):
                assert await self.counter(ctx, index) == self.watch.counted[index], index

    def run(self, test: Any) -> None:
        sim = Simulator(self.node)
        sim.add_clock(1e-8)

        async def body(ctx: Any) -> None:
            ctx.set(self.node.node, self.number)
            ctx.set(self.node.running, 1)
            await test(ctx)
            await self.check_counters(ctx)

        sim.add_testbench(body)
        sim.add_testbench(self.axi.run, background=True)
        sim.add_testbench(self.sink.run, background=True)
        sim.add_testbench(self.watch.run, background=True)
        sim.run()


def random_load(chip: ChipParams, rng: random.Random) -> bytes:
    """Anywhere in the address space; most runs are short."""
    runs = rng.choice([1, 1, 2, 5])
    return load(
        chip,
        cores=rng.randrange(1, 16),
        dram_addr=rng.randrange(0, (1 << 32) // chip.link_bytes) * chip.link_bytes,
        runs=runs,
        run_flits=rng.choice([1, 2, 7, 33, 70, rng.randrange(1, 130)]),
        dram_stride=rng.getrandbits(24),
        space=rng.choice(list(Space) if runs == 1 else [Space.ACT, Space.WEIGHT, Space.PARAM]),
        dst=rng.randrange(1 << 18),
        dst_stride=rng.randrange(1 << 18),
        planar=rng.randrange(2),
        traffic=rng.choice(list(TrafficClass)),
        token_valid=rng.randrange(2),
        token=rng.randrange(128),
    )


@pytest.mark.parametrize("stall", [0.0, 0.4])
@pytest.mark.parametrize(
    ("link_bytes", "seed"), [*((size, seed) for size in (4, 16, 64) for seed in range(3)), (16, 3), (16, 4)]
)
def test_reads_and_writes_match_the_model(link_bytes: int, seed: int, stall: float) -> None:
    chip = small_chip(
        link_bytes,
        max_packet_flits=8 if seed in (1, 2) else 32,
        memory_queue_depth=2 if seed == 1 else 16,
        outstanding_bursts={1: 1, 2: 4}.get(seed, 16),
    )
    number = (0b1010101, 0b0101010)[seed % 2]
    bench = MemoryBench(chip, seed, stall, number=number)
    bench.axi.mirrored = True
    bench.axi.shy = seed == 3
    bench.axi.target = written = bench.memory.copy()  # so that the order of reads and writes does not matter
    rng = random.Random(seed)
    b = link_bytes
    expected_memory = written.copy()
    expected_data: list[dict[str, Any]] = []
    expected_acks: list[int] = []
    reads: list[tuple[int, int]] = []
    writes: list[tuple[int, int]] = []
    flits: list[Any] = []
    for _ in range(14 if (link_bytes, chip) == (16, small_chip()) else 8):
        if rng.random() < 0.5:
            instruction = random_load(chip, rng)
            flits += read_packet(chip, instruction)
            expected_data += model_packets(chip, bench.memory, instruction, number)
            reads += [(at, beats) for at, beats, _, _ in model_bursts(chip, instruction)]
        else:
            count = rng.choice([1, chip.max_packet_flits, rng.randrange(1, chip.max_packet_flits + 1)])
            last_start = 4096 // b - count
            addr = rng.randrange(1 << 20) * 4096 + rng.choice([last_start, rng.randrange(last_start + 1)]) * b
            lane_offset = rng.choice([0, rng.randrange(b)])
            lanes = rng.choice([b - lane_offset, rng.randrange(1, b - lane_offset + 1)])
            src = rng.randrange(4)
            payload = [rng.getrandbits(8 * b) for _ in range(count)]
            flits += packet(
                chip, payload, kind=Kind.WRITE, dest=1 << NODE, src=src, addr=addr,
                traffic=rng.choice(list(TrafficClass)), lanes=lanes, lane_offset=lane_offset,
            )  # fmt: skip
            for i, word in enumerate(payload):
                at = (addr + i * b) % MEMORY_BYTES + lane_offset
                raw = np.frombuffer(word.to_bytes(b, "little"), np.uint8)
                expected_memory[at : at + lanes] = raw[lane_offset : lane_offset + lanes]
            writes.append((addr, count))
            expected_acks.append(src)

    async def test(ctx: Any) -> None:
        for start in range(0, len(flits), 8):
            ctx.set(bench.node.running, start == 0 or rng.random() < 0.9)
            await bench.request(ctx, flits[start : start + 8])
        await bench.until_idle(ctx)
        await ctx.tick().repeat(3)
        assert ctx.get(bench.node.error) == ErrorCode.NONE

    bench.run(test)
    assert bench.watch.exact
    packets = parse(chip, bench.sink.words)
    acks = [p for p in packets if p["kind"] == Kind.ACK]
    for program in (False, True):  # each in order
        assert [p for p in packets if p["kind"] == Kind.DATA and (p["space"] == Space.PROGRAM) == program] == [
            p for p in expected_data if (p["space"] == Space.PROGRAM) == program
        ]
    fixed = {"src": number, "kind": Kind.ACK, "flits": 1, "data": [bytes(b)]}
    assert acks == [dict.fromkeys(acks[0], 0) | {"dest": 1 << src} | fixed for src in expected_acks]
    assert Counter(bench.axi.bursts) == Counter(reads)
    assert bench.axi.writes == writes
    assert np.array_equal(written, expected_memory)


def test_read_data_stream_without_a_bubble_over_bursts_runs_and_loads() -> None:
    chip = small_chip()
    bench = MemoryBench(chip, latency=40)
    loads = [load(chip, dram_addr=0x0F30 + i * 0x1000, runs=3, run_flits=40, dram_stride=60) for i in range(6)]

    async def test(ctx: Any) -> None:
        await bench.request(ctx, [flit for raw in loads for flit in read_packet(chip, raw)])
        await bench.until_idle(ctx)
        assert await bench.counter(ctx, MemoryCounter.READ_STALL) == 0

    bench.run(test)
    cycles = [now for now, _ in bench.sink.words]
    assert len(cycles) == 6 * 120
    assert cycles[-1] - cycles[0] == 6 * 120 - 1


def test_bytes_of_all_classes_are_counted_past_16_kb() -> None:
    chip = small_chip()
    bench = MemoryBench(chip)
    bench.axi.mirrored = True
    bench.axi.target = bench.memory.copy()
    rng = bench.rng

    def write(traffic: TrafficClass, flits: int, lanes: int) -> list[Any]:
        header = {"dest": 1 << NODE, "src": 1, "addr": rng.randrange(1 << 20) * 4096, "lanes": lanes}
        return packet(chip, [0] * flits, kind=Kind.WRITE, traffic=traffic, **header)

    async def test(ctx: Any) -> None:
        for traffic in TrafficClass:
            await bench.request(ctx, read_packet(chip, load(chip, run_flits=1024, traffic=traffic)))
            for _ in range(32):
                await bench.request(ctx, write(traffic, 32, 16))
        for _ in range(3):
            for traffic in TrafficClass:
                await bench.request(ctx, read_packet(chip, load(chip, run_flits=rng.randrange(1, 9), traffic=traffic)))
                await bench.request(ctx, write(traffic, rng.randrange(1, 9), rng.randrange(1, 17)))
            await bench.until_idle(ctx)
            await bench.check_counters(ctx)
            ctx.set(bench.node.running, 1)

    bench.run(test)
    assert bench.watch.exact
    for base in (MemoryCounter.READ_BYTES, MemoryCounter.WRITE_BYTES):
        assert all(bench.watch.counted[base + traffic] > 1 << 14 for traffic in TrafficClass)


def test_one_flit_runs_take_one_cycle_each() -> None:
    chip = small_chip()
    bench = MemoryBench(chip, latency=8)
    bench.axi.mirrored = True

    async def test(ctx: Any) -> None:
        await bench.request(ctx, read_packet(chip, load(chip, runs=1023, run_flits=1, dram_stride=3)))
        await bench.until_idle(ctx)

    bench.run(test)
    cycles = [now for now, _ in bench.sink.words]
    assert len(cycles) == 1023
    assert cycles[-1] - cycles[0] == 1022


def test_long_loads_go_on() -> None:
    """Their first bursts; the rest is cleared."""
    chip = small_chip()
    bench = MemoryBench(chip)
    bench.axi.mirrored = True
    bench.sink.checks = False  # an offer may be withdrawn by clear
    addr = 0x8765_4E10

    async def test(ctx: Any) -> None:
        for space in (Space.ACT, Space.PROGRAM):
            for bit in range(7, 16):
                bench.axi.bursts.clear()
                await bench.request(ctx, read_packet(chip, load(chip, dram_addr=addr, space=space, run_flits=1 << bit)))
                await ctx.tick().repeat(5)
                await bench.clear(ctx)
                assert bench.axi.bursts[:2] == [(addr, 31), (0x8765_5000, 32)]
                assert len(bench.axi.bursts) < 6

    bench.run(test)


def test_address_is_asked_in_the_third_cycle_after_the_request() -> None:
    chip = small_chip()
    bench = MemoryBench(chip, latency=10)
    sent: list[int] = []

    async def test(ctx: Any) -> None:
        await bench.request(ctx, read_packet(chip, load(chip, run_flits=4)))
        sent.append(1)  # two flits, accepted in cycles 0 and 1
        await bench.until_idle(ctx)

    bench.run(test)
    assert bench.axi.first_ar == sent[0] + 3
    assert bench.axi.first_r == bench.axi.first_ar + 10
    assert bench.sink.words[0][0] == bench.axi.first_r


def test_write_packets_stream_without_a_bubble() -> None:
    chip = small_chip()
    bench = MemoryBench(chip, latency=6)
    flits = []
    for i in range(8):
        words = list(range(32))
        flits += packet(chip, words, kind=Kind.WRITE, dest=1 << NODE, src=1, addr=i * 512, lanes=16)
    taken: list[int] = []

    async def test(ctx: Any) -> None:
        for flit in flits:
            ctx.set(bench.node.request_in.payload, flit)
            ctx.set(bench.node.request_in.valid, 1)
            cycles = 1
            while not (await ctx.tick().sample(bench.node.request_in.ready))[2]:
                cycles += 1
            taken.append(cycles)
        ctx.set(bench.node.request_in.valid, 0)
        await bench.until_idle(ctx)

    bench.run(test)
    assert taken[1:] == [1] * (len(flits) - 1)  # the AXI model is ready from the second cycle
    assert len(bench.sink.words) == 8


def test_an_acknowledgement_waits_for_one_packet_at_most() -> None:
    chip = small_chip()
    bench = MemoryBench(chip, latency=2)
    flits = read_packet(chip, load(chip, run_flits=200))
    flits += packet(chip, [7], kind=Kind.WRITE, dest=1 << NODE, src=2, addr=0x8000, lanes=16)

    async def test(ctx: Any) -> None:
        await bench.request(ctx, flits)
        await bench.until_idle(ctx)

    bench.run(test)
    kinds = [p["kind"] for p in parse(chip, bench.sink.words)]
    assert kinds.index(Kind.ACK) <= 1


def test_programs_go_before_the_next_burst_of_other_loads() -> None:
    chip = small_chip(outstanding_bursts=2)
    bench = MemoryBench(chip, latency=4)
    loads = [load(chip, runs=3, run_flits=100, dram_stride=128) for _ in range(3)]
    program = load(chip, run_flits=16, space=Space.PROGRAM, traffic=TrafficClass.PROGRAM, dram_addr=0x4000)

    async def test(ctx: Any) -> None:
        await bench.request(ctx, [flit for raw in (*loads, program) for flit in read_packet(chip, raw)])
        await bench.until_idle(ctx)

    bench.run(test)
    packets = parse(chip, bench.sink.words)
    at = [p["space"] for p in packets].index(Space.PROGRAM)
    assert at <= 1 + chip.outstanding_bursts
    assert [packets.pop(at)] == model_packets(chip, bench.memory, program)
    assert packets == [p for raw in loads for p in model_packets(chip, bench.memory, raw)]


def test_programs_in_between_leave_a_load_as_it_is() -> None:
    chip = small_chip()
    bench = MemoryBench(chip)
    bench.axi.mirrored = True
    places = {"dram_addr": 0xDCBA_9870, "dram_stride": 0x95A5A5, "dst": 0x15A5A, "dst_stride": 0x2A5A5}
    long = load(chip, runs=3, run_flits=0x1FF, planar=1, token_valid=1, token=0x55, cores=0b1010, **places)
    programs = [load(chip, run_flits=40, space=Space.PROGRAM, dram_addr=n << 12 | 0xF00, dst=n) for n in range(12)]

    async def test(ctx: Any) -> None:
        await bench.request(ctx, read_packet(chip, long))
        for program in programs:
            await bench.request(ctx, read_packet(chip, program))
            await ctx.tick().repeat(bench.rng.randrange(1, 150))
        await bench.until_idle(ctx)

    bench.run(test)
    packets = parse(chip, bench.sink.words)
    of_programs = [p for p in packets if p["space"] == Space.PROGRAM]
    assert of_programs == [p for raw in programs for p in model_packets(chip, bench.memory, raw)]
    assert [p for p in packets if p not in of_programs] == model_packets(chip, bench.memory, long)


def test_a_load_that_cannot_be_executed_is_an_error() -> None:
    chip = small_chip()
    bench = MemoryBench(chip)
    illegal = [
        {"runs": 0},
        {"run_flits": 0},
        {"cores": 0},
        *({"cores": 1 << core | 1} for core in (4, 17, 38, 63)),
        *({"traffic": traffic} for traffic in (5, 6, 7)),
        {"space": Space.PROGRAM, "runs": 2},
        {"dram_addr": 8, "runs": 0},
    ]
    misaligned = [{"dram_addr": 0x5550 + offset} for offset in (1, 2, 4, 8)]
    cases = [(fields, ErrorCode.ILLEGAL_FIELD) for fields in illegal]
    cases += [(fields, ErrorCode.MISALIGNED) for fields in misaligned]

    async def test(ctx: Any) -> None:
        for fields, code in cases:
            await bench.request(ctx, read_packet(chip, load(chip, **fields)))
            await ctx.tick().repeat(2)
            assert ctx.get(bench.node.error) == code, fields
            assert ctx.get(bench.node.idle), fields
            await bench.clear(ctx)

    bench.run(test)
    assert bench.axi.bursts == []


def test_a_packet_that_cannot_be_executed_is_an_error() -> None:
    chip = small_chip()
    bench = MemoryBench(chip)
    good = {"kind": Kind.WRITE, "dest": 1 << NODE, "src": 1, "addr": 0, "lanes": 16}
    illegal = [
        {"addr": 4096 - 16},
        {"addr": 0x7000 - 32},
        {"traffic": TrafficClass.PROGRAM, "lanes": 0},
        {"lane_offset": 9, "lanes": 8},
        {"lane_offset": 63, "lanes": 1},
        {"lanes": 17},
        {"lanes": 64},
        *({"traffic": traffic} for traffic in (5, 6, 7)),
        {"flits": 0},
        {"flits": 33},
        {"flits": 64},
        *({"kind": kind} for kind in (Kind.DATA, Kind.SIGNAL, Kind.ACK)),
    ]
    misaligned = [{"addr": 0x5550 + offset} for offset in (1, 2, 4, 8)]
    cases = [(header, ErrorCode.ILLEGAL_FIELD) for header in illegal]
    cases += [(header, ErrorCode.MISALIGNED) for header in misaligned]

    async def test(ctx: Any) -> None:
        for header, code in cases:
            await bench.request(ctx, packet(chip, [1, 2, 3], **{**good, **header}))
            await ctx.tick().repeat(2)
            assert ctx.get(bench.node.error) == code, header
            await bench.request(ctx, packet(chip, [5], **{**good, "addr": 512}))
            await bench.until_idle(ctx)
            await bench.clear(ctx)

    bench.run(test)
    assert bench.axi.writes == [(512, 1)] * len(cases)  # the next packet is served


@pytest.mark.parametrize("seed", range(4))
def test_a_packet_that_is_no_request_is_dropped_whole(seed: int) -> None:
    """Of any kind and length, between requests; what it carries could be executed if it were a request."""
    chip = small_chip()
    bench = MemoryBench(chip, seed, stall=(0.0, 0.3)[seed % 2])
    bench.axi.mirrored = True
    bench.axi.target = bench.memory.copy()  # reads see nothing of it
    rng = random.Random(seed)
    reads: list[bytes] = []
    writes: list[int] = []
    none = [kind for kind in range(8) if kind not in (Kind.READ, Kind.WRITE)]

    def request() -> list[Any]:
        if rng.random() < 0.6:
            reads.append(load(chip, run_flits=rng.randrange(1, 20), dram_addr=rng.randrange(1 << 28) * 16, cores=2))
            return read_packet(chip, reads[-1])
        writes.append(rng.randrange(1 << 20) * 4096)
        words = [rng.getrandbits(128) for _ in range(rng.randrange(1, 5))]
        return packet(chip, words, kind=Kind.WRITE, dest=1 << NODE, src=1, addr=writes[-1], lanes=16)

    def no_request(kind: int) -> list[Any]:
        raw = b"".join(random_load(chip, rng) for _ in range(3))[16 * rng.randrange(2) :]
        words = [int.from_bytes(raw[i : i + 16], "little") for i in range(0, len(raw), 16)]
        fields = {"addr": rng.randrange(1 << 20) * 4096, "lanes": 16, "src": rng.randrange(4)}
        return packet(chip, words[: rng.randrange(1, len(words) + 1)], kind=kind, dest=1 << NODE, **fields)

    async def test(ctx: Any) -> None:
        for _ in range(2):
            for kind in rng.sample(none, len(none)):
                for _ in range(rng.randrange(3)):
                    await bench.request(ctx, request())
                await bench.until_idle(ctx)
                assert ctx.get(bench.node.error) == ErrorCode.NONE
                await bench.request(ctx, no_request(kind))
                await ctx.tick().repeat(2)
                assert ctx.get(bench.node.error) == ErrorCode.ILLEGAL_FIELD, kind
                for _ in range(rng.randrange(3)):
                    await bench.request(ctx, request())
                await bench.until_idle(ctx)
                assert ctx.get(bench.node.error) == ErrorCode.ILLEGAL_FIELD, kind
                await bench.clear(ctx)
                assert ctx.get(bench.node.error) == ErrorCode.NONE

    bench.run(test)
    packets = parse(chip, bench.sink.words)
    expected = [p for raw in reads for p in model_packets(chip, bench.memory, raw)]
    assert [p for p in packets if p["kind"] == Kind.DATA] == expected
    assert len(packets) == len(expected) + len(writes)
    assert bench.axi.bursts == [(at, beats) for raw in reads for at, beats, _, _ in model_bursts(chip, raw)]
    assert [addr for addr, _ in bench.axi.writes] == writes


@pytest.mark.parametrize("flits", [1, 3], ids=lambda flits: f"{flits} flits")
def test_a_read_of_a_wrong_length_is_an_error(flits: int) -> None:
    chip = small_chip()
    bench = MemoryBench(chip)
    good = load(chip, run_flits=2)

    async def test(ctx: Any) -> None:
        await bench.request(ctx, packet(chip, [1] * flits, kind=Kind.READ, dest=1 << NODE))
        await ctx.tick().repeat(3)
        assert ctx.get(bench.node.error) == ErrorCode.ILLEGAL_FIELD
        await bench.request(ctx, read_packet(chip, good))
        await bench.until_idle(ctx)

    bench.run(test)
    assert parse(chip, bench.sink.words)[-1:] == model_packets(chip, bench.memory, good)


def test_the_first_error_stays_until_clear() -> None:
    chip = small_chip()
    bench = MemoryBench(chip)
    bench.axi.bad_reads.add(0x200)
    bench.axi.bad_writes.add(0x400)
    write = {"kind": Kind.WRITE, "dest": 1 << NODE, "src": 1, "lanes": 16}
    faults = {
        "read": [
            (ErrorCode.MISALIGNED, read_packet(chip, load(chip, dram_addr=0x18))),
            (ErrorCode.AXI_READ, read_packet(chip, load(chip, dram_addr=0x200))),
            (ErrorCode.ILLEGAL_FIELD, read_packet(chip, load(chip, runs=0))),
        ],
        "write": [
            (ErrorCode.MISALIGNED, packet(chip, [1], addr=0x18, **write)),
            (ErrorCode.AXI_WRITE, packet(chip, [1], addr=0x400, **write)),
            (ErrorCode.ILLEGAL_FIELD, packet(chip, [1], addr=0, **write | {"lanes": 0})),
        ],
    }

    async def test(ctx: Any) -> None:
        async def fail(flits: list[Any]) -> int:
            await bench.request(ctx, flits)
            await ctx.tick().repeat(3)
            await bench.until_idle(ctx)
            return ctx.get(bench.node.error)

        for known in faults.values():
            for first, flits in known:
                assert await fail(flits) == first
                for _, others in known:
                    assert await fail(others) == first
                await bench.clear(ctx)
                assert ctx.get(bench.node.error) == ErrorCode.NONE
        neither = packet(chip, [1], kind=Kind.ACK, dest=1 << NODE)  # the node's own error goes first
        for first, flits in (faults["read"][0], faults["write"][0]):
            assert await fail(flits) == first
            assert await fail(neither) == ErrorCode.ILLEGAL_FIELD
            await bench.clear(ctx)
            assert ctx.get(bench.node.error) == ErrorCode.NONE
        assert await fail(read_packet(chip, load(chip, run_flits=3))) == ErrorCode.NONE

    bench.run(test)


@pytest.mark.parametrize("response", [1, 2, 3])
@pytest.mark.parametrize("bad", ["bad_reads", "bad_writes"])
def test_axi_errors_are_reported_and_the_bursts_completed(bad: str, response: int) -> None:
    chip = small_chip()
    bench = MemoryBench(chip)
    bench.axi.bad_response = response
    getattr(bench.axi, bad).add(0x200)
    flits = read_packet(chip, load(chip, dram_addr=0x1E0, run_flits=40))
    flits += packet(chip, [1], kind=Kind.WRITE, dest=1 << NODE, src=3, addr=0x200, lanes=16)
    code = ErrorCode.AXI_READ if bad == "bad_reads" else ErrorCode.AXI_WRITE

    async def test(ctx: Any) -> None:
        await bench.request(ctx, flits)
        await bench.until_idle(ctx)
        await ctx.tick()
        assert ctx.get(bench.node.error) == code

    bench.run(test)
    assert len(bench.sink.words) == 41


@pytest.mark.parametrize("seed", range(4))
def test_clear_completes_the_axi_transactions_and_forgets_the_rest(seed: int) -> None:
    chip = small_chip()
    bench = MemoryBench(chip, seed, stall=0.3, latency=12)
    bench.sink.checks = False  # an offer may be withdrawn by clear
    rng = random.Random(seed)
    payload = [rng.getrandbits(128) for _ in range(30)]
    before = bench.memory.copy()

    async def test(ctx: Any) -> None:
        flits = []
        for _ in range(3):
            flits += read_packet(chip, load(chip, run_flits=100, dram_addr=0x1000))
        flits += packet(chip, payload, kind=Kind.WRITE, dest=1 << NODE, src=3, addr=0x200, lanes=16)
        sent = len(flits) - rng.randrange(25)
        await bench.request(ctx, flits[:sent])
        await ctx.tick().repeat(1 + rng.randrange(40))
        bench.sink.stall = 1.0 if seed % 2 else 0.3  # nobody need take anything
        await bench.clear(ctx)
        bench.sink.stall = 0.3
        written = [bytes(bench.memory[0x200 + 16 * i :][:16]) for i in range(30)]
        count = sum(word == given.to_bytes(16, "little") for word, given in zip(written, payload, strict=True))
        assert sent - len(flits) + 30 - 1 <= count <= sent - len(flits) + 30  # one may still be in the node
        before[0x200 : 0x200 + 16 * count] = bench.memory[0x200 : 0x200 + 16 * count]
        assert np.array_equal(bench.memory, before)
        assert len(bench.sink.words) < 300
        bench.sink.words.clear()
        await bench.request(ctx, read_packet(chip, load(chip, run_flits=5, dram_addr=0x2000, token_valid=1)))
        await bench.until_idle(ctx)
        assert await bench.counter(ctx, MemoryCounter.READ_BYTES + TrafficClass.IFMAP) == 80

    bench.run(test)
    expected = model_packets(chip, bench.memory, load(chip, run_flits=5, dram_addr=0x2000, token_valid=1))
    assert parse(chip, bench.sink.words) == expected
    assert bench.watch.exact


def test_halt_stops_reads_between_bursts_and_drops_new_ones_but_no_writes() -> None:
    chip = small_chip(outstanding_bursts=2)
    bench = MemoryBench(chip, latency=10)
    write = packet(chip, [5, 6], kind=Kind.WRITE, dest=1 << NODE, src=2, addr=0x4000, lanes=16)
    after = load(chip, run_flits=7, dram_addr=0x3000)

    async def test(ctx: Any) -> None:
        await bench.request(ctx, read_packet(chip, load(chip, run_flits=1000)))
        await ctx.tick().repeat(60)
        ctx.set(bench.node.halt, 1)
        for _ in range(20):
            for space in (Space.ACT, Space.PROGRAM):
                await bench.request(ctx, read_packet(chip, load(chip, run_flits=3, space=space)))
        await bench.request(ctx, write)
        await ctx.tick().repeat(120)
        assert ctx.get(bench.node.error) == ErrorCode.NONE
        ctx.set(bench.node.clear, 1)
        ctx.set(bench.node.halt, 0)
        await bench.clear(ctx)
        await bench.request(ctx, read_packet(chip, after))
        await bench.until_idle(ctx)

    bench.run(test)
    packets = parse(chip, bench.sink.words)
    acks = [p for p in packets if p["kind"] == Kind.ACK]
    data = [p for p in packets if p["kind"] == Kind.DATA]
    assert [p["dest"] for p in acks] == [1 << 2]
    assert bench.axi.writes == [(0x4000, 2)]
    assert data[-1:] == model_packets(chip, bench.memory, after)
    assert all(p["flits"] == 32 for p in data[:-1])
    assert len(data) == len(bench.axi.bursts) < 10


def test_planar_addresses_grow_by_the_groups_of_the_addressed_cores() -> None:
    wide = replace(SMALL, rows=16)
    chip = ChipParams(cores=(SMALL, wide, SMALL, wide), link_bytes=4, max_packet_flits=8, vc_depth=8)
    bench = MemoryBench(chip)
    loads = [load(chip, cores=cores, run_flits=20, planar=1, dst=7) for cores in (0b0101, 0b1010)]

    async def test(ctx: Any) -> None:
        await bench.request(ctx, [flit for raw in loads for flit in read_packet(chip, raw)])
        await bench.until_idle(ctx)
        await bench.request(ctx, read_packet(chip, load(chip, cores=0b0011, planar=1)))
        await ctx.tick().repeat(2)
        assert ctx.get(bench.node.error) == ErrorCode.ILLEGAL_FIELD

    bench.run(test)
    expected = [p for raw in loads for p in model_packets(chip, bench.memory, raw)]
    assert parse(chip, bench.sink.words) == expected
