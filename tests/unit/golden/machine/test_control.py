"""Tokens, signals, fences and orders of the machine."""

import numpy as np
import pytest

from golden.machine import TOKEN_MAX, Machine
from rtl.contract.codec import pack_params
from rtl.contract.engines.tap import TapMode
from rtl.contract.isa import Engine, Opcode, Space, Unit
from rtl.contract.params import ChipParams, CoreParams, default_chip
from rtl.contract.regs import CoreCounter, ErrorCode
from tests.assembler import Assembler

SEEDS = [None, *range(12)]
HALF = 1 << 16


def noise(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, 2 * HALF, np.uint8)


def test_an_empty_program_ends() -> None:
    result = Assembler(default_chip(4)).run(noise())
    assert result.ok
    assert str(result) == "done"
    assert [core.counts[CoreCounter.INSTRUCTIONS] for core in result.cores] == [3] * 4


@pytest.mark.parametrize("seed", SEEDS)
def test_sync_waits_for_all_ranges_and_takes_one_of_each(seed: int | None) -> None:
    program = Assembler(default_chip(1))
    program.sync(0, Unit.LOAD, signal=[(4, 0), (5, 0), (9, 0)])
    program.sync(0, Unit.LOAD, signal=[(4, 0), (63, 0)])
    program.sync(0, Unit.STORE, wait=[(4, 2), 9, 63], signal=[(20, 0)])
    result = program.run(noise(), order_seed=seed)
    assert result.ok
    assert {token: count for token, count in enumerate(result.cores[0].tokens) if count} == {4: 1, 20: 1}


@pytest.mark.parametrize("seed", SEEDS)
def test_signals_reach_other_cores(seed: int | None) -> None:
    """A ring: each core waits for its predecessor."""
    program = Assembler(default_chip(4))
    for core in range(4):
        wait = [7] if core else []
        program.sync(core, Unit(core % 3), wait=wait, signal=[(7 if core < 3 else 8, (core + 1) % 4)])
    program.sync(0, Unit.LOAD, wait=[8])
    result = program.run(noise(), order_seed=seed)
    assert result.ok
    assert not any(any(core.tokens) for core in result.cores)


@pytest.mark.parametrize("seed", SEEDS)
def test_marks_are_passed_in_the_order_of_the_program_once_their_waits_are_met(seed: int | None) -> None:
    program = Assembler(default_chip(2, CoreParams(marks=8)))
    program.sync(0, Unit.COMPUTE, mark=3, signal=[(4, 1)])
    program.sync(0, Unit.COMPUTE, mark=8)
    program.sync(0, Unit.COMPUTE, mark=3)
    program.sync(1, Unit.COMPUTE, mark=1, wait=[4])
    program.sync(1, Unit.COMPUTE, mark=2, wait=[4])
    result = program.run(noise(), order_seed=seed)
    assert result.error == ErrorCode.WATCHDOG
    assert [core.marks for core in result.cores] == [[3, 8, 3], [1]]


def test_a_deadlock_names_who_waits_for_what() -> None:
    program = Assembler(default_chip(2))
    program.sync(0, Unit.LOAD, wait=[(3, 2)], signal=[(5, 1)])
    program.sync(1, Unit.STORE, signal=[(3, 0)])
    program.sync(1, Unit.STORE, wait=[5], signal=[(4, 0)])
    result = program.run(noise())
    assert result.error == ErrorCode.WATCHDOG
    assert [(b.core, b.unit, b.index, b.opcode, b.tokens) for b in result.blocked] == [
        (0, Unit.LOAD, 0, Opcode.SYNC, (4,)),
        (1, Unit.STORE, 1, Opcode.SYNC, (5,)),
    ]
    assert "core 0 LOAD #0 SYNC waits for token 4" in str(result)


def test_inactive_cores_stay_idle() -> None:
    program = Assembler(default_chip(2))
    program.sync(0, Unit.LOAD, wait=[1])
    memory = noise()
    assert not program.run(memory).ok
    result = program.run(memory, active_cores=0b10)
    assert result.ok
    assert [core.counts[CoreCounter.INSTRUCTIONS] for core in result.cores] == [0, 3]


def test_tokens_overflow() -> None:
    for extra in (0, 1):
        program = Assembler(default_chip(1))
        for _ in range(TOKEN_MAX + extra):
            program.sync(0, Unit.STORE, signal=[(2, 0)])
        result = program.run(noise())
        assert result.error == (ErrorCode.TOKEN_OVERFLOW if extra else ErrorCode.NONE)


def pipeline(chip: ChipParams, fence: bool) -> Assembler:
    """Core 0 copies 8 blocks of DRAM through its accumulators; core 1 copies them again, after core 0's fence.

    Double-buffered: two activation buffers, two accumulator banks.
    """
    program = Assembler(chip)
    size = chip.cores[0]
    pixels, bank = 32, size.acc_bank_entries
    setup = {"engine": Engine.TAP, "tap_mode": TapMode.MAX, "out_w": pixels, "in_w": pixels, "step_x": size.rows}
    for core, source, target in ((0, 0x1000, 0x8000), (1, 0x8000, 0xC000)):
        program.load(core, dram_addr=0, run_flits=8, space=Space.PARAM, token=10)
        program.setup(core, **setup)
        if core == 1 and fence:
            program.sync(1, Unit.LOAD, wait=[20])
        for i in range(8):
            b, first = i % 2, i < 2
            at = 0x200 * i
            free = [] if first else [2 + b]
            program.load(core, wait=free, dram_addr=source + at, run_flits=pixels, dst=b * pixels, token=b, memory=b)
            wait = [b] if first else [b, 6 + b]
            signal = [(2 + b, core), None, (4 + b, core)]
            program.compute(core, wait=wait, signal=signal, act_base=b * pixels * size.rows, acc_base=b * bank)
            wait = [4 + b] if i else [4 + b, 10]
            program.store(
                core,
                wait=wait,
                signal=[None, (6 + b, core)],
                pixels=pixels,
                acc_base=b * bank,
                addr=target + at,
                memory=1 - b,
            )
        if core == 0:
            program.sync(0, Unit.STORE, fence=1, signal=[(20, 1)])
    return program


def pipeline_memory() -> np.ndarray:
    memory = noise()
    ones = np.ones(16, np.int32)
    memory[:128] = pack_params(0 * ones, ones, 0 * ones)
    memory[0x8000:HALF] = 0
    return memory


@pytest.mark.parametrize("seed", SEEDS)
def test_a_sound_program_does_not_notice_the_order(seed: int | None) -> None:
    chip = default_chip(2, memory_nodes=2)
    memory = pipeline_memory()
    result = pipeline(chip, fence=True).run(memory, order_seed=seed, fill_seed=seed)
    assert result.ok, str(result)
    for copy in (0x8000, 0xC000):
        np.testing.assert_array_equal(memory[copy : copy + 0x1000], memory[0x1000:0x2000])


def test_random_orders_show_a_missing_fence() -> None:
    chip = default_chip(2, memory_nodes=2)
    wrong = 0
    for seed in range(12):
        memory = pipeline_memory()
        assert pipeline(chip, fence=False).run(memory, order_seed=seed).ok
        wrong += not np.array_equal(memory[0xC000:0xD000], memory[0x1000:0x2000])
    assert wrong


def test_random_orders_show_a_store_that_does_not_wait_for_the_last_update() -> None:
    """Signal 0 tells that operands are read, not that accumulators are written."""
    chip = default_chip(1)
    outputs = set()
    for seed in range(12):
        memory = pipeline_memory()
        program = Assembler(chip)
        program.load(0, run_flits=8, space=Space.PARAM, token=0)
        program.load(0, dram_addr=0x1000, run_flits=1, token=0)
        program.sync(0, Unit.LOAD, wait=[1], signal=[(0, 0)])
        program.setup(0, engine=Engine.TAP, tap_mode=TapMode.MAX)
        program.sync(0, Unit.COMPUTE, wait=[0])
        program.sync(0, Unit.COMPUTE, wait=[0], signal=[(1, 0)])
        program.compute(0, wait=[0], signal=[(2, 0)])
        program.store(0, wait=[2], addr=0x8000)
        assert program.run(memory, order_seed=seed).ok
        outputs.add(memory[0x8000:0x8010].tobytes())
    assert len(outputs) == 2


def test_random_orders_mix_loads_of_two_memory_nodes_but_not_of_one() -> None:
    chip = default_chip(2, memory_nodes=2)
    for memories, orders in (((0, 0), 1), ((0, 1), 2)):
        seen = set()
        for seed in range(12):
            memory = noise()
            program = Assembler(chip)
            for i, node in enumerate(memories):
                program.load(0, cores=[0, 1], dram_addr=0x100 * i, run_flits=1, memory=node)
            result = program.run(memory, order_seed=seed)
            seen.add(result.cores[0].act[:16].tobytes())
        assert len(seen) == orders


@pytest.mark.parametrize("value", [8, 48])
def test_program_addresses_are_aligned(value: int) -> None:
    chip = default_chip(1, link_bytes=64, max_packet_flits=8)
    with pytest.raises(ValueError, match="program_base is 0x"):
        Machine(chip).run(noise(), value)


def test_memory_is_plain_bytes() -> None:
    with pytest.raises(ValueError, match="contiguous uint8"):
        Machine(default_chip(1)).run(np.zeros(64, np.int8))
