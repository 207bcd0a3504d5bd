"""Launches of two parts, with the tensor between them in the scratchpads: what they compute, and what they leave."""

from dataclasses import replace

import numpy as np
import pytest

from estimator import estimate
from golden.int8 import ops
from golden.machine import Machine
from rtl.contract.codec import decode, encode
from rtl.contract.isa import Opcode, Unit
from rtl.contract.params import CoreParams, default_chip
from scheduler import PlanError, schedule
from tests.resident import resident_case, resident_plan
from tests.unit.sched.replay import Replay

SMALL = CoreParams(8, 8, act_bytes=16 * 1024, weight_bytes=8 * 1024, acc_entries=128, param_blocks=32)
WIDE = CoreParams(32, 8, act_bytes=64 * 1024, weight_bytes=16 * 1024, acc_entries=128, param_blocks=32)
"""Two blocks of channels in a scratchpad word."""
BROAD = CoreParams(16, 32, act_bytes=64 * 1024, weight_bytes=32 * 1024, acc_entries=128, param_blocks=32)
"""Two blocks of channels in an accumulator."""
LARGE = CoreParams(32, 32, act_bytes=64 * 1024, weight_bytes=64 * 1024, acc_entries=128, param_blocks=32)
"""Two of both."""
GRIDS = {
    "one core": (default_chip(1, SMALL), (1, 1), (1, 1)),
    "rows": (default_chip(2, SMALL), (1, 2), (1, 2)),
    "channels": (default_chip(2, SMALL), (2, 1), (2, 1)),
    "channels, then rows": (default_chip(2, WIDE), (2, 1), (1, 2)),
    "both": (default_chip(4, WIDE), (2, 2), (2, 2)),
    "two blocks at once": (default_chip(2, BROAD), (1, 2), (1, 2)),
    "two blocks at once in a word": (default_chip(2, LARGE), (1, 2), (1, 2)),
}
LAYERS = {
    "conv1x1": {"kernel": 1},
    "conv3x3": {"kernel": 3},
    "conv3x3 of stride 2": {"kernel": 3, "stride": 2},
    "conv1x1 of stride 2": {"kernel": 1, "stride": 2},
    "depthwise": {"kernel": 3, "op": "depthwise"},
    "maxpool": {"kernel": 2, "stride": 2, "op": "maxpool"},
}
CHANNELS = 50
ORDERS = 4


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("grid", GRIDS)
def test_the_machine_computes_what_ops_does(grid: str, layer: str) -> None:
    chip, first, second = GRIDS[grid]
    case = resident_case(chip, channels=CHANNELS, **LAYERS[layer])
    plan = resident_plan(case, first, second)
    (launch,) = plan.launches
    Replay(launch, chip).run()
    expected = ops.run(case.graph, case.image)
    for order_seed in (None, *range(ORDERS)):
        memory = plan.memory_image(case.image)
        result = Machine(chip).run(
            memory, launch.program_base, launch.program_stride, order_seed=order_seed, fill_seed=order_seed
        )
        assert result.ok, result
        assert not any(any(core.tokens) for core in result.cores)
        for name in plan.written(launch):
            np.testing.assert_array_equal(plan.tensors[name].read(memory), expected[name])
        for segment in plan.segments:
            assert np.array_equal(memory[segment.addr : segment.addr + segment.data.size], segment.data.reshape(-1))


def test_a_launch_names_its_parts() -> None:
    chip, first, second = GRIDS["rows"]
    case = resident_case(chip, kernel=3)
    plan = resident_plan(case, first, second)
    (launch,) = plan.launches
    assert [part.nodes for part in launch.parts] == [("conv0",), ("conv1",)]
    assert [part.macs for part in launch.parts] == [node.macs for node in case.graph.nodes]
    assert (launch.nodes, launch.op, launch.macs) == (("conv0", "conv1"), "conv, conv", case.graph.macs)
    assert "input resident" in launch.parts[1].mapping
    assert "input resident" not in launch.parts[0].mapping
    assert plan.written(launch) == ["conv1"]
    assert plan.live_after(-1) == ("in",)


@pytest.mark.parametrize("grid", ["one core", "rows"])
def test_the_tensor_between_is_never_in_memory(grid: str) -> None:
    chip, first, second = GRIDS[grid]
    case = resident_case(chip, kernel=3, channels=CHANNELS)
    (launch,) = resident_plan(case, first, second).launches
    apart = [estimate(launch, chip).dram_bytes for launch in schedule(case.graph, chip).launches]
    together = estimate(launch, chip).dram_bytes
    assert together["ofmap"] == apart[1]["ofmap"]
    assert together["ifmap"] <= 2 * apart[0]["ifmap"] < together["ifmap"] + apart[1]["ifmap"]


@pytest.mark.parametrize("unit", [Unit.COMPUTE, Unit.STORE])
def test_a_token_of_the_tensor_that_is_not_waited_for_or_sent_is_noticed(unit: Unit) -> None:
    chip, first, second = GRIDS["rows"]
    (launch,) = resident_plan(resident_case(chip, kernel=3), first, second).launches
    streams = {}
    for place, stream in launch.streams.items():
        streams[place] = []
        for raw in stream:
            opcode, fields = decode(raw)
            del fields["opcode"]
            if unit == Unit.COMPUTE and opcode == Opcode.SYNC:
                fields |= {f"wait{number}_count": 0 for number in range(3)}
            if unit == Unit.STORE and opcode == Opcode.STORE and fields["token_valid"]:
                fields["token_valid"] = 0
            streams[place].append(encode(opcode, **fields))
    with pytest.raises(AssertionError):
        Replay(replace(launch, streams=streams), chip).run()


def test_parts_go_on_with_the_accumulators_of_those_before() -> None:
    """An odd number of output blocks, so that the second part begins with the other bank."""
    chip = default_chip(1, replace(SMALL, acc_entries=256))
    (launch,) = resident_plan(resident_case(chip, channels=24), (1, 1), (1, 1)).launches
    decoded = [decode(raw) for raw in launch.streams[0, Unit.COMPUTE]]
    (border,) = (number for number, (opcode, _) in enumerate(decoded) if opcode == Opcode.SYNC)
    starts = [
        number
        for number, (opcode, fields) in enumerate(decoded)
        if opcode == Opcode.COMPUTE and not fields["accumulate"]
    ]
    computes = [decoded[number][1] for number in starts]
    second = sum(number < border for number in starts)
    assert second % 2 == 1
    banks = [fields["acc_base"] // chip.cores[0].acc_bank_entries for fields in computes]
    assert banks == [number % 2 for number in range(len(computes))]
    assert [fields["wait2_count"] for fields in computes] == [0, 0, *[1] * (len(computes) - 2)]


def test_weights_that_do_not_stay_are_loaded_once_where_the_input_does() -> None:
    """Each block goes over all tiles before the next, so that the ring holds its weights for all of them."""
    chip = default_chip(1, replace(SMALL, weight_bytes=16 * 1024, acc_entries=64))
    plan = resident_plan(resident_case(chip, kernel=3, channels=CHANNELS), (1, 1), (1, 1))
    (launch,) = plan.launches
    assert "weight slots" in launch.parts[1].mapping
    assert " 1 tiles" not in launch.parts[1].mapping
    _, weights = (segment for segment in plan.segments if segment.label.endswith(" weights"))
    ends = weights.addr, weights.addr + weights.data.size
    decoded = (decode(raw) for raw in launch.streams[0, Unit.LOAD])
    loads = [fields for opcode, fields in decoded if opcode == Opcode.LOAD]
    flits = [load["runs"] * load["run_flits"] for load in loads if ends[0] <= load["dram_addr"] < ends[1]]
    assert sum(flits) * chip.link_bytes == weights.data.size
    Replay(launch, chip).run()


def test_an_output_block_that_would_go_to_two_words_is_refused() -> None:
    chip = default_chip(1, replace(LARGE, cols=64))
    with pytest.raises(PlanError, match="an output block of 64 channels would go to several scratchpad words of 32"):
        resident_plan(resident_case(chip, channels=CHANNELS), (1, 1), (1, 1))
