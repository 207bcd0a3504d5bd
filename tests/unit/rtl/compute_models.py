"""NumPy model of SETUP and COMPUTE, and a bench around `ComputeUnit` for the tests."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from amaranth.hdl import Elaboratable, Module
from amaranth.lib import wiring
from amaranth.sim import Simulator

from rtl.accumulator import Accumulator
from rtl.compute import ComputeUnit
from rtl.isa import Engine, Opcode, TapMode, encode
from rtl.job import SETUP_FIELDS
from rtl.params import CoreParams, default_chip
from rtl.regs import ErrorCode


class ModelError(Exception):
    """The instruction stops the core."""

    def __init__(self, code: ErrorCode) -> None:
        super().__init__(code.name)
        self.code = code


def wrap32(values: np.ndarray) -> np.ndarray:
    """Integers modulo 2**32, as signed."""
    return values.astype(np.int64).astype(np.uint32).astype(np.int32).astype(np.int64)


@dataclass
class CoreState:
    """Memories of a core: bytes as int8, accumulators as int64 holding int32."""

    core: CoreParams
    act: np.ndarray
    weight: np.ndarray
    acc: np.ndarray

    @classmethod
    def randomised(cls, core: CoreParams, rng: np.random.Generator) -> CoreState:
        return cls(
            core,
            rng.integers(-128, 128, core.act_bytes, dtype=np.int8),
            rng.integers(-128, 128, core.weight_bytes, dtype=np.int8),
            np.zeros((core.acc_entries, core.cols), np.int64),
        )

    def passes(self, setup: dict[str, int], job: dict[str, int]) -> Iterator[tuple[int, int, int, int]]:
        """Number, block, ky, kx of each pass."""
        number = 0
        for block in range(job["blocks"]):
            for ky in range(setup["kernel_h"]):
                for kx in range(setup["kernel_w"]):
                    yield number, block, ky, kx
                    number += 1

    def compute(self, setup: dict[str, int], job: dict[str, int]) -> None:
        """Execute a COMPUTE, in place.

        Raises
        ------
        ModelError
            For the first pass or pixel that is out of range.
        """
        core = self.core
        rows, cols = core.rows, core.cols
        if setup["window"]:
            if setup["engine"] == Engine.ARRAY or setup["kernel_w"] > core.tap_columns or not setup["stride_w"]:
                raise ModelError(ErrorCode.ILLEGAL_FIELD)
            # The same updates as those of passes over single kernel columns.
            setup = setup | {"step_x": setup["stride_w"] * setup["tap_x"], "dilation_w": 1}
        counts = ("kernel_h", "kernel_w", "out_w")
        if not all([*(setup[name] for name in counts), job["blocks"], job["out_h"]]) or job["weight_base"] % cols:
            raise ModelError(ErrorCode.ILLEGAL_FIELD)
        array = setup["engine"] == Engine.ARRAY
        maximum = not array and setup["tap_mode"] == TapMode.MAX
        pass_bytes = rows * cols if array else 0 if maximum else cols
        oy, ox = (index.ravel() for index in np.indices((job["out_h"], setup["out_w"])))
        entries = job["acc_base"] + np.arange(len(oy))
        bank = core.acc_bank_entries
        bad_acc = (entries >= core.acc_entries) | (entries // bank != job["acc_base"] // bank)
        for number, block, ky, kx in self.passes(setup, job):
            weight_addr = job["weight_base"] + number * pass_bytes
            if not maximum and weight_addr + pass_bytes > core.weight_bytes:
                raise ModelError(ErrorCode.WEIGHT_RANGE)
            iy = job["iy0"] + oy * setup["stride_h"] + ky * setup["dilation_h"]
            ix = -setup["pad_left"] + ox * setup["stride_w"] + kx * setup["dilation_w"]
            inside = (iy >= 0) & (iy < job["in_h"]) & (ix >= 0) & (ix < setup["in_w"])
            addr = job["act_base"] + block * setup["block_pitch"] + ky * setup["tap_y"] + kx * setup["tap_x"]
            addr = (addr + oy * setup["step_y"] + ox * setup["step_x"]) % (1 << 22)
            bad_act = inside & (addr + rows > core.act_bytes)
            for n in range(len(oy)):
                if bad_acc[n] or bad_act[n]:
                    raise ModelError(ErrorCode.ACC_RANGE if bad_acc[n] else ErrorCode.ACT_RANGE)
            act = np.full((len(oy), rows), setup["pad_value"], np.int64)
            act[inside] = self.act[addr[inside, None] + np.arange(rows)]
            weight = self.weight[weight_addr : weight_addr + pass_bytes].astype(np.int64)
            overwrite = number == 0 and not job["accumulate"]
            old = self.acc[entries]
            if array:
                new = act @ weight.reshape(rows, cols) + (0 if overwrite else old)
            else:
                lanes = core.tap_lanes
                new = np.zeros_like(old)
                if maximum:
                    new[:, :lanes] = act[:, :lanes]
                    new = new if overwrite else np.maximum(new, old)
                else:
                    new[:, :lanes] = act[:, :lanes] * weight[:lanes] << setup["tap_shift"]
                    new = new if overwrite else new + old
            self.acc[entries] = wrap32(new)


SETUP_DEFAULTS: dict[str, int] = dict.fromkeys(SETUP_FIELDS, 0) | {
    "kernel_h": 1,
    "kernel_w": 1,
    "stride_h": 1,
    "stride_w": 1,
    "dilation_h": 1,
    "dilation_w": 1,
    "out_w": 4,
    "in_w": 4,
}
COMPUTE_DEFAULTS = {
    "act_base": 0,
    "weight_base": 0,
    "acc_base": 0,
    "blocks": 1,
    "out_h": 1,
    "iy0": 0,
    "in_h": 1000,
    "accumulate": 0,
}


def setup_of(**fields: int) -> dict[str, int]:
    return SETUP_DEFAULTS | fields


def job_of(**fields: int) -> dict[str, int]:
    return COMPUTE_DEFAULTS | fields


def random_setup(core: CoreParams, rng: random.Random, engine: Engine | None = None) -> dict[str, int]:
    """A small convolution over a blocked or planar-like layout; steps are of no particular alignment."""
    kernel_h, kernel_w = rng.choice([(1, 1), (1, 1), (2, 3), (3, 1), (3, 3)])
    in_w = rng.randint(1, 8)
    step_x = rng.choice([core.rows, rng.randint(0, core.rows)])
    step_y = rng.choice([step_x * in_w, rng.randint(0, 64)])
    stride_w, stride_h = rng.randint(0, 3), rng.randint(0, 3)
    dilation_w, dilation_h = rng.randint(0, 3), rng.randint(0, 3)
    wide = rng.random() < 0.3
    if engine is None:
        engine = rng.choice([Engine.ARRAY, Engine.ARRAY, Engine.TAP])
    window = engine == Engine.TAP and kernel_w <= core.tap_columns and rng.random() < 0.6
    if window:
        stride_w = rng.randint(1, 5)
    return setup_of(
        engine=engine,
        window=int(window),
        tap_mode=rng.choice(list(TapMode)),
        tap_shift=rng.choice([0, 0, 3, 31]),
        kernel_h=kernel_h,
        kernel_w=kernel_w,
        stride_h=stride_h,
        stride_w=stride_w,
        dilation_h=dilation_h,
        dilation_w=dilation_w,
        out_w=rng.randint(1, 12 if wide else 4),
        in_w=in_w,
        pad_left=rng.randint(0, 3),
        step_x=step_x,
        step_y=step_y,
        tap_x=step_x * dilation_w,
        tap_y=step_y * dilation_h,
        block_pitch=rng.randint(0, 40),
        pad_value=rng.randint(-128, 127),
    )


def random_job(core: CoreParams, setup: dict[str, int], rng: random.Random) -> dict[str, int]:
    """A job that fits in the memories."""
    bank = core.acc_bank_entries
    out_h = rng.randint(1, max(1, min(5, bank // setup["out_w"])))
    pixels = out_h * setup["out_w"]
    blocks = rng.choice([1, 1, 2, 3])
    passes = blocks * setup["kernel_h"] * setup["kernel_w"]
    weights = passes * (core.pes if setup["engine"] == Engine.ARRAY else core.cols)
    assert weights <= core.weight_bytes
    return job_of(
        act_base=rng.randint(0, 200),
        weight_base=rng.randint(0, (core.weight_bytes - weights) // core.cols) * core.cols,
        acc_base=rng.choice([0, bank]) + rng.randint(0, bank - pixels),
        blocks=blocks,
        out_h=out_h,
        iy0=rng.randint(-3, 1),
        in_h=rng.randint(0, 6),
        accumulate=rng.randint(0, 1),
    )


@dataclass
class Item:
    """An instruction for the bench: a SETUP (``job`` None) or a COMPUTE."""

    setup: dict[str, int]
    job: dict[str, int] | None = None
    signals: dict[str, int] = field(default_factory=dict)

    def encode(self) -> int:
        if self.job is None:
            raw = encode(Opcode.SETUP, **self.setup)
        else:
            raw = encode(Opcode.COMPUTE, **self.job, **self.signals)
        return int.from_bytes(raw, "little")


class ComputeWithAccumulator(Elaboratable):
    """`ComputeUnit` and a real `Accumulator`; the bench plays the scratchpads."""

    def __init__(self, core: CoreParams) -> None:
        self.core = core
        self.unit = ComputeUnit(core=core, chip=default_chip(1, core=core))
        self.acc = Accumulator(entries=core.acc_entries, cols=core.cols)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.unit = self.unit
        m.submodules.acc = self.acc
        wiring.connect(m, self.unit.update, self.acc.update)
        return m


@dataclass
class Trace:
    """What the bench saw, by cycle."""

    accepted: list[tuple[int, Item]] = field(default_factory=list)
    pixels: list[int] = field(default_factory=list)
    pass_starts: list[int] = field(default_factory=list)
    updates: list[int] = field(default_factory=list)
    signals: list[list[tuple[int, int, int]]] = field(default_factory=lambda: [[], [], []])
    """Per signal port: cycle, token, core."""
    weight_stalls: int = 0
    overheads: int = 0
    idle_at: int = 0
    error: int = 0
    acc: np.ndarray | None = None


def run_bench(
    core: CoreParams,
    state: CoreState,
    items: list[Item],
    *,
    rng: random.Random,
    offer: float = 1.0,
    take: float = 1.0,
    on_signal: Callable[[int, int, CoreState], None] | None = None,
    limit: int = 20000,
) -> Trace:
    """Run instructions; a cycle in which one is offered or a signal taken has probability ``offer`` and ``take``.

    ``on_signal(port, token, state)`` may change the memories in the cycle in which a signal becomes valid.
    Afterwards the accumulators are read back through the read port. ``state`` gives the scratchpads.
    """
    dut = ComputeWithAccumulator(core)
    unit, acc = dut.unit, dut.acc
    trace = Trace()
    left = deque(items)
    signal_ports = (unit.signal0, unit.signal1, unit.signal2)

    async def bench(ctx) -> None:
        seen = [False] * 3
        idle = 0
        offering = False
        taking = [False] * 3
        for cycle in range(limit):
            offering = bool(left) and (offering or rng.random() < offer)
            ctx.set(unit.instruction.valid, offering)
            if offering:
                ctx.set(unit.instruction.payload, left[0].encode())
            for index, port in enumerate(signal_ports):
                taking[index] = rng.random() < take
                ctx.set(port.ready, taking[index])
            for index, port in enumerate(signal_ports):
                if ctx.get(port.valid):
                    token = ctx.get(port.payload.token)
                    if not seen[index] and on_signal is not None:
                        on_signal(index, token, state)
                    seen[index] = not taking[index]
                    if taking[index]:
                        trace.signals[index].append((cycle, token, ctx.get(port.payload.core)))
                else:
                    assert not seen[index], "a signal was withdrawn"
            if offering and ctx.get(unit.instruction.ready):
                trace.accepted.append((cycle, left.popleft()))
                offering = False
            if ctx.get(unit.events.stream):
                trace.pixels.append(cycle)
                assert ctx.get(unit.events.array_pixel) + ctx.get(unit.events.tap_pixel) == 1
            if ctx.get(unit.events.pass_start):
                trace.pass_starts.append(cycle)
            trace.weight_stalls += ctx.get(unit.events.weight_stall)
            trace.overheads += ctx.get(unit.events.overhead)
            if ctx.get(unit.update.valid):
                trace.updates.append(cycle)
            reads = []
            for port, memory, width in (
                (unit.act_read, state.act, core.rows),
                (unit.weight_read, state.weight, core.cols),
            ):
                if ctx.get(port.enable):
                    taken = np.take(memory, ctx.get(port.addr) + np.arange(width), mode="wrap")
                    reads.append((port, int.from_bytes(taken.tobytes(), "little")))
            if ctx.get(unit.error):
                trace.error = ctx.get(unit.error)
                idle += 1
                if idle > 60:
                    break
            elif not left and not ctx.get(unit.busy):
                trace.idle_at = trace.idle_at or cycle
                idle += 1
                if idle > 3:
                    break
            else:
                idle = 0
                trace.idle_at = 0
            await ctx.tick()
            for port, word in reads:
                ctx.set(port.data, word)
        else:
            raise AssertionError(f"still busy after {limit} cycles")
        if trace.error:
            return
        entries = []
        ctx.set(acc.read.valid, 1)
        for entry in range(core.acc_entries):
            ctx.set(acc.read.addr, entry)
            assert ctx.get(acc.read.ready)
            await ctx.tick()
            raw = ctx.get(acc.read.data)
            entries.append(np.frombuffer(raw.to_bytes(4 * core.cols, "little"), "<i4"))
        trace.acc = np.array(entries, np.int64)

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
    return trace
