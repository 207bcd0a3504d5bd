"""The chip's buses in the hands of cocotbext-axi: AXI4 slaves as its memory, an AXI4-Lite master as its host."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from cocotb.simtime import get_sim_time
from cocotb.triggers import ClockCycles, First, RisingEdge, Timer
from cocotbext.axi import AxiBus, AxiLiteBus, AxiLiteMaster, AxiResp, AxiSlave

from rtl.contract.params import ChipParams
from tb.sim.driver import Progress, Transport, TransportError
from tb.sim.transport import CLOCK_PERIOD_NS, check_buses, start_clock

__all__ = ["Access", "BusTransport", "Port", "pauses", "reset_chip"]

_AXI_CHANNELS = {"write_if": ("aw_channel", "w_channel", "b_channel"), "read_if": ("ar_channel", "r_channel")}
LIMIT_CYCLES = 60_000


def pauses(seed: int, probability: float) -> Iterator[bool]:
    """Endless random pauses of a channel."""
    rng = random.Random(seed)
    while True:
        yield rng.random() < probability


async def reset_chip(dut: Any) -> None:
    """Reset with the models in place; the chip is ready behind it."""
    start_clock(dut)
    dut.rst.value = 1
    await ClockCycles(dut.clk, 4)
    dut.rst.value = 0
    await ClockCycles(dut.clk, 2)


@dataclass(frozen=True)
class Access:
    """One beat at a memory node."""

    node: int
    write: bool
    address: int
    began: float
    ended: float
    """Simulated time in steps of the simulator."""


@dataclass
class Port:
    """What an AxiSlave calls for every beat: one memory for all nodes, delays, a log, and an error where one is set."""

    node: int
    clk: Any
    memory: bytearray
    log: list[Access]
    delay: Callable[[], int] = lambda: 0
    """Cycles that a beat takes; later beats of that direction wait behind it, the other direction does not."""
    fails: Callable[[Access], bool] = lambda access: False
    """Whether this beat is answered by an error."""
    failed: list[Access] = field(default_factory=list)

    async def read(self, address: int, length: int) -> bytes:
        await self._access(False, address)
        return bytes(self.memory[address : address + length])

    async def write(self, address: int, data: bytes) -> None:
        await self._access(True, address)
        self.memory[address : address + len(data)] = data

    async def _access(self, write: bool, address: int) -> None:
        began = get_sim_time("step")
        if cycles := self.delay():
            await ClockCycles(self.clk, cycles)
        access = Access(self.node, write, address, began, get_sim_time("step"))
        self.log.append(access)
        if self.fails(access):
            self.failed.append(access)
            raise OSError(f"error asked for at {access}")


class BusTransport(Transport):
    """The way to a chip with open buses; make it before the reset."""

    def __init__(self, dut: Any, chip: ChipParams, image: np.ndarray) -> None:
        self._dut = dut
        self._nodes = len(chip.memory_nodes)
        self.memory = bytearray(image.tobytes())
        self.log: list[Access] = []
        self.control = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axil"), dut.clk, dut.rst)
        self.ports = [Port(node, dut.clk, self.memory, self.log) for node in range(self._nodes)]
        self.slaves = [
            AxiSlave(AxiBus.from_prefix(dut, f"m{port.node}_axi"), dut.clk, dut.rst, target=port) for port in self.ports
        ]

    def stall(self, seed: int, probability: float) -> None:
        """Hold back every channel of every bus at random."""
        channels = [
            getattr(getattr(model, side), name)
            for model in (*self.slaves, self.control)
            for side, names in _AXI_CHANNELS.items()
            for name in names
        ]
        for number, channel in enumerate(channels):
            channel.set_pause_generator(pauses(seed + number, probability))

    def answer_errors_by(self, response: AxiResp) -> None:
        """The response of beats that fail; AxiSlave itself knows SLVERR alone."""
        for slave in self.slaves:
            for channel, name in ((slave.read_if.r_channel, "rresp"), (slave.write_if.b_channel, "bresp")):
                send = type(channel).send

                async def other(answer: Any, channel: Any = channel, name: str = name, send: Any = send) -> None:
                    if getattr(answer, name) == AxiResp.SLVERR:
                        setattr(answer, name, response)
                    await send(channel, answer)

                channel.send = other

    async def write32(self, offset: int, value: int) -> None:
        answer = await self.control.write(offset, value.to_bytes(4, "little"))
        if answer.resp != AxiResp.OKAY:
            raise TransportError(f"register 0x{offset:02x} answered a write with {answer.resp.name}")

    async def read32(self, offset: int) -> int:
        answer = await self.control.read(offset, 4)
        if answer.resp != AxiResp.OKAY:
            raise TransportError(f"register 0x{offset:02x} answered a read with {answer.resp.name}")
        return int.from_bytes(answer.data, "little")

    async def wait_irq(
        self,
        progress: Progress | None = None,
        interval_s: float = 0.25,
        limit_cycles: int | None = None,
    ) -> bool:
        irq = self._dut.irq
        if not int(irq.value):
            await First(RisingEdge(irq), Timer((limit_cycles or LIMIT_CYCLES) * CLOCK_PERIOD_NS, unit="ns"))
        return bool(int(irq.value))

    async def read_memory(self, address: int, size: int) -> np.ndarray:
        return np.frombuffer(bytes(self.memory[address : address + size]), np.uint8)

    async def write_memory(self, address: int, data: np.ndarray) -> None:
        raw = data.tobytes()
        self.memory[address : address + len(raw)] = raw

    def check(self, *, done: bool = False) -> None:
        check_buses(self._dut, self._nodes, done=done)
