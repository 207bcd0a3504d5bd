"""`Load`: every LOAD becomes one READ packet, or the error that names what is wrong with it."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from rtl import isa
from rtl.isa import Opcode
from rtl.load import Load
from rtl.noc.flit import Kind
from rtl.params import default_chip
from rtl.regs import ErrorCode
from tests.unit.rtl.axi_models import Sink, send
from tests.unit.rtl.core_models import packets_of, simulate

GOOD = {"cores": 1, "runs": 1, "run_flits": 1}


def word(**fields: int) -> int:
    return int.from_bytes(isa.encode(Opcode.LOAD, **(GOOD | fields)), "little")


@pytest.mark.parametrize("link_bytes", [4, 8, 16, 32, 64])
@pytest.mark.parametrize("seed", range(2), ids=lambda s: f"seed{s}")
def test_each_load_becomes_one_read_packet(link_bytes: int, seed: int) -> None:
    rng = random.Random(10 * link_bytes + seed)
    chip = replace(default_chip(8), link_bytes=link_bytes)
    dut = Load(chip=chip)
    fields = [
        {
            "cores": rng.randrange(1, 256),
            "dram_addr": rng.randrange(1 << 20) * link_bytes,
            "runs": rng.randrange(1, 1 << 12),
            "run_flits": rng.randrange(1, 1 << 16),
            "dram_stride": rng.randrange(1 << 24),
            "dst": rng.getrandbits(18),
            "dst_stride": rng.getrandbits(18),
            "planar": rng.randrange(2),
            "memory": rng.randrange(4),
            "space": rng.randrange(3),
            "traffic": rng.randrange(5),
            "token": rng.randrange(64),
            "token_valid": rng.randrange(2),
        }
        for _ in range(30)
    ]
    sink = Sink(dut.o, rng, stall=0.3)

    async def bench(ctx) -> None:
        ctx.set(dut.node, 5)
        await send(ctx, dut.instruction, [word(**f) for f in fields], rng, 0.3)
        assert not ctx.get(dut.error)
        assert not ctx.get(dut.busy)

    simulate(dut, bench, background=[sink.run])
    packets = packets_of([flit for _, flit in sink.words])
    for packet, values in zip(packets, fields, strict=True):
        assert packet.kind == Kind.READ
        assert packet.src == 5
        assert packet.traffic == values["traffic"]
        assert packet.dest == 1 << 8 + values["memory"]
        raw = b"".join(data.to_bytes(link_bytes, "little") for data in packet.payload)
        assert raw[:32] == word(**values).to_bytes(32, "little")
        assert not any(raw[32:])


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"runs": 0}, ErrorCode.ILLEGAL_FIELD),
        ({"run_flits": 0}, ErrorCode.ILLEGAL_FIELD),
        ({"cores": 0}, ErrorCode.ILLEGAL_FIELD),
        ({"cores": 1 << 8}, ErrorCode.ILLEGAL_FIELD),
        ({"cores": 1 << 63}, ErrorCode.ILLEGAL_FIELD),
        ({"memory": 4}, ErrorCode.ILLEGAL_FIELD),
        ({"traffic": 5}, ErrorCode.ILLEGAL_FIELD),
        ({"space": 3}, ErrorCode.ILLEGAL_FIELD),
        ({"token_valid": 1, "token": 64}, ErrorCode.ILLEGAL_FIELD),
        ({"dram_addr": 8}, ErrorCode.MISALIGNED),
        ({"dram_addr": 8, "runs": 0}, ErrorCode.ILLEGAL_FIELD),
    ],
    ids=str,
)
def test_a_bad_load_stops_the_unit(fields: dict[str, int], code: ErrorCode) -> None:
    dut = Load(chip=default_chip(8))

    async def bench(ctx) -> None:
        ctx.set(dut.o.ready, 1)
        ctx.set(dut.instruction.valid, 1)
        ctx.set(dut.instruction.payload, word(token=65))
        await ctx.tick().repeat(3)
        assert not ctx.get(dut.error)
        ctx.set(dut.instruction.payload, word(**fields))
        for _ in range(5):
            await ctx.tick()
            assert not ctx.get(dut.o.valid)
            assert not ctx.get(dut.instruction.ready)
        assert ctx.get(dut.error) == code
        assert ctx.get(dut.busy)

    simulate(dut, bench)
