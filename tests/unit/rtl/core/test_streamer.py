"""`PixelStreamer` against a list of the pixels of each job, every output in every cycle."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, product
from typing import Any

import pytest
from amaranth.hdl import Cat, Const

from rtl.contract.engines.tap import TapMode
from rtl.contract.isa import Engine
from rtl.contract.params import CoreParams
from rtl.contract.regs import ErrorCode
from rtl.core.streamer import PixelStreamer, finish_layout
from tests.unit.rtl.core.compute_models import (
    COUNTS,
    GEOMETRY,
    JOB_RANGES,
    any_fields,
    job_bits,
    longest,
    random_counts,
)
from tests.unit.rtl.drivers import simulate

CORE = CoreParams(rows=4, cols=4, act_bytes=1 << 20, weight_bytes=1024, acc_entries=4096, tap_columns=8)
MOST_PIXELS = 1100
"""Of a job."""


def payload_of(pixels: Any) -> list[Any]:
    """Wires of a stream's payload, in the order of `Pixel.payload`."""
    tag = pixels.tag
    fields = (pixels.act, pixels.first, pixels.options.tap_shift, pixels.skip, pixels.columns)
    return [*fields, tag.addr, tag.overwrite, tag.is_max, tag.last]


@dataclass(frozen=True)
class Pixel:
    """One pixel of a job, or the error in its place."""

    job: dict[str, int]
    addr: int
    inside: bool
    error: ErrorCode
    entry: int = 0
    first: bool = True
    skip: bool = False
    overwrite: bool = False
    last: bool = False

    def payload(self, act: int) -> tuple[int, ...]:
        """As the engine gets it, in the order of `payload_of`."""
        job = self.job
        columns = (1 << job["kernel_w"] - 1) - 1 if job["window"] else 0
        is_max = job["engine"] == Engine.TAP and job["tap_mode"] == TapMode.MAX
        tag = (self.entry, self.overwrite, is_max, self.last)
        return (act, self.first, job["tap_shift"], self.skip, columns, *tag)


def pixels_of(job: dict[str, int]) -> Iterator[Pixel]:
    """In the order in which they are streamed, as `rtl.contract.isa` says; up to the first error."""
    bank, base = CORE.acc_bank_entries, job["acc_base"]

    def is_inside(iy: int, ix: int) -> bool:
        return 0 <= iy < job["in_h"] and 0 <= ix < job["in_w"]

    if job["illegal"]:
        yield Pixel(job, job["act_base"], is_inside(job["iy0"], -job["pad_left"]), ErrorCode.ILLEGAL_FIELD)
        return
    if job["window"]:
        window, between, kernel_w, stride, step = job["kernel_w"], job["stride_w"], 1, 1, job["tap_x"]
    else:
        window, between, kernel_w, stride, step = 1, 1, job["kernel_w"], job["stride_w"], job["step_x"]
    row = (job["out_w"] - 1) * between + window
    end = (job["blocks"] - 1, job["kernel_h"] - 1, kernel_w - 1, job["out_h"] - 1, row - 1)
    for place in product(*(range(count + 1) for count in end)):
        block, ky, kx, oy, n = place
        behind = n - (window - 1)
        skip = behind < 0 or behind % between != 0
        entry = base + oy * job["out_w"] + -(-max(behind, 0) // between)
        addr = job["act_base"] + block * job["block_pitch"] + ky * job["tap_y"] + kx * job["tap_x"]
        addr = (addr + oy * job["step_y"] + n * step) % (1 << 22)
        iy = job["iy0"] + oy * job["stride_h"] + ky * job["dilation_h"]
        inside = is_inside(iy, n * stride + kx * job["dilation_w"] - job["pad_left"])
        error = ErrorCode.NONE
        if not skip and (entry >= CORE.acc_entries or entry // bank != base // bank):
            error = ErrorCode.ACC_RANGE
        elif inside and addr + CORE.rows > CORE.act_bytes:
            error = ErrorCode.ACT_RANGE
        overwrite = place[:3] == (0, 0, 0) and not job["accumulate"]
        first = place[3:] == (0, 0)
        yield Pixel(job, addr, inside, error, entry % CORE.acc_entries, first, skip, overwrite, place == end)
        if error:
            return


def is_legal(job: dict[str, int]) -> bool:
    """The compute unit lets it through."""
    fits = job["engine"] == Engine.TAP and job["kernel_w"] <= CORE.tap_columns and job["stride_w"]
    return all(job[name] for name in COUNTS) and bool(fits or not job["window"])


def random_job(rng: random.Random, counts: dict[str, int] | None = None) -> dict[str, int]:
    """Of any geometry, or with these turns of loops; so near in coordinates and addresses that many pixels exist."""

    def step(bits: int) -> int:
        """Upwards or, if it has all bits of an address, downwards."""
        value = rng.getrandbits(rng.choice([min(bits, 17), rng.randint(0, min(bits, 17))]))
        return (value if bits < 22 or rng.random() < 0.6 else -value) % (1 << bits)

    job = any_fields(rng) | (counts or random_counts(rng, MOST_PIXELS))
    job["window"] = int(rng.random() < 0.7 and is_legal(job | {"window": 1}))
    bank, entries = CORE.acc_bank_entries, job["out_h"] * job["out_w"]
    return job | {
        "illegal": 0,
        "act_base": rng.choice([rng.randrange(CORE.act_bytes), -rng.randrange(1 << 14) % (1 << 22)]),
        "step_x": step(12),
        "tap_x": step(12),
        "step_y": step(22),
        "tap_y": step(22),
        "block_pitch": step(22),
        "pad_left": rng.choice([0, rng.randrange(4), job["pad_left"]]),
        "iy0": rng.choice([0, rng.randint(-3, 3), job["iy0"]]),
        "in_h": rng.choice([rng.randint(1, 9), job["in_h"], 1023]),
        "in_w": rng.choice([rng.randint(1, 9), job["in_w"], 1023]),
        "acc_base": bank * rng.randrange(2) + rng.randrange(bank + 1 - entries),
    }


def good_job(rng: random.Random, counts: dict[str, int] | None = None, **fixed: int) -> dict[str, int]:
    """One without an error, with these fields."""
    while True:
        job = random_job(rng, counts) | fixed
        if not any(pixel.error for pixel in pixels_of(job)):
            return job


def padded_job(rng: random.Random) -> dict[str, int]:
    """A convolution over a map at the lowest addresses: the padding at its edges lies before address 0."""
    limits = {"blocks": 3, "kernel_h": 3, "kernel_w": 3, "out_h": 4, "out_w": 6}
    job = random_job(rng, {name: rng.randint(1, most) for name, most in limits.items()})
    job |= {name: rng.randint(1, 2) for name in ("stride_h", "stride_w", "dilation_h", "dilation_w")}
    pitch, row, top, left = rng.randint(1, 1000), rng.randint(1, 9000), rng.randint(1, 3), rng.randint(1, 5)
    return job | {
        "act_base": (rng.randrange(40) - top * row - left * pitch) % (1 << 22),
        "iy0": -top,
        "pad_left": left,
        "in_h": rng.randint(1, 12),
        "in_w": rng.randint(1, 12),
        "step_x": pitch * job["stride_w"],
        "tap_x": pitch * (1 if job["window"] else job["dilation_w"]),
        "step_y": row * job["stride_h"],
        "tap_y": row * job["dilation_h"],
        "block_pitch": rng.randrange(1 << 16),
    }


def bad_job(rng: random.Random, code: ErrorCode, counts: dict[str, int] | None = None) -> dict[str, int]:
    """One that ends with an error."""
    while True:
        job = random_job(rng, counts)
        match code:
            case ErrorCode.ILLEGAL_FIELD:
                job = any_fields(rng) | {"illegal": 1} | (counts or {})
            case ErrorCode.ACC_RANGE:
                job["acc_base"] = rng.choice([job["acc_base"] | CORE.acc_entries, rng.randrange(CORE.acc_entries)])
            case ErrorCode.ACT_RANGE:
                job["act_base"] = rng.choice([CORE.act_bytes - rng.randrange(40), rng.randrange(1 << 22)])
        if any(pixel.error == code for pixel in pixels_of(job)):
            return job


def observable(job: dict[str, int]) -> list[tuple[object, ...]]:
    """What a job does, pixel by pixel, as far as that is looked at here."""
    return [
        (pixel.error, pixel.addr if pixel.inside else job["pad_value"], *pixel.payload(0), job["engine"])
        for pixel in islice(pixels_of(job), 200)
    ]


BITS = [
    (name, bit)
    for name in (*GEOMETRY, "act_base", "acc_base", *COUNTS, "iy0", "in_h", "accumulate")
    for bit in range((JOB_RANGES[name][1] - JOB_RANGES[name][0]).bit_length())
    if (name, bit) != ("acc_base", 12) and (name not in COUNTS or bit < 6)
]
"""All that matter: the highest of ``acc_base`` makes an error, those of the longest loops have a test of their own."""


def good_job_with(rng: random.Random, name: str, bit: int) -> dict[str, int]:
    """One without an error in which a bit of a field is 1, and would change something if it were 0."""
    low, high = JOB_RANGES[name]
    for _ in range(10000):
        job = random_job(rng, {count: rng.choice([1, 1, 2, 3]) for count in COUNTS})
        number = 1 << bit | rng.choice([0, rng.getrandbits(bit), rng.getrandbits(3), job[name]])
        job[name], flipped = ((value - low) % (high - low + 1) + low for value in (number, number ^ 1 << bit))
        other = job | {name: flipped}
        if not is_legal(job) or not is_legal(other) or any(pixel.error for pixel in pixels_of(job)):
            continue
        if observable(job) != observable(other):
            return job
    raise AssertionError(f"bit {bit} of {name} never matters")


class StreamerBench:
    """Plays scratchpad, engines and what gives jobs; knows what the streamer must do in every cycle."""

    def __init__(self, rng: random.Random, rate: float) -> None:
        self.dut = PixelStreamer(core=CORE)
        dut = self.dut  # its inputs at once: every access from a testbench costs
        self.inputs = Cat(dut.pixels.ready, dut.finish.ready, dut.engines_idle, dut.weights_failed, dut.read.data)
        self.outputs = [
            *(dut.job.ready, dut.read.enable, dut.read.addr, dut.pixels.valid, dut.engine),
            *(dut.finish.valid, dut.finish.payload.as_value(), dut.error, dut.busy),
            *payload_of(dut.pixels.payload),
        ]
        self.rng, self.rate = rng, rate
        self.jobs: deque[dict[str, int]] = deque()
        self.offered: dict[str, int] | None = None
        self.walk: Iterator[Pixel] = iter(())
        self.next: Pixel | None = None
        self.shown: Pixel | None = None
        self.engine = Engine.ARRAY
        self.next_engine = Engine.ARRAY
        self.hold = False
        self.stopped = False
        self.act = 0
        self.pixels = 0

    def _go(self) -> bool:
        return self.rng.random() < self.rate

    def _offer(self, ctx: Any) -> None:
        if self.offered is None:
            if self.jobs and self._go():
                self.offered = self.jobs.popleft()
            ctx.set(self.dut.job.payload.as_value(), job_bits(self.offered or any_fields(self.rng)))
            ctx.set(self.dut.job.valid, self.offered is not None)

    async def cycle(self, ctx: Any) -> None:
        rng = self.rng
        self._offer(ctx)
        taking, sending, idle, failed = self._go(), self._go(), self._go(), rng.random() < 0.1
        ctx.set(self.inputs, taking | sending << 1 | idle << 2 | failed << 3 | self.act << 4)
        seen = await ctx.tick().sample(*self.outputs)
        _, _, takes, enable, addr, valid, engine, finished, finish, error, busy, *pixel = seen
        shown, new = self.shown, self.next
        assert busy == (shown is not None or new is not None)
        assert valid == (shown is not None and not shown.error)
        if shown is not None:
            assert engine == self.engine
            if valid:
                assert tuple(pixel) == shown.payload(self.act if shown.inside else self._padding(shown))
            told = shown.error if taking or shown.error == ErrorCode.ILLEGAL_FIELD else ErrorCode.NONE
            assert error == (told or (ErrorCode.WEIGHT_RANGE if failed and not taking else told))
        else:
            assert not error
        free = shown is None or (valid and taking)
        goes = new if free and not self.hold and not self.stopped else None
        ends = goes is not None and goes.last and not goes.error
        assert finished == ends
        if goes is not None and ends:
            assert finish == self._finish(goes.job)
            goes = goes if sending else None
        assert takes == (not self.stopped and (new is None or (goes is not None and ends)))
        assert enable == (goes is not None and goes.inside)
        if goes is not None and goes.inside:
            assert addr == goes.addr % CORE.act_bytes
            self.act = rng.getrandbits(8 * CORE.rows)
        self._step(goes, free=free, drained=shown is None and idle, taken=bool(takes))

    def _step(self, goes: Pixel | None, *, free: bool, drained: bool, taken: bool) -> None:
        """To the next cycle."""
        if self.hold and drained:
            self.hold = False
        if free:
            self.shown = goes
        if goes is not None:
            self.pixels += 1
            self.engine = Engine(goes.job["engine"])
            self.stopped = bool(goes.error)
            self.next = None if goes.error else next(self.walk, None)
        if taken and self.offered is not None:
            self.hold = self.offered["engine"] != self.next_engine
            self.next_engine = Engine(self.offered["engine"])
            self.walk = pixels_of(self.offered)
            self.next = next(self.walk)
            self.offered = None

    @staticmethod
    def _padding(pixel: Pixel) -> int:
        return int.from_bytes(pixel.job["pad_value"].to_bytes(1, "little", signed=True) * CORE.rows, "little")

    @staticmethod
    def _finish(job: dict[str, int]) -> int:
        signals = {
            f"signal{i}": {
                "valid": job[f"signal{i}_valid"],
                "signal": {part: job[f"signal{i}_{part}"] for part in ("token", "core")},
            }
            for i in range(3)
        }
        return Const.cast(finish_layout.const(signals)).value

    async def run(self, ctx: Any) -> None:
        """All jobs, and a little longer."""
        while (self.jobs or self.offered or self.next or self.shown) and not self.stopped:
            await self.cycle(ctx)
        for _ in range(8):
            await self.cycle(ctx)


def run_to_the_end(bench: StreamerBench) -> None:
    """Run its jobs, which have no errors; every pixel must have gone."""
    expected = sum(1 for job in bench.jobs for _ in pixels_of(job))
    simulate(bench.dut, bench.run)
    assert bench.pixels == expected
    assert not bench.stopped


@pytest.mark.parametrize("rate", [1.0, 0.9, 0.5])
@pytest.mark.parametrize("seed", range(2), ids=lambda s: f"seed{s}")
def test_every_cycle_is_as_the_pixels_say(seed: int, rate: float) -> None:
    """Pixels, reads and all other outputs of random jobs, back to back and with gaps, for both engines."""
    rng = random.Random(f"{seed} {rate}")
    bench = StreamerBench(rng, rate)
    bench.jobs.extend(good_job(rng) for _ in range(4))
    run_to_the_end(bench)


@pytest.mark.parametrize("loop", COUNTS)
def test_the_longest_loops_end(loop: str) -> None:
    rng = random.Random(loop)
    bench = StreamerBench(rng, 0.8)
    bench.jobs.extend([good_job(rng, longest(loop)), good_job(rng)])
    run_to_the_end(bench)


@pytest.mark.parametrize("rate", [1.0, 0.7, 0.4])
def test_short_jobs_follow_each_other(rate: float) -> None:
    """Often of one pixel, and for the engine that the one before was not for."""
    rng = random.Random(f"{rate}")
    bench = StreamerBench(rng, rate)
    bench.jobs.extend(good_job(rng, {name: rng.choice([1, 1, 1, 1, 2]) for name in COUNTS}) for _ in range(60))
    run_to_the_end(bench)


@pytest.mark.parametrize("part", range(4))
def test_every_bit_of_every_field_matters(part: int) -> None:
    """Jobs that would do something else without it."""
    rng = random.Random(part)
    bench = StreamerBench(rng, (1.0, 0.6)[part % 2])
    bench.jobs.extend(good_job_with(rng, *bit) for bit in BITS[part::4])
    run_to_the_end(bench)


@pytest.mark.parametrize("columns", range(1, CORE.tap_columns + 1))
def test_windows_of_all_widths(columns: int) -> None:
    rng = random.Random(columns)
    bench = StreamerBench(rng, 0.6)
    for stride in range(1, 16):
        counts = {
            "blocks": 1,
            "kernel_h": 1,
            "kernel_w": columns,
            "out_h": rng.randint(1, 2),
            "out_w": rng.randint(1, 3),
        }
        bench.jobs.append(good_job(rng, counts, engine=Engine.TAP, window=1, stride_w=stride))
    run_to_the_end(bench)


def test_padding_may_lie_before_address_0() -> None:
    rng = random.Random(0)
    bench = StreamerBench(rng, 0.9)
    bench.jobs.extend(padded_job(rng) for _ in range(30))
    run_to_the_end(bench)


@pytest.mark.parametrize("beyond", [0, 1])
@pytest.mark.parametrize("bank", [0, 1])
@pytest.mark.parametrize("code", [ErrorCode.ACC_RANGE, ErrorCode.ACT_RANGE])
def test_the_last_entry_and_the_last_bytes_are_there(code: ErrorCode, bank: int, beyond: int) -> None:
    rng = random.Random(f"{code} {bank}")
    bench = StreamerBench(rng, 0.9)
    job = good_job(rng, dict.fromkeys(COUNTS, 1) | {"out_w": 5}) | {"window": 0, "iy0": 0, "pad_left": 0, "stride_w": 1}
    job |= {"in_h": 1, "in_w": 5, "step_x": 3, "act_base": 0, "acc_base": bank * CORE.acc_bank_entries}
    if code == ErrorCode.ACC_RANGE:
        job["acc_base"] += CORE.acc_bank_entries - 5 + beyond
    else:
        job["act_base"] = CORE.act_bytes - CORE.rows - 12 + beyond
    bench.jobs.append(job)
    simulate(bench.dut, bench.run)
    assert bench.pixels == 5
    assert bench.stopped == beyond
    assert bench.shown is None or bench.shown.error == code


@pytest.mark.parametrize("rate", [1.0, 0.7, 0.2])
@pytest.mark.parametrize("counts", [None, dict.fromkeys(COUNTS, 1)], ids=["any_pixel", "only_pixel"])
@pytest.mark.parametrize("code", [ErrorCode.ILLEGAL_FIELD, ErrorCode.ACC_RANGE, ErrorCode.ACT_RANGE])
def test_nothing_follows_a_bad_pixel(code: ErrorCode, counts: dict[str, int] | None, rate: float) -> None:
    rng = random.Random(f"{code} {counts} {rate}")
    bench = StreamerBench(rng, rate)
    bench.jobs.extend([good_job(rng, dict.fromkeys(COUNTS, 2)), bad_job(rng, code, counts), good_job(rng)])
    simulate(bench.dut, bench.run)
    assert bench.stopped
    assert bench.shown is not None
    assert bench.shown.error == code
