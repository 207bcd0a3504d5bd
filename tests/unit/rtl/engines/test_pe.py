"""`PeRow` against its recurrence, cycle by cycle: any inputs, whether or not the array would ever give them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rtl.engines.pe import PeRow
from tests.unit.rtl.drivers import simulate

CYCLES = 400


@pytest.mark.parametrize("rate", [0.5, 0.9])
@pytest.mark.parametrize("cols", [4, 16])
def test_a_row_follows_its_recurrence(cols: int, rate: float) -> None:
    """`enable` and `act` with the given rate, weights and switches with its complement, all independent."""
    dut = PeRow(cols=cols)
    data = np.random.default_rng(cols)

    async def bench(ctx: Any) -> None:
        shadow, active, psum = (np.zeros(cols, np.int64) for _ in range(3))
        acts = np.zeros(cols, np.int64)  # of the columns in this cycle
        switches = np.zeros(cols, bool)
        for cycle in range(CYCLES):
            enable, load, switch = data.random() < rate, data.random() > rate, data.random() > rate
            act = int(data.integers(-128, 128)) if data.random() < rate else -128
            weights = data.integers(-128, 128, cols)
            psum_in = data.integers(-(1 << 31), 1 << 31, cols)
            ctx.set(dut.enable, bool(enable))
            ctx.set(dut.load, bool(load))
            ctx.set(dut.switch, bool(switch))
            ctx.set(dut.act, act & 0xFF)
            ctx.set(dut.weights, int.from_bytes(weights.astype(np.int8).tobytes(), "little"))
            ctx.set(dut.psum_in, int.from_bytes(psum_in.astype("<i4").tobytes(), "little"))
            out = np.frombuffer(ctx.get(dut.psum_out).to_bytes(4 * cols, "little"), "<i4")
            if cycle:  # registers of a row start with nothing in particular
                assert out.tolist() == psum.tolist(), cycle
            await ctx.tick()
            acts[0], switches[0] = act, switch
            if enable:
                psum = (psum_in + acts * active).astype(np.int32)
                active = np.where(switches, shadow, active)
                switches = np.roll(switches, 1)
            acts = np.roll(acts, 1)
            if load:
                shadow = weights

    simulate(dut, bench)
