"""`Packets` against a plain list of packets: where they are cut, every field of their headers, and when they go."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from rtl.contract.isa import Space, TrafficClass
from rtl.contract.params import ChipParams
from rtl.core.store import Packets
from rtl.noc.flit import Kind
from tests.unit.rtl.core.core_models import packets_of
from tests.unit.rtl.core.test_store import build
from tests.unit.rtl.drivers import Sink, send, simulate

LINK_BYTES = 16
MAX_FLITS = 16


def random_job(rng: random.Random, multicast: bool = False) -> dict[str, int]:
    """Any fields; those that mean nothing beside the others, too. A third of the writes ends near a 4 KB boundary.

    With `multicast` it may be for several of four cores, planar only for those that space planar flits alike (`build`).
    """
    to_core = rng.randrange(2)
    flits = rng.choice([1, 1, 2, rng.randint(1, 20), rng.randint(30, 90)])
    addr = rng.getrandbits(32)
    if not to_core:
        if rng.random() < 0.3:
            addr = (addr | 4095) + 1 - rng.randint(1, flits + 1) * LINK_BYTES
        addr = addr % (1 << 32) // LINK_BYTES * LINK_BYTES
    lanes = rng.randint(1, LINK_BYTES)
    core = rng.randrange(4) if to_core else rng.randrange(64)
    last = rng.randint(core, 3) if to_core else rng.randrange(64)
    alike = not multicast or core == last or (core, last) == (1, 2)
    return {
        "to_core": to_core,
        "memory": rng.randrange(16) if to_core else rng.randrange(2),
        "core": core,
        **({"last": last} if multicast else {}),
        "space": rng.choice(list(Space)),
        "planar": rng.randrange(2) if alike or not to_core else 0,
        "addr": addr,
        "flits": flits,
        "lanes": lanes,
        "lane_offset": rng.randint(0, LINK_BYTES - lanes),
        "traffic": rng.choice(list(TrafficClass)),
        "token_valid": rng.randrange(2),
        "token": rng.randrange(128),
        "turn": rng.randrange(4),
    }


def expected(chip: ChipParams, node: int, job: dict[str, int]) -> list[dict[str, int]]:
    """Headers of a job's packets."""
    headers, at, left = [], job["addr"], job["flits"]
    cores = sum(1 << core for core in range(job["core"], job.get("last", job["core"]) + 1))
    while left:
        flits = min(left, MAX_FLITS)
        if job["to_core"]:
            step = chip.cores[job["core"]].act_groups(LINK_BYTES) if job["planar"] else 1
        else:
            step = LINK_BYTES
            flits = min(flits, (4096 - at % 4096) // LINK_BYTES)
        left -= flits
        same = ("space", "planar", "traffic", "lane_offset", "lanes", "token")
        headers.append(
            {name: int(job[name]) for name in same}
            | {
                "dest": cores if job["to_core"] else 1 << chip.n_cores + job["memory"],
                "src": node,
                "kind": Kind.DATA if job["to_core"] else Kind.WRITE,
                "flits": flits,
                "addr": at,
                "token_valid": int(job["token_valid"] and left == 0),
            }
        )
        at = (at + flits * step) % (1 << 32)
    return headers


@dataclass
class PacketBench:
    """Gives jobs and flits, takes what comes out, compares ``busy``, ``write_sent`` and ``turn`` in every cycle.

    In a share `hold` of the cycles, in runs of random length, no packet may begin.
    """

    chip: ChipParams
    jobs: list[dict[str, int]]
    rng: random.Random
    stall: float
    multicast: bool = False
    hold: float = 0.0
    node: int = 0
    words: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.dut = Packets(chip=self.chip, lanes=LINK_BYTES, multicast=self.multicast)
        self.sink = Sink(self.dut.o, self.rng, self.stall)
        self.node = self.rng.randrange(64)
        self.words = [self.rng.getrandbits(8 * LINK_BYTES) for _ in range(sum(job["flits"] for job in self.jobs))]

    async def _watch(self, ctx: Any) -> None:
        dut = self.dut
        ends = list(itertools.accumulate(job["flits"] for job in self.jobs))
        accepted = sent = 0
        may_begin = False  # since the packet in front did
        while True:
            _, _, *values = await ctx.tick().sample(
                dut.job.valid & dut.job.ready, dut.flit.valid & dut.flit.ready, dut.o.valid & dut.o.ready,
                dut.o.payload.first, dut.o.payload.header.kind, dut.write_sent, dut.busy, dut.turn, dut.hold,
                dut.o.valid,
            )  # fmt: skip
            job, flit, o, first, kind, write_sent, busy, turn, hold, offered = values
            assert not accepted or turn == self.jobs[accepted - 1]["turn"]
            assert may_begin or not (offered and first), "a packet began while held"
            may_begin = not hold or (may_begin and not (o and first))
            assert busy == (sent < (ends[accepted - 1] if accepted else 0))
            assert flit == o, "a flit goes through in its own cycle"
            assert write_sent == bool(o and first and kind == Kind.WRITE)
            accepted, sent = accepted + job, sent + o

    def run(self) -> None:
        async def give_jobs(ctx: Any) -> None:
            ctx.set(self.dut.node, self.node)
            await send(ctx, self.dut.job, self.jobs, self.rng, self.stall)

        async def give_flits(ctx: Any) -> None:
            await send(ctx, self.dut.flit, self.words, self.rng, self.stall / 2)
            for _ in range(40):
                await ctx.tick()
            assert not ctx.get(self.dut.busy)

        async def hold(ctx: Any) -> None:
            while True:
                ctx.set(self.dut.hold, self.rng.random() < self.hold)
                for _ in range(self.rng.randint(1, 20)):
                    await ctx.tick()

        simulate(self.dut, give_jobs, give_flits, background=[self._watch, self.sink.run, hold])
        packets = packets_of([flit for _, flit in self.sink.words])
        assert [packet.header for packet in packets] == [
            header for job in self.jobs for header in expected(self.chip, self.node, job)
        ]
        given = iter(self.words)
        for packet in packets:
            for data, word in zip(packet.payload, given, strict=False):
                assert data == (word << 8 * packet.lane_offset) % (1 << 8 * LINK_BYTES)
        assert next(given, None) is None


@pytest.mark.parametrize("stall", [0.0, 0.3, 0.7])
@pytest.mark.parametrize("alike", [False, True], ids=["cores_differ", "cores_alike"])
@pytest.mark.parametrize("multicast", [False, True], ids=["unicast", "multicast"])
def test_packets_of_random_jobs(stall: float, alike: bool, multicast: bool) -> None:
    rng = random.Random(f"{stall} {alike}")
    chip, core = build(16, 16, LINK_BYTES)
    if alike:
        chip = replace(chip, cores=(replace(core, rows=32),) * 4)
    PacketBench(chip, [random_job(rng, multicast) for _ in range(40)], rng, stall, multicast).run()


@pytest.mark.parametrize("stall", [0.0, 0.3])
def test_no_packet_begins_while_it_is_held(stall: float) -> None:
    """One that has begun goes on to its end; the others come later, as they were."""
    rng = random.Random(f"hold {stall}")
    chip, _ = build(16, 16, LINK_BYTES)
    PacketBench(chip, [random_job(rng) for _ in range(30)], rng, stall, hold=0.6).run()


@pytest.mark.parametrize("to_core", [0, 1])
def test_a_flit_goes_every_cycle(to_core: int) -> None:
    """Also from packet to packet and from job to job; the first one two cycles after its job is there."""
    rng = random.Random(to_core)
    chip, _ = build(16, 16, LINK_BYTES)
    jobs = [random_job(rng) | {"to_core": to_core, "core": 1, "memory": 1, "flits": n} for n in (40, 2, 2, 33, 2)]
    jobs[3]["flits"] = 33 if to_core else 4200
    for job in jobs:
        job["addr"] = job["addr"] // 4096 * 4096 + 32
    bench = PacketBench(chip, jobs, rng, 0.0)
    bench.run()
    cycles = [cycle for cycle, _ in bench.sink.words]
    assert cycles[0] == 2
    assert cycles == list(range(2, 2 + sum(job["flits"] for job in jobs)))
