"""`TapUnit` against NumPy: products, shifts, maxima, gaps anywhere."""

from __future__ import annotations

import random
from collections import deque
from typing import Any

import numpy as np
import pytest
from amaranth.sim import Simulator

from rtl.params import CoreParams
from rtl.tap import TapUnit


def packed(values: np.ndarray) -> int:
    return int.from_bytes(values.astype(np.int8).tobytes(), "little")


@pytest.mark.parametrize("rate", [1.0, 0.5, 0.1])
@pytest.mark.parametrize(("rows", "cols"), [(4, 4), (8, 4), (4, 16)])
def test_updates_are_shifted_products_or_the_activations(rows: int, cols: int, rate: float) -> None:
    core = CoreParams(rows=rows, cols=cols)
    dut = TapUnit(core=core)
    lanes = core.tap_lanes
    rng = random.Random(f"{rows} {cols} {rate}")
    data = np.random.default_rng(7)
    passes = [(rng.random() < 0.3, rng.choice([0, 1, 7, 31]), rng.choice([1, 1, 2, 9])) for _ in range(40)]
    weights = [data.integers(-128, 128, cols) for _ in passes]
    acts = [data.integers(-128, 128, (length, rows)) for _, _, length in passes]
    starts = []

    async def bench(ctx: Any) -> None:
        weight_rows = deque(number for number, (is_max, _, _) in enumerate(passes) if not is_max)
        pixels = deque((number, n) for number, (_, _, length) in enumerate(passes) for n in range(length))
        expected: deque[tuple[int, int, bool, list[int]]] = deque()
        weight_on = pixel_on = False
        cycle = 0
        while pixels or expected:
            weight_on = bool(weight_rows) and (weight_on or rng.random() < rate)
            ctx.set(dut.weights.valid, weight_on)
            ctx.set(dut.weights.payload, packed(weights[weight_rows[0]]) if weight_on else rng.getrandbits(8 * cols))
            pixel_on = bool(pixels) and (pixel_on or rng.random() < rate)
            ctx.set(dut.pixels.valid, pixel_on)
            if pixel_on:
                number, n = pixels[0]
                is_max, shift, _ = passes[number]
                payload = dut.pixels.payload
                ctx.set(payload.act, packed(acts[number][n]))
                ctx.set(payload.first, n == 0)
                ctx.set(payload.shift, shift)
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
                act = acts[number][n][:lanes].astype(np.int64)
                result = act if is_max else (act * weights[number][:lanes] << shift).astype(np.uint32).astype(np.int32)
                expected.append((cycle + 2, cycle % core.acc_entries, is_max, result.tolist()))
                pixel_on = False
            await ctx.tick()
            cycle += 1

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
    if rate == 1.0:
        lengths = [max(length, 1 if is_max else 2) for is_max, _, length in passes]
        assert starts[-1] - starts[0] <= sum(lengths[:-1])
