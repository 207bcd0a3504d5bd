"""`Fetch` against streams in a byte array, and its requests against what a LOAD may ask for."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib.wiring import connect

from rtl.fetch import Fetch, fetch_block
from rtl.interface import Inbound
from rtl.isa import INSTRUCTION_BYTES, Opcode, Space, TrafficClass, encode
from rtl.params import ChipParams, CoreParams, default_chip
from rtl.regs import ErrorCode
from tests.unit.rtl.axi_models import Sink
from tests.unit.rtl.core_models import Network, simulate

NODE = 3


class Wrapped:
    """A Fetch behind an Inbound, with the ports of a core that `Network` wants."""

    def __init__(self, core: CoreParams, chip: ChipParams) -> None:
        self.fetch = Fetch(core=core, chip=chip)
        self.inbound = Inbound(core=core, chip=chip)
        self.module = Module()
        self.module.submodules.fetch = self.fetch
        self.module.submodules.inbound = self.inbound
        connect(self.module, self.inbound.program, self.fetch.program)
        self.request_out = self.fetch.request
        self.response_in = self.inbound.response
        self.request_in = self.inbound.request


@pytest.mark.parametrize("link_bytes", [4, 8, 16, 32, 64])
@pytest.mark.parametrize("queue_depth", [4, 16])
@pytest.mark.parametrize("seed", range(2), ids=lambda s: f"seed{s}")
def test_units_get_their_streams_up_to_end(link_bytes: int, queue_depth: int, seed: int) -> None:
    rng = random.Random(100 * link_bytes + 10 * queue_depth + seed)
    core = CoreParams(rows=4, cols=4, act_bytes=1024, weight_bytes=1024, acc_entries=32, queue_depth=queue_depth)
    chip = replace(default_chip(4, core), link_bytes=link_bytes)
    dut = Wrapped(core, chip)
    base, stride, memory_node = 4096 - 64, 64 * 20, 1
    memory = np.frombuffer(rng.randbytes(1 << 15), np.uint8).copy()
    streams = []
    for unit in range(3):
        length = 2 * rng.randint(0, 18) + (unit + seed) % 2  # END last in its block, and with others behind it
        stream = [encode(Opcode.SYNC, wait0_first=i, wait1_first=unit) for i in range(length)] + [encode(Opcode.END)]
        raw = b"".join(stream)
        where = base + (3 * NODE + unit) * stride
        memory[where : where + len(raw)] = np.frombuffer(raw, np.uint8)
        streams.append([int.from_bytes(instruction, "little") for instruction in stream])
    network = Network(dut, chip, NODE, memory, rng, stall=0.3, latency=20)
    sinks = [Sink(dut.fetch.o[unit], rng, stall=0.6) for unit in range(3)]
    fetched = [0, 0, 0]

    async def bench(ctx) -> None:
        fetch = dut.fetch
        ctx.set(fetch.node, NODE)
        ctx.set(fetch.home, memory_node)
        ctx.set(fetch.program_base, base)
        ctx.set(fetch.program_stride, stride)
        await ctx.tick().repeat(3)
        ctx.set(fetch.start, 1)
        await ctx.tick()
        ctx.set(fetch.start, 0)
        for _ in range(5000):
            await ctx.tick()
            if all(len(sink.words) == len(stream) for sink, stream in zip(sinks, streams, strict=True)):
                break
        await ctx.tick().repeat(200)
        assert ctx.get(fetch.outstanding) == 0
        assert not ctx.get(fetch.error)

    simulate(dut.module, bench, background=[network.run, *(sink.run for sink in sinks)])
    assert [[word for _, word in sink.words] for sink in sinks] == streams
    for _, load in network.reads:
        unit = load["dst"] >> 16
        assert load["space"] == Space.PROGRAM
        assert load["traffic"] == TrafficClass.PROGRAM
        assert load["cores"] == 1 << NODE
        assert load["runs"] == 1
        assert load["memory"] == memory_node
        block = fetch_block(core)
        assert load["run_flits"] * link_bytes == block * INSTRUCTION_BYTES
        assert load["dram_addr"] == base + (3 * NODE + unit) * stride + fetched[unit] * INSTRUCTION_BYTES
        fetched[unit] += block
    assert all(count <= len(stream) + queue_depth for count, stream in zip(fetched, streams, strict=True))


def test_no_request_without_room_for_its_answer() -> None:
    core = CoreParams(queue_depth=16)
    chip = default_chip(4, core)
    dut = Wrapped(core, chip)
    memory = np.frombuffer(encode(Opcode.SYNC) * 1024, np.uint8).copy()
    network = Network(dut, chip, NODE, memory, random.Random(0))

    async def bench(ctx) -> None:
        ctx.set(dut.fetch.node, NODE)
        ctx.set(dut.fetch.program_stride, 1024)
        await ctx.tick()
        ctx.set(dut.fetch.start, 1)
        await ctx.tick()
        ctx.set(dut.fetch.start, 0)
        await ctx.tick().repeat(200)
        assert len(network.reads) == 6
        ctx.set(dut.fetch.o[1].ready, 1)
        await ctx.tick().repeat(7)
        ctx.set(dut.fetch.o[1].ready, 0)
        await ctx.tick().repeat(20)
        assert len(network.reads) == 6
        ctx.set(dut.fetch.o[1].ready, 1)
        await ctx.tick()
        ctx.set(dut.fetch.o[1].ready, 0)
        await ctx.tick().repeat(20)
        assert len(network.reads) == 7

    simulate(dut.module, bench, background=[network.run])


@pytest.mark.parametrize(("base", "stride"), [(32 + 8, 64), (64, 16)])
def test_misaligned_streams_are_an_error(base: int, stride: int) -> None:
    chip = default_chip(4)
    dut = Fetch(core=chip.cores[0], chip=chip)

    async def bench(ctx) -> None:
        ctx.set(dut.program_base, base)
        ctx.set(dut.program_stride, stride)
        ctx.set(dut.start, 1)
        await ctx.tick()
        ctx.set(dut.start, 0)
        await ctx.tick().repeat(5)
        assert ctx.get(dut.error) == ErrorCode.MISALIGNED
        assert not ctx.get(dut.request.valid)

    simulate(dut, bench)
