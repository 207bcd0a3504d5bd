"""`Scratchpad` against a byte array: unaligned reads and masked writes in the same cycles."""

from __future__ import annotations

import gc
import random
from typing import Any

import pytest

from rtl.core.scratchpad import Scratchpad
from tests.unit.rtl.drivers import simulate


@pytest.mark.parametrize("read_bytes", [4, 8, 16, 32, 64])
@pytest.mark.parametrize("write_bytes", [4, 16, 64])
def test_unaligned_reads_and_masked_writes(write_bytes: int, read_bytes: int) -> None:
    size = 1024
    dut = Scratchpad(size_bytes=size, write_bytes=write_bytes, read_bytes=read_bytes)
    rng = random.Random(1000 * write_bytes + read_bytes)

    async def bench(ctx: Any) -> None:
        memory = bytearray(size)
        expected = None
        for _ in range(500):
            if expected is not None:
                assert ctx.get(dut.read.data).to_bytes(read_bytes, "little") == expected
            flit = rng.randrange(size // write_bytes)
            data, mask = rng.randbytes(write_bytes), rng.choice([(1 << write_bytes) - 1, rng.getrandbits(write_bytes)])
            write, read = rng.random() < 0.8, rng.random() < 0.7
            # Near the write, across the end, or anywhere.
            addr = rng.choice([flit * write_bytes + rng.randint(-5, 5), -rng.randrange(8), rng.randrange(size)]) % size
            ctx.set(dut.write.valid, write)
            ctx.set(dut.write.addr, flit)
            ctx.set(dut.write.data, int.from_bytes(data, "little"))
            ctx.set(dut.write.mask, mask)
            ctx.set(dut.read.enable, read)
            ctx.set(dut.read.addr, addr)
            if read:
                expected = bytes(memory[(addr + i) % size] for i in range(read_bytes))
            if write:
                for lane in range(write_bytes):
                    if mask >> lane & 1:
                        memory[flit * write_bytes + lane] = data[lane]
            await ctx.tick()

    simulate(dut, bench)


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
@pytest.mark.parametrize(("size", "write", "read"), [(1000, 4, 4), (1024, 3, 4), (1024, 4, 0), (64, 64, 4)])
def test_impossible_sizes_are_refused(size: int, write: int, read: int) -> None:
    with pytest.raises(ValueError, match=r"power of two|at least two words"):
        Scratchpad(size_bytes=size, write_bytes=write, read_bytes=read)
    gc.collect()  # its warning belongs to this test
