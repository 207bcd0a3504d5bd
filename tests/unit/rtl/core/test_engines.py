"""The compute unit over other engines than usual: one alone, or a third that registers from outside."""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
import pytest

from rtl.contract.codec import decode, encode
from rtl.contract.engines import ENGINES, EngineError, EngineSpec
from rtl.contract.isa import Engine, Opcode
from rtl.contract.params import CoreParams, ParameterError
from rtl.contract.regs import ErrorCode
from rtl.core.compute import events_layout
from tests.third_engine import ROW, row_registered
from tests.unit.rtl.core.compute_models import CoreState, Item, Trace, job_of, run_bench, setup_of, wrap32

CORE = {"rows": 4, "cols": 8, "act_bytes": 1024, "weight_bytes": 1024, "acc_entries": 64}


@pytest.fixture
def row() -> Iterator[None]:
    with row_registered():
        yield


def items_of(code: int, rng: random.Random, **options: int) -> list[Item]:
    """A SETUP and two COMPUTEs of two blocks each, the second on top of the first."""
    setup = setup_of(engine=code, out_w=6, in_w=6, step_x=4, block_pitch=32, **options)
    base = {"blocks": 2, "in_h": 1, "acc_base": 32 * rng.randrange(2)}
    jobs = [
        job_of(**base, act_base=rng.randrange(400), weight_base=8 * rng.randrange(64), accumulate=n) for n in range(2)
    ]
    return [Item(setup), *(Item(setup, job) for job in jobs)]


def run(core: CoreParams, items: list[Item], seed: int = 0) -> tuple[Trace, CoreState]:
    state = CoreState.randomised(core, np.random.default_rng(seed))
    return run_bench(core, state, items, rng=random.Random(seed), offer=0.7), state


def expected(state: CoreState, items: list[Item]) -> np.ndarray:
    """Accumulators behind 1x1 kernels of the array and of the row."""
    acc, cols = state.acc.copy(), state.core.cols
    for item in items:
        if (job := item.job) is None:
            continue
        rows = state.core.rows if item.setup["engine"] == Engine.ARRAY else 1
        for block in range(job["blocks"]):
            at = job["weight_base"] + block * rows * cols
            weights = state.weight[at : at + rows * cols].astype(np.int64).reshape(rows, cols)
            for x in range(item.setup["out_w"]):
                start = job["act_base"] + block * item.setup["block_pitch"] + x * item.setup["step_x"]
                act = state.act[start : start + 4].astype(np.int64)
                if rows == 1:
                    act = act[item.setup["row_lane"]][None]
                entry = job["acc_base"] + x
                keeps = job["accumulate"] or block
                acc[entry] = wrap32(act @ weights + (acc[entry] if keeps else 0))
    return acc


@pytest.mark.parametrize("engines", [("array", "row"), ("row",), ("array", "tap", "row")], ids="+".join)
def test_an_engine_from_outside_computes_beside_the_others(row: None, engines: tuple[str, ...]) -> None:
    core = CoreParams(**CORE, engines=engines)
    rng = random.Random(1)
    items = [one for lane in range(3) for one in items_of(ROW.code, rng, row_lane=lane)]
    if "array" in engines:
        items = items[:3] + items_of(Engine.ARRAY, rng) + items[3:]
    trace, state = run(core, items)
    assert not trace.error
    assert trace.acc is not None
    written = sorted({item.job["acc_base"] + x for item in items if item.job for x in range(6)})
    np.testing.assert_array_equal(trace.acc[written], expected(state, items)[written])


@pytest.mark.parametrize(
    ("engines", "setup"),
    [
        (("array",), {"engine": Engine.TAP}),
        (("tap",), {"engine": Engine.ARRAY}),
        (("array", "tap"), {"engine": ROW.code}),
        (("array", "row"), {"engine": ROW.code, "row_lane": 3}),
        (("array", "row"), {"engine": ROW.code, "options": 4}),
        (("array", "row"), {"engine": Engine.ARRAY, "row_lane": 1}),
    ],
)
def test_a_setup_that_the_core_cannot_run_is_illegal(
    row: None, engines: tuple[str, ...], setup: dict[str, int]
) -> None:
    trace, _ = run(CoreParams(**CORE, engines=engines), [Item(setup_of(**setup)), Item(setup_of(**setup), job_of())])
    assert trace.error == ErrorCode.ILLEGAL_FIELD
    assert not trace.updates


@pytest.mark.parametrize("name", ["array", "tap"])
def test_a_core_of_one_engine_has_that_engine_alone(name: str) -> None:
    core = CoreParams(**CORE, engines=(name,))
    code = ENGINES[name].code
    trace, _ = run(core, items_of(code, random.Random(2)))
    assert not trace.error
    assert len(trace.pixels) == 2 * 2 * 6
    events = {event for event, _ in events_layout(core)}
    assert events & {"array_pixel", "tap_pixel"} == {f"{name}_pixel"}
    assert ENGINES.counters(core.engines).keys() & {"ARRAY_PIXELS", "TAP_PIXELS"} == {f"{name.upper()}_PIXELS"}


def test_options_go_by_name_and_come_back_by_engine(row: None) -> None:
    word = encode(Opcode.SETUP, engine=ROW.code, row_lane=2)
    fields = decode(word)[1]
    assert (fields["engine"], fields["options"], fields["row_lane"]) == (ROW.code, 2, 2)
    assert {fields[name] for name, _ in ENGINES["tap"].options} == {0}
    assert decode(encode(Opcode.SETUP, engine=Engine.TAP, options=2))[1]["row_lane"] == 0


def test_without_the_engine_its_option_has_no_name() -> None:
    with pytest.raises(ValueError, match="SETUP has no field 'row_lane'"):
        encode(Opcode.SETUP, row_lane=1)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "tap"}, "engine 'tap' has a specification already"),
        ({"code": Engine.TAP}, "engine 'row' has code 1 of 'tap'"),
        ({"options": ENGINES["tap"].options}, "has an option 'tap_mode' that SETUP has already"),
    ],
)
def test_a_registry_keeps_names_codes_and_options_apart(fields: dict, message: str) -> None:
    spec = EngineSpec(**{**vars(ROW), **fields})
    with pytest.raises(EngineError, match=message):
        ENGINES.register(spec.name, spec)


@pytest.mark.parametrize("engines", [(), ("array", "array"), ("nothing",), "tap", ("tap", 1)])
def test_a_core_has_different_engines_that_exist(engines: object) -> None:
    with pytest.raises(ParameterError, match=r"core\.engines is .*different engines, at least one, out of array, tap"):
        CoreParams(engines=engines)


def test_the_order_of_a_cores_engines_is_that_of_their_codes() -> None:
    assert CoreParams(engines=("tap", "array")) == CoreParams()
    assert CoreParams(engines=["tap"]).engines == ("tap",)  # as a chip file has it
