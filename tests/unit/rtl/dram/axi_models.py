"""Simulated partners of the memory node and of control: an AXI4 memory, and an AXI4-Lite host."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from amaranth.hdl import Cat

READ_CHANNEL = ("arvalid", "araddr", "arlen", "arsize", "arburst", "arid", "rready")
WRITE_CHANNEL = (
    "awvalid", "awaddr", "awlen", "awsize", "awburst", "awid", "wvalid", "wdata", "wstrb", "wlast", "bready",
)  # fmt: skip


@dataclass
class AxiMemory:
    """AXI4 memory that checks the protocol: bursts in order, R and W at one beat per cycle.

    ``stall`` is the chance that any ready or valid is withheld in a cycle; ``latency`` the cycles from an
    accepted address to its first beat (and from the last W beat to B). Beside a low valid there is noise. If
    ``mirrored``, the memory appears again and again in all of the address space; else nothing else is read or
    written. Writes go to ``target``, if there is one. ``bursts`` and ``writes`` are the addresses asked for.
    """

    axi: Any
    data_bytes: int
    memory: np.ndarray
    rng: random.Random
    stall: float = 0.0
    latency: int = 4
    max_beats: int = 256
    mirrored: bool = False
    shy: bool = False
    """Takes nothing that was not offered in the cycle before: then a master must not wait for it."""
    target: np.ndarray | None = None
    bad_reads: set[int] = field(default_factory=set)
    bad_writes: set[int] = field(default_factory=set)
    bad_response: int = 2
    bursts: list[tuple[int, int]] = field(default_factory=list)
    writes: list[tuple[int, int]] = field(default_factory=list)
    first_ar: int | None = None
    first_r: int | None = None

    def _address(self, got: dict[str, int], prefix: str) -> tuple[int, int]:
        addr, beats = got[f"{prefix}addr"], got[f"{prefix}len"] + 1
        assert got[f"{prefix}id"] == 0
        assert 1 << got[f"{prefix}size"] == self.data_bytes
        assert got[f"{prefix}burst"] == 1
        assert beats <= self.max_beats
        assert self.mirrored or addr <= len(self.memory) - beats * self.data_bytes, "outside of the memory"
        assert addr % self.data_bytes == 0
        assert addr // 4096 == (addr + beats * self.data_bytes - 1) // 4096, "burst crosses 4 KB"
        return addr, beats

    def _go(self) -> bool:
        return self.rng.random() >= self.stall

    async def run(self, ctx: Any) -> None:
        names = READ_CHANNEL + WRITE_CHANNEL
        signals = [getattr(self.axi, name) for name in names]
        read_data = Cat(self.axi.rdata, self.axi.rresp, self.axi.rlast)
        reads: deque[tuple[int, int, int]] = deque()
        pending_aw: deque[tuple[int, int]] = deque()
        w_beats: deque[tuple[int, int, int]] = deque()
        answers: deque[tuple[int, int]] = deque()
        driven = dict.fromkeys(("arready", "rvalid", "awready", "wready", "bvalid"), 0)
        was_driven = dict(driven)
        outputs = Cat(getattr(self.axi, name) for name in driven)  # at once: every access from a testbench costs
        last: dict[str, int] | None = None
        beat = 0
        now = 0
        while True:
            values = await ctx.tick().sample(*signals)
            got = dict(zip(names, (int(v) for v in values[2:]), strict=True))
            if last is not None:
                for valid, ready, members in (
                    ("arvalid", "arready", READ_CHANNEL[1:6]),
                    ("awvalid", "awready", WRITE_CHANNEL[1:6]),
                    ("wvalid", "wready", WRITE_CHANNEL[7:10]),
                ):
                    if last[valid] and not was_driven[ready]:
                        assert got[valid], f"{valid} withdrawn"
                        assert all(got[n] == last[n] for n in members), f"{valid}: payload changed"
            last, was_driven = got, dict(driven)
            if got["arvalid"] and self.first_ar is None:
                self.first_ar = now
            if got["arvalid"] and driven["arready"]:
                addr, beats = self._address(got, "ar")
                reads.append((now + self.latency, addr, beats))
                self.bursts.append((addr, beats))
            if driven["rvalid"] and got["rready"]:
                driven["rvalid"] = 0
                beat += 1
                if beat == reads[0][2]:
                    reads.popleft()
                    beat = 0
            if got["awvalid"] and driven["awready"]:
                pending_aw.append(self._address(got, "aw"))
            if got["wvalid"] and driven["wready"]:
                w_beats.append((got["wdata"], got["wstrb"], got["wlast"]))
            while pending_aw and len(w_beats) >= pending_aw[0][1]:
                addr, beats = pending_aw.popleft()
                for i in range(beats):
                    value, strobe, is_last = w_beats.popleft()
                    assert is_last == (i == beats - 1), "wlast in the wrong place"
                    for lane in range(self.data_bytes):
                        if strobe >> lane & 1:
                            at = (addr + i * self.data_bytes + lane) % len(self.memory)
                            (self.memory if self.target is None else self.target)[at] = value >> 8 * lane & 255
                self.writes.append((addr, beats))
                answers.append((now + self.latency, self.bad_response if addr in self.bad_writes else 0))
            if driven["bvalid"] and got["bready"]:
                driven["bvalid"] = 0
            # Offers for the next cycle; what is offered stays.
            if not driven["rvalid"] and reads and reads[0][0] <= now + 1 and self._go():
                driven["rvalid"] = 1
                _, addr, beats = reads[0]
                at = (addr + beat * self.data_bytes) % len(self.memory)
                word = int.from_bytes(self.memory[at : at + self.data_bytes].tobytes(), "little")
                resp = self.bad_response if at in self.bad_reads else 0
                ctx.set(read_data, word | (resp | (beat == beats - 1) << 2) << 8 * self.data_bytes)
                self.first_r = now + 1 if self.first_r is None else self.first_r
            if not driven["bvalid"] and answers and answers[0][0] <= now + 1 and self._go():
                driven["bvalid"] = 1
                ctx.set(self.axi.bresp, answers.popleft()[1])
            for valid, beside in (("rvalid", read_data), ("bvalid", self.axi.bresp)):
                if was_driven[valid] and not driven[valid]:
                    ctx.set(beside, self.rng.getrandbits(len(beside)))
            for name in ("arready", "awready", "wready"):
                waits = got[name.replace("ready", "valid")] and not driven[name]
                driven[name] = int(self._go() and (waits or not self.shy))
            ctx.set(outputs, sum(value << bit for bit, value in enumerate(driven.values())))
            now += 1


class LiteHost:
    """AXI4-Lite master, one access at a time.

    With ``rng``, address and data of a write come in any order, there is noise beside a low valid, and responses are
    left waiting.
    """

    def __init__(self, ctx: Any, bus: Any, rng: random.Random | None = None) -> None:
        self._ctx = ctx
        self._bus = bus
        self._rng = rng

    async def _pause(self) -> None:
        while self._rng is not None and self._rng.random() < 0.5:
            await self._ctx.tick()

    async def write_response(self, addr: int, value: int, strobe: int = 15) -> int:
        channels = {"aw": {"awaddr": addr}, "w": {"wdata": value, "wstrb": strobe}}
        if self._rng is not None:
            for channel in self._rng.sample(list(channels), 2):
                await self._pause()
                await self._offer({channel: channels[channel]})
        else:
            await self._offer(channels)
        (resp,) = await self._answer("b", "bresp")
        return resp

    async def _offer(self, channels: dict[str, dict[str, int]]) -> None:
        """Words on channels, all at once."""
        ctx, bus = self._ctx, self._bus
        left = dict(channels)
        for channel, members in left.items():
            ctx.set(getattr(bus, f"{channel}valid"), 1)
            for name, value in members.items():
                ctx.set(getattr(bus, name), value)
        while left:
            _, _, *ready = await ctx.tick().sample(*(getattr(bus, f"{channel}ready") for channel in left))
            for channel, accepted in zip(list(left), ready, strict=True):
                if accepted:
                    ctx.set(getattr(bus, f"{channel}valid"), 0)
                    for name in left.pop(channel):
                        signal = getattr(bus, name)
                        ctx.set(signal, 0 if self._rng is None else self._rng.getrandbits(len(signal)))

    async def _answer(self, channel: str, *names: str) -> tuple[int, ...]:
        """Wait for a response; take it at once or later, until when it must stay."""
        ctx = self._ctx
        valid, ready = getattr(self._bus, f"{channel}valid"), getattr(self._bus, f"{channel}ready")
        members = [getattr(self._bus, name) for name in names]
        late = self._rng is not None and self._rng.random() < 0.5
        ctx.set(ready, not late)
        offered = None
        while True:
            _, _, is_valid, *values = await ctx.tick().sample(valid, *members)
            assert offered in (None, (is_valid, *values)), "a response does not stay"
            if is_valid and ctx.get(ready):
                ctx.set(ready, 0)
                assert not ctx.get(valid), "a second response"
                return tuple(map(int, values))
            offered = (is_valid, *values) if is_valid else None
            if late:
                ctx.set(ready, is_valid and self._rng.random() < 0.5)

    async def write(self, addr: int, value: int) -> None:
        assert await self.write_response(addr, value) == 0

    async def read_response(self, addr: int) -> tuple[int, int]:
        await self._pause()
        await self._offer({"ar": {"araddr": addr}})
        value, resp = await self._answer("r", "rdata", "rresp")
        return value, resp

    async def read(self, addr: int) -> int:
        value, resp = await self.read_response(addr)
        assert resp == 0
        return value
