"""`Inbound` against byte arrays and token lists, `Outbound` against the packets that went in."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from amaranth.hdl import Cat
from amaranth.utils import exact_log2

from rtl.interface import PARAM_FLITS, Inbound, Outbound
from rtl.isa import Space
from rtl.noc.flit import Kind
from rtl.params import CoreParams, default_chip
from rtl.regs import ErrorCode
from tests.unit.rtl.axi_models import Sink, send
from tests.unit.rtl.core_models import packet_flits, packets_of, simulate
from tests.unit.rtl.noc_models import header_of

CORE = CoreParams(rows=16, cols=4, act_bytes=2048, weight_bytes=1024, acc_entries=32, param_blocks=4)


@pytest.mark.parametrize("link_bytes", [4, 16, 64])
@pytest.mark.parametrize("seed", range(3), ids=lambda s: f"seed{s}")
def test_flits_land_in_their_memory_and_tokens_count(link_bytes: int, seed: int) -> None:
    rng = random.Random(10 * link_bytes + seed)
    chip = replace(default_chip(4, CORE), link_bytes=link_bytes)
    dut = Inbound(core=CORE, chip=chip)
    sizes = {Space.ACT: 2048, Space.WEIGHT: 1024, Space.PARAM: PARAM_FLITS * 4 * link_bytes}
    expected = {space: np.zeros(size, np.uint8) for space, size in sizes.items()}
    got = {space: np.zeros(size, np.uint8) for space, size in sizes.items()}
    tokens: list[list[int]] = [[], []]
    acks = 0
    flits: list[list[Any]] = [[], []]
    program: list[tuple[int, int]] = []
    group = CORE.act_groups(link_bytes)

    # Requests write the upper half of each memory, responses the lower: their order among each other is free.
    for side in range(2):
        for _ in range(40):
            kind = rng.choice([Kind.DATA] * 4 + [Kind.ACK if side == 0 else Kind.SIGNAL])
            token, token_valid = rng.randrange(64), rng.randrange(2)
            if kind != Kind.DATA:
                header = {"kind": kind, "token": token}
                flits[side] += packet_flits(chip, header, [0])
                acks += kind == Kind.ACK
                tokens[side] += [token] * (kind == Kind.SIGNAL)
                continue
            space = rng.choice(list(Space)[: 4 if side == 0 else 3])
            payload = [rng.getrandbits(8 * link_bytes) for _ in range(rng.randint(1, 6))]
            if space == Space.PROGRAM:
                unit = rng.randrange(3)
                program += [(unit, word) for word in payload]
                flits[side] += packet_flits(chip, {"kind": kind, "space": space, "addr": unit << 16}, payload)
                continue
            planar = rng.randrange(2)
            step = group if planar else 1
            half = sizes[space] // link_bytes // 2
            payload = payload[: max(1, (half - 1) // step)]
            addr = side * half + rng.randrange(half - step * (len(payload) - 1))
            lanes = rng.choice([link_bytes, rng.randint(1, link_bytes)])
            offset = rng.randrange(link_bytes - lanes + 1)
            for i, word in enumerate(payload):
                where = (addr + i * step) * link_bytes + offset
                raw = word.to_bytes(link_bytes, "little")[offset : offset + lanes]
                expected[space][where : where + lanes] = np.frombuffer(raw, np.uint8)
            header = {"space": space, "addr": addr, "planar": planar, "lanes": lanes, "lane_offset": offset}
            flits[side] += packet_flits(
                chip, {"kind": kind, "token": token, "token_valid": token_valid, **header}, payload
            )
            tokens[side] += [token] * token_valid

    counted: list[list[int]] = [[], []]
    acked = 0
    sink = Sink(dut.program, rng, stall=0.3)

    async def watch(ctx) -> None:
        nonlocal acked
        signals = []
        for port in (dut.act, dut.weight):
            signals += [port.valid, port.addr, port.data, port.mask]
        signals += [dut.param_valid, dut.param_addr, dut.param_data, dut.param_mask]
        signals += [value for port in dut.increments for value in (port.valid, port.token)]
        while True:
            _, _, *v, ack = await ctx.tick().sample(*signals, dut.ack)
            for space, (valid, addr, word, mask) in {
                Space.ACT: v[0:4],
                Space.WEIGHT: v[4:8],
                Space.PARAM: v[8:12],
            }.items():
                for lane in range(link_bytes if valid else 0):
                    if mask >> lane & 1:
                        got[space][addr * link_bytes + lane] = word >> 8 * lane & 0xFF
            for side in range(2):
                if v[12 + 2 * side]:
                    counted[side].append(v[13 + 2 * side])
            acked += ack

    def feed(side: int) -> Any:
        port = (dut.response, dut.request)[side]

        async def bench(ctx) -> None:
            await send(ctx, port, flits[side], random.Random(side), 0.2)
            await ctx.tick().repeat(2)
            assert not ctx.get(dut.error)

        return bench

    simulate(dut, feed(0), feed(1), background=[watch, sink.run])
    for space in sizes:
        assert np.array_equal(got[space], expected[space]), space.name
    assert counted == tokens
    assert acked == acks
    assert [(flit.unit, flit.data) for _, flit in sink.words] == program


def test_response_goes_first_and_other_memories_do_not_clash() -> None:
    chip = default_chip(4, CORE)
    dut = Inbound(core=CORE, chip=chip)

    def data(space: Space, addr: int) -> Any:
        return packet_flits(chip, {"kind": Kind.DATA, "space": space, "addr": addr, "lanes": 16}, [addr])[0]

    async def bench(ctx) -> None:
        for port, addr in ((dut.response, 1), (dut.request, 2)):
            ctx.set(port.valid, 1)
            ctx.set(port.payload, data(Space.ACT, addr))
        assert ctx.get(dut.response.ready)
        assert not ctx.get(dut.request.ready)
        assert ctx.get(dut.act.valid)
        assert ctx.get(dut.act.addr) == 1
        ctx.set(dut.request.payload, data(Space.WEIGHT, 3))
        assert ctx.get(dut.response.ready)
        assert ctx.get(dut.request.ready)
        assert ctx.get(dut.act.addr) == 1
        assert ctx.get(dut.weight.addr) == 3

    simulate(dut, bench)


@pytest.mark.parametrize("side", ["response", "request"])
@pytest.mark.parametrize(
    ("space", "flits", "code"),
    [
        (Space.ACT, 128, ErrorCode.ACT_RANGE),
        (Space.WEIGHT, 64, ErrorCode.WEIGHT_RANGE),
        (Space.PARAM, 32, ErrorCode.PARAM_RANGE),
    ],
)
def test_a_flit_beyond_its_memory_is_not_written(side: str, space: Space, flits: int, code: ErrorCode) -> None:
    chip = default_chip(4, CORE)
    dut = Inbound(core=CORE, chip=chip)
    port = getattr(dut, side)
    written = {Space.ACT: dut.act.valid, Space.WEIGHT: dut.weight.valid, Space.PARAM: dut.param_valid}[space]
    header = {"kind": Kind.DATA, "space": space, "addr": flits - 1, "lanes": 16}

    async def bench(ctx) -> None:
        ctx.set(port.valid, 1)
        for index, flit in enumerate(packet_flits(chip, header, [1, 2])):
            ctx.set(port.payload, flit)
            assert ctx.get(written) == (index == 0)
            assert ctx.get(dut.error) == 0
            assert ctx.get(port.ready)
            await ctx.tick()
        assert ctx.get(dut.error) == code
        for bit in range(exact_log2(flits), 32):
            ctx.set(port.payload, packet_flits(chip, header | {"addr": 1 << bit}, [1])[0])
            assert not ctx.get(written), f"addr[{bit}]"

    simulate(dut, bench)


@pytest.mark.parametrize("stall", [0.0, 0.5])
@pytest.mark.parametrize("seed", range(2), ids=lambda s: f"seed{s}")
def test_packets_leave_whole(stall: float, seed: int) -> None:
    rng = random.Random(seed)
    chip = default_chip(4, CORE)
    dut = Outbound(chip=chip, n_sources=4)
    bits = 8 * chip.link_bytes
    packets = [  # of each source, its number in the lowest two bits of each payload
        [
            packet_flits(
                chip,
                {"dest": rng.getrandbits(chip.n_nodes), **header_of(rng.getrandbits(16))},
                [rng.getrandbits(bits) & ~3 | index for _ in range(rng.randint(1, 5))],
            )
            for _ in range(25)
        ]
        for index in range(4)
    ]
    sink = Sink(dut.o, rng, stall)

    def feed(index: int) -> Any:
        async def bench(ctx) -> None:
            for number, flits in enumerate(packets[index]):
                await send(ctx, dut.i[index], flits, random.Random(4 * number + index), 0.5)
            await ctx.tick().repeat(5)

        return bench

    async def watch(ctx) -> None:
        """The lowest source that offers goes first, and keeps the way to the end of its packet."""
        held: int | None = None
        valids, readies = Cat(s.valid for s in dut.i), Cat(s.ready for s in dut.i)
        watched = ctx.tick().sample(valids, readies, dut.o.valid, dut.o.ready, dut.o.payload.last)
        async for _, _, valid, ready, o_valid, o_ready, last in watched:
            lowest = (valid & -valid).bit_length() - 1 if valid else None
            choice = lowest if held is None else held
            assert o_valid == (choice is not None and valid >> choice & 1)
            assert ready == (0 if choice is None else o_ready << choice)
            if o_valid:
                held = None if o_ready and last else choice

    simulate(dut, *(feed(i) for i in range(4)), background=[sink.run, watch])
    out = [flit for _, flit in sink.words]
    assert len(packets_of(out)) == 100
    for index in range(4):
        mine = [flit.as_bits() for flit in out if flit.data & 3 == index]
        assert mine == [flit.as_bits() for packet in packets[index] for flit in packet]


def test_the_lowest_source_waits_for_one_packet_at_most() -> None:
    chip = default_chip(4, CORE)
    dut = Outbound(chip=chip, n_sources=2)
    long = packet_flits(chip, {}, list(range(6)))

    async def bench(ctx) -> None:
        ctx.set(dut.i[1].valid, 1)
        ctx.set(dut.o.ready, 1)
        for index, flit in enumerate(long):
            ctx.set(dut.i[1].payload, flit)
            if index == 1:
                ctx.set(dut.i[0].valid, 1)
                ctx.set(dut.i[0].payload, packet_flits(chip, {}, [99])[0])
            assert ctx.get(dut.o.payload).data == index
            assert not ctx.get(dut.i[0].ready)
            await ctx.tick()
        ctx.set(dut.i[1].payload, long[0])
        assert ctx.get(dut.o.payload).data == 99

    simulate(dut, bench)
