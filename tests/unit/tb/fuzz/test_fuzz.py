"""Random programs without a simulator: legal ones have one result, faults end as they should, failures shrink."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from golden.machine import Machine
from rtl.contract.isa import Opcode, Unit
from rtl.contract.regs import ErrorCode
from tb.errors import BenchError
from tb.fuzz.campaign import parse_seeds, replay
from tb.fuzz.chips import FUZZ_CHIPS as CHIPS
from tb.fuzz.illegal import RECIPES, illegal_program, random_field_program, recipes_of
from tb.fuzz.judge import Expectation, Rejected, expect_fault, expect_legal
from tb.fuzz.legal import legal_program
from tb.fuzz.program import DATA_BYTES, MEMORY_BYTES, Instruction, Program, damaged_weights, listed_weights
from tb.fuzz.shrink import Shrinker

CHIP = CHIPS["1x1_8x8"]


@pytest.mark.parametrize("chip", CHIPS)
def test_legal_programs_have_one_result(chip: str) -> None:
    opcodes: set[Opcode] = set()
    for seed in range(8):
        program, steps = legal_program(CHIPS[chip], seed)
        expectation = expect_legal(program)
        assert steps
        assert expectation.memory is not None
        assert np.array_equal(expectation.memory[DATA_BYTES:], program.image()[DATA_BYTES:]), "programs stay"
        opcodes |= {i.opcode for unit in Unit for i in program.streams_of(unit)}
    assert opcodes >= set(Opcode) - {Opcode.ILLEGAL, Opcode.END}


@pytest.mark.parametrize("chip", ["2x2_4x16", "2x1_mixed"])
def test_every_wait_is_needed_or_redundant_but_never_missing(chip: str) -> None:
    """Without its waits a program that needs some has several results, or a counter left."""
    lost = 0
    for seed in range(5):
        program, _ = legal_program(CHIPS[chip], seed, 30)
        streams = {
            place: [Instruction(i.opcode, {n: v for n, v in i.fields.items() if "wait" not in n}) for i in stream]
            for place, stream in program.streams.items()
        }
        try:
            expect_legal(program.with_streams(streams), orders=12)
        except Rejected:
            lost += 1
    assert lost >= 4


@pytest.mark.parametrize("chip", ["1x1_8x8", "3x1_unlike", "1x1_sparse"])
def test_every_kind_of_fault_ends_in_its_error(chip: str) -> None:
    for seed in range(len(recipes_of(CHIPS[chip]))):
        program, code = illegal_program(CHIPS[chip], seed)
        expectation = expect_fault(program, orders=3)
        names = {name for name, _, _ in expectation.statuses}
        # Of several errors of a COMPUTE any one may show, and what it finds instead of lists is unknown.
        assert {code.name} <= names <= {code.name, *(["WEIGHT_LISTS"] if chip == "1x1_sparse" else [])}, program.name
        assert expectation.may_change is not None


def test_every_error_has_a_kind_of_fault() -> None:
    recipes = recipes_of(CHIPS["1x1_sparse"])
    assert {code for code, _ in recipes.values()} == set(ErrorCode) - {ErrorCode.NONE}


def test_weights_of_programs_have_lists_of_all_lengths() -> None:
    """Rounds, and the longest list, are none, one, some or all that a PE holds, in every way that these go together."""
    chip = CHIPS["1x1_sparse"]
    core, found = chip.cores[0], set[tuple[str, str]]()

    def class_of(count: int) -> str:
        return {0: "none", 1: "one", core.sparse_depth: "all"}.get(count, "some")

    for _, one in listed_weights(chip, core):
        items = one.setup["kernel_h"] * one.setup["kernel_w"]
        for raw in np.split(one.raw, one.compute["blocks"]):
            bits = np.unpackbits(raw[: items * core.pes // 8], bitorder="little")
            longest = bits.reshape(items, core.sparse_lanes * core.sparse_columns, -1).sum(axis=(0, 2)).max()
            found.add((class_of(one.compute["rounds"]), class_of(int(longest))))
    order = ("none", "one", "some", "all")
    assert found == {(rounds, longest) for n, rounds in enumerate(order) for longest in order[: n + 1]}


@pytest.mark.parametrize("fault", ["a weight too many", "a lane twice", "no such lane"])
def test_damaged_lists_are_refused_for_what_is_wrong_with_them(fault: str) -> None:
    """Nothing else of the program is: with the sound lists it has one result."""
    chip = CHIPS["1x1_sparse"]
    recipes = list(recipes_of(chip))
    sound_at = {to: at for at, to in damaged_weights(chip, chip.cores[0])[fault].items()}
    for seed in range(recipes.index(fault), 4 * len(recipes), len(recipes)):
        program, _ = illegal_program(chip, seed)
        result = Machine(chip).run(program.image(), program.program_base, program.program_stride, fill_seed=seed)
        assert ("masks of" if "weight" in fault else "lanes") in str(result), program.name
        assert program.fault is not None
        core, unit, at = program.fault
        assert program.streams[core, unit][at].opcode == Opcode.COMPUTE
        loads = list(program.streams[core, Unit.LOAD])
        (bad,) = (n for n, load in enumerate(loads) if load.fields.get("dram_addr") in sound_at)
        fields = loads[bad].fields
        loads[bad] = replace(loads[bad], fields={**fields, "dram_addr": sound_at[fields["dram_addr"]]})
        expect_legal(replace(program, streams={**program.streams, (core, Unit.LOAD): loads}, fault=None))


def test_a_compute_that_leaves_several_memories_may_end_in_any_of_their_errors() -> None:
    setup = {"kernel_h": 1, "kernel_w": 1, "out_w": 2, "in_w": 9, "block_pitch": 64}
    compute = {"blocks": 200, "out_h": 1, "in_h": 1, "acc_base": CHIP.cores[0].acc_bank_entries - 1}
    streams = {(0, unit): [] for unit in Unit}
    streams[0, Unit.COMPUTE] = [Instruction(Opcode.SETUP, setup), Instruction(Opcode.COMPUTE, compute)]
    found = expect_fault(Program(CHIP, streams, 1)).statuses
    assert found == {(f"{memory}_RANGE", 0, "compute") for memory in ("ACT", "WEIGHT", "ACC")}


def test_a_program_comes_back_from_its_file(tmp_path: Path) -> None:
    far = replace(legal_program(CHIP, 4, 5)[0], origin=7 * MEMORY_BYTES)
    for program in (illegal_program(CHIPS["2x1_mixed"], 0)[0], random_field_program(CHIP, 3), far):
        program.save(tmp_path / "program.json", ["a note"])
        again = Program.load(tmp_path / "program.json")
        assert (again.chip, again.settings, again.fault) == (program.chip, program.settings, program.fault)
        assert again.origin == program.origin
        assert np.array_equal(again.image(), program.image())


@pytest.mark.parametrize("content", ["", "{}", '{"chip": 3}'])
def test_a_file_that_is_no_program_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "bad.json").write_text(content)
    with pytest.raises(BenchError, match="is not a saved program"):
        replay(tmp_path / "bad.json", folder=tmp_path)
    with pytest.raises(BenchError, match="cannot read"):
        replay(tmp_path / "missing.json", folder=tmp_path)


def test_seeds_are_a_number_or_a_range() -> None:
    assert list(parse_seeds("7")) == [7]
    assert list(parse_seeds("3..5")) == [3, 4, 5]
    for text in ("", "a", "3..", "..3", "5..3", "3..4..5"):
        with pytest.raises(BenchError, match="SEEDS="):
            parse_seeds(text)


def test_a_failure_shrinks_to_what_it_needs() -> None:
    """The hardware fails at this: a STORE to memory of more than two pixels."""

    def fails(expectation: Expectation) -> bool:
        stores = (i.whole() for i in expectation.program.streams_of(Unit.STORE) if i.opcode == Opcode.STORE)
        return any(not store["to_core"] and store["pixels"] > 2 for store in stores)

    def failing(expectations: Sequence[Expectation]) -> list[bool]:
        return [fails(expectation) for expectation in expectations]

    chosen = next(
        (expectation, steps)
        for expectation, steps in ((expect_legal(p), s) for p, s in (legal_program(CHIP, n, 30) for n in range(20)))
        if fails(expectation)
    )
    said: list[str] = []
    small = Shrinker(failing, said.append).shrink(*chosen)
    assert fails(small)
    assert small.program.n_instructions == 1
    assert said


def test_a_fault_shrinks_to_the_faulty_instruction() -> None:
    program, _ = illegal_program(CHIP, list(RECIPES).index("misaligned LOAD") + 4 * len(RECIPES))
    expectation = expect_fault(program)
    small = Shrinker(lambda found: [True] * len(found), lambda _: None).shrink(expectation)
    assert [i.opcode for unit in Unit for i in small.program.streams_of(unit)] == [Opcode.LOAD]
    assert small.statuses == expectation.statuses
