"""Every error of the machine: code, node, unit, and that the neighbouring legal value passes."""

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest

from golden.machine import Machine, Result
from rtl.contract.engines.tap import TapMode
from rtl.contract.isa import INSTRUCTION_BYTES, Engine, Opcode, Space, Unit
from rtl.contract.params import ChipParams, CoreParams, Direction, MemoryNodeParams
from rtl.contract.regs import ErrorCode
from tests.assembler import Assembler

MEMORY_BYTES = 1 << 16
CORE = CoreParams(rows=8, cols=32, act_bytes=4096, weight_bytes=2048, acc_entries=64, param_blocks=4)
CHIP = ChipParams(
    2, 1, (CORE, CORE), (MemoryNodeParams(0, 0, Direction.WEST), MemoryNodeParams(1, 0, Direction.EAST)), tokens=32
)
ACT_FLITS, WEIGHT_FLITS, PARAM_FLITS = 4096 // 16, 2048 // 16, 4 * 8


def run(program: Assembler) -> Result:
    return program.run(np.zeros(MEMORY_BYTES, np.uint8))


def expect(result: Result, code: ErrorCode, node: int, unit: Unit | None) -> None:
    assert (result.error, result.node, result.unit) == (code, node, unit), str(result)
    assert not result.ok
    assert str(result).startswith(code.name)


@pytest.mark.parametrize("unit", list(Unit))
@pytest.mark.parametrize("opcode", [*Opcode, 9, 15])
def test_each_unit_takes_only_its_opcodes(unit: Unit, opcode: int) -> None:
    own = ((Opcode.LOAD,), (Opcode.SETUP, Opcode.COMPUTE), (Opcode.STORE, Opcode.POOL, Opcode.TABLE))[unit]
    legal = {Opcode.END, Opcode.SYNC, *own}
    program = Assembler(CHIP)
    program.streams[1, unit].append(opcode.to_bytes(INSTRUCTION_BYTES, "little"))
    result = run(program)
    if opcode in legal:
        assert result.error in (ErrorCode.NONE, ErrorCode.ILLEGAL_FIELD)
    else:
        expect(result, ErrorCode.ILLEGAL_OPCODE, 1, unit)


FIELDS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("load", {"runs": 1}, {"runs": 0}),
    ("load", {"run_flits": 1}, {"run_flits": 0}),
    ("load", {"cores": [0, 1]}, {"cores": []}),
    ("load", {"cores": [1]}, {"cores": [2]}),
    ("load", {"cores": [1]}, {"cores": [63]}),
    ("load", {"memory": 1}, {"memory": 2}),
    ("load", {"traffic": 4}, {"traffic": 5}),
    ("load", {"token": 31}, {"token": 32}),
    ("load", {"space": Space.PARAM}, {"space": Space.PROGRAM}),
    ("load", {"wait": [(31, 0)]}, {"wait": [(31, 2)]}),
    ("load", {"wait": [(127, 0)]}, {"wait": [0, 0, (127, 1)]}),
    ("setup", {"kernel_h": 1}, {"kernel_h": 0}),
    ("setup", {"kernel_w": 1}, {"kernel_w": 0}),
    ("setup", {"out_w": 1}, {"out_w": 0}),
    ("setup", {"engine": 1, "window": 1}, {"engine": 0, "window": 1}),
    ("setup", {"engine": 1, "window": 1, "kernel_w": 3}, {"engine": 1, "window": 1, "kernel_w": 4}),
    ("setup", {"engine": 1, "window": 1, "stride_w": 1}, {"engine": 1, "window": 1, "stride_w": 0}),
    ("compute", {"blocks": 1}, {"blocks": 0}),
    ("compute", {"out_h": 1}, {"out_h": 0}),
    ("compute", {"weight_base": 32}, {"weight_base": 31}),
    ("compute", {"signal": [(31, 1)]}, {"signal": [(32, 1)]}),
    ("compute", {"signal": [None, None, (0, 1)]}, {"signal": [None, None, (0, 2)]}),
    ("store", {"pixels": 1}, {"pixels": 0}),
    ("store", {"groups": 1}, {"groups": 0}),
    ("store", {"groups": 2}, {"groups": 3}),
    ("store", {"lanes": 1}, {"lanes": 0}),
    ("store", {"lanes": 16}, {"lanes": 17}),
    ("store", {"lanes": 6, "lane_offset": 10}, {"lanes": 6, "lane_offset": 11}),
    ("store", {"memory": 1}, {"memory": 2}),
    ("store", {"traffic": 4}, {"traffic": 7}),
    ("store", {"signal": [(0, 0)]}, {"signal": [(0, 63)]}),
    ("store", {"to_core": 1, "core": 1}, {"to_core": 1, "core": 2}),
    ("store", {"to_core": 1, "token_valid": 1, "token": 31}, {"to_core": 1, "token_valid": 1, "token": 32}),
    ("store", {"to_core": 1, "space": Space.PARAM}, {"to_core": 1, "space": Space.PROGRAM}),
    ("store", {"pooled": 0}, {"pooled": 1}),
    *(("pool", {}, {name: 0}) for name in ("kernel_h", "kernel_w", "stride_h", "stride_w", "in_h", "in_w", "out_w")),
    ("pool", {"kernel_h": 3, "pad_top": 2}, {"kernel_h": 3, "pad_top": 3}),
    ("pool", {"kernel_w": 7, "pad_left": 6}, {"kernel_w": 6, "pad_left": 6}),
]

RANGES: list[tuple[str, dict[str, Any], dict[str, Any], ErrorCode]] = [
    ("load", {"dram_addr": 16}, {"dram_addr": 24}, ErrorCode.MISALIGNED),
    ("store", {"addr": 16}, {"addr": 17}, ErrorCode.MISALIGNED),
    ("compute", {"acc_base": 31}, {"acc_base": 64}, ErrorCode.ACC_RANGE),
    ("compute", {"acc_base": 32, "out_h": 32}, {"acc_base": 32, "out_h": 33}, ErrorCode.ACC_RANGE),
    ("compute", {"acc_base": 24, "out_h": 8}, {"acc_base": 25, "out_h": 8}, ErrorCode.ACC_RANGE),
    ("compute", {"weight_base": 2048 - 256}, {"weight_base": 2048 - 224}, ErrorCode.WEIGHT_RANGE),
    ("compute", {"blocks": 8}, {"blocks": 9}, ErrorCode.WEIGHT_RANGE),
    ("compute", {"act_base": 4096 - 8}, {"act_base": 4096 - 7}, ErrorCode.ACT_RANGE),
    ("compute", {"act_base": 4096, "in_h": 0}, {"act_base": 4096}, ErrorCode.ACT_RANGE),
    ("compute", {"act_base": 1 << 21, "iy0": -1}, {"act_base": (1 << 22) - 1}, ErrorCode.ACT_RANGE),
    ("store", {"acc_base": 63}, {"acc_base": 64}, ErrorCode.ACC_RANGE),
    ("store", {"acc_base": 32, "pixels": 32}, {"acc_base": 32, "pixels": 33}, ErrorCode.ACC_RANGE),
    ("store", {"param_base": 3}, {"param_base": 4}, ErrorCode.PARAM_RANGE),
    ("store", {"param_base": 2, "groups": 2}, {"param_base": 3, "groups": 2}, ErrorCode.PARAM_RANGE),
    ("table", {"param_base": 2}, {"param_base": 3}, ErrorCode.PARAM_RANGE),
]


def name(value: object) -> str | None:
    return ",".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else None


def program_with(kind: str, fields: dict[str, Any]) -> tuple[Assembler, Unit]:
    """The instruction on core 1, with tokens 0 and 127 % 32 at hand."""
    program = Assembler(CHIP)
    stores = dict.fromkeys(("store", "pool", "table"), Unit.STORE)
    unit = {"load": Unit.LOAD, **stores}.get(kind, Unit.COMPUTE)
    fields = dict(fields)
    if kind == "load":
        fields.setdefault("run_flits", 1)
    if kind == "compute":
        program.setup(1)
    getattr(program, kind)(1, **fields)
    return program, unit


@pytest.mark.parametrize(("kind", "legal", "illegal"), FIELDS, ids=name)
def test_fields_outside_their_meaning(kind: str, legal: dict[str, Any], illegal: dict[str, Any]) -> None:
    program, _ = program_with(kind, legal)
    result = run(program)
    assert result.ok, str(result)
    program, unit = program_with(kind, illegal)
    expect(run(program), ErrorCode.ILLEGAL_FIELD, 1, unit)


@pytest.mark.parametrize(("kind", "legal", "illegal", "code"), RANGES, ids=name)
def test_addresses_outside_their_memory(
    kind: str, legal: dict[str, Any], illegal: dict[str, Any], code: ErrorCode
) -> None:
    program, _ = program_with(kind, legal)
    result = run(program)
    assert result.ok, str(result)
    program, unit = program_with(kind, illegal)
    expect(run(program), code, 1, unit)


def test_a_pooled_store_needs_all_of_its_map_in_the_bank() -> None:
    """And not its own pixels, of which there may be more."""
    for base, rows, legal in ((32, 8, True), (33, 8, False), (0, 9, False)):
        program = Assembler(CHIP)
        program.pool(1, in_h=rows, in_w=4, out_w=40)
        program.store(1, acc_base=base, pixels=40, pooled=1)
        result = run(program)
        if legal:
            assert result.ok, str(result)
        else:
            expect(result, ErrorCode.ACC_RANGE, 1, Unit.STORE)


def test_a_core_narrower_than_a_flit_has_as_many_lanes_as_columns() -> None:
    chip = ChipParams(1, 1, (CoreParams(rows=8, cols=4),), CHIP.memory_nodes[:1])
    for lanes, legal in ((4, True), (5, False)):
        program = Assembler(chip)
        program.store(0, lanes=lanes)
        result = run(program)
        assert result.ok == legal, str(result)
        if not legal:
            expect(result, ErrorCode.ILLEGAL_FIELD, 0, Unit.STORE)


def test_compute_before_setup() -> None:
    program = Assembler(CHIP)
    program.compute(0)
    expect(run(program), ErrorCode.ILLEGAL_FIELD, 0, Unit.COMPUTE)


@pytest.mark.parametrize("tap_mode", list(TapMode))
def test_only_the_weights_that_are_read_must_exist(tap_mode: TapMode) -> None:
    """A MAC pass reads C bytes, MAX none."""
    for base, legal in ((2048 - 32, True), (2048, tap_mode == TapMode.MAX)):
        program = Assembler(CHIP)
        program.setup(0, engine=Engine.TAP, tap_mode=tap_mode)
        program.compute(0, weight_base=base)
        result = run(program)
        assert result.ok == legal, str(result)
        if not legal:
            expect(result, ErrorCode.WEIGHT_RANGE, 0, Unit.COMPUTE)


@pytest.mark.parametrize(
    ("space", "flits", "code"),
    [
        (Space.ACT, ACT_FLITS, ErrorCode.ACT_RANGE),
        (Space.WEIGHT, WEIGHT_FLITS, ErrorCode.WEIGHT_RANGE),
        (Space.PARAM, PARAM_FLITS, ErrorCode.PARAM_RANGE),
    ],
)
def test_flits_beyond_a_memory_are_the_receivers_error(space: Space, flits: int, code: ErrorCode) -> None:
    for extra in (0, 1):
        load, store = Assembler(CHIP), Assembler(CHIP)
        load.load(0, cores=[1], run_flits=2, dst=flits - 2 + extra, space=space)
        store.store(0, pixels=2, to_core=1, core=1, space=space, addr=flits - 2 + extra)
        for program in (load, store):
            result = run(program)
            if extra:
                expect(result, code, 1, None)
            else:
                assert result.ok, str(result)


@pytest.mark.parametrize(
    ("fields", "legal"),
    [
        ({"core": 0, "more": 2}, True),
        ({"core": 0, "more": 3}, False),
        ({"core": 2, "more": 1}, False),
        ({"core": 63, "more": 63}, False),
        ({"core": 0, "more": 1, "planar": 1}, True),
        ({"core": 1, "more": 1, "planar": 1}, False),
    ],
    ids=name,
)
def test_a_store_goes_to_cores_that_exist_and_space_planar_flits_alike(fields: dict[str, int], legal: bool) -> None:
    """Only where the sender can send to several: others do not look at all of that."""
    for multicast in (True, False):
        cores = (CORE, replace(CORE, multicast=multicast), CoreParams(rows=32, cols=32, acc_entries=64, param_blocks=4))
        chip = ChipParams(3, 1, cores, CHIP.memory_nodes[:1], tokens=32)
        program = Assembler(chip)
        program.store(1, to_core=1, **fields)
        result = run(program)
        if legal or (not multicast and fields["core"] < 3):
            assert result.ok, str(result)
        else:
            expect(result, ErrorCode.ILLEGAL_FIELD, 1, Unit.STORE)


def test_fence_is_for_the_store_unit() -> None:
    for unit in Unit:
        program = Assembler(CHIP)
        program.sync(0, unit, fence=1)
        result = run(program)
        assert result.ok == (unit == Unit.STORE)
        if not result.ok:
            expect(result, ErrorCode.ILLEGAL_FIELD, 0, unit)


@pytest.mark.parametrize("unit", Unit, ids=lambda unit: unit.name)
def test_marks_are_for_the_compute_unit_as_many_as_a_core_has(unit: Unit) -> None:
    chip = replace(CHIP, cores=(replace(CHIP.cores[0], marks=8), CHIP.cores[1]))
    for core, mark in product(range(2), (1, 8, 9, 255)):
        program = Assembler(chip)
        program.sync(core, unit, mark=mark)
        result = run(program)
        assert result.ok == (core == 1 or (unit == Unit.COMPUTE and mark <= 8))
        if result.ok:
            assert [state.marks for state in result.cores] == [[] if core else [mark], []]
        else:
            expect(result, ErrorCode.ILLEGAL_FIELD, 0, unit)
            assert f"mark {mark}" in result.message


def test_dram_ends() -> None:
    for memory in (0, 1):
        for address, legal in ((MEMORY_BYTES - 32, True), (MEMORY_BYTES - 16, False)):
            load, store = Assembler(CHIP), Assembler(CHIP)
            load.load(0, run_flits=2, dram_addr=address, memory=memory)
            store.store(1, pixels=2, addr=address, memory=memory)
            for program, code in ((load, ErrorCode.AXI_READ), (store, ErrorCode.AXI_WRITE)):
                result = run(program)
                assert result.ok == legal, str(result)
                if not legal:
                    expect(result, code, CHIP.memory_node_id(memory), None)


def test_a_stream_without_end_runs_out_of_memory() -> None:
    program = Assembler(CHIP)
    program.sync(1, Unit.STORE)
    memory = np.zeros(MEMORY_BYTES, np.uint8)
    stride = program.place(memory, 0)
    whole = 5 * stride + 2 * INSTRUCTION_BYTES
    assert Machine(CHIP).run(memory[:whole].copy(), 0, stride).ok
    result = Machine(CHIP).run(memory[: whole - INSTRUCTION_BYTES].copy(), 0, stride)
    expect(result, ErrorCode.AXI_READ, CHIP.memory_node_id(CHIP.home_memory[1]), None)


def test_planar_load_for_unlike_cores_is_refused_by_the_memory_node() -> None:
    """Their act_groups differ, so the flits of one packet would go to different addresses."""
    chip = ChipParams(2, 1, (CoreParams(rows=16), CoreParams(rows=32)), CHIP.memory_nodes)
    for cores, error in (([0, 1], ErrorCode.ILLEGAL_FIELD), ([1], ErrorCode.NONE)):
        program = Assembler(chip)
        program.load(0, cores=cores, run_flits=4, planar=1)
        result = run(program)
        assert result.error == error
        assert result.node == (chip.memory_node_id(0) if error else None)
        assert result.unit is None
