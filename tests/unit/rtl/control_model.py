"""What `Control` must show in every cycle, from what it was shown before."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from amaranth.hdl import Cat

from rtl.contract.params import ChipParams
from rtl.contract.regs import ID_VALUE, NO_NODE, NO_UNIT, ErrorCode, Register, Status
from rtl.contract.regs import Control as ControlBit
from rtl.control import CLEAR_CYCLES, WATCHDOG_RESET, Control

__all__ = ["ControlModel"]

IDLE, CLEARING, STARTING, RUNNING = range(4)
OKAY, SLVERR = 0, 2
WIDTHS = dict.fromkeys(Register, 32) | {Register.COUNTER_SELECT: 16}
"""Of a chip without marks."""


class ControlModel:
    """All outputs of a `Control`, compared in each cycle in which they mean something.

    It is up to control alone when a response comes: a write takes effect, and a read looks, in the cycle before its
    response. ``counter_of`` gives a counter's value by block and index; COUNTER_LOW must not be read while
    COUNTER_SELECT is being written.
    """

    def __init__(self, control: Control, chip: ChipParams, counter_of: Callable[[int, int], int]) -> None:
        self._chip, self._counter_of = chip, counter_of
        bus = control.bus
        names = ("bvalid", "bready", "bresp", "rvalid", "rready", "rdata", "rresp")
        names += ("awvalid", "awready", "awaddr", "wvalid", "wready", "wdata", "wstrb", "arvalid", "arready", "araddr")
        self._ports = {name: getattr(bus, name) for name in names}
        self._ports |= {
            "shown": Cat(control.clear, control.running, control.halt, control.irq, control.start),
            "errors": Cat(*control.core_error, *control.memory_error),
            "units": Cat(*control.core_error_unit),
            "program_base": control.program_base,
            "program_stride": control.program_stride,
            "counter_index": control.counter_index,
            "core_done": control.core_done,
            "memory_idle": control.memory_idle,
            "progress": control.progress,
        }
        self._widths = dict(WIDTHS)
        if any(core.marks for core in chip.cores):
            self._widths[Register.COUNTER_SELECT] += 8
            self._ports["trace_entry"] = control.trace_entry
        self._before: dict[str, int] | None = None
        self._addresses: deque[int] = deque()  # taken, but not answered
        self._words: deque[tuple[int, int]] = deque()
        self._reads: deque[int] = deque()
        self._written, self._read = OKAY, (0, OKAY)  # last answers
        self._held = {
            Register.PROGRAM_BASE: 0,
            Register.PROGRAM_STRIDE: 0,
            Register.WATCHDOG: WATCHDOG_RESET,
            Register.ACTIVE_CORES_LOW: 0xFFFFFFFF,
            Register.ACTIVE_CORES_HIGH: 0xFFFFFFFF,
            Register.COUNTER_SELECT: 0,
        }
        self._high = {Register.CYCLES_HIGH: 0, Register.COUNTER_HIGH: 0}
        self._phase = IDLE
        self._clear_left = 0
        self._start_wanted = self._done = self._irq = False
        self._error = self._cycles = self._still = 0

    async def cycle(self, ctx: Any) -> dict[str, int]:
        """Compare one cycle, at its end; the result is what was seen in it."""
        values = (await ctx.tick().sample(*self._ports.values()))[2:]
        seen = dict(zip(self._ports, map(int, values), strict=True))
        before = self._before
        answers = {
            channel: seen[f"{channel}valid"]
            and (before is None or not before[f"{channel}valid"] or before[f"{channel}ready"])
            for channel in "br"
        }
        if answers["r"]:
            assert self._reads, "a read that nobody asked for"
            self._read = self._look(self._reads.popleft())
        if before is not None:
            was_idle, had_irq = self._phase == IDLE, self._irq
            self._pass(before)
            if answers["b"]:
                assert self._addresses, "an answer to no write"
                assert self._words, "an answer to a write without data"
                self._written = self._write(self._addresses.popleft(), *self._words.popleft(), was_idle, had_irq)
        self._compare(seen)
        if seen["awvalid"] and seen["awready"]:
            self._addresses.append(seen["awaddr"])
        if seen["wvalid"] and seen["wready"]:
            self._words.append((seen["wdata"], seen["wstrb"]))
        if seen["arvalid"] and seen["arready"]:
            self._reads.append(seen["araddr"])
        self._before = seen
        return seen

    def _compare(self, seen: dict[str, int]) -> None:
        active = self._held[Register.ACTIVE_CORES_LOW] & (1 << self._chip.n_cores) - 1
        shown = (
            self._phase == CLEARING,
            self._phase in (STARTING, RUNNING),
            self._error != 0,
            self._irq,
        )
        starts = active if self._phase == STARTING else 0
        assert seen["shown"] == sum(flag << bit for bit, flag in enumerate(shown)) | starts << len(shown)
        assert seen["program_base"] == self._held[Register.PROGRAM_BASE]
        assert seen["program_stride"] == self._held[Register.PROGRAM_STRIDE]
        assert seen["counter_index"] == self._held[Register.COUNTER_SELECT] & 0x3F
        assert seen.get("trace_entry", 0) == self._held[Register.COUNTER_SELECT] >> 16
        before = self._before
        for channel in "br":
            if before is not None and before[f"{channel}valid"] and not before[f"{channel}ready"]:
                assert seen[f"{channel}valid"], "an answer does not stay"
        if seen["bvalid"]:
            assert seen["bresp"] == self._written
        if seen["rvalid"]:
            assert (seen["rdata"], seen["rresp"]) == self._read

    def _pass(self, seen: dict[str, int]) -> None:
        """One cycle in which the host does nothing."""
        limit = self._held[Register.WATCHDOG]
        expired = limit != 0 and self._still >= limit
        all_idle = seen["memory_idle"] == (1 << len(self._chip.memory_nodes)) - 1
        still = self._phase in (CLEARING, RUNNING) and not seen["progress"]
        self._still = self._still + 1 if still else 0
        self._cycles += self._phase in (STARTING, RUNNING)
        if self._phase == CLEARING:
            if self._clear_left:
                self._clear_left -= 1
            elif all_idle:
                self._phase = STARTING if self._start_wanted else IDLE
            elif expired:
                self._stop(ErrorCode.WATCHDOG, NO_NODE, NO_UNIT)
        elif self._phase == STARTING:
            self._phase = RUNNING
        elif self._phase == RUNNING:
            cores = (1 << self._chip.n_cores) - 1
            waited_for = self._held[Register.ACTIVE_CORES_LOW] & cores & ~seen["core_done"]
            codes = [seen["errors"] >> 8 * node & 0xFF for node in range(self._chip.n_nodes)]
            if any(codes):
                node = next(node for node, code in enumerate(codes) if code)
                unit = seen["units"] >> 2 * node & 3 if node < self._chip.n_cores else NO_UNIT
                self._stop(codes[node], node, unit)
            elif not waited_for and all_idle:
                self._phase, self._irq, self._done = IDLE, True, True
            elif expired:
                self._stop(ErrorCode.WATCHDOG, NO_NODE, NO_UNIT)

    def _stop(self, code: int, node: int, unit: int) -> None:
        self._phase, self._irq = IDLE, True
        self._error = code | node << 8 | unit << 16

    def _write(self, addr: int, word: int, strobe: int, was_idle: bool, had_irq: bool) -> int:
        """The response; ``was_idle`` and ``had_irq`` are of the cycle in which it is written."""
        register = addr & ~3
        if register not in WIDTHS:
            return SLVERR
        if register == Register.CONTROL and strobe & 1:
            if word & ControlBit.CLEAR_IRQ and had_irq:
                self._irq = False
            if word & ControlBit.RESET or (word & ControlBit.START and was_idle):
                self._phase, self._clear_left = CLEARING, CLEAR_CYCLES - 1
                self._start_wanted = not word & ControlBit.RESET
                self._error = self._cycles = 0
                self._irq = self._done = False
        if register in self._held:
            lanes = sum(0xFF << 8 * byte for byte in range(self._widths[Register(register)] // 8) if strobe >> byte & 1)
            self._held[Register(register)] = self._held[Register(register)] & ~lanes | word & lanes
        return OKAY

    def _look(self, addr: int) -> tuple[int, int]:
        """What a read answers: data and response."""
        register = addr & ~3
        if register not in WIDTHS:
            return 0, SLVERR
        register = Register(register)
        if register == Register.CYCLES_LOW:
            self._high[Register.CYCLES_HIGH] = self._cycles >> 32
        elif register == Register.COUNTER_LOW:
            self._high[Register.COUNTER_HIGH] = self._counter() >> 32
        flags = {
            Status.BUSY: self._phase != IDLE,
            Status.DONE: self._done,
            Status.ERROR: self._error != 0,
            Status.IRQ: self._irq,
        }
        values = self._held | self._high
        values |= {
            Register.ID: ID_VALUE,
            Register.CONTROL: 0,
            Register.STATUS: sum(flag for flag, is_set in flags.items() if is_set),
            Register.ERROR: self._error,
            Register.CYCLES_LOW: self._cycles & 0xFFFFFFFF,
            Register.COUNTER_LOW: self._counter() & 0xFFFFFFFF,
        }
        return values[register], OKAY

    def _counter(self) -> int:
        block, index = divmod(self._held[Register.COUNTER_SELECT] & 0xFFFF, 256)
        blocks = 2 * self._chip.n_cores + len(self._chip.memory_nodes)
        return self._counter_of(block, index & 63) if block < blocks else 0
