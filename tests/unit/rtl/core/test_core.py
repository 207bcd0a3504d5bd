"""A whole core on a simulated network: programs end with the machine's memory, errors with the machine's code."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from golden.machine import Machine, Result
from rtl.contract.codec import encode, table_blocks
from rtl.contract.engines.tap import TapMode
from rtl.contract.isa import Engine, Opcode, Space, Unit
from rtl.contract.params import ChipParams, CoreParams, default_chip
from rtl.contract.regs import NO_UNIT, CoreCounter, CoreDebug, CoreTrace, ErrorCode, EventCounter, compute_counters
from rtl.core.core import Core
from rtl.noc.flit import Kind
from tests.assembler import Assembler
from tests.unit.rtl.core.core_models import Network
from tests.unit.rtl.drivers import simulate

MEMORY_BYTES = 1 << 16
PROGRAM_BASE = 1 << 15
OUTPUT_BASE = 1 << 14


def two_cores(rows: int, cols: int, link_bytes: int) -> ChipParams:
    core = CoreParams(
        rows=rows,
        cols=cols,
        act_bytes=1024 * max(16, link_bytes),
        weight_bytes=16384,
        acc_entries=64,
        param_blocks=8,
        queue_depth=8,
    )
    return replace(default_chip(2, core, memory_nodes=2), link_bytes=link_bytes, counters=True)


@dataclass
class Outcome:
    """What is seen of one run of the core."""

    memory: np.ndarray
    cycles: int = 0
    done: int = 0
    error: int = 0
    unit: int = 0
    counters: dict[int, int] = field(default_factory=dict)
    network: Any = None
    marks: dict[int, list[int]] = field(default_factory=dict)
    """Words of the entry of each mark."""


def run_programs(
    chip: ChipParams, programs: list[tuple[Assembler, np.ndarray]], rng: random.Random, stall: float, node: int = 0
) -> list[Outcome]:
    """Programs one after the other on the same core, each begun by a start alone."""
    dut = Core(core=chip.cores[node], chip=chip)
    network = Network(dut, chip, node, np.zeros(0, np.uint8), rng, stall, latency=rng.randint(1, 40))
    outcomes = []

    async def bench(ctx) -> None:
        ctx.set(dut.node, node)
        ctx.set(dut.home, chip.home_memory[node])
        ctx.set(dut.program_base, PROGRAM_BASE)
        for assembler, memory in programs:
            outcome = Outcome(memory)
            outcomes.append(outcome)
            ctx.set(dut.program_stride, assembler.place(memory, PROGRAM_BASE))
            network.memory, network.sent, network.reads = memory, [], []
            ctx.set(dut.start, 1)
            await ctx.tick()
            ctx.set(dut.start, 0)
            ctx.set(dut.running, 1)
            for outcome.cycles in range(1, 20000):
                _, _, done, error, unit = await ctx.tick().sample(dut.done, dut.error, dut.error_unit)
                if done or error:
                    break
            ctx.set(dut.running, 0)
            outcome.done, outcome.error, outcome.unit = done, error, unit
            for index in [*CoreCounter, *EventCounter, *CoreDebug, CoreTrace.PASSED]:
                ctx.set(dut.counter_index, int(index))
                await ctx.tick()
                outcome.counters[index] = ctx.get(dut.counter_value)
            for mark in range(1, chip.cores[node].marks + 1):
                ctx.set(dut.trace_entry, mark % chip.cores[node].marks)
                outcome.marks[mark] = []
                for counter in compute_counters():
                    ctx.set(dut.counter_index, CoreTrace.COMPUTE + counter)
                    await ctx.tick().repeat(2)
                    outcome.marks[mark].append(ctx.get(dut.counter_value))
            outcome.network = replace(network)
            if error:
                await ctx.tick().repeat(60)
                assert ctx.get(dut.error) == error
                assert ctx.get(dut.error_unit) == unit
                assert not ctx.get(dut.done)
                ctx.set(dut.counter_index, int(CoreCounter.INSTRUCTIONS))
                await ctx.tick()
                assert ctx.get(dut.counter_value) == outcome.counters[CoreCounter.INSTRUCTIONS], "the core stands"
                ctx.set(dut.clear, 1)
                await ctx.tick()
                ctx.set(dut.clear, 0)
                await ctx.tick().repeat(60)  # answers under way find a core that waits
                network.__dict__.update(sent=[], reads=[])
            assert ctx.get(dut.done) == done

    simulate(dut, bench, background=[network.run])
    return outcomes


# Tokens: full and free of each of the buffers; ACT and ACT + 1 in turn, as memory nodes may overtake each other.
ACT, ACT_FREE, WEIGHT, WEIGHT_FREE, ACC, ACC_FREE, PARAM, LOOP = (0, 2, 3, 4, 5, 6, 7, 8)


def tiles_program(chip: ChipParams, rng: random.Random, tiles: int) -> Assembler:
    """Tiles of random layers through double buffers in all memories; some go back into the own activations."""
    program = Assembler(chip)
    core, size = chip.cores[0], chip.link_bytes
    groups = core.act_groups(size)
    word = core.act_word_bytes(size)
    act_half, weight_half, acc_half = core.act_bytes // 4, core.weight_bytes // 2, core.acc_bank_entries
    program.load(0, run_flits=8 * core.param_blocks, space=Space.PARAM, token=PARAM, dram_addr=0, traffic=0, memory=1)
    output = OUTPUT_BASE

    def free(token: int, tile: int) -> list[int]:
        return [token] if tile >= 2 else []

    for tile in range(tiles):
        engine = rng.choice([Engine.ARRAY, Engine.ARRAY, Engine.TAP])
        mode = rng.choice(list(TapMode)) if engine == Engine.TAP else TapMode.MAC
        kernel_h, kernel_w, stride_h, stride_w = (rng.randint(1, 3) for _ in range(4))
        out_h, out_w = rng.randint(1, 4), rng.randint(1, 6)
        pad_top, pad_left = rng.randrange(kernel_h), rng.randrange(kernel_w)
        in_h = max(1, (out_h - 1) * stride_h + kernel_h - pad_top - rng.randrange(2))
        in_w = max(1, (out_w - 1) * stride_w + kernel_w - pad_left - rng.randrange(2))
        # Channel blocks lie behind each other, or side by side in a flit.
        blocks = rng.randint(1, 2 if core.rows >= size else size // core.rows)
        pixels = in_h * in_w
        base = tile % 2 * act_half
        planes = blocks if core.rows >= size else 1
        if planes * pixels * word > act_half:
            planes = blocks = 1
        assert planes * pixels * word <= act_half
        for plane in range(planes * groups):
            last = plane == planes * groups - 1
            program.load(
                0,
                wait=free(ACT_FREE, tile) if plane == 0 else (),
                dram_addr=rng.randrange((OUTPUT_BASE // size - in_w) // 2) * size,
                runs=in_h,
                run_flits=in_w,
                dram_stride=rng.randint(0, OUTPUT_BASE // size // 2 // in_h),
                dst=base // size + plane // groups * pixels * groups + plane % groups,
                dst_stride=in_w * groups,
                planar=int(groups > 1),
                token=ACT + tile % 2 if last else None,
                memory=rng.randrange(2) if planes * groups == 1 else 0,
            )
        passes = blocks * kernel_h * kernel_w
        weight_bytes = passes * core.cols * (core.rows if engine == Engine.ARRAY else 1)
        weighted = mode == TapMode.MAC and weight_bytes <= weight_half
        if not weighted and engine == Engine.ARRAY:
            engine, mode = Engine.TAP, TapMode.MAX
        if weighted:
            program.load(
                0,
                wait=free(WEIGHT_FREE, tile),
                dram_addr=rng.randrange(OUTPUT_BASE // size // 2) * size,
                run_flits=-(-weight_bytes // size),
                space=Space.WEIGHT,
                dst=tile % 2 * weight_half // size,
                token=WEIGHT,
                traffic=0,
            )
        elif free(WEIGHT_FREE, tile):
            program.sync(0, Unit.LOAD, wait=[WEIGHT_FREE])
        program.setup(
            0,
            engine=engine,
            tap_mode=mode,
            tap_shift=rng.randrange(6) * (engine == Engine.TAP),
            kernel_h=kernel_h,
            kernel_w=kernel_w,
            stride_h=stride_h,
            stride_w=stride_w,
            out_w=out_w,
            in_w=in_w,
            pad_left=pad_left,
            step_x=word * stride_w,
            tap_x=word,
            step_y=word * in_w * stride_h,
            tap_y=word * in_w,
            block_pitch=word * pixels if core.rows >= size else core.rows,
            pad_value=rng.randint(-128, 127),
        )
        program.compute(
            0,
            wait=[ACT + tile % 2, *([WEIGHT] if weighted else []), *free(ACC_FREE, tile)],
            signal=[(ACT_FREE, 0), (WEIGHT_FREE, 0), (ACC, 0)],
            act_base=(base - word * (pad_top * in_w + pad_left)) % (1 << 22),
            weight_base=tile % 2 * weight_half,
            acc_base=tile % 2 * acc_half,
            blocks=blocks,
            out_h=out_h,
            iy0=-pad_top,
            in_h=in_h,
        )
        lanes = core.drain_lanes(size) if engine == Engine.ARRAY else min(core.drain_lanes(size), core.tap_lanes)
        store = {
            "acc_base": tile % 2 * acc_half,
            "pixels": out_h * out_w,
            "groups": core.drain_groups(size) if engine == Engine.ARRAY else 1,
            "param_base": rng.randrange(core.param_blocks - core.drain_groups(size) + 1),
            "lanes": lanes,
            "lane_offset": rng.randrange(size - lanes + 1) if tile < tiles - 1 else 0,
            "group_stride": out_h * out_w + rng.randrange(3),
            "zero_point": rng.randint(-20, 20),
            "lo": rng.randint(-128, -60),
            "memory": rng.randrange(2),
            "table": rng.randrange(2),
        }
        if tile == 0 or not rng.randrange(4):
            block = rng.randrange(core.param_blocks - table_blocks(size) + 1)
            program.table(0, wait=[PARAM] if tile == 0 else [], param_base=block, signal=[(tile % 8, 1)])
        if rng.random() < 0.5:
            pool_h, pool_w = rng.randint(1, 3), rng.randint(1, 3)
            pooled_w = rng.randint(1, 4)
            program.pool(
                0,
                kernel_h=pool_h,
                kernel_w=pool_w,
                stride_h=rng.randint(1, 2),
                stride_w=rng.randint(1, 2),
                pad_top=rng.randrange(pool_h),
                pad_left=rng.randrange(pool_w),
                in_h=out_h,
                in_w=out_w,
                out_w=pooled_w,
            )
            pixels = rng.randint(1, 3) * pooled_w
            store |= {"pixels": pixels, "group_stride": pixels, "pooled": 1}
        if tile == tiles - 2:  # to the other core
            store |= {"to_core": 1, "core": 1, "addr": 40, "planar": rng.randrange(2), "token_valid": 1, "token": 3}
        elif tile == tiles - 1:  # to the third quarter of the own activations
            store |= {"to_core": 1, "addr": 2 * act_half // size, "token_valid": 1, "token": LOOP, "groups": 1}
        else:
            store["addr"] = output
            output += (store["group_stride"] * (store["groups"] - 1) + store["pixels"]) * size
            assert output < PROGRAM_BASE
        program.store(
            0, wait=[ACC], signal=[(ACC_FREE, 0), None, (tile % 8, 1)], **store
        )
    # One pixel of what came back, through the tap unit into memory.
    program.setup(0, engine=Engine.TAP, tap_mode=TapMode.MAX)
    program.compute(0, wait=[LOOP, ACC_FREE], signal=[None, None, (ACC, 0)], act_base=2 * act_half, acc_base=1)
    program.store(0, wait=[ACC], acc_base=1, lanes=min(4, lanes), addr=output)
    program.sync(0, Unit.STORE, fence=1, signal=[(PARAM, 0)])
    program.sync(0, Unit.LOAD, wait=[PARAM], signal=[(LOOP, 1)])
    return program


def random_memory(rng: random.Random, chip: ChipParams) -> np.ndarray:
    """Noise, with parameters at 0 that leave something of it."""
    memory = np.zeros(MEMORY_BYTES, np.uint8)
    memory[:PROGRAM_BASE] = np.frombuffer(rng.randbytes(PROGRAM_BASE), np.uint8)
    channels = chip.cores[0].param_blocks * chip.link_bytes
    shifts = memory[: 8 * channels].reshape(channels, 8)
    shifts[:, 7] = [rng.randint(32, 40) for _ in range(channels)]
    shifts[:, 2] = shifts[:, 3] = 0
    return memory


def machine_run(chip: ChipParams, program: Assembler, memory: np.ndarray) -> Result:
    """On the machine; the program must not depend on the order of events or on what lay in the memories."""
    stride = program.place(memory, PROGRAM_BASE)
    other = memory.copy()
    result = Machine(chip).run(memory, PROGRAM_BASE, stride)
    Machine(chip).run(other, PROGRAM_BASE, stride, order_seed=1, fill_seed=1)
    if result.error == ErrorCode.NONE:
        assert np.array_equal(memory, other), "a race in the test's own program"
    return result


def check(chip: ChipParams, outcome: Outcome, memory: np.ndarray, result: Result) -> None:
    assert result.error == ErrorCode.NONE, result.message
    assert (outcome.done, outcome.error) == (1, 0)
    different = np.flatnonzero(outcome.memory != memory)
    assert not different.size, f"memory differs first at {different[0]:#x}"
    core = result.cores[0]
    counters = outcome.counters
    for counter, count in core.counts.items():
        assert counters[counter] == count, counter.name
    nonzero = sum(1 << i for i, count in enumerate(core.tokens) if count)
    assert counters[CoreDebug.TOKENS_NONZERO_LOW] | counters[CoreDebug.TOKENS_NONZERO_HIGH] << 48 == nonzero
    assert counters[CoreDebug.OUTSTANDING] == 0
    per_cycle = [c for c in CoreCounter if c.name.startswith("COMPUTE_")]
    assert sum(counters[c] for c in per_cycle) == outcome.cycles, "every cycle has one cause"
    # What went to core 1: its tokens, and its scratchpad.
    other = np.zeros_like(result.cores[1].act)
    size, step = chip.link_bytes, chip.cores[1].act_groups(chip.link_bytes)
    tokens = [0] * chip.tokens
    for packet in outcome.network.sent:
        assert packet.dest == 2
        tokens[packet.token] += packet.kind == Kind.SIGNAL or packet.token_valid
        for i, word in enumerate(packet.payload if packet.kind == Kind.DATA else []):
            where = (packet.addr + i * (step if packet.planar else 1)) * size + packet.lane_offset
            raw = word.to_bytes(size, "little")[packet.lane_offset :][: packet.lanes]
            other[where : where + packet.lanes] = np.frombuffer(raw, np.int8)
    assert np.array_equal(other, result.cores[1].act)
    assert tokens == result.cores[1].tokens


SHAPES = [(4, 4, 4), (8, 8, 8), (16, 4, 8), (4, 16, 8), (8, 8, 16), (4, 8, 64)]


@pytest.mark.parametrize(("rows", "cols", "link_bytes"), SHAPES)
def test_programs_leave_the_memory_that_the_machine_leaves(rows: int, cols: int, link_bytes: int) -> None:
    rng = random.Random(f"{rows} {cols} {link_bytes}")
    chip = two_cores(rows, cols, link_bytes)
    programs, expected = [], []
    for _ in range(2):
        program, memory = tiles_program(chip, rng, 7), random_memory(rng, chip)
        golden = memory.copy()
        expected.append((golden, machine_run(chip, program, golden)))
        programs.append((program, memory))
    for outcome, (memory, result) in zip(run_programs(chip, programs, rng, stall=0.25), expected, strict=True):
        check(chip, outcome, memory, result)


def test_counters_of_events_cost_no_cycle_and_other_cores_have_none() -> None:
    chip = two_cores(8, 8, 16)
    program, memory = tiles_program(chip, random.Random(4), 7), random_memory(random.Random(5), chip)
    with_them, without = (
        run_programs(replace(chip, counters=on), [(program, memory.copy())], random.Random(6), 0.0)[0]
        for on in (True, False)
    )
    assert sum(with_them.counters[counter] > 0 for counter in EventCounter) > len(EventCounter) // 2
    assert not any(without.counters[counter] for counter in EventCounter)
    assert with_them.cycles == without.cycles
    others = [number for number in with_them.counters if number not in [*EventCounter]]
    assert [with_them.counters[number] for number in others] == [without.counters[number] for number in others]


def test_default_shape() -> None:
    rng = random.Random(16)
    chip = two_cores(16, 16, 16)
    program, memory = tiles_program(chip, rng, 4), random_memory(rng, chip)
    golden = memory.copy()
    result = machine_run(chip, program, golden)
    (outcome,) = run_programs(chip, [(program, memory)], rng, stall=0.0)
    check(chip, outcome, golden, result)


def test_marks_note_the_compute_counters_and_stay_behind_the_next_start() -> None:
    """The second program has no marks: it finds those of the first, and counts none. Instructions cost nothing more."""
    plain = two_cores(8, 8, 8)
    chip = replace(plain, cores=tuple(replace(core, marks=4) for core in plain.cores))
    marked, bare = (tiles_program(chip, random.Random(3), 6) for _ in range(2))
    stream = marked.streams[0, Unit.COMPUTE]
    where = [0, len(stream) // 3, len(stream) // 2, len(stream)]
    for at, mark in reversed(list(zip(where, (4, 1, 3, 1), strict=True))):
        stream.insert(at, encode(Opcode.SYNC, mark=mark))
    memory = random_memory(random.Random(3), chip)
    golden = [memory.copy(), memory.copy()]
    results = [machine_run(chip, program, one) for program, one in zip((marked, bare), golden, strict=True)]
    assert [result.cores[0].marks for result in results] == [[4, 1, 3, 1], []]
    runs = [(marked, memory.copy()), (bare, memory.copy())]
    outcomes = run_programs(chip, runs, random.Random(4), stall=0.2)
    for outcome, one, result in zip(outcomes, golden, results, strict=True):
        check(chip, outcome, one, result)
        assert outcome.counters[CoreTrace.PASSED] == len(result.cores[0].marks)
    first, second = outcomes
    end = [first.counters[counter] for counter in compute_counters()]
    times = [first.marks[4], first.marks[3], first.marks[1], end]  # mark 1 came twice, the last time is kept
    for before, after in pairwise(times):
        assert sum(before) < sum(after)
        assert all(old <= new for old, new in zip(before, after, strict=True))
    assert first.marks[4][CoreCounter.COMPUTE_STREAM] == 0, "a mark before anything else"
    assert first.marks[1][CoreCounter.COMPUTE_STREAM] == end[CoreCounter.COMPUTE_STREAM], "one behind everything"
    assert all(first.marks[mark][CoreCounter.COMPUTE_DONE] == 0 for mark in (1, 3, 4))
    assert {mark: second.marks[mark] for mark in (1, 3, 4)} == {mark: first.marks[mark] for mark in (1, 3, 4)}
    runs = [(tiles_program(plain, random.Random(3), 6), memory.copy())]
    (without,) = run_programs(plain, runs, random.Random(4), stall=0.2)
    assert without.counters[CoreTrace.PASSED] == 0, "a core without marks has no such word"


# Errors: what the load, compute and store units are given, and the code and unit that come out.

Recipe = Callable[[Assembler], None]


def overflow(program: Assembler) -> None:
    for _ in range(86):
        program.sync(0, Unit.COMPUTE, signal=[(5, 0)] * 3)


def computes(**fields: int) -> Recipe:
    def recipe(program: Assembler) -> None:
        program.setup(0)
        program.compute(0, **fields)

    return recipe


def pooled(**fields: int) -> Recipe:
    def recipe(program: Assembler) -> None:
        program.pool(0, **fields)
        program.store(0, pooled=1)

    return recipe


def awaited(recipe: Recipe) -> Recipe:
    """The core is not done before token 9 is there."""

    def both(program: Assembler) -> None:
        recipe(program)
        program.sync(0, Unit.COMPUTE, wait=[9])

    return both


def emits(unit: Unit, opcode: Opcode, **fields: Any) -> Recipe:
    return lambda program: program.emit(0, unit, opcode, **fields)


ERRORS: dict[str, tuple[Recipe, ErrorCode, int]] = {
    "load unit, STORE": (emits(Unit.LOAD, Opcode.STORE), ErrorCode.ILLEGAL_OPCODE, Unit.LOAD),
    "compute unit, LOAD": (emits(Unit.COMPUTE, Opcode.LOAD), ErrorCode.ILLEGAL_OPCODE, Unit.COMPUTE),
    "store unit, zero word": (
        lambda program: program.streams[0, Unit.STORE].append(bytes(32)),
        ErrorCode.ILLEGAL_OPCODE,
        Unit.STORE,
    ),
    "wait range": (emits(Unit.STORE, Opcode.SYNC, wait=[(60, 5)]), ErrorCode.ILLEGAL_FIELD, Unit.STORE),
    "signal to nowhere": (emits(Unit.LOAD, Opcode.SYNC, signal=[(0, 2)]), ErrorCode.ILLEGAL_FIELD, Unit.LOAD),
    "zero runs": (lambda p: p.load(0, runs=0, run_flits=1), ErrorCode.ILLEGAL_FIELD, Unit.LOAD),
    "no memory node": (lambda p: p.load(0, run_flits=1, memory=2), ErrorCode.ILLEGAL_FIELD, Unit.LOAD),
    "load address": (lambda p: p.load(0, run_flits=1, dram_addr=4), ErrorCode.MISALIGNED, Unit.LOAD),
    "load beyond activations": (
        awaited(lambda p: p.load(0, run_flits=9, dst=2040, token=9)),
        ErrorCode.ACT_RANGE,
        NO_UNIT,
    ),
    "load beyond weights": (
        awaited(lambda p: p.load(0, run_flits=1, dst=2048, space=Space.WEIGHT, token=9)),
        ErrorCode.WEIGHT_RANGE,
        NO_UNIT,
    ),
    "load beyond parameters": (
        awaited(lambda p: p.load(0, run_flits=65, space=Space.PARAM, token=9)),
        ErrorCode.PARAM_RANGE,
        NO_UNIT,
    ),
    "zero blocks": (computes(blocks=0), ErrorCode.ILLEGAL_FIELD, Unit.COMPUTE),
    "compute beyond activations": (computes(act_base=16384 - 3), ErrorCode.ACT_RANGE, Unit.COMPUTE),
    "compute beyond weights": (computes(weight_base=16384 - 8), ErrorCode.WEIGHT_RANGE, Unit.COMPUTE),
    "compute beyond its bank": (computes(acc_base=31, out_h=2, in_h=2), ErrorCode.ACC_RANGE, Unit.COMPUTE),
    "zero pixels": (lambda p: p.store(0, pixels=0), ErrorCode.ILLEGAL_FIELD, Unit.STORE),
    "store beyond its bank": (lambda p: p.store(0, pixels=2, acc_base=63), ErrorCode.ACC_RANGE, Unit.STORE),
    "store without parameters": (lambda p: p.store(0, param_base=8), ErrorCode.PARAM_RANGE, Unit.STORE),
    "table without parameters": (lambda p: p.table(0, param_base=8), ErrorCode.PARAM_RANGE, Unit.STORE),
    "pooled store without a pool": (lambda p: p.store(0, pooled=1), ErrorCode.ILLEGAL_FIELD, Unit.STORE),
    "compute unit, POOL": (emits(Unit.COMPUTE, Opcode.POOL), ErrorCode.ILLEGAL_OPCODE, Unit.COMPUTE),
    "pool without a window": (lambda p: p.pool(0, kernel_w=0), ErrorCode.ILLEGAL_FIELD, Unit.STORE),
    "pool beyond its bank": (pooled(in_h=11, in_w=3), ErrorCode.ACC_RANGE, Unit.STORE),
    "store address": (lambda p: p.store(0, addr=4), ErrorCode.MISALIGNED, Unit.STORE),
    "store beyond own activations": (
        awaited(lambda p: p.store(0, to_core=1, core=0, addr=2048, token_valid=1, token=9)),
        ErrorCode.ACT_RANGE,
        NO_UNIT,
    ),
    "token overflow": (overflow, ErrorCode.TOKEN_OVERFLOW, NO_UNIT),
}
ERROR_CHIP = two_cores(4, 4, 8)


def error_program(name: str) -> Assembler:
    program = Assembler(ERROR_CHIP)
    for unit in Unit:
        program.sync(0, unit)
    ERRORS[name][0](program)
    return program


@cache
def error_outcomes() -> dict[str, Outcome]:
    """All of them on one core, with a program in order at the end."""
    programs = [(error_program(name), np.zeros(MEMORY_BYTES, np.uint8)) for name in ERRORS]
    programs.append((Assembler(ERROR_CHIP), np.zeros(MEMORY_BYTES, np.uint8)))
    outcomes = run_programs(ERROR_CHIP, programs, random.Random(0), stall=0.1)
    return dict(zip([*ERRORS, "none"], outcomes, strict=True))


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_stops_the_core_and_names_its_cause(name: str) -> None:
    _, code, unit = ERRORS[name]
    outcome = error_outcomes()[name]
    assert (outcome.done, ErrorCode(outcome.error), outcome.unit) == (0, code, unit)
    result = machine_run(ERROR_CHIP, error_program(name), np.zeros(MEMORY_BYTES, np.uint8))
    assert result.error == code
    assert (NO_UNIT if result.unit is None else result.unit) == unit


def test_a_core_works_again_after_an_error_and_a_clear() -> None:
    outcome = error_outcomes()["none"]
    assert (outcome.done, outcome.error) == (1, 0)


def test_the_first_fetch_leaves_five_cycles_after_start() -> None:
    chip = two_cores(4, 4, 8)
    dut = Core(core=chip.cores[0], chip=chip)

    async def bench(ctx) -> None:
        await ctx.tick().repeat(5)
        ctx.set(dut.start, 1)
        await ctx.tick()
        ctx.set(dut.start, 0)
        cycles = 1
        while not ctx.get(dut.request_out.valid):
            await ctx.tick()
            cycles += 1
            assert cycles < 20
        assert cycles == 5

    simulate(dut, bench)


def test_halt_freezes_counters_and_issue() -> None:
    chip = two_cores(4, 4, 8)
    dut = Core(core=chip.cores[0], chip=chip)
    memory = np.zeros(MEMORY_BYTES, np.uint8)
    program = Assembler(chip)
    for _ in range(20):
        program.sync(0, Unit.STORE)
    network = Network(dut, chip, 0, memory, random.Random(0))

    async def bench(ctx) -> None:
        ctx.set(dut.program_base, PROGRAM_BASE)
        ctx.set(dut.program_stride, program.place(memory, PROGRAM_BASE))
        ctx.set(dut.start, 1)
        await ctx.tick()
        ctx.set(dut.start, 0)
        ctx.set(dut.running, 1)
        ctx.set(dut.counter_index, int(CoreCounter.INSTRUCTIONS))
        while ctx.get(dut.counter_value) < 7:
            await ctx.tick()
        ctx.set(dut.halt, 1)
        await ctx.tick().repeat(2)
        halted = ctx.get(dut.counter_value)
        await ctx.tick().repeat(100)
        assert ctx.get(dut.counter_value) == halted < 20
        assert not ctx.get(dut.done)
        assert not ctx.get(dut.progress)

    simulate(dut, bench, background=[network.run])
