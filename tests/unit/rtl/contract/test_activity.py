"""Activity of a launch: from the hardware's counters, and sums over its cores."""

import pytest

from rtl.contract.activity import Activity, CoreActivity
from rtl.contract.isa import TrafficClass
from rtl.contract.regs import CoreCounter

CORES = [{counter.name.lower(): 100 * core + counter for counter in CoreCounter} for core in (1, 2)]
NODES = [
    {
        f"{direction}_{traffic.name.lower()}_bytes": 1000 * node + 10 * (direction == "write") + traffic
        for direction in ("read", "write")
        for traffic in TrafficClass
    }
    for node in (1, 2)
]


def test_counters_of_the_hardware_make_an_activity() -> None:
    got = Activity.from_counters(77, {"core": CORES, "router": [], "memory": NODES})
    assert got.cycles == 77
    first = got.cores[0]
    assert first.pixels == {"array": 100 + CoreCounter.ARRAY_PIXELS, "tap": 100 + CoreCounter.TAP_PIXELS}
    assert (first.passes, first.instructions) == (100 + CoreCounter.PASSES, 100 + CoreCounter.INSTRUCTIONS)
    assert first.compute_cycles == {
        "stream": 100, "wait_act": 101, "wait_weight": 102, "wait_acc": 103, "weight_stall": 104, "fetch": 105,
        "overhead": 106, "done": 107,
    }  # fmt: skip
    assert got.read_bytes == {"weight": 3000, "ifmap": 3002, "ofmap": 3004, "psum": 3006, "program": 3008}
    assert got.write_bytes == {name: count + 20 for name, count in got.read_bytes.items()}


def test_an_activity_adds_up_its_cores() -> None:
    got = Activity.from_counters(77, {"core": CORES, "memory": NODES})
    assert got.pixels == {name: sum(core.pixels[name] for core in got.cores) for name in ("array", "tap")}
    assert (got.passes, got.instructions) == (300 + 2 * CoreCounter.PASSES, 300 + 2 * CoreCounter.INSTRUCTIONS)
    assert got.compute_cycles["stream"] == pytest.approx(150)  # mean
    assert got.dram_bytes["ifmap"] == 3002 + 3022


def test_cores_with_other_engines_are_added_by_name() -> None:
    cores = (CoreActivity({"array": 5}, 1, 2, {"stream": 4.0}), CoreActivity({"tap": 7, "array": 1}, 1, 2))
    got = Activity(None, cores, {}, {})
    assert (got.pixels, got.compute_cycles) == ({"array": 6, "tap": 7}, {"stream": 2.0})


def test_counts_by_number_make_an_activity_without_time() -> None:
    counts = {counter: 10 + counter for counter in CoreCounter}
    assert CoreActivity.from_counts(counts, ["tap"]) == CoreActivity({"tap": 19}, 20, 35)
