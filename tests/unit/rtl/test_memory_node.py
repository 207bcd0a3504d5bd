"""MemoryNode against an AXI memory and a plain model of the packets that each request stands for."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from amaranth.sim import Simulator

from rtl.isa import Opcode, Space, TrafficClass, decode, encode
from rtl.memory_node import MemoryNode
from rtl.noc.flit import Kind, flit_layout
from rtl.params import ChipParams, CoreParams, default_chip
from rtl.regs import ErrorCode, MemoryCounter
from tests.unit.rtl.axi_models import AxiMemory, Sink, send

SMALL = CoreParams(rows=4, cols=4, act_bytes=1024, weight_bytes=1024, acc_entries=32, param_blocks=2)
NODE = 4
MEMORY_BYTES = 1 << 16


def small_chip(link_bytes: int = 16, **overrides: Any) -> ChipParams:
    return default_chip(4, SMALL, link_bytes=link_bytes, **overrides)


def packet(chip: ChipParams, payload: list[int], **header: Any) -> list[Any]:
    """Flits of one packet."""
    layout = flit_layout(chip)
    header = {"flits": len(payload), **header}
    return [
        layout.const(
            {"data": word, "first": i == 0, "last": i == len(payload) - 1, "header": header if i == 0 else {}}
        )
        for i, word in enumerate(payload)
    ]


def read_packet(chip: ChipParams, instruction: bytes, src: int = 0) -> list[Any]:
    raw = instruction.ljust(chip.link_bytes, b"\0")
    step = chip.link_bytes
    words = [int.from_bytes(raw[i : i + step], "little") for i in range(0, len(raw), step)]
    return packet(chip, words, kind=Kind.READ, dest=1 << NODE, src=src)


def load(chip: ChipParams, **fields: int) -> bytes:
    defaults = {"cores": 1, "runs": 1, "run_flits": 1, "traffic": TrafficClass.IFMAP}
    return encode(Opcode.LOAD, **{**defaults, **fields})


def moved(instruction: bytes, distance: int) -> bytes:
    """A LOAD of what lies so many bytes behind."""
    _, f = decode(instruction)
    fields = {name: value for name, value in f.items() if name != "opcode"}
    return encode(Opcode.LOAD, **fields | {"dram_addr": f["dram_addr"] + distance})


def model_packets(chip: ChipParams, memory: np.ndarray, instruction: bytes) -> list[dict[str, Any]]:
    """DATA packets of one LOAD."""
    _, f = decode(instruction)
    b = chip.link_bytes
    groups = chip.cores[(f["cores"] & -f["cores"]).bit_length() - 1].act_groups(b)
    packets = []
    for run in range(f["runs"]):
        at, left = f["dram_addr"] + run * f["dram_stride"] * b, f["run_flits"]
        dst = f["dst"] + run * f["dst_stride"]
        while left:
            beats = min(left, chip.max_packet_flits, (4096 - at % 4096) // b)
            left -= beats
            final = run == f["runs"] - 1 and left == 0
            packets.append(
                {
                    "dest": f["cores"], "src": NODE, "kind": Kind.DATA, "flits": beats, "space": f["space"],
                    "planar": f["planar"], "addr": dst, "traffic": f["traffic"], "lane_offset": 0, "lanes": b,
                    "token_valid": f["token_valid"] & final, "token": f["token"],
                    "data": [bytes(memory[at + i * b : at + (i + 1) * b]) for i in range(beats)],
                }
            )  # fmt: skip
            at += beats * b
            dst += beats * (groups if f["planar"] and f["space"] != Space.PROGRAM else 1)
    return packets


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


class Bench:
    """A memory node between a request source, a response sink and an AXI memory."""

    def __init__(self, chip: ChipParams, seed: int = 0, stall: float = 0.0, latency: int = 4, origin: int = 0) -> None:
        self.chip = chip
        self.rng = random.Random(seed)
        self.stall = stall
        self.memory = np.random.default_rng(seed).integers(0, 256, MEMORY_BYTES, dtype=np.uint8)
        self.node = MemoryNode(chip=chip)
        self.axi = AxiMemory(
            self.node.axi, chip.link_bytes, self.memory, random.Random(seed + 1), stall, latency,
            chip.max_packet_flits, origin,
        )  # fmt: skip
        self.sink = Sink(self.node.response_out, random.Random(seed + 2), stall)
        self.progress = 0

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

    def run(self, test: Any) -> None:
        sim = Simulator(self.node)
        sim.add_clock(1e-8)

        async def body(ctx: Any) -> None:
            ctx.set(self.node.node, NODE)
            ctx.set(self.node.running, 1)
            await test(ctx)

        sim.add_testbench(body)
        sim.add_testbench(self.axi.run, background=True)
        sim.add_testbench(self.sink.run, background=True)
        sim.run()


def random_load(chip: ChipParams, rng: random.Random) -> bytes:
    b = chip.link_bytes
    runs = rng.choice([1, 1, 2, 5])
    flits = rng.choice([1, 2, 7, 33, 70])
    stride = rng.randrange(0, 200)
    span = ((runs - 1) * stride + flits) * b
    return load(
        chip,
        cores=rng.randrange(1, 16),
        dram_addr=rng.randrange(0, (MEMORY_BYTES - span) // b) * b,
        runs=runs,
        run_flits=flits,
        dram_stride=stride,
        space=rng.choice(list(Space) if runs == 1 else [Space.ACT, Space.WEIGHT, Space.PARAM]),
        dst=rng.randrange(1 << 18),
        dst_stride=rng.randrange(1 << 18),
        planar=rng.randrange(2),
        traffic=rng.choice(list(TrafficClass)),
        token_valid=rng.randrange(2),
        token=rng.randrange(64),
    )


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("stall", [0.0, 0.4])
@pytest.mark.parametrize("link_bytes", [4, 16, 64])
def test_reads_and_writes_match_the_model(link_bytes: int, stall: float, seed: int) -> None:
    chip = small_chip(
        link_bytes,
        max_packet_flits=8 if seed else 32,
        memory_queue_depth=2 if seed == 1 else 16,
        outstanding_bursts=(16, 1, 4)[seed],
    )
    origin = (0xA5A5, 0x5A5A, 0xFFFF)[seed] * MEMORY_BYTES  # each upper address bit is 0 and 1 in some test
    bench = Bench(chip, seed, stall, origin=origin)
    rng = random.Random(seed)
    b = link_bytes
    expected_memory = bench.memory.copy()
    expected_data: list[dict[str, Any]] = []
    expected_acks: list[int] = []
    read_bytes = dict.fromkeys(TrafficClass, 0)
    write_bytes = dict.fromkeys(TrafficClass, 0)
    flits: list[Any] = []
    half = MEMORY_BYTES // 2  # reads below, writes above: their order among each other is free
    for _ in range(14):
        if rng.random() < 0.5:
            while True:
                instruction = random_load(chip, rng)
                _, f = decode(instruction)
                if f["dram_addr"] + ((f["runs"] - 1) * f["dram_stride"] + f["run_flits"]) * b <= half:
                    break
            flits += read_packet(chip, moved(instruction, origin))
            packets = model_packets(chip, expected_memory, instruction)
            expected_data += packets
            read_bytes[TrafficClass(f["traffic"])] += sum(p["flits"] for p in packets) * b
        else:
            count = rng.randrange(1, chip.max_packet_flits + 1)
            addr = half + rng.randrange(half // 4096) * 4096 + rng.randrange(4096 // b - count + 1) * b
            lane_offset = rng.randrange(b)
            lanes = rng.randrange(1, b - lane_offset + 1)
            traffic = rng.choice(list(TrafficClass))
            src = rng.randrange(4)
            payload = [rng.getrandbits(8 * b) for _ in range(count)]
            flits += packet(
                chip, payload, kind=Kind.WRITE, dest=1 << NODE, src=src, addr=origin + addr, traffic=traffic,
                lanes=lanes, lane_offset=lane_offset,
            )  # fmt: skip
            for i, word in enumerate(payload):
                at = addr + i * b + lane_offset
                raw = np.frombuffer(word.to_bytes(b, "little"), np.uint8)
                expected_memory[at : at + lanes] = raw[lane_offset : lane_offset + lanes]
            write_bytes[traffic] += lanes * count
            expected_acks.append(src)

    async def test(ctx: Any) -> None:
        await bench.request(ctx, flits)
        await bench.until_idle(ctx)
        await ctx.tick().repeat(3)
        assert ctx.get(bench.node.error) == ErrorCode.NONE
        for traffic in TrafficClass:
            assert await bench.counter(ctx, MemoryCounter.READ_BYTES + traffic) == read_bytes[traffic]
            assert await bench.counter(ctx, MemoryCounter.WRITE_BYTES + traffic) == write_bytes[traffic]

    bench.run(test)
    packets = parse(chip, bench.sink.words)
    acks = [p for p in packets if p["kind"] == Kind.ACK]
    for program in (False, True):  # each in order
        assert [p for p in packets if p["kind"] == Kind.DATA and (p["space"] == Space.PROGRAM) == program] == [
            p for p in expected_data if (p["space"] == Space.PROGRAM) == program
        ]
    assert [p["dest"] for p in acks] == [1 << src for src in expected_acks]
    assert all(p["flits"] == 1 and p["src"] == NODE and not p["token_valid"] for p in acks)
    assert np.array_equal(bench.memory, expected_memory)


def test_read_data_stream_without_a_bubble_over_bursts_runs_and_loads() -> None:
    chip = small_chip()
    bench = Bench(chip, latency=40)
    loads = [load(chip, dram_addr=0x0F30 + i * 0x1000, runs=3, run_flits=40, dram_stride=60) for i in range(6)]

    async def test(ctx: Any) -> None:
        await bench.request(ctx, [flit for raw in loads for flit in read_packet(chip, raw)])
        await bench.until_idle(ctx)
        assert await bench.counter(ctx, MemoryCounter.READ_STALL) == 0

    bench.run(test)
    cycles = [now for now, _ in bench.sink.words]
    assert len(cycles) == 6 * 120
    assert cycles[-1] - cycles[0] == 6 * 120 - 1


def test_one_flit_runs_take_one_cycle_each() -> None:
    chip = small_chip()
    bench = Bench(chip, latency=8)

    async def test(ctx: Any) -> None:
        await bench.request(ctx, read_packet(chip, load(chip, runs=200, run_flits=1, dram_stride=3)))
        await bench.until_idle(ctx)

    bench.run(test)
    cycles = [now for now, _ in bench.sink.words]
    assert len(cycles) == 200
    assert cycles[-1] - cycles[0] == 199


def test_address_is_asked_in_the_third_cycle_after_the_request() -> None:
    chip = small_chip()
    bench = Bench(chip, latency=10)
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
    bench = Bench(chip, latency=6)
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
    bench = Bench(chip, latency=2)
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
    bench = Bench(chip, latency=4)
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


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"runs": 0}, ErrorCode.ILLEGAL_FIELD),
        ({"run_flits": 0}, ErrorCode.ILLEGAL_FIELD),
        ({"cores": 0}, ErrorCode.ILLEGAL_FIELD),
        ({"cores": 16}, ErrorCode.ILLEGAL_FIELD),
        ({"traffic": 5}, ErrorCode.ILLEGAL_FIELD),
        ({"space": Space.PROGRAM, "runs": 2}, ErrorCode.ILLEGAL_FIELD),
        ({"dram_addr": 8}, ErrorCode.MISALIGNED),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else value.name,
)
def test_a_load_that_cannot_be_executed_is_an_error(fields: dict[str, int], code: ErrorCode) -> None:
    chip = small_chip()
    bench = Bench(chip)

    async def test(ctx: Any) -> None:
        await bench.request(ctx, read_packet(chip, load(chip, **fields)))
        await ctx.tick().repeat(2)
        assert ctx.get(bench.node.error) == code
        assert ctx.get(bench.node.idle)

    bench.run(test)
    assert bench.axi.bursts == []


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ({"addr": 4}, ErrorCode.MISALIGNED),
        ({"addr": 4096 - 16}, ErrorCode.ILLEGAL_FIELD),
        ({"traffic": TrafficClass.PROGRAM, "lanes": 0}, ErrorCode.ILLEGAL_FIELD),
        ({"lane_offset": 9, "lanes": 8}, ErrorCode.ILLEGAL_FIELD),
        ({"flits": 0}, ErrorCode.ILLEGAL_FIELD),
        ({"flits": 33}, ErrorCode.ILLEGAL_FIELD),
        ({"kind": Kind.SIGNAL}, ErrorCode.ILLEGAL_FIELD),
    ],
    ids=str,
)
def test_a_packet_that_cannot_be_executed_is_an_error(header: dict[str, Any], code: ErrorCode) -> None:
    chip = small_chip()
    bench = Bench(chip)
    good = {"kind": Kind.WRITE, "dest": 1 << NODE, "src": 1, "addr": 0, "lanes": 16}

    async def test(ctx: Any) -> None:
        await bench.request(ctx, packet(chip, [1, 2, 3], **{**good, **header}))
        await ctx.tick().repeat(2)
        assert ctx.get(bench.node.error) == code
        await bench.request(ctx, packet(chip, [5], **{**good, "addr": 512}))
        await bench.until_idle(ctx)

    bench.run(test)
    assert bench.axi.writes == [(512, 1)]  # the next packet is served


def test_axi_errors_are_reported_and_the_bursts_completed() -> None:
    chip = small_chip()
    for bad in ("bad_reads", "bad_writes"):
        bench = Bench(chip)
        getattr(bench.axi, bad).add(0x200)
        flits = read_packet(chip, load(chip, dram_addr=0x1E0, run_flits=40))
        flits += packet(chip, [1], kind=Kind.WRITE, dest=1 << NODE, src=3, addr=0x200, lanes=16)
        code = ErrorCode.AXI_READ if bad == "bad_reads" else ErrorCode.AXI_WRITE

        async def test(ctx: Any, bench: Bench = bench, flits: list[Any] = flits, code: ErrorCode = code) -> None:
            await bench.request(ctx, flits)
            await bench.until_idle(ctx)
            await ctx.tick()
            assert ctx.get(bench.node.error) == code

        bench.run(test)
        assert len(bench.sink.words) == 41


@pytest.mark.parametrize("seed", range(4))
def test_clear_completes_the_axi_transactions_and_forgets_the_rest(seed: int) -> None:
    chip = small_chip()
    bench = Bench(chip, seed, stall=0.3, latency=12)
    bench.sink.checks = False  # an offer may be withdrawn by clear
    rng = random.Random(seed)

    async def test(ctx: Any) -> None:
        flits = []
        for _ in range(3):
            flits += read_packet(chip, load(chip, run_flits=100, dram_addr=0x1000))
        flits += packet(chip, list(range(30)), kind=Kind.WRITE, dest=1 << NODE, src=3, addr=0x200, lanes=16)
        await bench.request(ctx, flits[: len(flits) - rng.randrange(25)])
        await ctx.tick().repeat(rng.randrange(40))
        ctx.set(bench.node.clear, 1)
        await ctx.tick().repeat(4)
        await bench.until_idle(ctx, 1000)
        ctx.set(bench.node.clear, 0)
        before = len(bench.sink.words)
        bench.sink.words.clear()
        assert before < 300
        await bench.request(ctx, read_packet(chip, load(chip, run_flits=5, dram_addr=0x2000, token_valid=1)))
        await bench.until_idle(ctx)
        assert await bench.counter(ctx, MemoryCounter.READ_BYTES + TrafficClass.IFMAP) == 80

    bench.run(test)
    expected = model_packets(chip, bench.memory, load(chip, run_flits=5, dram_addr=0x2000, token_valid=1))
    assert parse(chip, bench.sink.words) == expected


def test_halt_stops_reads_between_bursts() -> None:
    chip = small_chip(outstanding_bursts=2)
    bench = Bench(chip, latency=10)

    async def test(ctx: Any) -> None:
        await bench.request(ctx, read_packet(chip, load(chip, run_flits=1000)))
        await ctx.tick().repeat(60)
        ctx.set(bench.node.halt, 1)
        await ctx.tick().repeat(120)

    bench.run(test)
    packets = parse(chip, bench.sink.words)
    assert all(p["flits"] == 32 for p in packets)
    assert len(packets) == len(bench.axi.bursts) < 10


def test_planar_addresses_grow_by_the_groups_of_the_addressed_cores() -> None:
    wide = replace(SMALL, rows=16)
    chip = ChipParams(cores=(SMALL, wide, SMALL, wide), link_bytes=4, max_packet_flits=8, vc_depth=8)
    bench = Bench(chip)
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
