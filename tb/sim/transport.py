"""The simulated transport: AXI4-Lite and memory access through cocotb.

Each register access is a handful of clock edges; everything else waits for events, so that Python
costs nothing while the chip computes.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from cocotb.clock import Clock
from cocotb.simtime import get_sim_time
from cocotb.triggers import First, RisingEdge, Timer

from tb.model.wrapper import AXIL_SIGNALS
from tb.sim.buses import cycle_of, describe
from tb.sim.driver import Progress, Transport, TransportError
from tb.sim.job import PAGE_BYTES, Region
from tb.sim.settings import MemorySettings

__all__ = ["CLOCK_PERIOD_NS", "SimTransport", "check_buses", "start_clock"]

CLOCK_PERIOD_NS = 10
_AXIL_TIMEOUT_CYCLES = 1000
_RESET_CYCLES = 4
_PAGE_WORDS = 256
"""Words of a page, whose last writes tb/hdl/written.cpp notes."""


class SimTransport(Transport):
    """Drives `systomesh_tb`: registers, interrupt and external memory.

    Call `open` first: it makes the memory, applies its settings, starts the clock and resets the chip.
    """

    def __init__(self, dut: Any, *, nodes: int, link_bytes: int) -> None:
        self._dut = dut
        self._nodes = nodes
        self._link_bytes = link_bytes
        self._clk = dut.clk
        self._axil = {name: getattr(dut, f"s_axil_{name}") for name, _, _ in AXIL_SIGNALS}
        self._view: np.ndarray | None = None
        self._library: ctypes.CDLL | None = None
        self._notes_writes = False
        """tb/hdl/written.cpp is in this process."""
        self._memory_bytes = 0
        self._before: np.ndarray | None = None
        """All of memory at `watch`, where memory.cpp does not keep it."""
        self.cycles_run = 0
        """Clock cycles simulated so far, as of the last event."""
        self.wall_s = 0.0
        """Seconds spent waiting for the interrupt."""
        self.irq_ns: float | None = None
        """The simulation time at which the interrupt rose that was waited for; None if something else went on then."""
        self._reset_ns = 0.0

    async def open(self, memory_bytes: int, settings: MemorySettings) -> None:
        """Make the memory and bring the chip out of reset."""
        dut = self._dut
        self._open_memory(memory_bytes)
        dut.rst.value = 1
        for name, _, direction in AXIL_SIGNALS:
            if direction == "input":
                self._axil[name].value = 0
        self.configure(memory_bytes, settings)
        start_clock(dut)
        await self.reset()

    async def reset(self) -> None:
        """Reset chip and memory model; the memory's bytes stay."""
        self._dut.rst.value = 1
        for _ in range(_RESET_CYCLES):
            await RisingEdge(self._clk)
        self._dut.rst.value = 0
        self._reset_ns = _now_ns()
        for _ in range(2):  # behind the wrapper's register; no valid may rise before
            await RisingEdge(self._clk)

    def configure(self, memory_bytes: int, settings: MemorySettings) -> None:
        """Apply memory settings; safe while nothing is outstanding. The seed counts from the next reset."""
        dut = self._dut
        dut.memory_limit.value = memory_bytes
        latency, rate = settings.packed(self._nodes, self._link_bytes)
        dut.memory_latency.value = latency
        dut.memory_rate.value = rate
        dut.memory_stall.value = settings.stall_256
        dut.memory_seed.value = settings.seed

    # Memory. ---------------------------------------------------------------------------------------

    def _open_memory(self, size: int) -> None:
        self._memory_bytes = size
        try:
            library = ctypes.CDLL(None)
            library.systomesh_memory_open.argtypes = [ctypes.c_uint64]
            library.systomesh_memory_data.restype = ctypes.c_void_p
            library.systomesh_memory_kept.restype = ctypes.c_uint64
        except AttributeError:  # no memory.cpp in this process: the memory is systomesh_store.v
            self._dut.memory_load.value = 0
            self._dut.memory_dump.value = 0
            return
        if library.systomesh_memory_open(size) != 0:
            raise TransportError(f"the system refuses {size} bytes for the external memory")
        buffer = (ctypes.c_uint8 * size).from_address(library.systomesh_memory_data())
        self._library = library
        self._notes_writes = hasattr(library, "systomesh_written")
        if self._notes_writes:
            library.systomesh_written.restype = ctypes.c_uint64
        self._view = np.ctypeslib.as_array(buffer)

    @property
    def memory(self) -> np.ndarray:
        """The external memory itself, uint8[N] (Verilator only)."""
        if self._view is None:
            raise TransportError("the memory of this simulator cannot be seen while it runs")
        return self._view

    async def read_memory(self, address: int, size: int) -> np.ndarray:
        if self._view is not None:
            return self._view[address : address + size].copy()
        first, count, offset = self._words(address, size)
        await self._file_command("dump", first, count)
        raw = np.fromfile(Path("memory_out.bin"), dtype=np.uint8)
        return raw[offset : offset + size]

    async def write_memory(self, address: int, data: np.ndarray) -> None:
        raw = np.ascontiguousarray(data).view(np.uint8).reshape(-1)
        if self._view is not None:
            self._view[address : address + raw.size] = raw
            return
        if raw.size == 0:
            return
        first, count, offset = self._words(address, raw.size)
        if offset or raw.size != count * self._link_bytes:
            whole = await self.read_memory(first * self._link_bytes, count * self._link_bytes)
            whole[offset : offset + raw.size] = raw
            raw = whole
        raw.reshape(count, self._link_bytes)[:, ::-1].tofile(Path("memory_in.bin"))
        await self._file_command("load", first, count)

    async def watch(self) -> None:
        """Remember what memory holds now, wherever the chip will write."""
        if self._library is not None:
            self._library.systomesh_memory_watch()
            if self._notes_writes:
                self._library.systomesh_written_watch()
        else:  # of a size at which all of it can be kept
            self._before = await self.read_memory(0, self._memory_bytes)

    async def changed(self, apart_from: Sequence[Region] = ()) -> np.ndarray:
        """Addresses int64[N], in order, of bytes that the chip has changed since `watch`, outside some regions."""
        pages, before, now = await self._kept_pages()
        known = np.zeros(len(pages), bool)
        for region in apart_from:  # most pages lie within one
            known |= (pages >= region.address) & (pages + before.shape[1] <= region.end)
        row, column = np.nonzero(before[~known] != now[~known])
        found = pages[~known][row] + column
        for region in apart_from:
            found = found[(found < region.address) | (found >= region.end)]
        return np.sort(found)

    def written(self, origin_ns: float) -> np.ndarray | None:
        """When memory was written since `watch` (`tb.sim.job.WRITTEN`), in cycles since a time; None where nobody notes
        that."""
        if not self._notes_writes:
            return None
        numbers, times = ctypes.POINTER(ctypes.c_int64)(), ctypes.POINTER(ctypes.c_int64)()
        count = self._library.systomesh_written(ctypes.byref(numbers), ctypes.byref(times)) if self._library else 0
        if not count:
            return np.zeros((0, 1 + _PAGE_WORDS), np.int32)
        pages, ps = np.ctypeslib.as_array(numbers, (count,)), np.ctypeslib.as_array(times, (count, _PAGE_WORDS))
        # A beat is taken at the edge that ends its cycle.
        cycles = np.where(ps > 0, (ps - round(1000 * origin_ns)) // (1000 * CLOCK_PERIOD_NS) - 1, -1)
        return np.column_stack([pages, cycles]).astype(np.int32)

    async def _kept_pages(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Addresses int64[K] of pages that may have changed, their bytes uint8[K, P] before, and now."""
        if self._library is None:
            assert self._before is not None, "`watch` comes first"
            return np.zeros(1, np.int64), self._before[None], (await self.read_memory(0, self._memory_bytes))[None]
        numbers, bytes_ = ctypes.POINTER(ctypes.c_int64)(), ctypes.POINTER(ctypes.c_uint8)()
        count = self._library.systomesh_memory_kept(ctypes.byref(numbers), ctypes.byref(bytes_))
        if not count:
            return np.zeros(0, np.int64), np.zeros((0, PAGE_BYTES), np.uint8), np.zeros((0, PAGE_BYTES), np.uint8)
        pages = np.ctypeslib.as_array(numbers, (count,))
        before = np.ctypeslib.as_array(bytes_, (count, PAGE_BYTES))
        whole = (ctypes.c_uint8 * (-(-self._memory_bytes // PAGE_BYTES) * PAGE_BYTES)).from_address(
            self._library.systomesh_memory_data()
        )
        return PAGE_BYTES * pages, before, np.ctypeslib.as_array(whole).reshape(-1, PAGE_BYTES)[pages]

    def _words(self, address: int, size: int) -> tuple[int, int, int]:
        first = address // self._link_bytes
        last = -(-(address + size) // self._link_bytes)
        return first, last - first, address % self._link_bytes

    async def _file_command(self, command: str, first: int, count: int) -> None:
        dut = self._dut
        dut.memory_first.value = first
        dut.memory_count.value = count
        request = getattr(dut, f"memory_{command}")
        for level in (1, 0):
            await Timer(1, unit="ns")
            request.value = level
            await Timer(1, unit="ns")
            while int(dut.memory_done.value) != level:
                await Timer(1, unit="ns")

    # Registers. ------------------------------------------------------------------------------------

    # All counters of a launch are some 450 accesses of five cycles, so a signal is looked at only when it matters.

    async def write32(self, offset: int, value: int) -> None:
        bus = self._axil
        bus["awaddr"].value = offset
        bus["awvalid"].value = 1
        bus["wdata"].value = value
        bus["wstrb"].value = 0xF
        bus["wvalid"].value = 1
        bus["bready"].value = 1
        address_open = data_open = True
        for _ in range(_AXIL_TIMEOUT_CYCLES):
            await RisingEdge(self._clk)  # values are those just before it
            if address_open and int(bus["awready"].value):
                address_open = False
                bus["awvalid"].value = 0
            if data_open and int(bus["wready"].value):
                data_open = False
                bus["wvalid"].value = 0
            if not (address_open or data_open) and int(bus["bvalid"].value):
                bus["bready"].value = 0
                if code := int(bus["bresp"].value):
                    raise TransportError(f"register 0x{offset:02x} answered a write with response {code}")
                return
        raise TransportError(f"no answer to a write of register 0x{offset:02x} in {_AXIL_TIMEOUT_CYCLES} cycles")

    async def read32(self, offset: int) -> int:
        bus = self._axil
        bus["araddr"].value = offset
        bus["arvalid"].value = 1
        bus["rready"].value = 1
        address_open = True
        for _ in range(_AXIL_TIMEOUT_CYCLES):
            await RisingEdge(self._clk)
            if address_open and int(bus["arready"].value):
                address_open = False
                bus["arvalid"].value = 0
            if not address_open and int(bus["rvalid"].value):
                bus["rready"].value = 0
                if code := int(bus["rresp"].value):
                    raise TransportError(f"register 0x{offset:02x} answered a read with response {code}")
                return int(bus["rdata"].value)
        raise TransportError(f"no answer to a read of register 0x{offset:02x} in {_AXIL_TIMEOUT_CYCLES} cycles")

    # Interrupt. ------------------------------------------------------------------------------------

    async def wait_irq(
        self,
        progress: Progress | None = None,
        interval_s: float = 0.25,
        limit_cycles: int | None = None,
    ) -> bool:
        """Wait for the interrupt; `progress(cycles waited)` is called about every `interval_s` of wall time."""
        irq = self._dut.irq
        waited, chunk = 0, 2_000
        start_ns, self.irq_ns = _now_ns(), None
        while not int(irq.value):
            if limit_cycles is not None and waited >= limit_cycles:
                return False
            began = time.perf_counter()
            allowed = chunk if limit_cycles is None else min(chunk, limit_cycles - waited)
            await First(RisingEdge(irq), Timer(max(1, allowed) * CLOCK_PERIOD_NS, unit="ns"))
            self.irq_ns = _now_ns() if int(irq.value) else None
            spent = time.perf_counter() - began
            waited = int(_now_ns() - start_ns) // CLOCK_PERIOD_NS
            self.wall_s += spent
            # The chunk follows the speed, but never jumps so far that one wait becomes long.
            chunk = max(200, min(4 * chunk, int(chunk * interval_s / max(spent, 1e-4))))
            if progress is not None and not int(irq.value):
                await RisingEdge(self._clk)  # the timer may end right at an edge, and accesses begin behind one
                await progress(waited)
                waited = int(_now_ns() - start_ns) // CLOCK_PERIOD_NS
        self.cycles_run += waited
        await RisingEdge(self._clk)
        return True

    def check(self, *, done: bool = False) -> None:
        check_buses(self._dut, self._nodes, done=done)

    @property
    def now_ns(self) -> float:
        """The simulation time."""
        return _now_ns()

    def time_ns(self, cycle: int) -> float:
        """The simulation time at which a cycle since the reset began, as the wrapper counts them."""
        return self._reset_ns + (cycle + 1) * CLOCK_PERIOD_NS

    def bare_cycles(self, cycles: int) -> float:
        """Seconds that a bare C++ loop takes for so many cycles (Verilator only)."""
        library = ctypes.CDLL(None)
        library.systomesh_bare_cycles.argtypes = [ctypes.c_uint64]
        library.systomesh_bare_cycles.restype = ctypes.c_double
        return library.systomesh_bare_cycles(cycles)

    def sample_cycles(self, cycles: int, room: int) -> list[int]:
        """Samples of where that loop was: at most `room` addresses within the program (Verilator only)."""
        samples = (ctypes.c_uint64 * room)()
        library = ctypes.CDLL(None)
        library.systomesh_sample_cycles.argtypes = [ctypes.c_uint64, ctypes.c_void_p, ctypes.c_uint64]
        library.systomesh_sample_cycles.restype = ctypes.c_uint64
        return samples[: library.systomesh_sample_cycles(cycles, samples, room)]


def start_clock(dut: Any) -> None:
    """Start the clock of `systomesh_tb`, unless the simulator makes it (tb/hdl/sim_main.cpp)."""
    try:
        if ctypes.CDLL(None).systomesh_has_clock():
            return
    except AttributeError:
        pass
    Clock(dut.clk, CLOCK_PERIOD_NS, unit="ns", impl="gpi").start(start_high=False)


def check_buses(dut: Any, nodes: int, *, done: bool = False) -> None:
    """Raise TransportError for the first rule that a bus of `systomesh_tb` broke; `done`: behind a finished program."""
    buses = {f"m{node}_axi": f"memory node {node}" for node in range(nodes)}
    for bus, port in {"s_axil": "the control port", **buses}.items():
        if violation := int(getattr(dut, f"{bus}_violation").value):
            raise TransportError(describe(port, violation), cycle_of(violation))
    for bus, port in buses.items():
        if done and int(getattr(dut, f"{bus}_unanswered").value):
            raise TransportError(f"{port} had bursts without an answer when the program was done")


def _now_ns() -> float:
    return get_sim_time("ns")
