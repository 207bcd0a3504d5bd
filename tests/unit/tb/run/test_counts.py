"""Counters of a launch against what its programs determine: a difference is named by counter and block."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest

from estimator.events import predict
from golden.machine import Machine
from rtl.contract.engines import ENGINES
from rtl.contract.params import ChipParams, default_chip
from rtl.contract.regs import router_counters
from scheduler import schedule
from scheduler.plan.program import Launch
from tb.run.counts import check_counts
from tests.cases import random_case
from tests.counters import memory_counters

CHIP = replace(default_chip(2), counters=True)
AHEAD = [2, 0]
"""Blocks of instructions that each core has read behind an END."""


def _counted(chip: ChipParams, launch: Launch, memory: Any) -> dict[str, list[dict[str, int]]]:
    """Counters as the hardware would have them: events of the cores by the machine, traffic as predicted."""
    states = Machine(chip).run(memory, launch.program_base, launch.program_stride).cores
    events = predict(launch.streams, chip).fetching(AHEAD)
    cores = []
    for core, state in enumerate(states):
        numbers = ENGINES.counters(state.params.engines, events=chip.counters)
        flits = {"flits_in": events.flits_in(core), "flits_out": events.flits_out(core)}
        cores.append({name.lower(): state.counts[number] for name, number in numbers.items()} | flits)
    names = router_counters(events=chip.counters)
    routers = [{name.lower(): events.router(core).get(name, 0) for name in names} for core in range(chip.n_cores)]
    return {"core": cores, "router": routers, "memory": memory_counters(chip, events)}


@pytest.fixture(scope="module")
def case() -> tuple[ChipParams, Launch, dict[str, list[dict[str, int]]]]:
    case = random_case(1, kind="residual", chip=CHIP, budget_macs=20_000)
    plan = schedule(case.graph, CHIP)
    launch = plan.launches[0]
    return CHIP, launch, _counted(CHIP, launch, plan.memory_image(case.image))


def test_counters_as_predicted_are_right(case: Any) -> None:
    chip, launch, counted = case
    assert check_counts(predict(launch.streams, chip), counted) == ""


@pytest.mark.parametrize(
    ("block", "name"),
    [
        ("core", "instructions"), ("core", "passes"), ("core", "array_pixels"), ("core", "tap_pixels"),
        ("core", "act_split_reads"), ("core", "param_reads"), ("core", "flits_to_cores"), ("core", "flits_out"),
        ("router", "flits_local"), ("router", "flits_east"), ("router", "flits_in"), ("memory", "read_weight_bytes"),
        ("memory", "read_program_bytes"), ("memory", "write_ofmap_bytes"),
    ],
)  # fmt: skip
def test_a_count_that_is_not_the_programs_is_named(case: Any, block: str, name: str) -> None:
    chip, launch, counted = case
    wrong = deepcopy(counted)
    last = len(wrong[block]) - 1
    right = wrong[block][last][name]
    wrong[block][last][name] += 560
    where = "memory node" if block == "memory" else block
    source = "its program has" if block == "core" else "the programs have"
    what = name.replace("_", " ")
    told = check_counts(predict(launch.streams, chip), wrong)
    assert told == f"{where} {last} counted {right + 560} {what}, {source} {right}"


def test_flits_that_no_instructions_explain_are_named(case: Any) -> None:
    chip, launch, counted = case
    wrong = deepcopy(counted)
    wrong["core"][1]["flits_in"] += 1
    told = check_counts(predict(launch.streams, chip), wrong)
    assert "core 1 counted" in told
    assert "no blocks of instructions behind it make up for the rest" in told
