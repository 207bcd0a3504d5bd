"""Models of what hangs on a link: a sender that obeys credits and a receiver that gives them late."""

from __future__ import annotations

import random
from collections import deque
from typing import Any

from amaranth.hdl import Const

from rtl.contract.params import ChipParams, CoreParams, Direction, MemoryNodeParams
from rtl.noc.flit import flit_layout


def small_chip(width: int, height: int, memories: int, **overrides: int) -> ChipParams:
    """A chip of narrow links and short packets, its memory nodes anywhere on the edge."""
    sides = [(x, 0, Direction.NORTH) for x in range(width)] + [(x, height - 1, Direction.SOUTH) for x in range(width)]
    sides += [(0, y, Direction.WEST) for y in range(height)] + [(width - 1, y, Direction.EAST) for y in range(height)]
    random.Random(width * 16 + height).shuffle(sides)
    return ChipParams(
        mesh_width=width,
        mesh_height=height,
        cores=(CoreParams(),) * (width * height),
        memory_nodes=tuple(MemoryNodeParams(*side) for side in sides[:memories]),
        **{"link_bytes": 4, "vc_depth": 8, "max_packet_flits": 8, **overrides},
    )


_FACTOR = 0x9E3779B1
_INVERSE = pow(_FACTOR, -1, 1 << 32)


def _mixed(value: int) -> int:
    """32 bits, different for each value: every bit is 0 and 1 within few values, and no two bits are alike."""
    product = value * _FACTOR % (1 << 32)
    return product ^ product >> 16


def _unmixed(value: int) -> int:
    return (value ^ value >> 16) * _INVERSE % (1 << 32)


def payload_of(number: int, index: int) -> int:
    """32 bits of flit ``index`` of packet ``number``, different for each."""
    return _mixed(number | index << 16)


def header_of(number: int) -> dict[str, int]:
    """Header fields of packet ``number`` that routers and ports only carry: every bit takes both values."""
    noise = random.Random(number)
    return {
        "src": noise.getrandbits(7),
        "kind": noise.randrange(5),
        "space": noise.randrange(4),
        "planar": noise.getrandbits(1),
        "addr": _mixed(number),
        "traffic": noise.randrange(5),
        "lane_offset": noise.getrandbits(6),
        "lanes": noise.getrandbits(7),
        "token_valid": noise.getrandbits(1),
        "token": noise.getrandbits(7),
    }


def number_of(flit: Any, source: int | None = None) -> int:
    """Number of the packet whose first flit this is; checks the header against `header_of`."""
    number = _unmixed(flit.header.addr)
    expected = header_of(number) | ({} if source is None else {"src": source})
    assert {name: int(getattr(flit.header, name)) for name in expected} == expected, "a header is damaged"
    return number


def packet_words(chip: ChipParams, number: int, flits: int, dest: int, source: int | None = None) -> list[int]:
    """The flits of a packet as bits: `payload_of` and `header_of`; header fields are noise beside all but the first."""
    noise = random.Random(number)
    shape = flit_layout(chip)
    words = []
    for index in range(flits):
        first = index == 0
        header = {
            **header_of(number if first else noise.getrandbits(16)),
            "dest": dest if first else noise.getrandbits(chip.n_nodes),
            "flits": flits if first else noise.getrandbits(7),
        }
        if first and source is not None:
            header["src"] = source
        value = {"data": payload_of(number, index), "first": first, "last": index == flits - 1, "header": header}
        words.append(Const.cast(shape.const(value)).value)
    return words


class LinkSource:
    """Sends the flits queued for each channel, whichever it likes, as far as it has credits."""

    def __init__(self, link: Any, capacity: int, channels: int, rng: random.Random, rate: float = 1.0) -> None:
        self.link, self.rng, self.rate = link, rng, rate
        self.queues: list[deque[int]] = [deque() for _ in range(channels)]
        self.credits = [capacity] * channels
        self.capacity = capacity

    def cycle(self, ctx: Any) -> None:
        """Before each clock edge."""
        back = ctx.get(self.link.credit)
        ready = [v for v, queue in enumerate(self.queues) if queue and self.credits[v]]
        sending = bool(ready) and self.rng.random() < self.rate
        ctx.set(self.link.valid, sending)
        if sending:
            vc = self.rng.choice(ready)
            ctx.set(self.link.vc, vc)
            ctx.set(self.link.flit.as_value(), self.queues[vc].popleft())
            self.credits[vc] -= 1
        for v in range(len(self.queues)):
            self.credits[v] += back >> v & 1
            assert self.credits[v] <= self.capacity, "a credit too many"


class LinkSink:
    """Buffers what comes, gives credits back at random, and checks that nothing overflows or mixes."""

    def __init__(self, chip: ChipParams, link: Any, capacity: int, rng: random.Random, rate: float = 1.0) -> None:
        self.shape, self.link, self.rng, self.rate = flit_layout(chip), link, rng, rate
        self.capacity = capacity
        self.held = [0] * chip.n_vcs
        self.packets: list[list[tuple[int, int]]] = [[] for _ in range(chip.n_vcs)]  # (number, dest) of each
        self.flits: list[tuple[int, int, int]] = []  # cycle, channel, payload
        self.starts: list[tuple[int, int]] = []  # of each packet: flits, room in the buffer
        self._inside: list[tuple[int, int, int] | None] = [None] * chip.n_vcs  # number, flits, flits that came

    def cycle(self, ctx: Any, now: int) -> None:
        back = 0
        for v, held in enumerate(self.held):
            if held and self.rng.random() < self.rate:
                back |= 1 << v
                self.held[v] -= 1
        if ctx.get(self.link.valid):
            vc = ctx.get(self.link.vc)
            flit = self.shape.from_bits(ctx.get(self.link.flit.as_value()))
            if flit.first:
                assert self._inside[vc] is None, "a packet inside another"
                number = number_of(flit)
                self.packets[vc].append((number, flit.header.dest))
                self.starts.append((flit.header.flits, self.capacity - self.held[vc]))
                self._inside[vc] = (number, flit.header.flits, 0)
            number, flits, index = self._inside[vc]
            assert flit.data == payload_of(number, index), "flits of packets are mixed"
            assert flit.last == (index == flits - 1)
            self._inside[vc] = None if flit.last else (number, flits, index + 1)
            self.flits.append((now, vc, flit.data))
            self.held[vc] += 1
            assert self.held[vc] <= self.capacity, "more flits than credits"
        ctx.set(self.link.credit, back)
