"""`SystolicArray` against a matrix product: passes of any length, gaps anywhere, exact latency and readiness."""

from __future__ import annotations

import random
from collections import deque
from typing import Any

import numpy as np
import pytest

from rtl.contract.params import CoreParams
from rtl.engines.array import SystolicArray
from tests.unit.rtl.drivers import simulate


def packed(values: np.ndarray) -> int:
    return int.from_bytes(values.astype(np.int8).tobytes(), "little")


def run_passes(
    core: CoreParams, lengths: list[int], rng: random.Random, *, pixel_rate: float = 1.0, weight_rate: float = 1.0
) -> list[int]:
    """Send passes of these lengths; returns the cycle in which each one started.

    A pixel comes with probability ``pixel_rate``, the first weight row of a pass with ``weight_rate`` (the others
    follow at once, as the interface demands).
    """
    dut = SystolicArray(core=core)
    rows, cols = core.rows, core.cols
    data = np.random.default_rng(rng.getrandbits(30))
    weights = [data.integers(-128, 128, (rows, cols)) for _ in lengths]
    # Extremes, and now and then a pass of them.
    weights[rng.randrange(len(weights))][:] = -128
    acts = [data.integers(-128, 128, (n, rows)) for n in lengths]
    acts[rng.randrange(len(acts))][:] = -128
    starts: list[int] = []  # cycle in which the first pixel of each pass is taken
    loads: list[int] = []  # that in which the first row of its weights is

    async def bench(ctx: Any) -> None:
        weight_rows = deque((number, row) for number in range(len(lengths)) for row in range(rows))
        pixels = deque((number, n) for number, length in enumerate(lengths) for n in range(length))
        expected: deque[tuple[int, int, list[int]]] = deque()
        weight_on = pixel_on = False
        tag = 0
        cycle = 0
        while pixels or expected:
            weight_on = bool(weight_rows) and (weight_on or weight_rows[0][1] > 0 or rng.random() < weight_rate)
            ctx.set(dut.weights.valid, weight_on)
            if weight_on:
                number, row = weight_rows[0]
                ctx.set(dut.weights.payload, packed(weights[number][row]))
            else:
                ctx.set(dut.weights.payload, rng.getrandbits(8 * cols))
            pixel_on = bool(pixels) and (pixel_on or rng.random() < pixel_rate)
            ctx.set(dut.pixels.valid, pixel_on)
            if pixel_on:
                number, n = pixels[0]
                ctx.set(dut.pixels.payload.act, packed(acts[number][n]))
                ctx.set(dut.pixels.payload.first, n == 0)
            ctx.set(dut.pixels.payload.tag.addr, tag)
            ctx.set(dut.pixels.payload.tag.last, tag & 1)
            assert ctx.get(dut.idle) == (not expected)
            if ctx.get(dut.update.valid):
                due, number, result = expected.popleft()
                assert due == cycle
                raw = ctx.get(dut.update.data).to_bytes(4 * cols, "little")
                assert np.frombuffer(raw, "<i4").tolist() == result
                assert ctx.get(dut.update.tag.addr) == number
                assert ctx.get(dut.update.tag.last) == number & 1
            else:
                assert not expected or expected[0][0] != cycle
            if weight_rows:
                number, row = weight_rows[0]
                taken_over = not number or (len(starts) >= number and cycle >= starts[number - 1] + cols - 1)
                assert ctx.get(dut.weights.ready) == (row > 0 or taken_over)
            if pixel_on:
                number, n = pixels[0]
                assert ctx.get(dut.pixels.ready) == (n > 0 or len(loads) > number)
            if weight_on and ctx.get(dut.weights.ready):
                if row == 0:
                    loads.append(cycle)
                weight_rows.popleft()
                weight_on = False
            if pixel_on and ctx.get(dut.pixels.ready):
                number, n = pixels.popleft()
                if n == 0:
                    starts.append(cycle)
                expected.append((cycle + rows + cols, tag, (acts[number][n] @ weights[number]).tolist()))
                tag = (tag + 1) % core.acc_entries
                pixel_on = False
            await ctx.tick()
            cycle += 1

    simulate(dut, bench)
    return starts


SHAPES = [(4, 4), (8, 4), (4, 8), (4, 16), (16, 16)]


@pytest.mark.parametrize("rates", [(1.0, 1.0), (0.5, 1.0), (1.0, 0.05), (0.3, 0.2)], ids=lambda r: f"{r[0]}and{r[1]}")
@pytest.mark.parametrize(("rows", "cols"), SHAPES)
def test_updates_are_the_matrix_product(rows: int, cols: int, rates: tuple[float, float]) -> None:
    core = CoreParams(rows=rows, cols=cols)
    rng = random.Random(f"{rows} {cols} {rates}")
    lengths = [1, 1, 2, rows - 1, 1, cols, 3 * max(rows, cols), 1, rows + cols, 2]
    lengths += [rng.randint(1, 40) for _ in range(4)]
    run_passes(core, lengths, rng, pixel_rate=rates[0], weight_rate=rates[1])


@pytest.mark.parametrize("pixels", [1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 40])
@pytest.mark.parametrize(("rows", "cols"), [(4, 4), (8, 4), (4, 8), (4, 16)])
def test_a_pass_takes_the_maximum_of_pixels_rows_and_columns(rows: int, cols: int, pixels: int) -> None:
    core = CoreParams(rows=rows, cols=cols)
    starts = run_passes(core, [pixels] * 6, random.Random(pixels))
    assert set(np.diff(starts)) == {max(pixels, rows, cols)}
    assert starts[0] == 1  # the cycle after the first weight row


def test_pass_time_of_the_default_array() -> None:
    for pixels in (1, 16):
        assert set(np.diff(run_passes(CoreParams(), [pixels] * 5, random.Random(pixels)))) == {16}
