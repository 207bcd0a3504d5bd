"""`Fetch` against streams in a byte array, and its requests against what a LOAD may ask for."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from amaranth.hdl import Cat, Module
from amaranth.lib.wiring import connect

from rtl.contract.codec import encode
from rtl.contract.isa import INSTRUCTION_BYTES, Opcode, Space, TrafficClass
from rtl.contract.params import ChipParams, CoreParams, default_chip
from rtl.contract.regs import ErrorCode
from rtl.core.fetch import UNIT_SHIFT, Fetch
from rtl.core.interface import Inbound
from rtl.noc.flit import Kind, flit_layout
from tests.unit.rtl.core.core_models import Network
from tests.unit.rtl.drivers import Sink, simulate

NODE = 3


def some_core(queue_depth: int) -> CoreParams:
    return CoreParams(rows=4, cols=4, act_bytes=1024, weight_bytes=1024, acc_entries=32, queue_depth=queue_depth)


class Model:
    """What a Fetch shows in every cycle, and the blocks that it is owed; the lowest unit asks first."""

    def __init__(self, core: CoreParams, chip: ChipParams, node: int, home: int, base: int, stride: int) -> None:
        self._chip, self._node, self._home = chip, node, home
        self._depth, self._block = core.queue_depth, core.fetch_block
        self._addresses = [(base + (3 * node + unit) * stride) % (1 << 32) for unit in range(3)]
        self._chosen: int | None = None  # unit of the request under way
        self._index = 0  # flits of it that are gone
        self._room = [self._depth] * 3
        self.queues: list[deque[int]] = [deque() for _ in range(3)]
        self.owed = [0] * 3  # instructions
        self.ended = [False] * 3
        self.started = False
        self.requests = 0

    def over(self) -> bool:
        """All programs have ended, and nothing is on its way."""
        return all(self.ended) and not any((*self.owed, *self.queues))

    def _flit(self) -> dict[str, Any]:
        assert self._chosen is not None
        size, count = self._chip.link_bytes, self._chip.request_flits
        load = encode(
            Opcode.LOAD,
            cores=1 << self._node,
            dram_addr=self._addresses[self._chosen],
            runs=1,
            run_flits=self._block * INSTRUCTION_BYTES // size,
            space=Space.PROGRAM,
            dst=self._chosen << UNIT_SHIFT,
            memory=self._home,
            traffic=TrafficClass.PROGRAM,
        )
        dest = 1 << self._chip.n_cores + self._home
        header = {"dest": dest, "src": self._node, "kind": Kind.READ, "flits": count, "traffic": TrafficClass.PROGRAM}
        return {
            "data": int.from_bytes(load[size * self._index :][:size], "little"),
            "first": self._index == 0,
            "last": self._index == count - 1,
            "header": header if self._index == 0 else {},
        }

    def compare(self, request: Any | None, outputs: list[int | None], outstanding: int) -> None:
        """What is offered in this cycle (None: nothing)."""
        assert (request is not None) == (self._chosen is not None)
        if request is not None:
            layout, flit = flit_layout(self._chip), self._flit()
            seen = layout.const({"data": request.data, "first": request.first, "last": request.last})
            assert seen == layout.const(flit | {"header": {}})
            if request.first:
                assert request == layout.const(flit)
        assert outputs == [queue[0] if queue else None for queue in self.queues]
        assert outstanding == sum(self.owed)

    def cycle(self, halt: bool, taken: bool, popped: list[bool], arrived: tuple[int, int] | None) -> None:
        """One cycle: a flit of the request is ``taken``, units pop, and an instruction has ``arrived`` for a unit."""
        chosen, wants = self._chosen, [room >= self._block for room in self._room]
        if chosen is None and self.started and not halt:
            free = (unit for unit in range(3) if wants[unit] and not self.ended[unit])
            self._chosen = next(free, None)
        elif chosen is not None and taken:
            self._index = (self._index + 1) % self._chip.request_flits
            if self._index == 0:
                self._addresses[chosen] = (self._addresses[chosen] + self._block * INSTRUCTION_BYTES) % (1 << 32)
                self._room[chosen] -= self._block
                self.owed[chosen] += self._block
                self._chosen = None
                self.requests += 1
        for unit, pop in enumerate(popped):
            if pop:
                self.queues[unit].popleft()
                self._room[unit] += 1
        if arrived is not None:
            unit, instruction = arrived
            self.owed[unit] -= 1
            if not self.ended[unit]:
                self.queues[unit].append(instruction)
                self.ended[unit] = instruction % 16 == Opcode.END


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
    core = some_core(queue_depth)
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
        block = core.fetch_block
        assert load["run_flits"] * link_bytes == block * INSTRUCTION_BYTES
        assert load["dram_addr"] == base + (3 * NODE + unit) * stride + fetched[unit] * INSTRUCTION_BYTES
        fetched[unit] += block
    assert all(count <= len(stream) + queue_depth for count, stream in zip(fetched, streams, strict=True))


def random_instruction(rng: random.Random, may_end: bool) -> int:
    """256 bits; seldom an END."""
    others = [opcode for opcode in range(16) if opcode != Opcode.END]
    ends = may_end and rng.random() < 0.1
    return rng.getrandbits(8 * INSTRUCTION_BYTES) & ~15 | (Opcode.END if ends else rng.choice(others))


def follow(core: CoreParams, chip: ChipParams, rng: random.Random, node: int, requests: int | None = None) -> None:
    """Compare a Fetch with its model, up to the end of all programs or to so many requests.

    Programs of any bits come from anywhere; the units' instructions arrive in any order, and it is halted at times.
    How often anything happens changes every 32 cycles.
    """
    align = max(INSTRUCTION_BYTES, chip.link_bytes)
    per_flit = max(1, chip.link_bytes // INSTRUCTION_BYTES)
    home = rng.randrange(len(chip.memory_nodes))
    base, stride = (rng.getrandbits(32) & -align for _ in range(2))
    dut, model = Fetch(core=core, chip=chip), Model(core, chip, node, home, base, stride)
    program, request = dut.program, dut.request
    flits: deque[tuple[int, int, list[int]]] = deque()  # unit, bits, instructions that it completes
    sent = [0] * 3  # instructions

    def answer() -> None:
        unit = rng.choice([unit for unit in range(3) if model.owed[unit]])
        words = [random_instruction(rng, may_end=sent[unit] > 40) for _ in range(per_flit)]
        sent[unit] += per_flit
        raw = b"".join(word.to_bytes(INSTRUCTION_BYTES, "little") for word in words)
        cuts = [raw[i : i + chip.link_bytes] for i in range(0, len(raw), chip.link_bytes)]
        flits.extend((unit, int.from_bytes(cut, "little"), []) for cut in cuts)
        flits[-1][2].extend(words)

    async def bench(ctx) -> None:
        for port, value in ((dut.node, node), (dut.home, home), (dut.program_base, base), (dut.program_stride, stride)):
            ctx.set(port, value)
        second = offered = quiet = 0
        ready = Cat(request.ready, *(port.ready for port in dut.o))
        for now in range(10000):
            if now % 32 == 0:
                halts, answers, *takes = rng.choices([0.1, 0.5, 0.95], k=2 + len(ready))
            start, halt = now == 3, rng.random() < halts / 4
            readys = sum((rng.random() < rate) << bit for bit, rate in enumerate(takes))
            if not flits and any(model.owed):
                answer()
            offered = offered or bool(flits and rng.random() < answers)
            unit, bits = flits[0][:2] if offered else (rng.randrange(3), rng.getrandbits(8 * chip.link_bytes))
            ctx.set(program.payload, {"unit": unit, "data": bits})
            ctx.set(program.valid, offered)
            ctx.set(Cat(dut.start, dut.halt), start | halt << 1)
            ctx.set(ready, readys)
            _, _, valid, flit, taken, outstanding, error, *shown = await ctx.tick().sample(
                request.valid, request.payload, program.ready, dut.outstanding, dut.error,
                *(value for port in dut.o for value in (port.valid, port.payload)),
            )  # fmt: skip
            assert not error
            outputs = [bits if offers else None for offers, bits in zip(shown[::2], shown[1::2], strict=True)]
            model.compare(flit if valid else None, outputs, outstanding)
            arrived = None
            if offered:
                words = flits[0][2]
                if words:
                    arrived = unit, words[second]
                    second = (second + 1) % len(words)
                assert taken == (second == 0)  # each instruction takes a cycle
                if taken:
                    flits.popleft()
                    offered = 0
            popped = [output is not None and bool(readys >> 1 + unit & 1) for unit, output in enumerate(outputs)]
            model.cycle(halt, bool(readys & 1), popped, arrived)
            model.started |= start
            quiet = quiet + 1 if model.over() else 0
            if quiet == 40 or model.requests == requests:
                return
        raise AssertionError("the programs do not end")

    simulate(dut, bench)


@pytest.mark.parametrize(("link_bytes", "queue_depth"), [(4, 4), (8, 4), (16, 4), (16, 16), (32, 16), (64, 4)])
def test_every_cycle_is_as_in_the_model(link_bytes: int, queue_depth: int) -> None:
    core = some_core(queue_depth)
    chip = replace(default_chip(4, core), link_bytes=link_bytes)
    rng = random.Random(16 * link_bytes + queue_depth)
    follow(core, chip, rng, rng.randrange(64))


def test_every_node_asks_for_its_own_programs() -> None:
    core = some_core(4)
    chip = replace(default_chip(4, core), link_bytes=8)
    for node in range(64):  # more than the chip has: a Fetch does not know
        follow(core, chip, random.Random(node), node, requests=1)


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


@pytest.mark.parametrize("link_bytes", [8, 64])
def test_misaligned_streams_are_an_error(link_bytes: int) -> None:
    core = some_core(4)
    chip = replace(default_chip(4, core), link_bytes=link_bytes)
    align = max(INSTRUCTION_BYTES, link_bytes)
    bits = [1 << bit for bit in range(align.bit_length() - 1)]
    places = [(align, stride) for stride in bits] + [(base, align) for base in bits]
    places += [(0xFFFFFFFF - align // 2, 0), (0, 0), (0xFFFFFFFF & -align, 0), (0, 0xFFFFFFFF & -align)]
    for base, stride in places:
        dut = Fetch(core=core, chip=chip)
        wrong = base % align or stride % align

        async def bench(ctx, dut: Fetch = dut, base: int = base, stride: int = stride, wrong: int = wrong) -> None:
            ctx.set(dut.program_base, base)
            ctx.set(dut.program_stride, stride)
            await ctx.tick().repeat(2)
            assert ctx.get(dut.error) == ErrorCode.NONE
            ctx.set(dut.start, 1)
            await ctx.tick()
            ctx.set(dut.start, 0)
            for _ in range(5):
                assert ctx.get(dut.error) == (ErrorCode.MISALIGNED if wrong else ErrorCode.NONE)
                await ctx.tick()
            assert ctx.get(dut.request.valid) == (not wrong)

        simulate(dut, bench)
