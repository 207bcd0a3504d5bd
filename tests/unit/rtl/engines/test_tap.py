"""`TapUnit` against NumPy: products, shifts, maxima, windows, gaps anywhere."""

from __future__ import annotations

import random
from collections import deque
from typing import Any

import numpy as np
import pytest

from rtl.contract.params import CoreParams
from rtl.engines.tap import TapUnit
from tests.unit.rtl.drivers import simulate


def packed(values: np.ndarray) -> int:
    return int.from_bytes(values.astype(np.int8).tobytes(), "little")


@pytest.mark.parametrize("rate", [1.0, 0.5, 0.1])
@pytest.mark.parametrize(("rows", "cols", "columns"), [(4, 4, 1), (8, 4, 3), (4, 16, 4), (4, 4, 2)])
def test_updates_are_shifted_sums_or_maxima_of_the_window(rows: int, cols: int, columns: int, rate: float) -> None:
    """Passes of one to ``columns`` columns in turn; once the window is full, pixels may still be skipped."""
    core = CoreParams(rows=rows, cols=cols, tap_columns=columns)
    dut = TapUnit(core=core)
    lanes = core.tap_lanes
    rng = random.Random(f"{rows} {cols} {rate}")
    data = np.random.default_rng(7)
    passes = [(rng.random() < 0.3, rng.choice([0, 1, 7, 31]), rng.choice([1, 1, 2, 9])) for _ in range(40)]
    widths = [rng.randint(1, columns) for _ in passes]
    weights = [data.integers(-128, 128, (width, cols)) for width in widths]
    acts = [data.integers(-128, 128, (length, rows)) for _, _, length in passes]
    starts = []

    async def bench(ctx: Any) -> None:
        weight_rows = deque(
            (number, row) for number, p in enumerate(passes) if not p[0] for row in range(widths[number])
        )
        pixels = deque((number, n) for number, (_, _, length) in enumerate(passes) for n in range(length))
        expected: deque[tuple[int, int, bool, list[int]]] = deque()
        weight_on = pixel_on = False
        cycle = 0
        while pixels or expected:
            weight_on = bool(weight_rows) and (weight_on or rng.random() < rate)
            ctx.set(dut.weights.valid, weight_on)
            if weight_on:
                number, row = weight_rows[0]
                ctx.set(dut.weights.payload, packed(weights[number][row]))
                ctx.set(dut.weights_more, row < widths[number] - 1)
            else:
                ctx.set(dut.weights.payload, rng.getrandbits(8 * cols))
            pixel_on = bool(pixels) and (pixel_on or rng.random() < rate)
            ctx.set(dut.pixels.valid, pixel_on)
            if pixel_on:
                number, n = pixels[0]
                is_max, shift, _ = passes[number]
                skip = n < widths[number] - 1 or (number + n) % 3 == 0
                payload = dut.pixels.payload
                ctx.set(payload.act, packed(acts[number][n]))
                ctx.set(payload.first, n == 0)
                ctx.set(payload.options.tap_shift, shift)
                ctx.set(payload.skip, skip)
                if core.tap_columns > 1:
                    ctx.set(payload.columns, (1 << widths[number] - 1) - 1)
                ctx.set(payload.tag.is_max, is_max)
                ctx.set(payload.tag.addr, cycle % core.acc_entries)
            assert ctx.get(dut.idle) == (not expected)
            if ctx.get(dut.update.valid):
                due, addr, is_max, result = expected.popleft()
                assert due == cycle
                raw = ctx.get(dut.update.data).to_bytes(4 * cols, "little")
                assert np.frombuffer(raw, "<i4")[:lanes].tolist() == result
                assert ctx.get(dut.update.tag.addr) == addr
                assert ctx.get(dut.update.tag.is_max) == is_max
            if weight_on and ctx.get(dut.weights.ready):
                weight_rows.popleft()
                weight_on = False
            if pixel_on and ctx.get(dut.pixels.ready):
                number, n = pixels.popleft()
                is_max, shift, _ = passes[number]
                if n == 0:
                    starts.append(cycle)
                if not skip:
                    window = acts[number][n - widths[number] + 1 : n + 1, :lanes].astype(np.int64)
                    total = (window * weights[number][:, :lanes]).sum(axis=0) << shift
                    result = window.max(axis=0) if is_max else total.astype(np.uint32).astype(np.int32)
                    expected.append((cycle + 2, cycle % core.acc_entries, is_max, result.tolist()))
                pixel_on = False
            await ctx.tick()
            cycle += 1

    simulate(dut, bench)
    if rate == 1.0:
        rows_of = [0 if is_max else width for (is_max, _, _), width in zip(passes, widths, strict=True)]
        lengths = [max(length, n + 1, ahead + 1) for (_, _, length), n, ahead in zip(
            passes, rows_of, [*rows_of[1:], 0], strict=True
        )]  # fmt: skip
        assert starts[-1] - starts[0] <= sum(lengths[:-1])
