"""The replay that the properties rest on notices what it should: programs with one token wait or signal taken out."""

from dataclasses import replace

import numpy as np
import pytest

from estimator import MemoryTiming
from rtl.contract.codec import decode, encode
from rtl.contract.isa import Opcode, Unit
from rtl.contract.params import CoreParams, default_chip
from scheduler import Launch, schedule
from scheduler.kinds.fused import Fused
from tests.cases import GraphBuilder
from tests.networks import random_network
from tests.unit.sched.replay import Coming, Replay

CORE = CoreParams(8, 8, act_bytes=4096, weight_bytes=2048, acc_entries=64, param_blocks=16)
CHIP = default_chip(4, CORE)


def launch() -> Launch:
    """A convolution whose activations, weights and accumulators all go round their rings."""
    builder = GraphBuilder(np.random.default_rng(1), (32, 12, 12), 10**6)
    graph = builder.graph("net", builder.conv("in", 48, (3, 3), padding=(1, 1, 1, 1)))
    return schedule(graph, CHIP).launches[0]


def edited(unit: Unit, whole: Launch | None = None, **fields: int) -> Launch:
    """The launch, or another one, with fields cleared wherever an instruction of a unit has them set."""
    whole = whole or launch()
    streams = dict(whole.streams)
    for core in sorted({core for core, _ in streams}):
        stream = []
        for raw in streams[core, unit]:
            opcode, values = decode(raw)
            del values["opcode"]
            clear = {name: value for name, value in fields.items() if name in values and opcode != Opcode.END}
            stream.append(encode(opcode, **{**values, **clear}))
        streams[core, unit] = stream
    return replace(whole, streams=streams)


def test_the_program_is_sound() -> None:
    Replay(launch(), CHIP).run()


@pytest.mark.parametrize(
    ("unit", "field"),
    [
        (Unit.LOAD, "wait0_count"),
        (Unit.COMPUTE, "wait0_count"),
        (Unit.COMPUTE, "wait1_count"),
        (Unit.COMPUTE, "wait2_count"),
        (Unit.COMPUTE, "signal0_valid"),
        (Unit.COMPUTE, "signal1_valid"),
        (Unit.COMPUTE, "signal2_valid"),
        (Unit.STORE, "wait0_count"),
        (Unit.STORE, "wait1_count"),
        (Unit.STORE, "signal0_valid"),
    ],
)
def test_a_missing_wait_or_signal_is_noticed(unit: Unit, field: str) -> None:
    with pytest.raises(AssertionError):
        Replay(edited(unit, **{field: 0}), CHIP).run()


def test_a_load_that_reads_what_is_on_its_way_to_dram_is_noticed() -> None:
    """One launch of several parts, one of which reads from DRAM what another has written; without its fences."""
    core = CoreParams(8, 8, act_bytes=16 * 1024, weight_bytes=16 * 1024, acc_entries=128, param_blocks=64)
    chip = default_chip(1, core, link_bytes=8)
    plan = Fused().plan(random_network(13, chip).graph, chip, MemoryTiming(bytes_per_cycle=2))
    whole = max(plan.launches, key=lambda one: len(one.parts))
    Replay(whole, chip).run()
    with pytest.raises(AssertionError, match="a load reads what core 0 has still under way to DRAM"):
        Replay(edited(Unit.STORE, whole, fence=0), chip).run()


def test_data_of_two_cores_on_their_way_to_one_place_are_noticed() -> None:
    coming, place = Coming(4, 8), np.array([1, 2])
    coming.add(0, place, slice(0, 4))
    coming.add(0, place, slice(0, 4))  # these come in order
    coming.add(1, place, slice(4, 8))
    with pytest.raises(AssertionError, match="core 1 stores to where another's data are on their way"):
        coming.add(1, place, slice(3, 4))
    for _ in range(2):
        coming.remove(place, slice(0, 4))
    coming.add(1, place, slice(3, 4))
    assert coming.any(place)
    assert not coming.any(np.array([0, 3]))
