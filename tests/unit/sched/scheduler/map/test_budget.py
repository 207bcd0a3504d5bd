"""Budgets: what is no part of a core is refused, and mappings keep within theirs."""

from dataclasses import replace

import numpy as np
import pytest

from estimator import MemoryTiming
from rtl.contract.codec import decode
from rtl.contract.isa import Opcode, Space
from rtl.contract.params import CoreParams, default_chip
from scheduler import PlanError
from scheduler.code.draft import Draft
from scheduler.engines import bids
from scheduler.map.budget import Accumulators, Barriers, Budget, Range
from scheduler.map.search import best_mappings
from scheduler.plan.layout import Blocked
from scheduler.plan.program import Placement
from scheduler.work.sink import MemorySink
from scheduler.work.task import Task
from scheduler.work.work import Work
from tests.cases import GraphBuilder

CORE = CoreParams(8, 8, act_bytes=32 * 1024, weight_bytes=16 * 1024, acc_entries=128, param_blocks=32)
CHIP = default_chip(2, CORE)
SHARE = Budget(
    Range(20, 40), Range(8192, 16384), Range(4096, 8192), Range(8, 20), Accumulators(banks=(1,), token=50)
)  # fmt: skip


def work(residual: bool) -> Work:
    builder = GraphBuilder(np.random.default_rng(0), (32, 12, 12), 10**9)
    name = builder.conv("in", 32, (3, 3), padding=(1,) * 4, residual="in" if residual else None)
    source, output = (Placement(at, Blocked(builder.shape(n), 16)) for at, n in ((0, "in"), (1 << 16, name)))
    task = Task(
        node=builder.nodes[-1], inputs=(source,), residual=source if residual else None, sink=MemorySink(output)
    )
    (found,) = bids(task, CORE)
    return found


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        (replace(SHARE, tokens=Range(40, 65)), r"budget.tokens is 40..65: it must be a range within 0..64"),
        (replace(SHARE, act=Range(8, 4096)), r"budget.act is 8..4096: it must be .* from a multiple of 16 on"),
        (replace(SHARE, weight=Range(0, 20000)), r"budget.weight is 0..20000: it must be a range within 0..16384"),
        (replace(SHARE, params=Range(4, 4)), r"budget.params is 4..4: it must be a range within 0..32"),
        (replace(SHARE, acc=Accumulators((2,), 50)), r"budget.acc.banks is \(2,\): it must be"),
        (replace(SHARE, acc=Accumulators((0,), 39)), r"budget.acc has counters .*: none may lie in budget.tokens"),
    ],
)
def test_what_is_no_part_of_a_core_is_refused(budget: Budget, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        best_mappings(work(False), (0, 1), CHIP, MemoryTiming(), 1, budget)


def test_the_whole_of_a_core_is_a_part_of_it() -> None:
    Budget.whole(CORE, CHIP).check(CORE, CHIP)


@pytest.mark.parametrize("residual", [False, True])
def test_programs_keep_within_their_budget(residual: bool) -> None:
    found = best_mappings(work(residual), (0, 1), CHIP, MemoryTiming(), 1000, SHARE)
    spaces = {Space.ACT: SHARE.act, Space.WEIGHT: SHARE.weight, Space.PARAM: Range(8 * 8, 20 * 8)}
    used: set[int] = set()
    for mapping in found[:: max(1, len(found) // 20)]:
        for stream in Draft.of([[mapping]], CHIP, 1 << 20).streams.values():
            for opcode, fields in map(decode, stream):
                if opcode == Opcode.LOAD:
                    unit = 1 if fields["space"] == Space.PARAM else 16
                    last = (fields["runs"] - 1) * fields["dst_stride"] + fields["run_flits"]
                    low, high = spaces[Space(fields["space"])]
                    assert low <= fields["dst"] * unit
                    assert (fields["dst"] + last) * unit <= high
                    used.add(fields["token"])
                if opcode == Opcode.STORE:
                    assert fields["param_base"] in range(*SHARE.params)
                if opcode in (Opcode.COMPUTE, Opcode.STORE):
                    assert fields["acc_base"] >= CORE.acc_bank_entries
                    used |= {fields[f"signal{i}_token"] for i in range(3) if fields[f"signal{i}_valid"]}
    assert used - {0} <= {*range(20, 40), 50, 51}


def test_a_layer_that_exceeds_its_budget_is_refused() -> None:
    with pytest.raises(PlanError, match=r"takes \d+, there is room for 48; raise core\.act_bytes"):
        best_mappings(work(True), (0,), CHIP, MemoryTiming(), 1, replace(SHARE, act=Range(0, 64)))


@pytest.mark.parametrize("cores", [1, 2, 4, 6, 8, 16])
def test_counters_of_barriers_are_the_last_ones_each_with_one_meaning(cores: int) -> None:
    chip = default_chip(cores)
    barriers = Barriers.of(chip)
    ends = [barriers.first, *(counters.end for counters in barriers)]
    assert [counters.first for counters in barriers] == ends[:-1]
    assert ends[-1] == chip.tokens
    told = chip.mesh_height if cores > 6 else cores
    assert [counters.size for counters in barriers] == [1, 1, cores, chip.mesh_width * (cores > 6), told, told]
