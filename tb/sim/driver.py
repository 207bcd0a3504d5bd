"""The host driver: loads memory, starts the chip, waits for it, reads what happened.

It knows only the registers of rtl/contract/regs.py and a `Transport`: a simulation supplies one, a board can
supply another.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import IntEnum
from typing import Any

import numpy as np

from rtl.contract.engines import ENGINES
from rtl.contract.isa import Opcode, TrafficClass, Unit
from rtl.contract.marks import Mark
from rtl.contract.params import ChipParams
from rtl.contract.regs import (
    ID_VALUE,
    NO_UNIT,
    BlockKind,
    Control,
    CoreDebug,
    CoreTrace,
    ErrorCode,
    MemoryCounter,
    Register,
    Status,
    UnitState,
    block_index,
    compute_counters,
    router_counters,
)

__all__ = ["Driver", "Outcome", "Progress", "Transport", "TransportError"]


Progress = Callable[[int], Awaitable[None]]
"""Called with the cycles that have passed while the chip computes; it may read registers."""


class TransportError(Exception):
    """The way to the chip failed, or the chip broke the rules of its buses, in a cycle since its reset."""

    def __init__(self, message: str, cycle: int | None = None) -> None:
        super().__init__(message)
        self.cycle = cycle


class Transport(ABC):
    """A way to the registers, the interrupt and the memory of one chip."""

    @abstractmethod
    async def write32(self, offset: int, value: int) -> None:
        """Write a register."""

    @abstractmethod
    async def read32(self, offset: int) -> int:
        """Read a register."""

    @abstractmethod
    async def wait_irq(
        self,
        progress: Progress | None = None,
        interval_s: float = 0.25,
        limit_cycles: int | None = None,
    ) -> bool:
        """Wait until the interrupt is high; False if `limit_cycles` have passed without it."""

    @abstractmethod
    async def read_memory(self, address: int, size: int) -> np.ndarray:
        """A copy of `size` bytes of external memory, uint8."""

    @abstractmethod
    async def write_memory(self, address: int, data: np.ndarray) -> None:
        """Put bytes into external memory."""

    def check(self, *, done: bool = False) -> None:  # noqa: B027 - a board has nothing to check
        """Raise TransportError if the chip broke the rules of a bus; `done`: behind a program that is done."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    status: str
    """'done', 'error' or 'hung' (no interrupt within the limit, and no watchdog either)."""
    cycles: int
    error: str = ""
    """Name of the error code."""
    node: int | None = None
    """The place: a core (less than n_cores) or a memory node (n_cores + m)."""
    unit: str | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def describe(self, n_cores: int) -> str:
        """One line for the user."""
        if self.status == "done":
            return f"done after {self.cycles} cycles"
        if self.status == "hung":
            return f"no interrupt after {self.cycles} cycles"
        where = ""
        if self.node is not None:
            where = f" in core {self.node}" if self.node < n_cores else f" in memory node {self.node - n_cores}"
        return f"{self.error}{where}{f', {self.unit} unit' if self.unit else ''} after {self.cycles} cycles"


class Driver:
    """Driver of one chip.

    Parameters
    ----------
    core_counters : sequence of {name: number}, optional
        Counters of each core; those of the engines that this process knows unless given.
    """

    def __init__(
        self, transport: Transport, chip: ChipParams, core_counters: Sequence[Mapping[str, int]] | None = None
    ) -> None:
        self.transport = transport
        self.chip = chip
        self._core_counters = core_counters or [
            ENGINES.counters(core.engines, events=chip.counters) for core in chip.cores
        ]

    async def identify(self) -> None:
        """Raise TransportError if something else answers."""
        found = await self.transport.read32(Register.ID)
        if found != ID_VALUE:
            raise TransportError(f"the ID register reads 0x{found:08x}, not 0x{ID_VALUE:08x}: this is not the chip")

    async def reset(self) -> None:
        """Put the chip into its state after reset, once bursts under way are over; registers keep their values."""
        await self.transport.write32(Register.CONTROL, Control.RESET)
        while Status.BUSY in Status(await self.transport.read32(Register.STATUS)):
            pass

    async def start(
        self,
        program_base: int,
        program_stride: int,
        *,
        watchdog_cycles: int = 0,
        active_cores: int | None = None,
    ) -> None:
        """Start a program. `active_cores` is a bit mask of the cores that take part; None: all."""
        everyone = (1 << self.chip.n_cores) - 1
        active = everyone if active_cores is None else active_cores
        write = self.transport.write32
        await write(Register.CONTROL, Control.CLEAR_IRQ)
        await write(Register.PROGRAM_BASE, program_base)
        await write(Register.PROGRAM_STRIDE, program_stride)
        await write(Register.WATCHDOG, watchdog_cycles)
        await write(Register.ACTIVE_CORES_LOW, active & 0xFFFF_FFFF)
        await write(Register.ACTIVE_CORES_HIGH, active >> 32)
        await write(Register.CONTROL, Control.START)

    async def wait(self, progress: Progress | None = None, *, limit_cycles: int | None = None) -> Outcome:
        """Wait for the end of the program and say how it ended; the interrupt is cleared."""
        answered = await self.transport.wait_irq(progress, limit_cycles=limit_cycles)
        status = Status(await self.transport.read32(Register.STATUS))
        cycles = await self.cycles()
        if not answered:
            return Outcome("hung", cycles)
        await self.transport.write32(Register.CONTROL, Control.CLEAR_IRQ)
        if Status.ERROR not in status and Status.DONE in status:
            return Outcome("done", cycles)
        word = await self.transport.read32(Register.ERROR)
        unit = word >> 16 & 3
        return Outcome(
            "error",
            cycles,
            error=_name(ErrorCode, word & 0xFF),
            node=word >> 8 & 0xFF,
            unit=None if unit == NO_UNIT else Unit(unit).name.lower(),
        )

    async def cycles(self) -> int:
        """Cycles from the start to the end, or to now."""
        low = await self.transport.read32(Register.CYCLES_LOW)
        return low | await self.transport.read32(Register.CYCLES_HIGH) << 32

    async def counter(self, kind: BlockKind, index: int, number: int, entry: int = 0) -> int:
        """One counter, debug word or word of a trace memory's entry; exact while the chip is stopped."""
        block = block_index(kind, index, self.chip.n_cores)
        await self.transport.write32(Register.COUNTER_SELECT, entry << 16 | block << 8 | number)
        low = await self.transport.read32(Register.COUNTER_LOW)
        return low | await self.transport.read32(Register.COUNTER_HIGH) << 32

    async def marks(self, numbers: Sequence[Sequence[int]]) -> list[list[Mark]]:
        """What the trace memories of the cores hold of these marks, for each core in their order.

        Of a launch that is done: what a mark that was not passed has in its entry is left over from before.
        """
        return [[await self._mark(core, number) for number in some] for core, some in enumerate(numbers)]

    async def passed(self, core: int) -> int:
        """Marks that a core has passed so far, less than 256; it may be asked while the chip computes."""
        block = block_index(BlockKind.CORE, core, self.chip.n_cores)
        await self.transport.write32(Register.COUNTER_SELECT, block << 8 | CoreTrace.PASSED)
        return await self.transport.read32(Register.COUNTER_LOW)

    async def _mark(self, core: int, number: int) -> Mark:
        entry = number % self.chip.cores[core].marks
        counters = {
            counter.name.lower(): await self.counter(BlockKind.CORE, core, CoreTrace.COMPUTE + counter, entry)
            for counter in compute_counters()
        }
        return Mark.from_counters(number, counters)

    async def counters(self) -> dict[str, list[dict[str, int]]]:
        """All counters of all blocks: {'core' | 'router' | 'memory': [{name: value} per block]}."""
        cores = range(self.chip.n_cores)
        of_router = router_counters(events=self.chip.counters)
        return {
            "core": [await self._block(BlockKind.CORE, core, self._core_counters[core]) for core in cores],
            "router": [await self._block(BlockKind.ROUTER, core, of_router) for core in cores],
            "memory": [await self._memory_block(node) for node in range(len(self.chip.memory_nodes))],
        }

    async def _block(self, kind: BlockKind, index: int, numbers: Mapping[str, int]) -> dict[str, int]:
        return {name.lower(): await self.counter(kind, index, number) for name, number in numbers.items()}

    async def _memory_block(self, node: int) -> dict[str, int]:
        names = {}
        for direction, base in (("read", MemoryCounter.READ_BYTES), ("write", MemoryCounter.WRITE_BYTES)):
            names |= {f"{direction}_{traffic.name.lower()}_bytes": base + traffic for traffic in TrafficClass}
        others = (MemoryCounter.READ_STALL, MemoryCounter.WRITE_STALL, MemoryCounter.READ_IDLE)
        names |= {other.name.lower(): other for other in others}
        return {name: await self.counter(BlockKind.MEMORY, node, number) for name, number in names.items()}

    async def debug(self) -> list[dict[str, Any]]:
        """What every unit of every core is doing, for the report on a hung run."""
        return [await self._debug_core(core) for core in range(self.chip.n_cores)]

    async def _debug_core(self, core: int) -> dict[str, Any]:
        words = {word: await self.counter(BlockKind.CORE, core, word) for word in CoreDebug}
        units = {}
        for unit, word in (("load", CoreDebug.LOAD_STATE), ("compute", CoreDebug.COMPUTE_STATE),
                           ("store", CoreDebug.STORE_STATE)):  # fmt: skip
            value = words[word]
            units[unit] = {
                "opcode": _name(Opcode, value & 0xF),
                "state": _name(UnitState, value >> 4 & 0xF).lower(),
                "unmet_waits": [r for r in range(3) if value >> (8 + r) & 1],
                "instructions": value >> 16 & 0xFFFF_FFFF,
            }
        passed = {}
        if self.chip.cores[core].marks:
            passed["marks_passed"] = await self.counter(BlockKind.CORE, core, CoreTrace.PASSED)
        tokens = words[CoreDebug.TOKENS_NONZERO_LOW] | words[CoreDebug.TOKENS_NONZERO_HIGH] << 48
        return {
            "core": core,
            "units": units,
            "tokens": [t for t in range(self.chip.tokens) if tokens >> t & 1],
            "unacknowledged_writes": words[CoreDebug.OUTSTANDING] & 0xFFFF,
            "program_reads": words[CoreDebug.OUTSTANDING] >> 16 & 0xFFFF,
            **passed,
        }


def _name(names: type[IntEnum], value: int) -> str:
    try:
        return names(value).name
    except ValueError:
        return f"{names.__name__} {value}"
