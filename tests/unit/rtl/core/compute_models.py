"""NumPy model of SETUP and COMPUTE, and a bench around `ComputeUnit` for the tests."""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from amaranth.hdl import Const, Elaboratable, Module
from amaranth.lib import wiring
from amaranth.sim import Simulator

from rtl.contract.codec import encode, field_range
from rtl.contract.engines.tap import TAP, TapMode
from rtl.contract.isa import Engine, Opcode
from rtl.contract.params import CoreParams, default_chip
from rtl.contract.regs import ErrorCode
from rtl.core.accumulator import Accumulator
from rtl.core.compute import ComputeUnit
from rtl.core.job import SETUP_FIELDS, compute_fields, job_layout

GEOMETRY = (*(name for name in SETUP_FIELDS if name != "options"), *(name for name, _ in TAP.options))
"""What a SETUP says, the options of the tap unit by name."""


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
    act_reads: list[int] = field(default_factory=list)
    """Addresses of the acts that were not padding, in order."""
    passes: int = 0
    pixels: int = 0
    tap_pixels: int = 0
    updates: int = 0
    """Passes started, pixels streamed (by the tap unit), entries updated: not every pixel of a window updates one."""

    @classmethod
    def randomised(cls, core: CoreParams, rng: np.random.Generator) -> CoreState:
        return cls(
            core,
            rng.integers(-128, 128, core.act_bytes, dtype=np.int8),
            rng.integers(-128, 128, core.weight_bytes, dtype=np.int8),
            np.zeros((core.acc_entries, core.cols), np.int64),
        )

    def copy(self) -> CoreState:
        return CoreState(self.core, self.act.copy(), self.weight.copy(), self.acc.copy())

    def is_legal(self, setup: dict[str, int], job: dict[str, int]) -> bool:
        """Whether the instruction starts at all."""
        foreign = setup["engine"] == Engine.ARRAY and any(setup[name] for name, _ in TAP.options)
        if setup["engine"] not in (Engine.ARRAY, Engine.TAP) or setup["options"] or foreign:
            return False
        if setup["window"] and (setup["kernel_w"] > self.core.tap_columns or not setup["stride_w"]):
            return False
        counts = (setup["kernel_h"], setup["kernel_w"], setup["out_w"], job["blocks"], job["out_h"])
        return all(counts) and job["weight_base"] % self.core.cols == 0

    def weight_reads(self, setup: dict[str, int], job: dict[str, int]) -> Iterator[int]:
        """Addresses of a job's rows of weights, up to the first that the scratchpad does not have."""
        array = setup["engine"] == Engine.ARRAY
        if not self.is_legal(setup, job) or (not array and setup["tap_mode"] == TapMode.MAX):
            return
        rows, size = (self.core.rows, self.core.cols) if array else (1, self.core.cols)
        addr = job["weight_base"]
        for _ in range(job["blocks"] * setup["kernel_h"] * setup["kernel_w"]):
            if addr + rows * size > self.core.weight_bytes:
                return
            yield from range(addr, addr + rows * size, size)
            addr += rows * size

    def setup(self, setup: dict[str, int]) -> None:
        """Execute a SETUP.

        Raises
        ------
        ModelError
            If no COMPUTE could follow it.
        """
        if not self.is_legal(setup, COMPUTE_DEFAULTS):
            raise ModelError(ErrorCode.ILLEGAL_FIELD)

    def compute(self, setup: dict[str, int], job: dict[str, int]) -> None:
        """Execute a COMPUTE, in place.

        Raises
        ------
        ModelError
            For the first pass or pixel that is out of range; those before it are done.
        """
        core = self.core
        rows, cols, bank = core.rows, core.cols, core.acc_bank_entries
        if not self.is_legal(setup, job):
            raise ModelError(ErrorCode.ILLEGAL_FIELD)
        array = setup["engine"] == Engine.ARRAY
        maximum = not array and setup["tap_mode"] == TapMode.MAX
        # A window is streamed by its input columns; its pass has all columns of the kernel.
        window = setup["kernel_w"] if setup["window"] else 1
        stride, step = (1, setup["tap_x"]) if setup["window"] else (setup["stride_w"], setup["step_x"])
        between = setup["stride_w"] if setup["window"] else 1
        # Nothing behind the first entry outside the bank is reached.
        out_w = min(setup["out_w"], bank + 1)
        oy, n = (i.ravel() for i in np.indices((min(job["out_h"], bank + 1), (out_w - 1) * between + window)))
        counts = (n >= window - 1) & ((n - window + 1) % between == 0)
        entries = job["acc_base"] + oy * out_w + (n - window + 1) // between
        bad_acc = counts & ((entries >= core.acc_entries) | (entries // bank != job["acc_base"] // bank))
        pass_bytes = rows * cols if array else 0 if maximum else cols * window
        weight_addr = job["weight_base"]
        first = not job["accumulate"]
        for block, ky, kx in np.ndindex(job["blocks"], setup["kernel_h"], setup["kernel_w"] // window):
            if weight_addr + pass_bytes > core.weight_bytes and not maximum:
                raise ModelError(ErrorCode.WEIGHT_RANGE)
            iy = job["iy0"] + oy * setup["stride_h"] + ky * setup["dilation_h"]
            ix = -setup["pad_left"] + n * stride + kx * setup["dilation_w"]
            inside = (iy >= 0) & (iy < job["in_h"]) & (ix >= 0) & (ix < setup["in_w"])
            addr = job["act_base"] + block * setup["block_pitch"] + ky * setup["tap_y"] + kx * setup["tap_x"]
            addr = (addr + oy * setup["step_y"] + n * step) % (1 << 22)
            bad = np.append(bad_acc | inside & (addr + rows > core.act_bytes), True)
            end = int(np.argmax(bad))
            inside, addr, taken = inside[:end], addr[:end], np.flatnonzero(counts[:end])
            self.act_reads += addr[inside].tolist()
            self.passes += int(end > 0)
            self.pixels += end
            self.tap_pixels += 0 if array else end
            self.updates += len(taken)
            act = np.full((end, rows), setup["pad_value"], np.int64)
            act[inside] = self.act[addr[inside, None] + np.arange(rows)]
            weight = self.weight[weight_addr : weight_addr + pass_bytes].astype(np.int64).reshape(-1, cols)
            new = np.zeros((len(taken), cols), np.int64)
            lanes = core.tap_lanes
            if array:
                new = act[taken] @ weight
            elif maximum:
                new[:, :lanes] = np.max([act[taken - k, :lanes] for k in range(window)], axis=0)
            else:
                for k in range(window):
                    new[:, :lanes] += act[taken - (window - 1 - k), :lanes] * weight[k, :lanes] << setup["tap_shift"]
            old, where = self.acc[entries[taken]], entries[taken]
            if not first:
                new = np.maximum(new, old) if maximum else new + old
            self.acc[where] = wrap32(new)
            if end < len(counts):
                raise ModelError(ErrorCode.ACC_RANGE if bad_acc[end] else ErrorCode.ACT_RANGE)
            first = False
            weight_addr += pass_bytes


SETUP_DEFAULTS: dict[str, int] = dict.fromkeys((*GEOMETRY, "options"), 0) | {
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
    kernel_h, kernel_w = rng.choice([(1, 1), (1, 1), (1, 2), (2, 3), (3, 1), (3, 3)])
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
    options = {"window": int(window), "tap_mode": rng.choice(list(TapMode)), "tap_shift": rng.choice([0, 0, 3, 31])}
    return setup_of(
        engine=engine,
        **(options if engine == Engine.TAP else {}),
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


WAITS = {f"wait{i}_{part}": 85 + i for i in range(3) for part in ("first", "count")}


@dataclass
class Item:
    """An instruction for the bench: a SETUP (``job`` None) or a COMPUTE."""

    setup: dict[str, int]
    job: dict[str, int] | None = None
    signals: dict[str, int] = field(default_factory=dict)

    def encode(self) -> int:
        """Its waits are over; whatever they were must not matter."""
        if self.job is None:
            raw = encode(Opcode.SETUP, **self.setup, **WAITS)
        else:
            raw = encode(Opcode.COMPUTE, **self.job, **self.signals, **WAITS)
        return int.from_bytes(raw, "little")


FIELD_BITS = [
    (opcode, name, bit)
    for opcode, fields in ((Opcode.SETUP, (*GEOMETRY, "options")), (Opcode.COMPUTE, COMPUTE_DEFAULTS))
    for name in fields
    for bit in range((field_range(opcode, name)[1] - field_range(opcode, name)[0]).bit_length())
    if name != "options" or bit >= TAP.options.size
]
"""All bits of SETUP and COMPUTE that say what is computed; ``options``: those that no engine has."""
FEW_PIXELS, MANY_PIXELS = 100, 600
"""That a job streams at most if it can be, and at most."""


def _far_job(core: CoreParams, rng: random.Random) -> tuple[dict[str, int], dict[str, int]]:
    """SETUP and COMPUTE; half of the activations lie behind addresses that only steps modulo 2**22 lead back from."""
    setup = random_setup(core, rng)
    job = random_job(core, setup, rng)
    near = rng.randrange(core.act_bytes // 2)
    far = rng.randrange(1 << 22)
    match rng.randrange(6):
        case 0:  # the first row is padding, and the second inside again
            job |= {"act_base": far, "iy0": -1, "in_h": 9, "out_h": 2}
            setup |= {"step_y": (near - far) % (1 << 22), "stride_h": rng.randint(1, 3), "kernel_h": 1}
        case 1:  # the same with kernel rows
            job |= {"act_base": far, "iy0": -1, "in_h": 9, "out_h": 1}
            setup |= {"tap_y": (near - far) % (1 << 22), "dilation_h": rng.randint(1, 15), "kernel_h": 2}
        case 2:  # up by rows
            job |= {"act_base": near, "iy0": 0, "in_h": 9}
            setup |= {"step_y": -rng.randrange(near + 1) // 9 % (1 << 22), "kernel_h": 1}
        case 3:  # and by blocks
            job |= {"act_base": near, "iy0": 0}
            setup |= {"block_pitch": -rng.randrange(near + 1) // 3 % (1 << 22), "kernel_h": 1}
    return setup, job


def _outcome(
    state: CoreState, setup: dict[str, int], job: dict[str, int], most_pixels: int
) -> tuple[object, ...] | None:
    """All that a COMPUTE and its SETUP do, the error last; None if that takes too long."""
    pixels = job["out_h"] * setup["out_w"]
    passes = job["blocks"] * setup["kernel_h"] * setup["kernel_w"]
    streamed = pixels * (setup["stride_w"] + setup["kernel_w"] if setup["window"] else 1)
    rows = state.core.rows if setup["engine"] == Engine.ARRAY else 1
    if pixels <= state.core.acc_bank_entries and passes * max(streamed, rows) > most_pixels:
        return None
    after, error = state.copy(), ErrorCode.NONE
    try:
        after.setup(setup)
        after.compute(setup, job)
    except ModelError as fault:
        error = fault.code
    return after.acc.tobytes(), after.act_reads, list(after.weight_reads(setup, job)), error


def item_with_a_bit_that_matters(
    state: CoreState, rng: random.Random, opcode: Opcode, name: str, bit: int
) -> tuple[Item, ErrorCode]:
    """A COMPUTE that does something else if this bit of a field is inverted, and the error that it ends with.

    If only errors are found in some tries, it is one of them.
    """
    low, high = field_range(opcode, name)
    for tries in range(10000):
        before = _far_job(state.core, rng)
        setup, job = (dict(fields) for fields in before)
        fields = setup if opcode == Opcode.SETUP else job
        fields[name] = ((fields[name] ^ 1 << bit) - low) % (high - low + 1) + low
        most = FEW_PIXELS if tries < 200 else MANY_PIXELS
        after = _outcome(state, setup, job, most)
        if after is not None and (not after[-1] or tries >= 20) and _outcome(state, *before, most) not in (None, after):
            signals = {f"signal{i}_valid": 1 for i in range(3)}
            signals |= {f"signal{i}_token": rng.randrange(128) for i in range(3)}
            signals |= {f"signal{i}_core": rng.randrange(64) for i in range(3)}
            return Item(setup, job, signals), ErrorCode(after[-1])
    raise AssertionError(f"bit {bit} of {name} never matters")


JOB_RANGES = {
    **{name: field_range(Opcode.SETUP, name) for name in GEOMETRY},
    **{name: field_range(Opcode.COMPUTE, name) for name in compute_fields(CoreParams())},
    "engine": (Engine.ARRAY, Engine.TAP),
    "illegal": (0, 1),
}
COUNTS = ("blocks", "kernel_h", "kernel_w", "out_h", "out_w")


def any_fields(rng: random.Random) -> dict[str, int]:
    """A job for streamer and weight loader whose fields are anything."""
    return {name: rng.randint(*limits) for name, limits in JOB_RANGES.items()}


def random_counts(rng: random.Random, most: int) -> dict[str, int]:
    """Turns of all loops, one of them often long; their product is ``most`` at most."""
    long = rng.choice(COUNTS)
    counts = {name: rng.choice([1, 1, 2, 3]) for name in COUNTS}
    while (others := math.prod(counts.values()) // counts[long]) > most:
        counts[rng.choice(COUNTS)] = 1
    largest = min(JOB_RANGES[long][1], most // others)
    return counts | {long: rng.choice([largest, rng.randint(1, largest), rng.randint(1, min(6, largest))])}


def longest(loop: str) -> dict[str, int]:
    """As many turns of a loop as its field can say, and one of all others."""
    return dict.fromkeys(COUNTS, 1) | {loop: JOB_RANGES[loop][1]}


def job_bits(fields: dict[str, int]) -> int:
    """As `rtl.core.job.job_layout` holds it."""
    options = Const.cast(TAP.options.const({name: fields[name] for name, _ in TAP.options})).value
    setup = {name: fields.get(name, options) for name in SETUP_FIELDS}
    rest = {name: value for name, value in fields.items() if name not in GEOMETRY}
    return Const.cast(job_layout(CoreParams()).const({"setup": setup, **rest})).value


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
    tap_pixels: int = 0
    pass_starts: list[int] = field(default_factory=list)
    act_reads: list[tuple[int, int]] = field(default_factory=list)
    weight_reads: list[tuple[int, int]] = field(default_factory=list)
    """Cycle and address."""
    updates: list[int] = field(default_factory=list)
    signals: list[list[tuple[int, int, int]]] = field(default_factory=lambda: [[], [], []])
    """Per signal port: cycle, token, core."""
    weight_stalls: int = 0
    idle: set[int] = field(default_factory=set)
    """Cycles in which the unit was not busy; ``idle_at`` is the first behind all that it did."""
    idle_at: int = 0
    error: int = 0
    acc: np.ndarray | None = None

    def signalled(self, index: int) -> list[tuple[int, int]]:
        """Token and core of each signal of a port."""
        return [entry[1:] for entry in self.signals[index]]


def expect(trace: Trace, state: CoreState, items: list[Item], *, prompt: bool = True) -> None:
    """Check what the bench saw of instructions against the model, which executes them on ``state``.

    ``prompt``: signals were taken at once, so that they must also come as early as documented.
    """
    core = state.core
    error, jobs, signals = ErrorCode.NONE, [], [[], [], []]
    weights: list[int] = []
    try:
        for accepted, item in trace.accepted:
            if item.job is None:
                state.setup(item.setup)
                continue
            weights += state.weight_reads(item.setup, item.job)
            state.compute(item.setup, item.job)
            jobs.append((accepted, state.pixels, state.updates, len(state.act_reads), len(weights)))
            for index in range(3):
                if item.signals.get(f"signal{index}_valid"):
                    fields = item.signals[f"signal{index}_token"], item.signals[f"signal{index}_core"]
                    signals[index].append((len(jobs) - 1, fields))
    except ModelError as fault:
        error = fault.code
    assert trace.error == error
    assert error or len(trace.accepted) == len(items)
    assert (len(trace.pixels), trace.tap_pixels) == (state.pixels, state.tap_pixels)
    assert (len(trace.updates), len(trace.pass_starts)) == (state.updates, state.passes)
    acts, rows = ([addr for _, addr in reads] for reads in (trace.act_reads, trace.weight_reads))
    if error:  # the bad pixel may have been read, and weights of jobs behind it
        assert acts[: len(state.act_reads)] == state.act_reads
        assert len(acts) <= len(state.act_reads) + 1
        assert all(a == b for a, b in zip(rows, weights, strict=False))
    else:
        assert (acts, rows) == (state.act_reads, weights)
    lanes = core.tap_lanes if trace.tap_pixels else core.cols  # the others are undefined
    assert trace.acc is not None
    assert np.array_equal(trace.acc[:, :lanes], state.acc[:, :lanes])
    for index in range(3):
        assert trace.signalled(index) == [fields for _, fields in signals[index]]
        for (cycle, *_), (number, _) in zip(trace.signals[index], signals[index], strict=True):
            accepted, pixels, updates, last_act, last_weight = jobs[number]
            assert trace.idle.isdisjoint(range(accepted + 1, cycle + 1)), "busy until the last signal"
            if index == 2:
                done = trace.updates[updates - 1] + 2
                assert cycle == done if prompt else cycle >= done
                continue
            weight = trace.weight_reads[last_weight - 1][0] if last_weight else -1
            act = trace.act_reads[last_act - 1][0] if last_act else -1
            assert cycle > max(act, weight), "operands may be overwritten"
            assert not prompt or cycle <= max(trace.pixels[pixels - 1], weight + 1)


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
        idle = moved = gone_before = 0
        offering = False
        taking = [False] * 3
        for cycle in range(limit):
            offering = bool(left) and (offering or rng.random() < offer)
            ctx.set(unit.instruction.valid, offering)
            ctx.set(unit.instruction.payload, left[0].encode() if offering else rng.getrandbits(256))
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
            events, busy, error = ctx.get(unit.events), ctx.get(unit.busy), ctx.get(unit.error)
            assert events.stream == sum(events[f"{name}_pixel"] for name in core.engines)
            if events.stream:
                trace.pixels.append(cycle)
                trace.tap_pixels += events.tap_pixel if "tap" in core.engines else 0
            if events.pass_start:
                assert events.stream
                trace.pass_starts.append(cycle)
            if not error:
                assert events.stream + events.weight_stall + events.overhead == busy, "each busy cycle has one cause"
            assert error == trace.error or not trace.error, "the first error stays"
            trace.weight_stalls += events.weight_stall
            if ctx.get(unit.update.valid):
                trace.updates.append(cycle)
            if not busy:
                trace.idle.add(cycle)
            reads = []
            for port, memory, width, known in (
                (unit.act_read, state.act, core.rows, trace.act_reads),
                (unit.weight_read, state.weight, core.cols, trace.weight_reads),
            ):
                if ctx.get(port.enable):
                    addr = ctx.get(port.addr)
                    known.append((cycle, addr))
                    taken = np.take(memory, addr + np.arange(width), mode="wrap")
                    reads.append((port, int.from_bytes(taken.tobytes(), "little")))
            gone = sum(map(len, trace.signals))
            if events.stream or reads or not busy or gone > gone_before:
                moved, gone_before = cycle, gone
            assert cycle - moved < 500, "nothing moves"
            if error:
                trace.error = error
                idle = 0 if take and any(ctx.get(port.valid) for port in signal_ports) else idle + 1
                if idle > 60:
                    break
            elif not left and not busy:
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
