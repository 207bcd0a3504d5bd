"""`ComputeUnit` against a NumPy model of SETUP and COMPUTE, and its cycle counts."""

from __future__ import annotations

import random

import numpy as np
import pytest

from rtl.contract.engines.tap import TapMode
from rtl.contract.isa import Engine
from rtl.contract.params import CoreParams
from rtl.contract.regs import ErrorCode
from tests.unit.rtl.core.compute_models import (
    FIELD_BITS,
    CoreState,
    Item,
    expect,
    item_with_a_bit_that_matters,
    job_of,
    random_job,
    random_setup,
    run_bench,
    setup_of,
)


def core_of(rows: int, cols: int, **fields: int) -> CoreParams:
    weight_bytes = max(1024, 1 << (28 * rows * cols - 1).bit_length())
    defaults = {"act_bytes": 4096, "weight_bytes": weight_bytes, "acc_entries": 64}
    return CoreParams(rows=rows, cols=cols, **(defaults | fields))


def signals_of(token: int, rng: random.Random | None = None) -> dict[str, int]:
    """All three signals with this token (or a random choice of them)."""
    fields = {}
    for index in range(3):
        if rng is None or rng.random() < 0.7:
            core = (21 * token + 5 * index + 5) % 64
            fields |= {f"signal{index}_valid": 1, f"signal{index}_token": token, f"signal{index}_core": core}
    return fields


def program(core: CoreParams, rng: random.Random, jobs: int, engine: Engine | None = None) -> list[Item]:
    items = []
    setup = random_setup(core, rng, engine)
    items.append(Item(setup))
    for number in range(jobs):
        if number and rng.random() < 0.5:
            setup = random_setup(core, rng, engine)
            items.append(Item(setup))
        items.append(Item(setup, random_job(core, setup, rng), signals_of(rng.randrange(128), rng)))
    return items


@pytest.mark.parametrize("mode", list(TapMode), ids=lambda m: m.name)
@pytest.mark.parametrize("stride", [1, 2, 3, 4])
@pytest.mark.parametrize("columns", [1, 2, 3, 5])
def test_windows_of_all_strides_equal_single_columns(columns: int, stride: int, mode: TapMode) -> None:
    """Jobs of a window and of single kernel columns, mixed, with padding on all sides."""
    core = core_of(4, 8, tap_columns=5, act_bytes=8192)
    rng = random.Random(f"{columns} {stride} {mode}")
    state = CoreState.randomised(core, np.random.default_rng(columns * stride))
    items = []
    for number in range(6):
        in_w, window = rng.randint(1, 12), int(number % 3 != 2)
        setup = setup_of(
            engine=Engine.TAP, tap_mode=mode, tap_shift=rng.randint(0, 4), window=window, kernel_h=rng.randint(1, 3),
            kernel_w=columns, stride_w=stride, stride_h=rng.randint(1, 2), out_w=rng.randint(1, 7), in_w=in_w,
            pad_left=rng.randint(0, columns), step_x=4 * stride, tap_x=4, step_y=4 * in_w, tap_y=4 * in_w,
            block_pitch=rng.randint(0, 60), pad_value=rng.randint(-128, 127),
        )  # fmt: skip
        job = random_job(core, setup, rng)
        items += [Item(setup), Item(setup, job, signals_of(number))]
    trace = run_bench(core, state, items, rng=rng)
    expect(trace, state, items)
    assert trace.error == 0


@pytest.mark.parametrize(("out_w", "stride", "out_h"), [(8, 1, 4), (5, 2, 3), (1, 1, 1), (2, 1, 1)])
@pytest.mark.parametrize("mode", list(TapMode), ids=lambda m: m.name)
def test_a_window_streams_every_input_column_once(out_w: int, stride: int, out_h: int, mode: TapMode) -> None:
    core = core_of(4, 4)
    state = CoreState.randomised(core, np.random.default_rng(0))
    setup = setup_of(
        engine=Engine.TAP, tap_mode=mode, window=1, kernel_h=3, kernel_w=3, stride_w=stride, out_w=out_w, in_w=20,
        tap_x=4, step_y=80, tap_y=80,
    )  # fmt: skip
    items = [Item(setup), *(Item(setup, job_of(blocks=2, out_h=out_h), signals_of(n)) for n in range(3))]
    trace = run_bench(core, state, items, rng=random.Random(0))
    expect(trace, state, items)
    length = out_h * ((out_w - 1) * stride + 3)
    assert len(trace.pixels) == 18 * length
    assert len(trace.updates) == 18 * out_h * out_w
    assert set(np.diff(trace.pass_starts)) == {max(length, 4 if mode == TapMode.MAC else 1)}


SHAPES = [(4, 4, 8), (8, 4, 8), (4, 16, 5), (16, 16, 3)]
TAP_COLUMNS = {(4, 4): 3, (8, 4): 1, (4, 16): 4, (16, 16): 2}
RATES = [(1.0, 1.0), (0.1, 1.0), (1.0, 0.03), (0.3, 0.3)]


@pytest.mark.parametrize("rate", range(len(RATES)), ids=["free", "slow_issue", "slow_signals", "both"])
@pytest.mark.parametrize(("rows", "cols", "jobs"), SHAPES, ids=lambda v: str(v))
def test_random_programs_give_the_model_s_accumulators(rows: int, cols: int, jobs: int, rate: int) -> None:
    core = core_of(rows, cols, tap_columns=TAP_COLUMNS[rows, cols])
    for seed in range(100 * rate, 100 * rate + 2):
        rng = random.Random(seed)
        state = CoreState.randomised(core, np.random.default_rng(seed))
        items = program(core, rng, jobs)
        offer, take = RATES[rate]
        trace = run_bench(core, state, items, rng=rng, offer=offer, take=take)
        expect(trace, state, items, prompt=take == 1)
        assert trace.error == 0, seed


def test_single_columns_of_a_kernel_after_a_window_use_one_column() -> None:
    core = core_of(4, 4)
    state = CoreState.randomised(core, np.random.default_rng(2))
    wide = setup_of(engine=Engine.TAP, kernel_w=3, out_w=6, in_w=9, step_x=4, tap_x=4)
    items = [one for window in (1, 0, 1, 0) for one in (Item(wide | {"window": window}),) * 2]
    items = [Item(item.setup, job_of(acc_base=8) if n % 2 else None) for n, item in enumerate(items)]
    expect(run_bench(core, state.copy(), items, rng=random.Random(2)), state, items)


PROGRAMS = 16


@pytest.mark.parametrize("number", range(PROGRAMS))
def test_every_bit_of_every_field_does_what_the_model_does(number: int) -> None:
    """Jobs that do something else if a certain bit of a field is inverted; one that is an error ends the program."""
    core = core_of(4, 4)
    rng = random.Random(number)
    state = CoreState.randomised(core, np.random.default_rng(number))
    found = [item_with_a_bit_that_matters(state, rng, *bit) for bit in FIELD_BITS[number::PROGRAMS]]
    good = [item for item, error in found if not error]
    bad = [item for item, error in found if error]
    offer = take = (1.0, 0.5)[number % 2]
    for last in rng.sample(bad, 2):
        items = [one for item in [*good, last] for one in (Item(item.setup), item)]
        trace = run_bench(core, state, items, rng=rng, offer=offer, take=take)
        expect(trace, state.copy(), items, prompt=take == 1)
        assert trace.error
        good = []


@pytest.mark.parametrize("engine", [Engine.ARRAY, Engine.TAP], ids=lambda e: e.name)
@pytest.mark.parametrize("seed", range(3), ids=lambda s: f"seed{s}")
def test_operands_may_be_overwritten_once_signals_0_and_1_are_valid(engine: Engine, seed: int) -> None:
    core = core_of(4, 8)
    rng = random.Random(seed)
    setup = random_setup(core, rng, engine) | {"tap_mode": TapMode.MAC}
    job = random_job(core, setup, rng)
    state = CoreState.randomised(core, np.random.default_rng(seed))
    expected = CoreState(core, state.act.copy(), state.weight.copy(), state.acc.copy())
    expected.compute(setup, job)

    def spoil(port: int, token: int, memories: CoreState) -> None:
        if port < 2:
            memories.act[:] = 77
            memories.weight[:] = -77

    trace = run_bench(core, state, [Item(setup), Item(setup, job, signals_of(1))], rng=rng, on_signal=spoil)
    lanes = core.tap_lanes if engine == Engine.TAP else core.cols
    assert trace.acc is not None
    assert np.array_equal(trace.acc[:, :lanes], expected.acc[:, :lanes])
    operands, results = trace.signals[0][0][0], trace.signals[2][0][0]
    # Not later than need be: the last read is two cycles before the last pixel is taken at the latest.
    assert operands <= max(trace.pixels[-1], trace.pass_starts[-1] + core.rows) + 2
    assert results == trace.updates[-1] + 2


def stream_items(core: CoreParams, jobs: int, setup_between: bool, **geometry: int) -> list[Item]:
    """Jobs over 1 x 1 outputs blocks of ``out_w`` x ``out_h`` pixels."""
    setup_fields = {k: v for k, v in geometry.items() if k in ("kernel_h", "kernel_w", "out_w", "engine", "tap_mode")}
    job_fields = {k: v for k, v in geometry.items() if k in ("blocks", "out_h")}
    setup = setup_of(in_w=1000, step_x=core.rows, **setup_fields)
    items = [Item(setup)]
    for number in range(jobs):
        if number and setup_between:
            items.append(Item(setup))
        items.append(Item(setup, job_of(accumulate=int(number > 0), **job_fields), signals_of(number)))
    return items


@pytest.mark.parametrize(
    ("rows", "cols", "geometry", "jobs"),
    [
        (16, 16, {"kernel_h": 3, "kernel_w": 3, "out_w": 8, "out_h": 8}, 1),
        (16, 16, {"kernel_w": 3, "out_w": 4, "out_h": 4}, 4),
        (4, 4, {"blocks": 5, "out_w": 2, "out_h": 2}, 6),
        (4, 16, {"out_w": 16, "out_h": 1}, 5),
        (8, 4, {"out_w": 4, "out_h": 2}, 9),
        (4, 4, {"blocks": 3, "out_w": 2, "out_h": 1, "engine": Engine.TAP}, 6),
        (4, 4, {"out_w": 2, "out_h": 1, "engine": Engine.TAP, "tap_mode": TapMode.MAX}, 6),
    ],
    ids=lambda v: str(v).replace(" ", ""),
)
@pytest.mark.parametrize("setup_between", [False, True], ids=["computes", "setups"])
def test_no_bubble_between_passes_instructions_and_setups(
    rows: int, cols: int, geometry: dict[str, int], jobs: int, setup_between: bool
) -> None:
    core = core_of(rows, cols, acc_entries=128)
    state = CoreState.randomised(core, np.random.default_rng(0))
    items = stream_items(core, jobs, setup_between, **geometry)
    trace = run_bench(core, state, items, rng=random.Random(0))
    expect(trace, state, items)
    passes = geometry.get("blocks", 1) * geometry.get("kernel_h", 1) * geometry.get("kernel_w", 1) * jobs
    pixels = passes * geometry["out_w"] * geometry["out_h"]
    assert trace.pixels[-1] - trace.pixels[0] + 1 == pixels
    start = next(cycle for cycle, item in trace.accepted if item.job is not None)
    if geometry.get("engine") != Engine.TAP:
        assert trace.pixels[0] == start + 4
        assert trace.updates[0] == trace.pixels[0] + rows + cols
        assert trace.idle_at - start == pixels + rows + cols + 6
    else:
        assert trace.updates[0] == trace.pixels[0] + 2


@pytest.mark.parametrize(("rows", "cols"), [(4, 4), (8, 4), (4, 16), (16, 16)])
@pytest.mark.parametrize("blocks", [1, 12])
def test_one_pixel_passes_take_the_longer_side_of_the_array(rows: int, cols: int, blocks: int) -> None:
    core = core_of(rows, cols)
    state = CoreState.randomised(core, np.random.default_rng(1))
    items = stream_items(core, 24 // blocks, True, blocks=blocks, out_w=1)
    trace = run_bench(core, state, items, rng=random.Random(0))
    expect(trace, state, items)
    assert set(np.diff(trace.pixels)) == {max(rows, cols)}
    assert trace.weight_stalls >= 20 * (max(rows, cols) - 1)


@pytest.mark.parametrize("pixels", [1, 2, 3, 5, 7, 8, 9, 20])
@pytest.mark.parametrize(("rows", "cols"), [(4, 4), (8, 4), (4, 8)])
def test_pass_time(rows: int, cols: int, pixels: int) -> None:
    core = core_of(rows, cols)
    state = CoreState.randomised(core, np.random.default_rng(1))
    items = stream_items(core, 3, False, blocks=4, out_w=pixels)
    trace = run_bench(core, state, items, rng=random.Random(0))
    expect(trace, state, items)
    assert set(np.diff(trace.pass_starts)) == {max(pixels, rows, cols)}


def test_engine_switch_drains_first() -> None:
    core = core_of(4, 8)
    state = CoreState.randomised(core, np.random.default_rng(3))
    array, tap = setup_of(out_w=10, in_w=10, step_x=4), setup_of(out_w=10, in_w=10, step_x=4, engine=Engine.TAP)
    items = []
    for setup in (array, tap, array, tap, tap, array):
        items += [Item(setup), Item(setup, job_of(accumulate=1))]
    trace = run_bench(core, state, items, rng=random.Random(0))
    expect(trace, state, items)
    # From the array R + C + 2 extra cycles, from the tap unit 4, and none between two jobs of one engine.
    starts = trace.pass_starts
    assert [int(d) for d in np.diff(starts)] == [10 + 14, 10 + 4, 10 + 14, 10, 10 + 4]


BASE = {"step_x": 4, "in_w": 100, "out_w": 4}
FAULTS = [
    ("kernel_h", {"kernel_h": 0}, {}, ErrorCode.ILLEGAL_FIELD),
    ("kernel_w", {"kernel_w": 0}, {}, ErrorCode.ILLEGAL_FIELD),
    ("out_w", {"out_w": 0}, {}, ErrorCode.ILLEGAL_FIELD),
    ("window_array", {"window": 1}, {}, ErrorCode.ILLEGAL_FIELD),
    ("window_fits", {"window": 1, "engine": Engine.TAP, "kernel_w": 3, "tap_x": 4}, {}, ErrorCode.NONE),
    ("window_wide", {"window": 1, "engine": Engine.TAP, "kernel_w": 4, "tap_x": 4}, {}, ErrorCode.ILLEGAL_FIELD),
    ("window_stride", {"window": 1, "engine": Engine.TAP, "stride_w": 0, "tap_x": 4}, {}, ErrorCode.ILLEGAL_FIELD),
    (
        "window_weight",
        {"window": 1, "engine": Engine.TAP, "kernel_w": 3},
        {"weight_base": 1016},
        ErrorCode.WEIGHT_RANGE,
    ),
    ("window_acc", {"window": 1, "engine": Engine.TAP, "kernel_w": 3}, {"acc_base": 29}, ErrorCode.ACC_RANGE),
    ("window_acc_fits", {"window": 1, "engine": Engine.TAP, "kernel_w": 3}, {"acc_base": 28}, ErrorCode.NONE),
    (
        "window_act",
        {"window": 1, "engine": Engine.TAP, "kernel_w": 3, "tap_x": 4},
        {"act_base": 4096 - 20},
        ErrorCode.ACT_RANGE,
    ),
    ("in_w", {"in_w": 0}, {"act_base": 5000}, ErrorCode.NONE),
    ("blocks", {}, {"blocks": 0}, ErrorCode.ILLEGAL_FIELD),
    ("out_h", {}, {"out_h": 0}, ErrorCode.ILLEGAL_FIELD),
    ("weight_base", {}, {"weight_base": 6}, ErrorCode.ILLEGAL_FIELD),
    ("illegal_first", {"kernel_h": 0}, {"acc_base": 64}, ErrorCode.ILLEGAL_FIELD),
    ("act_last_pixel", {}, {"act_base": 4096 - 15}, ErrorCode.ACT_RANGE),
    ("act_fits", {}, {"act_base": 4096 - 16}, ErrorCode.NONE),
    ("act_first_pixel", {}, {"act_base": 4096}, ErrorCode.ACT_RANGE),
    ("act_beyond", {}, {"act_base": (1 << 22) - 5}, ErrorCode.ACT_RANGE),
    ("act_second_row", {"step_y": 4084}, {"out_h": 2}, ErrorCode.ACT_RANGE),
    ("act_padding_only", {"pad_left": 50}, {"act_base": 5000}, ErrorCode.NONE),
    ("act_block", {"block_pitch": 2048}, {"blocks": 3}, ErrorCode.ACT_RANGE),
    ("weight_fits", {}, {"weight_base": 1024 - 32, "blocks": 2}, ErrorCode.NONE),
    ("weight_last_pass", {}, {"weight_base": 1024 - 32, "blocks": 3}, ErrorCode.WEIGHT_RANGE),
    ("weight_one_row", {}, {"weight_base": 1024 - 12}, ErrorCode.WEIGHT_RANGE),
    ("weight_far", {}, {"weight_base": (1 << 22) - 4}, ErrorCode.WEIGHT_RANGE),
    ("tap_weight_fits", {"engine": Engine.TAP}, {"weight_base": 1024 - 12, "blocks": 3}, ErrorCode.NONE),
    ("tap_weight", {"engine": Engine.TAP}, {"weight_base": 1024 - 8, "blocks": 3}, ErrorCode.WEIGHT_RANGE),
    ("max_without", {"engine": Engine.TAP, "tap_mode": TapMode.MAX}, {"weight_base": 4096}, ErrorCode.NONE),
    ("acc_fits", {}, {"acc_base": 28}, ErrorCode.NONE),
    ("acc_cross", {}, {"acc_base": 29}, ErrorCode.ACC_RANGE),
    ("acc_end_fits", {}, {"acc_base": 60}, ErrorCode.NONE),
    ("acc_end", {}, {"acc_base": 61}, ErrorCode.ACC_RANGE),
    ("acc_beyond", {}, {"acc_base": 64}, ErrorCode.ACC_RANGE),
    ("act_before_weight", {"step_y": 4084}, {"out_h": 2, "blocks": 65}, ErrorCode.ACT_RANGE),
    ("weight_before_act", {}, {"weight_base": 1020, "act_base": 4096}, ErrorCode.WEIGHT_RANGE),
]


@pytest.mark.parametrize("behind", [False, True], ids=["first", "behind"])
@pytest.mark.parametrize(("setup", "job", "code"), [f[1:] for f in FAULTS], ids=[f[0] for f in FAULTS])
def test_error_codes(setup: dict[str, int], job: dict[str, int], code: ErrorCode, behind: bool) -> None:
    core = core_of(4, 4)
    state = CoreState.randomised(core, np.random.default_rng(5))
    good = setup_of(**BASE)
    bad = setup_of(**(BASE | setup))
    items = [Item(bad), Item(bad, job_of(**job), signals_of(1))]
    if behind:  # of two jobs, one of which waits, and before a SETUP that comes while it waits itself
        ahead = [Item(good), Item(good, job_of(blocks=3), signals_of(9)), Item(good, job_of(acc_base=32))]
        items = [*ahead, *items, Item(good), Item(good, job_of(acc_base=8), signals_of(2))]
    trace = run_bench(core, state, items, rng=random.Random(0))
    expect(trace, state, items)  # a stopped instruction signals nothing, the one before everything
    assert trace.error == code


def test_an_illegal_setup_stops_the_unit_even_without_a_compute() -> None:
    core = core_of(4, 4)
    state = CoreState.randomised(core, np.random.default_rng(5))
    good = setup_of(**BASE)
    items = [Item(good), Item(good, job_of(), signals_of(3)), Item(setup_of(kernel_w=0)), Item(good, job_of())]
    trace = run_bench(core, state, items, rng=random.Random(0))
    expect(trace, state, items)
    assert trace.error == ErrorCode.ILLEGAL_FIELD
    assert [token for token, _ in trace.signalled(2)] == [3]


def test_compute_before_any_setup_is_illegal() -> None:
    core = core_of(4, 4)
    state = CoreState.randomised(core, np.random.default_rng(5))
    trace = run_bench(core, state, [Item(setup_of(), job_of())], rng=random.Random(0))
    assert trace.error == ErrorCode.ILLEGAL_FIELD


def test_an_error_does_not_wait_for_signals() -> None:
    """Nobody takes a signal, and the job behind as many as may wait ends with a bad pixel."""
    core = core_of(4, 4)
    state = CoreState.randomised(core, np.random.default_rng(5))
    setup = setup_of(out_w=1)
    items = [Item(setup, job_of(), signals_of(n)) for n in range(4)]
    trace = run_bench(
        core, state, [Item(setup), *items, Item(setup, job_of(acc_base=64))], rng=random.Random(0), take=0
    )
    assert trace.error == ErrorCode.ACC_RANGE
    assert len(trace.pixels) == 4


def test_nothing_is_accepted_after_an_error() -> None:
    core = core_of(4, 4)
    state = CoreState.randomised(core, np.random.default_rng(5))
    good = setup_of(**BASE)
    items = [Item(good), *(Item(good, job_of(acc_base=base), signals_of(base)) for base in (0, 40, 70, 0, 0, 0))]
    trace = run_bench(core, state, items, rng=random.Random(0))
    expect(trace, state, items)
    assert trace.error == ErrorCode.ACC_RANGE
    assert [token for token, _ in trace.signalled(2)] == [0, 40]
    assert len(trace.pixels) == 8
