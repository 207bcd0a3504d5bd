"""`Accumulator` against an array of int32."""

from __future__ import annotations

import gc
import random
from typing import Any

import numpy as np
import pytest

from rtl.core.accumulator import Accumulator
from tests.unit.rtl.drivers import simulate


def words(values: np.ndarray) -> int:
    return int.from_bytes(values.astype("<i4").tobytes(), "little")


def lanes(word: int, cols: int) -> list[int]:
    return np.frombuffer(word.to_bytes(4 * cols, "little"), "<i4").tolist()


@pytest.mark.parametrize("seed", range(3), ids=lambda s: f"seed{s}")
@pytest.mark.parametrize("cols", [1, 4, 16])
def test_updates_and_reads_at_once(cols: int, seed: int) -> None:
    entries = 32
    dut = Accumulator(entries=entries, cols=cols)
    rng = random.Random(10 * cols + seed)
    data_rng = np.random.default_rng(seed)

    async def bench(ctx: Any) -> None:
        memory = np.zeros((entries, cols), np.int32)
        in_flight: tuple[int, np.ndarray] | None = None  # update given in the cycle before, written in this one
        expected = None
        refused = 0
        hot = [0]
        for cycle in range(1500):
            if cycle % 50 == 0:  # a few addresses at a time, so that updates of one follow each other
                hot = [rng.randrange(entries) for _ in range(rng.choice([1, 2, 3, 16]))]
            if expected is not None:
                assert lanes(ctx.get(dut.read.data), cols) == expected
                expected = None
            update, addr = rng.random() < 0.8, rng.choice(hot)
            overwrite, is_max = rng.random() < 0.2, rng.random() < 0.3
            data = data_rng.integers(-(2**31), 2**31, cols).astype(np.int32)
            read, read_addr = rng.random() < 0.7, rng.choice([*hot, rng.randrange(entries)])
            for member, value in (
                (dut.update.valid, update),
                (dut.update.addr, addr),
                (dut.update.data, words(data)),
                (dut.update.overwrite, overwrite),
                (dut.update.is_max, is_max),
                (dut.read.valid, read),
                (dut.read.addr, read_addr),
            ):
                ctx.set(member, value)
            ready = ctx.get(dut.read.ready)
            conflict = update and not overwrite and addr // (entries // 2) == read_addr // (entries // 2)
            assert ready == (not conflict)
            refused += read and not ready
            if read and ready:  # sees the updates of two cycles ago and before
                expected = memory[read_addr].tolist()
            if in_flight is not None:
                memory[in_flight[0]] = in_flight[1]
            in_flight = None
            if update:
                old = memory[addr]
                with np.errstate(over="ignore"):
                    new = data if overwrite else np.maximum(old, data) if is_max else old + data
                in_flight = (addr, new.astype(np.int32))
            await ctx.tick()
        assert refused > 20

    simulate(dut, bench)


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
@pytest.mark.parametrize(("entries", "cols"), [(2, 4), (48, 4), (32, 0)])
def test_impossible_sizes_are_refused(entries: int, cols: int) -> None:
    with pytest.raises(ValueError, match=r"power of two|at least 1"):
        Accumulator(entries=entries, cols=cols)
    gc.collect()  # its warning belongs to this test
