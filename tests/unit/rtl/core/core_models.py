"""Simulated surroundings of a core and its parts: packets, and a network with a memory behind it."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rtl.contract.codec import decode
from rtl.contract.isa import Opcode
from rtl.contract.params import ChipParams
from rtl.noc.flit import Kind, flit_layout

__all__ = ["Network", "Packet", "packet_flits", "packets_of"]


@dataclass
class Packet:
    """A header by name, and the payload of each flit."""

    header: dict[str, int]
    payload: list[int] = field(default_factory=list)

    def __getattr__(self, name: str) -> int:
        return self.header[name]


def packet_flits(chip: ChipParams, header: dict[str, int], payload: Sequence[int]) -> list[Any]:
    """Flits of a packet; header wires beside the later ones carry rubbish, as on a link."""
    layout = flit_layout(chip)
    rubbish = {name: 1 for name, _ in layout["header"].shape}
    return [
        layout.const(
            {
                "data": word,
                "first": i == 0,
                "last": i == len(payload) - 1,
                "header": {"flits": len(payload), **header} if i == 0 else rubbish,
            }
        )
        for i, word in enumerate(payload)
    ]


def packets_of(flits: Sequence[Any]) -> list[Packet]:
    """Packets from consecutive flits of one stream; checks their framing."""
    packets: list[Packet] = []
    inside = False
    for flit in flits:
        assert bool(flit.first) != inside, "a packet begins exactly where the last one ended"
        if flit.first:
            names = [name for name, _ in flit.header.shape()]
            packets.append(Packet({name: int(getattr(flit.header, name)) for name in names}))
        packets[-1].payload.append(flit.data)
        inside = not flit.last
        if flit.last:
            assert len(packets[-1].payload) == packets[-1].flits, "as many flits as the header says"
    return packets


@dataclass
class Network:
    """The rest of the chip as one core sees it: executes its READs, WRITEs and packets to itself.

    Each cycle takes a flit from ``request_out`` and offers one to ``response_in`` and ``request_in``, with chance
    ``stall`` of not doing so. Answers come ``latency`` cycles later at the earliest.
    """

    dut: Any
    chip: ChipParams
    node: int
    memory: np.ndarray
    rng: random.Random
    stall: float = 0.0
    latency: int = 3
    sent: list[Packet] = field(default_factory=list)
    """Packets that left the core for other cores."""
    packets: int = 0
    reads: list[tuple[int, dict[str, int]]] = field(default_factory=list)
    """Cycle and fields of every LOAD."""
    now: int = 0

    def _execute(self, packet: Packet, responses: deque, requests: deque) -> None:
        chip = self.chip
        size = chip.link_bytes
        at = self.now + self.latency
        own = 1 << self.node
        assert packet.src == self.node
        if packet.kind in {Kind.READ, Kind.WRITE}:
            memory = (packet.dest >> chip.n_cores).bit_length() - 1
            assert packet.dest == 1 << chip.n_cores + memory
        if packet.kind == Kind.READ:
            raw = b"".join(word.to_bytes(size, "little") for word in packet.payload)
            opcode, load = decode(raw)
            assert opcode == Opcode.LOAD
            assert load["memory"] == memory
            assert packet.traffic == load["traffic"]
            self.reads.append((self.now, load))
            if load["cores"] & own:
                self._read(load, at, responses)
        elif packet.kind == Kind.WRITE:
            data = b"".join(word.to_bytes(size, "little") for word in packet.payload)
            assert packet.addr % size == 0
            assert packet.flits <= chip.max_packet_flits
            assert packet.addr // 4096 == (packet.addr + len(data) - 1) // 4096, "crosses 4 KB"
            first, last = packet.lane_offset, packet.lane_offset + packet.lanes
            for i in range(packet.flits):
                where = packet.addr + i * size
                chunk = data[i * size + first : i * size + last]
                self.memory[where + first : where + last] = np.frombuffer(chunk, np.uint8)
            header = {"dest": own, "kind": Kind.ACK, "src": chip.n_cores + memory}
            responses.append((at, packet_flits(chip, header, [0])))
        else:
            assert packet.dest < 1 << chip.n_cores
            if packet.dest & own:
                requests.append((at, packet_flits(chip, packet.header, packet.payload)))
            if packet.dest & ~own:
                self.sent.append(packet)

    def _read(self, load: dict[str, int], at: int, responses: deque) -> None:
        size, chip = self.chip.link_bytes, self.chip
        step = chip.cores[self.node].act_groups(size) if load["planar"] else 1
        for run in range(load["runs"]):
            address, dst = load["dram_addr"] + run * load["dram_stride"] * size, load["dst"] + run * load["dst_stride"]
            left = load["run_flits"]
            while left:
                flits = min(left, chip.max_packet_flits, (4096 - address % 4096) // size)
                left -= flits
                last = left == 0 and run == load["runs"] - 1
                raw = self.memory[address : address + flits * size].tobytes().ljust(flits * size, b"\0")
                header = {
                    "dest": load["cores"] & (1 << chip.n_cores) - 1,
                    "kind": Kind.DATA,
                    "space": load["space"],
                    "planar": load["planar"],
                    "addr": dst,
                    "lanes": size,
                    "token_valid": int(last and load["token_valid"]),
                    "token": load["token"],
                }
                words = [int.from_bytes(raw[i * size :][:size], "little") for i in range(flits)]
                responses.append((at, packet_flits(chip, header, words)))
                address, dst = address + flits * size, dst + flits * step

    async def run(self, ctx: Any) -> None:
        dut, rng = self.dut, self.rng
        responses: deque[tuple[int, list[Any]]] = deque()
        requests: deque[tuple[int, list[Any]]] = deque()
        partial: list[Any] = []
        inputs = ((dut.response_in, responses), (dut.request_in, requests))
        ready, offered = 0, [False, False]
        while True:
            _, _, valid, flit, *taken = await ctx.tick().sample(
                dut.request_out.valid, dut.request_out.payload, *(port.ready for port, _ in inputs)
            )
            self.now += 1
            if valid and ready:
                partial.append(flit)
                if flit.last:
                    (packet,) = packets_of(partial)
                    partial = []
                    self.packets += 1
                    self._execute(packet, responses, requests)
            for index, (port, queue) in enumerate(inputs):
                if offered[index] and taken[index]:
                    queue[0][1].pop(0)
                    if not queue[0][1]:
                        queue.popleft()
                    offered[index] = False
                if not offered[index]:
                    offered[index] = bool(queue) and queue[0][0] <= self.now and rng.random() >= self.stall
                    if offered[index]:
                        ctx.set(port.payload, queue[0][1][0])
                    ctx.set(port.valid, offered[index])
            ready = int(rng.random() >= self.stall)
            ctx.set(dut.request_out.ready, ready)
